"""HeadObject: of one object, and of many at once without a thread for each.

Owned by S3Store, used from many threads.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from awscrt.exceptions import AwsCrtError
from awscrt.s3 import S3Request

from s3mount.errors import StoreError
from s3mount.model import ObjectInfo, ObjectKey
from s3mount.store import s3_client, under_way, wire
from s3mount.store.base import GiveHeads, TakeKeys
from s3mount.store.crt import CrtClient, CrtReply, is_not_utf8
from s3mount.store.retry import Attempts
from s3mount.store.sender import REQUEST_ERRORS, Sender
from s3mount.store.settings import StoreSettings
from s3mount.store.under_way import OnDone, Outcome, UnderWay

AT_ONCE_MAX = 32
NOT_UTF8_THREADS = 4


OPERATION = "HeadObject"


class Heads:
    def __init__(self, settings: StoreSettings, boto: s3_client.Boto, sender: Sender) -> None:
        self._bucket = settings.bucket
        self._prefix = settings.prefix
        self._boto = boto
        self._sender = sender
        self._not_utf8 = ThreadPoolExecutor(NOT_UTF8_THREADS, thread_name_prefix="heads")

    def one(self, key: ObjectKey) -> ObjectInfo:
        """The contract's `head`."""

        def request(timeout_s: float) -> CrtReply:
            try:
                return self._sender.hot().send(OPERATION, "HEAD", self._prefix + key, timeout_s=timeout_s)
            except AwsCrtError as error:
                if not is_not_utf8(error):
                    raise
            return self._ask_boto(key)

        return self.found(key, self._sender.ask(OPERATION, request))

    def many(self, take: TakeKeys, give: GiveHeads) -> None:
        """The contract's `head_many`."""
        UnderWay(self, self._sender, AT_ONCE_MAX).run(take, give)

    # -- what UnderWay asks --------------------------------------------------------------------------------------

    def operation(self, item: ObjectKey) -> str:
        return OPERATION

    def key(self, item: ObjectKey) -> ObjectKey:
        return item

    def turn(self, item: ObjectKey) -> Callable[[], float]:
        return under_way.at_once

    def attempts(self, item: ObjectKey) -> Attempts:
        return self._sender.asking_attempts()

    def begin(self, item: ObjectKey, on_done: OnDone) -> tuple[CrtClient, S3Request, CrtReply]:
        crt = self._sender.hot()
        return crt, *crt.begin(OPERATION, "HEAD", self._prefix + item, on_done=on_done)

    def elsewhere(self, item: ObjectKey, error: Exception, on_done: Callable[[Outcome], None]) -> bool:
        if not is_not_utf8(error):
            return False

        def ask() -> None:
            try:
                on_done(self._ask_boto(item))
            except REQUEST_ERRORS as error:
                on_done(error)

        self._not_utf8.submit(ask)
        return True

    def found(self, item: ObjectKey, reply: CrtReply) -> ObjectInfo:
        return wire.object_info(item, reply.headers)

    def refused(self, item: ObjectKey, error: StoreError) -> StoreError:
        return error

    def _ask_boto(self, key: ObjectKey) -> CrtReply:
        reply = self._boto.asker.head_object(Bucket=self._bucket, Key=self._prefix + key)
        headers: Mapping[str, str] = reply["ResponseMetadata"]["HTTPHeaders"]
        return CrtReply(dict(headers))

    def close(self) -> None:
        self._not_utf8.shutdown(wait=False, cancel_futures=True)
