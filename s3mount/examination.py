"""What a bucket says to somebody who has not mounted it: credentials, access, clock, region, conditional writes.

Called by `s3mount doctor`, from one thread. Sends one LIST, and on request one write that comes to nothing where
conditions hold; keeps nothing, and opens no state folder.
"""

import email.utils
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from s3mount.errors import StoreError
from s3mount.store import s3_client
from s3mount.store.access import check_access
from s3mount.store.s3 import open_store
from s3mount.store.s3_errors import REGION_HEADER, ErrorContext
from s3mount.store.sender import REQUEST_ERRORS
from s3mount.store.settings import StoreSettings
from s3mount.writeback.conditions import Support, try_condition

_ANSWERED: Final = "response-received.s3.ListObjectsV2"


@dataclass(frozen=True, slots=True)
class BucketAnswer:
    """`refusal`: why the bucket cannot be listed, None when it can. `clock_ahead_s`: by how much this computer's clock
    is ahead of the server's, to a second, None when no answer told. `region`: requests are signed for it;
    `bucket_region`: the one that the server named."""

    endpoint_url: str
    region: str
    refusal: StoreError | None
    clock_ahead_s: float | None
    bucket_region: str | None


def credentials_source(profile: str | None) -> str | None:
    """By which of its methods botocore's chain found credentials ("env", "sso"), None when there are none. May take a
    few seconds where it asks the instance's metadata service. Raises StoreError."""
    try:
        found = s3_client.find_credentials(profile)
    except REQUEST_ERRORS as error:
        raise ErrorContext("", "S3").translate(error, "finding credentials") from error
    return None if found is None else str(found.method)


class BucketExamination:
    """Of the bucket that a mount with these options would use. Asks nothing before it is told to."""

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str,
        endpoint_url: str | None,
        profile: str | None,
        region: str | None,
        addressing_style: str,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._now_s = now_s
        self._settings = StoreSettings(
            bucket=bucket,
            prefix=prefix,
            endpoint_url=endpoint_url,
            profile=profile,
            region=region,
            addressing_style=addressing_style,  # type: ignore[arg-type]  # the parser lets nothing else through
        )

    def ask(self) -> BucketAnswer:
        """One LIST and what its answer says. Raises StoreError or UsageError when no request could be made."""
        settings = self._settings
        try:
            boto = s3_client.build(settings, lambda _operation: None)
        except REQUEST_ERRORS as error:
            raise ErrorContext(settings.bucket, settings.endpoint_url or "S3").translate(error, "asking") from error
        headers: dict[str, str] = {}
        arrived_s: list[float] = []

        def note(response_dict: dict[str, Any] | None = None, **_: Any) -> None:
            if response_dict is not None:
                headers.update({name.lower(): str(value) for name, value in response_dict["headers"].items()})
                arrived_s.append(self._now_s())

        boto.client.meta.events.register(_ANSWERED, note)
        endpoint_url = boto.client.meta.endpoint_url
        refusal: StoreError | None = None
        try:
            check_access(boto.client, settings, ErrorContext(settings.bucket, endpoint_url))
        except StoreError as error:
            refusal = error
        finally:
            boto.close()
        ahead_s = _ahead_s(arrived_s[-1], headers.get("date")) if arrived_s else None
        return BucketAnswer(endpoint_url, boto.region, refusal, ahead_s, headers.get(REGION_HEADER))

    def are_conditions_honoured(self) -> bool:
        """Whether the server goes by the conditions of a write, found out by a write. Raises StoreError."""
        store = open_store(self._settings)
        try:
            return try_condition(store, uuid.uuid4().hex) is Support.HONOURED
        finally:
            store.close()


def _ahead_s(arrived_s: float, date: str | None) -> float | None:
    if date is None:
        return None
    try:
        return arrived_s - email.utils.parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
