"""PutObject and CopyObject: of one object, and of many small ones at once without a thread for each.

Owned by S3Store, used from many threads.
"""

import base64
import contextlib
from collections.abc import Callable, Iterator

from awscrt import checksums
from awscrt.s3 import S3Request

from s3mount.errors import StoreError
from s3mount.model import ETag, ObjectKey
from s3mount.store import under_way, wire
from s3mount.store.base import Body, GivePuts, Put, TakePuts
from s3mount.store.crt import CrtClient, CrtReply
from s3mount.store.retry import Attempts
from s3mount.store.s3_errors import absent_fails, archived_is_explained
from s3mount.store.sender import Sender
from s3mount.store.settings import StoreSettings
from s3mount.store.under_way import OnDone, Outcome, UnderWay

AT_ONCE_MAX = 32


class Puts:
    def __init__(self, settings: StoreSettings, sender: Sender) -> None:
        self._bucket = settings.bucket
        self._prefix = settings.prefix
        self._storage_class = settings.storage_class
        self._sender = sender

    def one(self, put: Put) -> ETag:
        """The contract's `put`, or `copy`."""
        operation, headers, body = self.operation(put), self._headers(put), _body(put)

        def request(timeout_s: float) -> ETag:
            hot, key = self._sender.hot(), self._prefix + put.key
            reply = hot.send(operation, "PUT", key, headers=headers, body=body, timeout_s=timeout_s)
            return self.found(put, reply)

        with self._explained(put):
            if put.source is not None:
                return self._sender.send_copy(operation, request)
            return self._sender.send_hot(operation, len(put.body), request)

    def many(self, take: TakePuts, give: GivePuts) -> None:
        """The contract's `put_many`."""
        UnderWay(self, self._sender, AT_ONCE_MAX).run(take, give)

    def _headers(self, put: Put) -> list[tuple[str, str]]:
        """Raises Rejected when the metadata cannot travel."""
        wire.check_metadata(put.metadata)
        headers = wire.object_headers(put.metadata, put.content_type, put.condition, self._storage_class)
        if put.source is not None:
            headers.append(("x-amz-metadata-directive", "REPLACE"))
            headers += wire.copy_source_headers(self._bucket, self._prefix + put.source.key, put.source.etag)
        else:
            # Checked by S3 before it makes the object, so bytes that changed on the way are refused.
            checksum = checksums.crc64nvme(put.body).to_bytes(8, "big")
            headers.append(("x-amz-checksum-crc64nvme", base64.b64encode(checksum).decode()))
        return headers

    @contextlib.contextmanager
    def _explained(self, put: Put) -> Iterator[None]:
        if put.source is not None:
            with archived_is_explained(self._bucket, self._prefix + put.source.key):
                yield
        else:
            with absent_fails(put.condition):
                yield

    # -- what UnderWay asks --------------------------------------------------------------------------------------

    def operation(self, item: Put) -> str:
        return "PutObject" if item.source is None else "CopyObject"

    def key(self, item: Put) -> ObjectKey:
        return item.key

    def turn(self, item: Put) -> Callable[[], float]:
        return self._sender.upload_turn(len(item.body)) if item.source is None else under_way.at_once

    def attempts(self, item: Put) -> Attempts:
        return self._sender.sending_attempts(len(item.body)) if item.source is None else self._sender.copying_attempts()

    def begin(self, item: Put, on_done: OnDone) -> tuple[CrtClient, S3Request, CrtReply]:
        crt, key, headers = self._sender.hot(), self._prefix + item.key, self._headers(item)
        return crt, *crt.begin(self.operation(item), "PUT", key, headers=headers, body=_body(item), on_done=on_done)

    def elsewhere(self, item: Put, error: Exception, on_done: Callable[[Outcome], None]) -> bool:
        return False

    def found(self, item: Put, reply: CrtReply) -> ETag:
        if item.source is not None:
            return self._sender.document(self.operation(item), reply).copied()[0]
        return wire.written_etag(reply.headers.get("etag"))

    def refused(self, item: Put, error: StoreError) -> StoreError:
        try:
            with self._explained(item):
                raise error
        except StoreError as refused:
            return refused


def _body(put: Put) -> Body | None:
    return put.body if put.source is None else None
