"""What the acceptance tests look at besides the drive itself: the bucket through a plain client, and the clock."""

import time
from collections.abc import Callable

from tests.support.s3_server import S3Server

POLL_S = 0.05


def keys_of(server: S3Server, bucket: str) -> list[str]:
    """At most a thousand, which is what one request lists."""
    return sorted(found["Key"] for found in server.client.list_objects_v2(Bucket=bucket).get("Contents", []))


def body_of(server: S3Server, bucket: str, key: str) -> bytes:
    return server.client.get_object(Bucket=bucket, Key=key)["Body"].read()


def wait_until(holds: Callable[[], bool], deadline_s: float = 15.0) -> None:
    deadline = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(POLL_S)
