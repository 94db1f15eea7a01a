"""HeadObject: of one object, and of many at once without a thread for each.

Owned by S3Store, used from many threads. Of many, the calling thread begins the requests and is told by the runtime
what has come. What came meanwhile is handed on as one, so that it can be written down as one.
"""

import contextlib
import itertools
import queue
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from awscrt.exceptions import AwsCrtError
from awscrt.s3 import S3Request

from s3mount.errors import StoreError
from s3mount.model import ObjectInfo, ObjectKey
from s3mount.store import patience, s3_client, wire
from s3mount.store.base import GiveHeads, TakeKeys
from s3mount.store.crt import CrtClient, is_not_utf8
from s3mount.store.retry import Attempts
from s3mount.store.sender import REQUEST_ERRORS, Sender
from s3mount.store.settings import StoreSettings

OPERATION = "HeadObject"
AT_ONCE_MAX = 32
# How often, while no answer comes, more keys are asked for and the clock is looked at.
LOOK_S = 0.05
# An answer seldom comes alone: to see to several at once is cheaper for whoever asked.
GATHER_S = 0.002
NOT_UTF8_THREADS = 4

Headers = Mapping[str, str]


class Heads:
    def __init__(self, settings: StoreSettings, boto: s3_client.Boto, sender: Sender) -> None:
        self._bucket = settings.bucket
        self._prefix = settings.prefix
        self._boto = boto
        self._sender = sender
        self._not_utf8 = ThreadPoolExecutor(NOT_UTF8_THREADS, thread_name_prefix="heads")

    def one(self, key: ObjectKey) -> ObjectInfo:
        """The contract's `head`."""

        def request(timeout_s: float) -> Mapping[str, str]:
            try:
                return self._sender.hot().send(OPERATION, "HEAD", self._prefix + key, timeout_s=timeout_s).headers
            except AwsCrtError as error:
                if not is_not_utf8(error):
                    raise
            return self._ask_boto(key)

        return wire.object_info(key, self._sender.ask(OPERATION, request))

    def many(self, take: TakeKeys, give: GiveHeads) -> None:
        """The contract's `head_many`."""
        under_way = _UnderWay(self, self._sender)
        try:
            while True:
                for key in take(AT_ONCE_MAX - under_way.count):
                    under_way.add(key)
                if not under_way.count:
                    return
                if found := under_way.arrived():
                    give(found)
        finally:
            under_way.cancel()

    def begin(self, key: ObjectKey, on_done: Callable[..., None]) -> tuple[CrtClient, S3Request, Headers]:
        """One try: through whom, and where the headers of its reply will be."""
        crt = self._sender.hot()
        request, reply = crt.begin(OPERATION, "HEAD", self._prefix + key, on_done=on_done)
        return crt, request, reply.headers

    def ask_boto_soon(self, key: ObjectKey, on_done: Callable[[Headers | Exception], None]) -> None:
        def ask() -> None:
            try:
                on_done(self._ask_boto(key))
            except REQUEST_ERRORS as error:
                on_done(error)

        self._not_utf8.submit(ask)

    def _ask_boto(self, key: ObjectKey) -> Mapping[str, str]:
        reply = self._boto.asker.head_object(Bucket=self._bucket, Key=self._prefix + key)
        return reply["ResponseMetadata"]["HTTPHeaders"]

    def close(self) -> None:
        self._not_utf8.shutdown(wait=False, cancel_futures=True)


@dataclass(slots=True, eq=False)
class _Try:
    """`at_s`: when it is given up; of one that is yet to come, when it begins. `headers` are there once it is done."""

    key: ObjectKey
    attempts: Attempts
    at_s: float = 0.0
    crt: CrtClient | None = None
    request: S3Request | None = None
    headers: Headers = field(default_factory=dict)

    def end(self) -> None:
        if self.crt is not None and self.request is not None:
            self.crt.end(self.request)
            self.request = None


class _UnderWay:
    """The requests of one call. Used by the calling thread alone; other threads only put what has come into `_done`.

    Each try has a number of its own, so what comes of one that was given up is nobody's."""

    def __init__(self, heads: Heads, sender: Sender) -> None:
        self._heads = heads
        self._sender = sender
        self._done: queue.SimpleQueue[tuple[int, Headers | Exception | None]] = queue.SimpleQueue()
        self._numbers = itertools.count()
        self._sent: dict[int, _Try] = {}
        self._to_send: list[_Try] = []
        self._found: dict[ObjectKey, ObjectInfo | StoreError] = {}
        self._look_at_s = 0.0

    @property
    def count(self) -> int:
        """Of keys that nothing was told of yet."""
        return len(self._sent) + len(self._to_send) + len(self._found)

    def add(self, key: ObjectKey) -> None:
        self._send(_Try(key, self._sender.asking_attempts()))

    def arrived(self) -> dict[ObjectKey, ObjectInfo | StoreError]:
        """What has come since it was called last; waits a moment when nothing has."""
        with contextlib.suppress(queue.Empty):
            ended = self._done.get(timeout=0.0 if self._found else LOOK_S)
            time.sleep(GATHER_S)
            while True:
                self._ended(*ended)
                ended = self._done.get_nowait()
        self._look()
        found, self._found = self._found, {}
        return found

    def cancel(self) -> None:
        for tried in self._sent.values():
            if tried.request is not None:
                tried.request.cancel()
            tried.end()
        self._sent.clear()

    def _send(self, tried: _Try) -> None:
        number, done = next(self._numbers), self._done
        tried.at_s = time.monotonic() + tried.attempts.attempt_timeout_s
        try:
            tried.crt, tried.request, tried.headers = self._heads.begin(
                tried.key, lambda error, **_: done.put((number, error))
            )
        except (StoreError, *REQUEST_ERRORS) as error:
            self._failed(tried, error)
        else:
            self._sent[number] = tried

    def _ended(self, number: int, outcome: Headers | Exception | None) -> None:
        tried = self._sent.pop(number, None)
        if tried is None:
            return
        tried.end()
        if isinstance(outcome, Exception):
            if is_not_utf8(outcome):
                self._sent[number], done = tried, self._done
                tried.at_s = float("inf")  # botocore knows its own deadline
                self._heads.ask_boto_soon(tried.key, lambda outcome: done.put((number, outcome)))
            else:
                self._failed(tried, outcome)
            return
        try:
            self._found[tried.key] = wire.object_info(tried.key, tried.headers if outcome is None else outcome)
            patience.heard()
        except StoreError as error:
            self._failed(tried, error)

    def _failed(self, tried: _Try, error: Exception) -> None:
        judged = self._sender.judged(OPERATION, error)
        pause_s = tried.attempts.pause_s(judged)
        if pause_s is None:
            self._found[tried.key] = judged
        else:
            tried.at_s = time.monotonic() + pause_s
            self._to_send.append(tried)

    def _look(self) -> None:
        """Give up what has taken too long, and try again what has waited long enough."""
        now_s = time.monotonic()
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_S
        for number, tried in list(self._sent.items()):
            if tried.at_s <= now_s and tried.crt is not None and tried.request is not None:
                del self._sent[number]
                tried.request.cancel()
                tried.end()
                self._failed(tried, tried.crt.silence(OPERATION, tried.attempts.attempt_timeout_s))
        waiting, self._to_send = self._to_send, []
        for tried in waiting:
            if tried.at_s <= now_s:
                self._send(tried)
            else:
                self._to_send.append(tried)
