"""GetObject: ranges and whole objects of one version, their length and, where S3 tells it, their checksum compared.

Owned by S3Store, used from many threads. Small replies come through awscrt, which takes a third of botocore's CPU time
for each request; large ones through botocore, which takes half of awscrt's for each byte.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from awscrt.exceptions import AwsCrtError

from s3mount.errors import Corrupt, Unreachable
from s3mount.model import ETag, ObjectInfo, ObjectKey
from s3mount.store import patience, s3_client, wire
from s3mount.store.base import Body
from s3mount.store.concurrency import LIMIT_MAX, Concurrency
from s3mount.store.crt import is_not_utf8
from s3mount.store.retry import Attempts
from s3mount.store.s3_errors import archived_is_explained
from s3mount.store.sender import Sender
from s3mount.store.settings import StoreSettings
from s3mount.store.turns import Turns

# awscrt shows no byte of a reply before all are there: what a slow line brings meanwhile is no sign of life.
HOT_BYTES_MAX = 512 << 10
# The deadline of a large reply is looked at between pieces of this size.
READ_BYTES = 1 << 18

Headers = Mapping[str, str]


class Gets:
    def __init__(self, settings: StoreSettings, boto: s3_client.Boto, sender: Sender) -> None:
        self._bucket = settings.bucket
        self._prefix = settings.prefix
        self._client = boto.client
        self._sender = sender
        # S3 limits reads and writes apart, so their limits are learnt apart.
        self._turns = Turns(Concurrency(min(LIMIT_MAX, settings.connections)))

    def part(self, key: ObjectKey, start: int, end: int, if_match: ETag) -> Body:
        """The contract's `get`, of at least one byte."""
        return self._get(key, end - start, if_match, f"bytes={start}-{end - 1}")[1]

    def whole(self, key: ObjectKey, size: int, if_match: ETag) -> tuple[ObjectInfo, Body]:
        """The contract's `get_whole`."""
        headers, data = self._get(key, size, if_match, None)
        wire.check_body(key, data, headers.get("x-amz-checksum-crc64nvme"))
        return wire.object_info(key, headers), data

    def _get(self, key: ObjectKey, size: int, if_match: ETag, where: str | None) -> tuple[Headers, Body]:
        with self._turns.turn(size):
            return self._get_now(key, size, if_match, where)

    def _get_now(self, key: ObjectKey, size: int, if_match: ETag, where: str | None) -> tuple[Headers, Body]:
        is_hot = size <= HOT_BYTES_MAX
        if is_hot:
            self._sender.throttle.down.take(size)
        attempts = self._sender.asking_attempts(size)

        def request() -> tuple[Headers, Body]:
            if is_hot:
                try:
                    return self._get_hot(key, size, if_match, where, attempts)
                except AwsCrtError as error:
                    if not is_not_utf8(error):
                        raise
            return self._get_large(key, size, if_match, where, attempts)

        with archived_is_explained(self._bucket, self._prefix + key):
            return attempts.run(self._sender.translated("GetObject", request, self._turns.strained))

    def _get_hot(
        self, key: ObjectKey, size: int, if_match: ETag, where: str | None, attempts: Attempts
    ) -> tuple[Headers, Body]:
        headers = [("If-Match", wire.quoted(if_match))]
        # S3 tells the checksum of whole objects only, and only to who asks for no range.
        headers.append(("x-amz-checksum-mode", "ENABLED") if where is None else ("Range", where))
        timeout_s = patience.left_s(attempts.attempt_timeout_s)
        reply = self._sender.hot().send("GetObject", "GET", self._prefix + key, headers=headers, timeout_s=timeout_s)
        data = reply.body
        if len(data) != size:
            raise Corrupt(f"{len(data)} bytes came instead of {size} ({key!r})")
        return reply.headers, data

    def _get_large(
        self, key: ObjectKey, size: int, if_match: ETag, where: str | None, attempts: Attempts
    ) -> tuple[Headers, Body]:
        arguments: dict[str, Any] = {"ChecksumMode": "ENABLED"} if where is None else {"Range": where}
        reply = self._client.get_object(
            Bucket=self._bucket, Key=self._prefix + key, IfMatch=wire.quoted(if_match), **arguments
        )
        body: Any = reply["Body"]  # whose type says that readinto takes a file
        with contextlib.closing(body):
            if reply["ContentLength"] != size:
                raise Corrupt(f"{reply['ContentLength']} bytes came instead of {size} ({key!r})")
            data = bytearray(size)
            view, at = memoryview(data), 0
            while at < size and (count := body.readinto(view[at : at + READ_BYTES])):
                patience.heard()
                attempts.extend(self._sender.throttle.down.take(count))
                at += count
                if at < size and not attempts.remaining_s():
                    raise Unreachable(f"{size - at} bytes did not come in time ({key!r})")
        if at < size:
            raise Corrupt(f"the last {size - at} bytes did not come ({key!r})")
        return reply["ResponseMetadata"]["HTTPHeaders"], data
