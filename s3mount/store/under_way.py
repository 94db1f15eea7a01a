"""Many requests of one kind under way at once, without a thread for each.

Used by heads.py and puts.py, in the thread of whoever called the store: it begins the requests and is told by the
runtime what has come. What came meanwhile is handed on as one, so that it can be written down as one. Each request is
tried again as the same one alone would be (retry.py). Does not know what the requests say.
"""

import contextlib
import itertools
import queue
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from awscrt.s3 import S3Request

from s3mount.errors import StoreError
from s3mount.model import ObjectKey
from s3mount.store import patience
from s3mount.store.crt import CrtClient, CrtReply
from s3mount.store.retry import Attempts
from s3mount.store.sender import REQUEST_ERRORS, Sender

# How often, while no answer comes, more is asked for and the clock is looked at.
LOOK_S = 0.05
# An answer seldom comes alone: to see to several at once is cheaper for whoever asked.
GATHER_S = 0.002

Item = TypeVar("Item")
Result = TypeVar("Result")
Asked = TypeVar("Asked", contravariant=True)
Told = TypeVar("Told", covariant=True)
Outcome = CrtReply | Exception | None  # None: the reply is where `begin` said
OnDone = Callable[..., None]


def at_once() -> float:
    """The `turn` of what waits for nothing."""
    return 0.0


class Kind(Protocol[Asked, Told]):
    """What all requests of one call are, and what each says."""

    def operation(self, item: Asked) -> str:
        """Its name."""

    def key(self, item: Asked) -> ObjectKey: ...

    def turn(self, item: Asked) -> Callable[[], float]:
        """Asked before the first try, and what it returns again and again: how long it is to wait, 0 once it may go."""

    def attempts(self, item: Asked) -> Attempts:
        """Its tries, from now on."""

    def begin(self, item: Asked, on_done: OnDone) -> tuple[CrtClient, S3Request, CrtReply]:
        """One try: through whom, and where its reply will be. Raises StoreError and REQUEST_ERRORS."""

    def elsewhere(self, item: Asked, error: Exception, on_done: Callable[[Outcome], None]) -> bool:
        """Whether a try that failed so was begun again in another way, which knows its own deadline."""

    def found(self, item: Asked, reply: CrtReply) -> Told:
        """What the reply says. Raises StoreError when it makes no sense."""

    def refused(self, item: Asked, error: StoreError) -> StoreError:
        """What the last error means to the caller."""


@dataclass(slots=True, eq=False)
class _Try(Generic[Item]):
    """`at_s`: when it is given up; of one that is yet to come, when it begins. `attempts`: None while its turn has not
    come."""

    item: Item
    turn: Callable[[], float]
    attempts: Attempts | None = None
    at_s: float = 0.0
    crt: CrtClient | None = None
    request: S3Request | None = None
    reply: CrtReply = field(default_factory=CrtReply)

    def end(self) -> None:
        if self.crt is not None and self.request is not None:
            self.crt.end(self.request)
            self.request = None


class UnderWay(Generic[Item, Result]):
    """The requests of one call. Used by the calling thread alone; other threads only put what has come into `_done`.

    Each try has a number of its own, so what comes of one that was given up is nobody's."""

    def __init__(self, kind: Kind[Item, Result], sender: Sender, at_once_max: int) -> None:
        self._kind = kind
        self._sender = sender
        self._at_once_max = at_once_max
        self._done: queue.SimpleQueue[tuple[int, Outcome]] = queue.SimpleQueue()
        self._numbers = itertools.count()
        self._sent: dict[int, _Try[Item]] = {}
        self._to_send: list[_Try[Item]] = []
        self._found: dict[ObjectKey, Result | StoreError] = {}
        self._look_at_s = 0.0

    def run(
        self,
        take: Callable[[int], Iterable[Item]],
        give: Callable[[Mapping[ObjectKey, Result | StoreError]], None],
    ) -> None:
        """Until `take` has none and nothing is under way. Raises nothing but what they do, and then what is under way
        is cancelled."""
        try:
            while True:
                room = self._at_once_max - self._count
                for item in take(room) if room else ():
                    self._send(_Try(item, self._kind.turn(item)))
                if not self._count:
                    return
                if found := self._arrived():
                    give(found)
        finally:
            self._cancel()

    @property
    def _count(self) -> int:
        """Of those that nothing was told of yet."""
        return len(self._sent) + len(self._to_send) + len(self._found)

    def _arrived(self) -> dict[ObjectKey, Result | StoreError]:
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

    def _cancel(self) -> None:
        for tried in self._sent.values():
            if tried.request is not None:
                tried.request.cancel()
            tried.end()
        self._sent.clear()

    def _send(self, tried: _Try[Item]) -> None:
        if tried.attempts is None:
            wait_s = tried.turn()
            if wait_s > 0:
                tried.at_s = time.monotonic() + wait_s
                self._to_send.append(tried)
                return
            tried.attempts = self._kind.attempts(tried.item)
        number, done = next(self._numbers), self._done
        tried.at_s = time.monotonic() + tried.attempts.attempt_timeout_s
        try:
            tried.crt, tried.request, tried.reply = self._kind.begin(
                tried.item, lambda error, **_: done.put((number, error))
            )
        except (StoreError, *REQUEST_ERRORS) as error:
            self._failed(tried, tried.attempts, error)
        else:
            self._sent[number] = tried

    def _ended(self, number: int, outcome: Outcome) -> None:
        tried = self._sent.pop(number, None)
        if tried is None or tried.attempts is None:
            return
        tried.end()
        if isinstance(outcome, Exception):
            done = self._done
            if self._kind.elsewhere(tried.item, outcome, lambda outcome: done.put((number, outcome))):
                self._sent[number] = tried
                tried.at_s = float("inf")
            elif tried.crt is not None:
                self._failed(
                    tried, tried.attempts, tried.crt.explained(self._kind.operation(tried.item), tried.reply, outcome)
                )
            return
        try:
            reply = tried.reply if outcome is None else outcome
            self._found[self._kind.key(tried.item)] = self._kind.found(tried.item, reply)
            patience.heard()
        except StoreError as error:
            self._failed(tried, tried.attempts, error)

    def _failed(self, tried: _Try[Item], attempts: Attempts, error: Exception) -> None:
        judged, pause_s = attempts.judge(self._sender.judged(self._kind.operation(tried.item), error))
        if pause_s is None:
            self._found[self._kind.key(tried.item)] = self._kind.refused(tried.item, judged)
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
            if tried.at_s <= now_s and tried.crt is not None and tried.request is not None and tried.attempts:
                del self._sent[number]
                tried.request.cancel()
                tried.end()
                silence = tried.crt.silence(self._kind.operation(tried.item), tried.attempts.attempt_timeout_s)
                self._failed(tried, tried.attempts, silence)
        waiting, self._to_send = self._to_send, []
        for tried in waiting:
            if tried.at_s <= now_s:
                self._send(tried)
            else:
                self._to_send.append(tried)
