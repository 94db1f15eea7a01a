"""ObjectStore over any S3: the contract of store/base.py, method by method.

Made by open_store for the composition root; used by the cache, the write-back loop and the listing code from many
threads. Small hot requests go through awscrt, everything else through boto3, which is faster at large replies.
Keeps no copy of what it reads.
"""

import base64
import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import botocore.exceptions
import urllib3.exceptions
from awscrt import checksums
from awscrt.exceptions import AwsCrtError

from s3mount.errors import Corrupt, Missing, PreconditionFailed, StoreError, Unreachable
from s3mount.model import ETag, ObjectInfo, ObjectKey
from s3mount.store import access, patience, s3_client, wire
from s3mount.store.base import ANY, Body, Condition, ConditionKind, ListPage, StoreProperties
from s3mount.store.crt import CrtClient
from s3mount.store.request_counter import RequestCounter
from s3mount.store.retry import Attempts
from s3mount.store.s3_errors import CredentialsExpired, ErrorContext, UploadMissing
from s3mount.store.settings import StoreSettings

Result = TypeVar("Result")

DELETE_KEYS_MAX = 1000
LIST_KEYS_MAX = 1000

# The deadline of a GET is looked at between pieces of this size.
READ_BYTES = 1 << 18

REQUEST_ERRORS = (
    botocore.exceptions.BotoCoreError,
    botocore.exceptions.ClientError,
    urllib3.exceptions.HTTPError,
    AwsCrtError,
    OSError,
    ValueError,
)


def open_store(settings: StoreSettings) -> "S3Store":
    """A store for one bucket; sends no S3 request. Raises StoreError when the configuration cannot be used."""
    counter = RequestCounter()
    context = ErrorContext(settings.bucket, settings.endpoint_url or "S3")
    try:
        boto = s3_client.build(settings, counter.add)
    except REQUEST_ERRORS as error:
        raise context.translate(error, "opening the store") from error
    return S3Store(settings, boto, counter)


