"""Keeps all transfers of a mount below the bandwidth it may use: one token bucket for each direction.

Used by S3Store around the bytes of objects, from many threads. A transfer waits until what was let through before it
is paid for, and then goes at the speed of the line: rates hold over seconds, and a burst is as large as one request's
body. First come, first served. The lock is a leaf; nobody waits under it.
"""

import threading
import time
from collections.abc import Callable

from s3mount.bandwidth import Bandwidth

# How much may go at once after a pause, in seconds of the rate.
SAVED_S_MAX = 0.25
# The timetable is looked at this often while somebody waits.
LOOK_S = 1.0
PAUSE_S_MIN = 0.001


def minute_of_day() -> int:
    now = time.localtime()
    return now.tm_hour * 60 + now.tm_min


class TokenBucket:
    def __init__(
        self,
        rate: Callable[[], int | None],
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool],
    ) -> None:
        """`rate`: bytes per second, or None, at the moment. `wait` sleeps so long, or returns True: it is over."""
        self._rate = rate
        self._monotonic_s = monotonic_s
        self._wait = wait
        self._lock = threading.Lock()
        self._looked_s = monotonic_s()
        self._taken = 0
        self._paid = 0.0

    def take(self, size: int) -> float:
        """Return when so many bytes may go: how many seconds were waited. At once when it is all over."""
        if not size:
            return 0.0
        began_s = self._monotonic_s()
        pause_s = self.queue(size)
        while (left_s := pause_s()) > 0 and not self._wait(left_s):
            pass
        return self._monotonic_s() - began_s

    def queue(self, size: int) -> Callable[[], float]:
        """Take the next place in the line. What is returned tells how long to wait before asking it again, 0 once the
        bytes may go."""
        if not size:
            return lambda: 0.0
        with self._lock:
            turn = self._taken
            first_s = self._pause_s(turn)
            self._taken += size
            if self._rate() is None:
                self._paid = float(self._taken)
                return lambda: 0.0

        def pause_s() -> float:
            with self._lock:
                return self._pause_s(turn)

        return pause_s if first_s else lambda: 0.0

    def _pause_s(self, turn: int) -> float:
        """How long to wait before looking again whether all before `turn` is paid. Under the lock."""
        now_s = self._monotonic_s()
        rate = self._rate()
        if rate is None:
            self._paid = float(self._taken)
        else:
            saved = self._taken + rate * SAVED_S_MAX
            self._paid = min(saved, self._paid + (now_s - self._looked_s) * rate)
        self._looked_s = now_s
        missing = turn - self._paid
        return 0.0 if rate is None or missing <= 0 else max(PAUSE_S_MIN, min(LOOK_S, missing / rate))


class Throttle:
    """Both directions of one mount."""

    def __init__(
        self,
        bandwidth: Bandwidth,
        wait: Callable[[float], bool],
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        minute: Callable[[], int] = minute_of_day,
    ) -> None:
        self.up = TokenBucket(lambda: bandwidth.at(minute()).up, monotonic_s=monotonic_s, wait=wait)
        self.down = TokenBucket(lambda: bandwidth.at(minute()).down, monotonic_s=monotonic_s, wait=wait)
