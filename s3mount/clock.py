"""The seam for time, so that a test can be the clock."""

import time
from typing import Protocol


class Clock(Protocol):
    def now_ns(self) -> int:
        """Wall time in nanoseconds since the epoch: what timestamps show."""

    def monotonic_s(self) -> float:
        """Seconds that never go back: what deadlines are measured in."""


class SystemClock:
    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_s(self) -> float:
        return time.monotonic()
