"""Proves access to the bucket in bounded time, whatever the network does.

Used by S3Store.check_access, from any thread. Sends one request and remembers nothing.
"""

import threading
from typing import TYPE_CHECKING

import botocore.exceptions

from s3mount.errors import StoreError, Unreachable
from s3mount.store.s3_errors import REGION_HEADER, ErrorContext
from s3mount.store.settings import StoreSettings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ACCESS_DEADLINE_S = 7.0


def check_access(client: "S3Client", settings: StoreSettings, context: ErrorContext) -> None:
    """Return when the bucket can be listed. Raises a StoreError that says what is wrong, within 8 seconds."""
    outcome: list[StoreError | None] = []

    def ask() -> None:
        try:
            outcome.append(_ask(client, settings, context))
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, OSError, ValueError) as error:
            outcome.append(context.translate(error, "ListObjectsV2"))

    # Name resolution and credential helpers have no time-out of their own, hence a thread that can be left behind.
    thread = threading.Thread(target=ask, name="check-access", daemon=True)
    thread.start()
    thread.join(ACCESS_DEADLINE_S)
    if not outcome:
        raise Unreachable(f"cannot reach {context.endpoint_url}: no answer within {ACCESS_DEADLINE_S:.0f} s")
    if outcome[0] is not None:
        raise outcome[0]


def _ask(client: "S3Client", settings: StoreSettings, context: ErrorContext) -> StoreError | None:
    # Not HeadBucket: a reply to HEAD has no body, so a wrong key, a wrong secret and a missing right look the same.
    reply = client.list_objects_v2(Bucket=settings.bucket, Prefix=settings.prefix, MaxKeys=1)
    region = reply["ResponseMetadata"]["HTTPHeaders"].get(REGION_HEADER)
    if settings.endpoint_url is None and region and region != client.meta.region_name:
        # botocore followed the redirect; uploads, which do not go through botocore, would fail.
        return context.refusal("ListObjectsV2", "PermanentRedirect", 301, region=region)
    return None
