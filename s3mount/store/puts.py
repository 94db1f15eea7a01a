"""PutObject: of one object, and of many small ones at once without a thread for each.

Owned by S3Store, used from many threads.
"""

import base64
from collections.abc import Callable

from awscrt import checksums
from awscrt.s3 import S3Request

from s3mount.errors import StoreError
from s3mount.model import ETag, ObjectKey
from s3mount.store import wire
from s3mount.store.base import GivePuts, Put, TakePuts
from s3mount.store.crt import CrtClient, CrtReply
from s3mount.store.retry import Attempts
from s3mount.store.s3_errors import absent_fails
from s3mount.store.sender import Sender
from s3mount.store.settings import StoreSettings
from s3mount.store.under_way import OnDone, Outcome, UnderWay

AT_ONCE_MAX = 32


class Puts:
    operation = "PutObject"

    def __init__(self, settings: StoreSettings, sender: Sender) -> None:
        self._prefix = settings.prefix
        self._storage_class = settings.storage_class
        self._sender = sender

    def one(self, put: Put) -> ETag:
        """The contract's `put`."""
        headers = self._headers(put)

        def request(timeout_s: float) -> CrtReply:
            hot, key = self._sender.hot(), self._prefix + put.key
            return hot.send(self.operation, "PUT", key, headers=headers, body=put.body, timeout_s=timeout_s)

        with absent_fails(put.condition):
            return self.found(put, self._sender.send_hot(self.operation, len(put.body), request))

    def many(self, take: TakePuts, give: GivePuts) -> None:
        """The contract's `put_many`."""
        UnderWay(self, self._sender, AT_ONCE_MAX).run(take, give)

    def _headers(self, put: Put) -> list[tuple[str, str]]:
        """Raises Rejected when the metadata cannot travel."""
        wire.check_metadata(put.metadata)
        headers = wire.object_headers(put.metadata, put.content_type, put.condition, self._storage_class)
        # Checked by S3 before it makes the object, so bytes that changed on the way are refused.
        checksum = checksums.crc64nvme(put.body).to_bytes(8, "big")
        headers.append(("x-amz-checksum-crc64nvme", base64.b64encode(checksum).decode()))
        return headers

    # -- what UnderWay asks --------------------------------------------------------------------------------------

    def key(self, item: Put) -> ObjectKey:
        return item.key

    def turn(self, item: Put) -> Callable[[], float]:
        return self._sender.upload_turn(len(item.body))

    def attempts(self, item: Put) -> Attempts:
        return self._sender.sending_attempts(len(item.body))

    def begin(self, item: Put, on_done: OnDone) -> tuple[CrtClient, S3Request, CrtReply]:
        crt, headers = self._sender.hot(), self._headers(item)
        key = self._prefix + item.key
        return crt, *crt.begin(self.operation, "PUT", key, headers=headers, body=item.body, on_done=on_done)

    def elsewhere(self, item: Put, error: Exception, on_done: Callable[[Outcome], None]) -> bool:
        return False

    def found(self, item: Put, reply: CrtReply) -> ETag:
        return wire.written_etag(reply.headers.get("etag"))

    def refused(self, item: Put, error: StoreError) -> StoreError:
        try:
            with absent_fails(item.condition):
                raise error
        except StoreError as refused:
            return refused
