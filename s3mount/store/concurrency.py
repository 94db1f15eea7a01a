"""How many uploads are under way at once, and how many GETs: few at first, more while that brings more through, fewer
when S3 is too busy.

Asked by the scheduler, the multipart uploads and turns.py before they begin something, told by them what was done, and
by the sender of every try that S3 was too busy for. Any thread; the lock is a leaf.

The table: what a full window, one in which there was more to do than the limit allowed, says in each phase.

| phase | more came through | not more |
|---|---|---|
| STARTING: was doubled | STARTING, doubled | HOLDING, back |
| HOLDING: for HOLD_WINDOWS | PROBING, a quarter more | PROBING, a quarter more |
| PROBING: was given a quarter more | PROBING, a quarter more | HOLDING, back |
| COOLING: for COOL_S | PROBING, a quarter more | PROBING, a quarter more |

S3 too busy, in any phase: COOLING, halved; what else is said of it within COOL_S is of the same crowd.
"""

import threading
import time
from collections.abc import Callable
from enum import Enum

LIMIT_MAX = 16
LIMIT_FIRST = 4
WINDOW_S = 0.5
HOLD_WINDOWS = 4
COOL_S = 2.0
# Twice as many at once must bring a quarter more through, to be worth it; and so on in proportion.
GAIN = 0.25
# What a request costs beside its bytes, so that small files count as well.
REQUEST_BYTES = 64 << 10


class Phase(Enum):
    STARTING = "starting"
    HOLDING = "holding"
    PROBING = "probing"
    COOLING = "cooling"


class Evidence(Enum):
    MORE = "more"
    NOT_MORE = "not more"


class Change(Enum):
    DOUBLE = "double"
    ADD = "add"
    BACK = "back"


# Of a window that is long enough for its phase.
TABLE = {
    (Phase.STARTING, Evidence.MORE): (Phase.STARTING, Change.DOUBLE),
    (Phase.STARTING, Evidence.NOT_MORE): (Phase.HOLDING, Change.BACK),
    (Phase.PROBING, Evidence.MORE): (Phase.PROBING, Change.ADD),
    (Phase.PROBING, Evidence.NOT_MORE): (Phase.HOLDING, Change.BACK),
    **{(phase, found): (Phase.PROBING, Change.ADD) for phase in (Phase.HOLDING, Phase.COOLING) for found in Evidence},
}
WINDOWS_S = {
    Phase.STARTING: WINDOW_S,
    Phase.HOLDING: WINDOW_S * HOLD_WINDOWS,
    Phase.PROBING: WINDOW_S,
    Phase.COOLING: COOL_S,
}


class Concurrency:
    def __init__(self, limit_max: int = LIMIT_MAX, *, monotonic_s: Callable[[], float] | None = None) -> None:
        """`limit_max`: never more at once."""
        self.limit_max = limit_max
        self._monotonic_s = monotonic_s or (lambda: time.monotonic())
        self._lock = threading.Lock()
        self._phase = Phase.STARTING
        self._limit = self._limit_before = min(LIMIT_FIRST, limit_max)
        self._rate = 0.0  # of the last window
        self._cool_until_s = 0.0
        self._began_s = self._monotonic_s()
        self._done = 0
        self._cost = 0
        self._is_full = False

    @property
    def limit(self) -> int:
        """How many may be under way now."""
        return self._limit

    @property
    def phase(self) -> Phase:
        return self._phase

    def note_full(self) -> None:
        """There is more to do than the limit allows."""
        self._is_full = True

    def succeeded(self, size: int) -> None:
        """An upload or a GET of so many bytes was done, or a copy, which has none."""
        with self._lock:
            now_s = self._monotonic_s()
            self._done += 1
            self._cost += REQUEST_BYTES + size
            elapsed_s = now_s - self._began_s
            if elapsed_s < WINDOWS_S[self._phase] or self._done < self._limit:
                return
            if self._is_full:
                self._learn(self._cost / elapsed_s)
            self._begin_window(now_s)

    def strained(self) -> None:
        """S3 asked to slow down, or did not answer in time."""
        with self._lock:
            now_s = self._monotonic_s()
            if self._phase is Phase.COOLING and now_s < self._cool_until_s:
                return
            self._phase, self._cool_until_s = Phase.COOLING, now_s + COOL_S
            self._limit = self._limit_before = max(1, self._limit // 2)
            self._begin_window(now_s)

    def _learn(self, rate: float) -> None:
        wanted = self._rate * (1 + GAIN * (self._limit / self._limit_before - 1))
        found = Evidence.MORE if rate >= wanted else Evidence.NOT_MORE
        self._phase, change = TABLE[self._phase, found]
        if change is Change.BACK:
            self._limit = self._limit_before
        else:
            self._rate = rate
            self._limit_before = self._limit
        if change is Change.DOUBLE:
            self._limit = min(self.limit_max, self._limit * 2)
        elif change is Change.ADD:
            self._limit = min(self.limit_max, self._limit + max(1, self._limit // 4))

    def _begin_window(self, now_s: float) -> None:
        self._began_s = now_s
        self._done = self._cost = 0
        self._is_full = False