class S3Store:
    def __init__(self, settings: StoreSettings, boto: s3_client.Boto, counter: RequestCounter) -> None:
        self._settings = settings
        self._boto = boto
        self._client = boto.client
        self._asker = boto.asker
        self._bucket = settings.bucket
        self._prefix = settings.prefix
        self._counter = counter
        self._context = ErrorContext(settings.bucket, boto.client.meta.endpoint_url)
        self._properties = StoreProperties(has_root_key=bool(settings.prefix))
        self._storage_class = {"StorageClass": settings.storage_class} if settings.storage_class else {}
        self._stopping = threading.Event()
        self._crt_lock = threading.Lock()
        self._crt: CrtClient | None = None

    @property
    def properties(self) -> StoreProperties:
        return self._properties

    @property
    def location(self) -> str:
        """Where the objects are, as one word: the endpoint that configuration led to, bucket and prefix."""
        return f"s3://{self._bucket}/{self._prefix} at {self._client.meta.endpoint_url}"

    def request_counts(self) -> Mapping[str, int]:
        return self._counter.counts()

    def check_access(self) -> None:
        access.check_access(self._client, self._settings, self._context)

    def list_page(self, prefix: ObjectKey, *, delimiter: str = "/", token: str | None = None) -> ListPage:
        arguments: dict[str, Any] = {"Prefix": self._prefix + prefix, "MaxKeys": LIST_KEYS_MAX}
        if delimiter:
            arguments["Delimiter"] = delimiter
        if token is not None:
            arguments["ContinuationToken"] = token
        # Not asked for by us: botocore asks for URL-encoded keys, and decodes them, only when it does so itself.
        attempts = self._asking_attempts()
        reply = attempts.run(
            self._translated("ListObjectsV2", lambda: self._asker.list_objects_v2(Bucket=self._bucket, **arguments))
        )
        skip = len(self._prefix)
        objects = [
            ObjectInfo(
                ObjectKey(found["Key"][skip:]),
                found["Size"],
                wire.shown_etag(found.get("ETag")),
                wire.time_ns(found["LastModified"]),
            )
            for found in reply.get("Contents", ())
        ]
        prefixes = [ObjectKey(found["Prefix"][skip:]) for found in reply.get("CommonPrefixes", ())]
        return ListPage(objects, prefixes, reply.get("NextContinuationToken") if reply["IsTruncated"] else None)

    def head(self, key: ObjectKey) -> ObjectInfo:
        def request(timeout_s: float) -> Mapping[str, str]:
            try:
                return self._hot().send("HeadObject", "HEAD", self._prefix + key, timeout_s=timeout_s)
            except AwsCrtError as error:
                if error.name != "AWS_ERROR_CRT_CALLBACK_EXCEPTION":
                    raise
            # Other tools store metadata that is not UTF-8, which awscrt cannot decode and boto3 reads as Latin-1.
            reply = self._asker.head_object(Bucket=self._bucket, Key=self._prefix + key)
            return reply["ResponseMetadata"]["HTTPHeaders"]

        attempts = self._asking_attempts()
        # Patience is asked in each try: a person may be waiting, and the tries before have used some of it up.
        asked = self._translated("HeadObject", lambda: request(patience.left_s(attempts.attempt_timeout_s)))
        return wire.object_info(key, attempts.run(asked))

    def get(self, key: ObjectKey, *, start: int, end: int, if_match: ETag) -> bytes:
        if start >= end:
            return b""
        arguments: dict[str, Any] = {"Range": f"bytes={start}-{end - 1}", "IfMatch": wire.quoted(if_match)}
        attempts = self._asking_attempts(end - start)

        def request() -> bytes:
            reply = self._asker.get_object(Bucket=self._bucket, Key=self._prefix + key, **arguments)
            with contextlib.closing(reply["Body"]) as body:
                if reply["ContentLength"] != end - start:
                    raise Corrupt(f"{reply['ContentLength']} bytes came instead of {end - start} ({key!r})")
                pieces: list[bytes] = []
                missing = end - start
                while missing and (piece := body.read(min(missing, READ_BYTES))):
                    patience.heard()
                    pieces.append(piece)
                    missing -= len(piece)
                    if missing and not attempts.remaining_s():
                        raise Unreachable(f"{missing} bytes did not come in time ({key!r})")
            if missing:
                raise Corrupt(f"the last {missing} bytes did not come ({key!r})")
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)

        return attempts.run(self._translated("GetObject", request))

    def put(
        self, key: ObjectKey, body: Body, *, metadata: Mapping[str, str], content_type: str, condition: Condition = ANY
    ) -> ETag:
        wire.check_metadata(metadata)
        # Checked by S3 before it makes the object, so bytes that changed on the way are refused.
        checksum = checksums.crc64nvme(body).to_bytes(8, "big")
        headers = [
            ("Content-Type", content_type),
            ("x-amz-checksum-crc64nvme", base64.b64encode(checksum).decode()),
            *((wire.METADATA_HEADER + name, value) for name, value in metadata.items()),
            *wire.condition_headers(condition).items(),
        ]
        if self._settings.storage_class:
            headers.append(("x-amz-storage-class", self._settings.storage_class))

        def request(timeout_s: float) -> Mapping[str, str]:
            hot = self._hot()
            return hot.send("PutObject", "PUT", self._prefix + key, headers=headers, body=body, timeout_s=timeout_s)

        with _absent_fails(condition):
            reply = self._ask_hot("PutObject", len(body), request)
        return wire.written_etag(reply.get("etag"))

    def copy(
        self,
        source: ObjectKey,
        target: ObjectKey,
        *,
        source_etag: ETag,
        metadata: Mapping[str, str],
        content_type: str,
        condition: Condition = ANY,
    ) -> ETag:
        wire.check_metadata(metadata)
        arguments: dict[str, Any] = {
            "CopySource": {"Bucket": self._bucket, "Key": self._prefix + source},
            "CopySourceIfMatch": wire.quoted(source_etag),
            "MetadataDirective": "REPLACE",
            "Metadata": metadata,
            "ContentType": content_type,
            **self._storage_class,
            **wire.condition_arguments(condition),
        }
        reply = self._ask(
            "CopyObject", lambda: self._client.copy_object(Bucket=self._bucket, Key=self._prefix + target, **arguments)
        )
        return wire.written_etag(reply["CopyObjectResult"].get("ETag"))

    def delete(self, keys: Iterable[ObjectKey]) -> Mapping[ObjectKey, StoreError]:
        failed: dict[ObjectKey, StoreError] = {}
        remaining = iter(keys)
        while batch := list(islice(remaining, DELETE_KEYS_MAX)):
            in_xml = [key for key in batch if not wire.NOT_IN_XML.search(key)]
            if in_xml:
                failed |= self._delete_batch(in_xml)
            for key in set(batch).difference(in_xml):
                try:
                    self._delete_one(key)
                except StoreError as error:
                    failed[key] = error
        return failed

    def create_multipart(self, key: ObjectKey, *, metadata: Mapping[str, str], content_type: str) -> str:
        wire.check_metadata(metadata)
        arguments: dict[str, Any] = {"Metadata": metadata, "ContentType": content_type, **self._storage_class}
        reply = self._ask(
            "CreateMultipartUpload",
            lambda: self._client.create_multipart_upload(Bucket=self._bucket, Key=self._prefix + key, **arguments),
        )
        return reply["UploadId"]

    def upload_part(self, key: ObjectKey, upload_id: str, number: int, body: Body) -> ETag:
        # MD5, since stores differ in which checksums a part may have when the upload was begun without naming one.
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        headers = [("Content-MD5", base64.b64encode(digest).decode())]
        query = wire.part_query(upload_id, number)

        def request(timeout_s: float) -> Mapping[str, str]:
            return self._hot().send(
                "UploadPart", "PUT", self._prefix + key, headers=headers, query=query, body=body, timeout_s=timeout_s
            )

        return wire.written_etag(self._ask_hot("UploadPart", len(body), request).get("etag"))

    def copy_part(
        self, key: ObjectKey, upload_id: str, number: int, *, source: ObjectKey, source_etag: ETag, start: int, end: int
    ) -> ETag:
        arguments: dict[str, Any] = {
            "UploadId": upload_id,
            "PartNumber": number,
            "CopySource": {"Bucket": self._bucket, "Key": self._prefix + source},
            "CopySourceIfMatch": wire.quoted(source_etag),
            "CopySourceRange": f"bytes={start}-{end - 1}",
        }
        reply = self._ask(
            "UploadPartCopy",
            lambda: self._client.upload_part_copy(Bucket=self._bucket, Key=self._prefix + key, **arguments),
        )
        return wire.written_etag(reply["CopyPartResult"].get("ETag"))

    def complete_multipart(
        self, key: ObjectKey, upload_id: str, parts: Sequence[ETag], *, condition: Condition = ANY
    ) -> ETag:
        arguments: dict[str, Any] = {
            "UploadId": upload_id,
            "MultipartUpload": {
                "Parts": [{"PartNumber": i, "ETag": wire.quoted(etag)} for i, etag in enumerate(parts, start=1)]
            },
            **wire.condition_arguments(condition),
        }
        with _absent_fails(condition):
            reply = self._ask(
                "CompleteMultipartUpload",
                lambda: self._client.complete_multipart_upload(
                    Bucket=self._bucket, Key=self._prefix + key, **arguments
                ),
            )
        return wire.written_etag(reply.get("ETag"))

    def abort_multipart(self, key: ObjectKey, upload_id: str) -> None:
        with contextlib.suppress(Missing):
            self._ask(
                "AbortMultipartUpload",
                lambda: self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=self._prefix + key, UploadId=upload_id
                ),
            )

    def close(self) -> None:
        self._stopping.set()
        with self._crt_lock:
            crt, self._crt = self._crt, None
        if crt is not None:
            crt.close()
        self._client.close()
        self._asker.close()

    def _hot(self) -> CrtClient:
        """Built at the first use, because it needs credentials."""
        if self._crt is not None:
            return self._crt
        with self._crt_lock:
            if self._stopping.is_set():
                raise Unreachable("the store is closed")
            if self._crt is None:
                self._crt = CrtClient(self._boto, self._settings, self._counter.add)
            return self._crt

    def _attempts(self, body_bytes: int) -> Attempts:
        return Attempts(self._settings.deadline_s(body_bytes), self._stopping)

    def _asking_attempts(self, reply_bytes: int = 0) -> Attempts:
        return Attempts(self._settings.asking_deadline_for_s(reply_bytes), self._stopping)

    def _ask(self, operation: str, request: Callable[[], Result]) -> Result:
        """One request through boto3, retried."""
        return self._attempts(0).run(self._translated(operation, request))

    def _ask_hot(self, operation: str, body_bytes: int, request: Callable[[float], Result]) -> Result:
        """One request through awscrt, retried; `request` takes the time it may wait."""
        attempts = self._attempts(body_bytes)
        return attempts.run(self._translated(operation, lambda: request(attempts.attempt_timeout_s)))

    def _translated(self, operation: str, request: Callable[[], Result]) -> Callable[[], Result]:
        def translated() -> Result:
            if self._stopping.is_set():
                raise Unreachable(f"the store is closed ({operation})")
            try:
                result = request()
            except REQUEST_ERRORS as error:
                translated_error = self._context.translate(error, operation)
                if isinstance(translated_error, CredentialsExpired) and self._boto.credentials is not None:
                    self._boto.credentials.reread()
                raise translated_error from error
            patience.heard()
            return result

        return translated

    def _delete_batch(self, keys: list[ObjectKey]) -> dict[ObjectKey, StoreError]:
        listed = [{"Key": self._prefix + key} for key in keys]
        reply = self._ask(
            "DeleteObjects",
            lambda: self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": listed, "Quiet": True}),  # type: ignore[typeddict-item]
        )
        failed: dict[ObjectKey, StoreError] = {}
        for refused in reply.get("Errors", ()):
            error = self._context.refusal("DeleteObjects", refused.get("Code", ""), None, refused.get("Message", ""))
            if not isinstance(error, Missing):
                failed[ObjectKey(refused.get("Key", "")[len(self._prefix) :])] = error
        return failed

    def _delete_one(self, key: ObjectKey) -> None:
        with contextlib.suppress(Missing):
            self._ask("DeleteObject", lambda: self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key))


@contextlib.contextmanager
def _absent_fails(condition: Condition) -> Iterator[None]:
    """S3 answers 404 to a write conditioned on the ETag of an object that is gone; the contract knows one refusal."""
    try:
        yield
    except UploadMissing:
        raise
    except Missing as error:
        if condition.kind is not ConditionKind.MATCHES:
            raise
        raise PreconditionFailed(str(error)) from error
