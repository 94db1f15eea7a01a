"""Failed S3 requests as StoreErrors: one table for both clients.

Called by S3Store and the CRT client from any thread. Pure: sends nothing, decides nothing about retries.
"""

import contextlib
import shlex
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import botocore.exceptions
import botocore.parsers
import urllib3.exceptions
from awscrt.exceptions import AwsCrtError
from awscrt.s3 import S3ResponseError

from s3mount import errors
from s3mount.errors import StoreError
from s3mount.store.base import Condition, ConditionKind

CREDENTIAL_SOURCES = "environment (AWS_ACCESS_KEY_ID), shared config files (~/.aws), profile, SSO, instance role"
REGION_HEADER = "x-amz-bucket-region"


class UploadMissing(errors.Missing):
    """The multipart upload is unknown, as opposed to the object."""


class Silent(errors.Unreachable):
    """No answer came in time."""


class CredentialsExpired(errors.Denied):
    """Temporary: the same request may succeed once the credentials were looked up again, or renewed by a person."""

    temporary = True


class ClockSkewed(errors.Denied):
    """Temporary: clocks are set right by themselves after a resume or a boot."""

    temporary = True


# Error codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
CODES: Mapping[str, type[StoreError]] = {
    "NoSuchKey": errors.Missing,
    "NoSuchVersion": errors.Missing,
    "NotFound": errors.Missing,
    "NoSuchUpload": UploadMissing,
    "NoSuchBucket": errors.BucketMissing,
    "PreconditionFailed": errors.PreconditionFailed,
    # Two conditional writes met; neither outcome is known to be wrong, and S3 asks to send the request again.
    "ConditionalRequestConflict": errors.Throttled,
    "OperationAborted": errors.Throttled,
    "SlowDown": errors.Throttled,
    "ServiceUnavailable": errors.Throttled,
    "Throttling": errors.Throttled,
    "ThrottlingException": errors.Throttled,
    "RequestLimitExceeded": errors.Throttled,
    "TooManyRequests": errors.Throttled,
    "InternalError": errors.Unreachable,
    "RequestTimeout": Silent,
    "BadDigest": errors.Corrupt,
    "IncompleteBody": errors.Corrupt,
    "InvalidRange": errors.Corrupt,
    "XAmzContentChecksumMismatch": errors.Corrupt,
    "XAmzContentSHA256Mismatch": errors.Corrupt,
    "AccessDenied": errors.Denied,
    "AllAccessDisabled": errors.Denied,
    "AccountProblem": errors.Denied,
    "ExpiredToken": CredentialsExpired,
    "ExpiredTokenException": CredentialsExpired,
    "InvalidAccessKeyId": errors.Denied,
    "InvalidToken": errors.Denied,
    "RequestTimeTooSkewed": ClockSkewed,
    "RequestExpired": ClockSkewed,
    "SignatureDoesNotMatch": errors.Denied,
    "TokenRefreshRequired": CredentialsExpired,
    "NotImplemented": errors.Rejected,
    # 403, but about the object: it is archived and must be restored before it can be read.
    "InvalidObjectState": errors.Archived,
    "ObjectNotInActiveTierError": errors.Archived,
    "PermanentRedirect": errors.Rejected,
    "TemporaryRedirect": errors.Unreachable,
    "AuthorizationHeaderMalformed": errors.Rejected,
}

STATUSES: Mapping[int, type[StoreError]] = {
    307: errors.Unreachable,
    401: errors.Denied,
    403: errors.Denied,
    404: errors.Missing,
    408: Silent,
    412: errors.PreconditionFailed,
    416: errors.Corrupt,
    429: errors.Throttled,
    503: errors.Throttled,
}

# What a person can do about it, where S3's own message does not say.
ADVICE: Mapping[str, str] = {
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key",
    "RequestTimeTooSkewed": "check this computer's clock: it differs from S3's by more than 15 minutes",
    "RequestExpired": "check this computer's clock: S3 takes its requests for old ones",
    "ExpiredToken": "the session token has expired: renew it, s3mount looks for it again",
    "ExpiredTokenException": "the session token has expired: renew it, s3mount looks for it again",
    "TokenRefreshRequired": "the session token must be renewed; s3mount looks for it again",
    "TemporaryRedirect": "S3 sends this bucket's requests to another endpoint for a while",
    "InvalidObjectState": "the object is archived; restore it first",
    "ObjectNotInActiveTierError": "the object is archived; restore it first",
}

REGION_CODES = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})

# By class, first match; order matters where one is a subclass of another.
EXCEPTIONS: tuple[tuple[type[Exception], type[StoreError]], ...] = (
    (botocore.exceptions.NoCredentialsError, errors.Denied),
    (botocore.exceptions.PartialCredentialsError, errors.Denied),
    (botocore.exceptions.CredentialRetrievalError, errors.Denied),
    (botocore.exceptions.TokenRetrievalError, errors.Denied),
    (botocore.exceptions.SSOError, errors.Denied),
    (botocore.exceptions.IncompleteReadError, errors.Corrupt),
    (botocore.exceptions.ResponseStreamingError, errors.Corrupt),
    (botocore.exceptions.FlexibleChecksumError, errors.Corrupt),
    (botocore.exceptions.ReadTimeoutError, Silent),
    (botocore.exceptions.ConnectionError, errors.Unreachable),
    (botocore.exceptions.HTTPClientError, errors.Unreachable),
    # A reply that cannot be understood comes from something in between that is not S3.
    (botocore.parsers.ResponseParserError, errors.Unreachable),
    (botocore.exceptions.BotoCoreError, errors.Rejected),
    (urllib3.exceptions.IncompleteRead, errors.Corrupt),
    (urllib3.exceptions.HTTPError, errors.Unreachable),
    (AwsCrtError, errors.Unreachable),
    (OSError, errors.Unreachable),
)


