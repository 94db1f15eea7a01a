"""Uploads give way to whoever is changing files, for a moment: both are work of one interpreter and one disk.

Asked by the scheduler's loop before it starts what is due; told of changes by any thread, one word each, so no lock.
Small files written one after the other are uploaded together when the writer pauses, not in between, where each call
of the one side waits for the other a hundred times a file. Nothing waits longer than HOLD_S_MAX after it was due, and
once uploads run they run until nothing is due.
"""

from collections.abc import Callable

from s3mount.clock import Clock

QUIET_S = 0.1
HOLD_S_MAX = 10.0


class Pace:
    def __init__(self, clock: Clock, is_hurried: Callable[[], bool]):
        """`is_hurried`: somebody waits for uploads, so nothing is held back."""
        self._clock = clock
        self._is_hurried = is_hurried
        self._changed_s = float("-inf")
        self._is_flowing = False

    def note_change(self) -> None:
        """Somebody changed something just now."""
        self._changed_s = self._clock.monotonic_s()

    def gives_way(self, oldest_due_ns: int | None) -> bool:
        """Whether to wait a little longer. `oldest_due_ns`: of what is owed, also of what is being uploaded."""
        late_ns = -1 if oldest_due_ns is None else self._clock.now_ns() - oldest_due_ns
        if late_ns < 0:
            self._is_flowing = False
        elif not self._is_flowing:
            is_quiet = self._clock.monotonic_s() - self._changed_s >= QUIET_S
            self._is_flowing = is_quiet or late_ns >= HOLD_S_MAX * 1e9 or self._is_hurried()
        return not self._is_flowing