# The runtime keeps S3's answer to itself for what it takes for temporary.
CRT_CODES: Mapping[str, tuple[str, int]] = {
    "AWS_ERROR_S3_SLOW_DOWN": ("SlowDown", 503),
    "AWS_ERROR_S3_INTERNAL_ERROR": ("InternalError", 500),
    "AWS_ERROR_S3_REQUEST_TIME_TOO_SKEWED": ("RequestTimeTooSkewed", 403),
    "AWS_ERROR_INVALID_ARGUMENT": ("InvalidArgument", 400),
}


class ErrorContext(NamedTuple):
    """What the texts name."""

    bucket: str
    endpoint_url: str

    def translate(self, error: Exception, operation: str) -> StoreError:
        """`error` as one of ours, its text one line for a person."""
        if isinstance(error, StoreError):
            return error
        if isinstance(error, botocore.exceptions.ClientError):
            return self._from_client_error(error, operation)
        if isinstance(error, S3ResponseError):
            code, message = _parse_body(error.body)
            region = next((value for name, value in error.headers if name.lower() == REGION_HEADER), "")
            return self.refusal(operation, code, error.status_code, message, region)
        if isinstance(error, AwsCrtError) and error.name in CRT_CODES:
            code, status = CRT_CODES[error.name]
            return self.refusal(operation, code, status)
        for raised, translated in EXCEPTIONS:
            if isinstance(error, raised):
                return translated(self._describe(translated, error, operation))
        return errors.Rejected(f"{operation}: {type(error).__name__}: {error}")

    def refusal(
        self, operation: str, code: str, status: int | None = None, message: str = "", region: str = ""
    ) -> StoreError:
        """The error for what S3 answered: by its code, else by its HTTP status."""
        kind = CODES.get(code) or STATUSES.get(status or 0)
        if kind is None:
            # The answer to a HEAD has no body, so a 400 does not tell a lost token or a slow request from a wrong one.
            is_mute = operation == "HeadObject" and status == 400 and not code
            is_temporary = is_mute or (status is not None and status >= 500)
            kind = errors.Unreachable if is_temporary else errors.Rejected
        if kind is errors.BucketMissing:
            return kind(f"there is no bucket {self.bucket!r} at {self.endpoint_url}")
        if code in REGION_CODES or status == 301:
            where = f"in region {region}" if region else "in another region"
            return kind(f"bucket {self.bucket!r} is {where}: set the region ({operation}: {code or status})")
        reason = ADVICE.get(code) or message or f"HTTP status {status}"
        prefix = "access denied to" if kind is errors.Denied else f"{operation} failed on"
        return kind(f"{prefix} bucket {self.bucket!r}: {reason} ({code or status})")

    def _from_client_error(self, error: botocore.exceptions.ClientError, operation: str) -> StoreError:
        details = error.response.get("Error", {})
        reply = error.response.get("ResponseMetadata", {})
        region = str(reply.get("HTTPHeaders", {}).get(REGION_HEADER) or details.get("Region") or "")
        # Without a body botocore makes the code of the status.
        code = str(details.get("Code", ""))
        message = str(details.get("Message", ""))
        return self.refusal(operation, "" if code.isdigit() else code, reply.get("HTTPStatusCode"), message, region)

    def _describe(self, kind: type[StoreError], error: Exception, operation: str) -> str:
        if isinstance(error, botocore.exceptions.NoCredentialsError):
            return f"no credentials found; looked in: {CREDENTIAL_SOURCES}"
        reason = error.name if isinstance(error, AwsCrtError) else str(error)
        one_line = " ".join(reason.split())
        if issubclass(kind, errors.Unreachable):
            return f"cannot reach {self.endpoint_url}: {one_line} ({operation})"
        if kind is errors.Denied:
            return f"no usable credentials: {one_line}"
        return f"{operation} failed: {one_line}"


def _parse_body(body: bytes | None) -> tuple[str, str]:
    """The code and message of S3's error document; empty strings when there is none, as after HEAD."""
    try:
        root = ElementTree.fromstring(body or b"")
    except ElementTree.ParseError:
        return "", ""
    # Some servers put the elements in a namespace and some do not.
    texts = {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in root.iter()}
    return texts.get("Code", ""), texts.get("Message", "")


@contextlib.contextmanager
def archived_is_explained(bucket: str, key: str) -> Iterator[None]:
    """A person has to restore it, and is told how."""
    try:
        yield
    except errors.Archived as error:
        where = f"--bucket {shlex.quote(bucket)} --key {shlex.quote(key)}"
        raise errors.Archived(
            "the object is archived, and must be restored before it can be read or changed: "
            f"aws s3api restore-object {where} --restore-request Days=7"
        ) from error


@contextlib.contextmanager
def absent_fails(condition: Condition) -> Iterator[None]:
    """S3 answers 404 to a write conditioned on the ETag of an object that is gone; the contract knows one refusal."""
    try:
        yield
    except UploadMissing:
        raise
    except errors.Missing as error:
        if condition.kind is not ConditionKind.MATCHES:
            raise
        raise errors.PreconditionFailed(str(error)) from error
