"""Lets as many requests go at once as concurrency.py finds worthwhile; the rest wait, each for its turn.

Owned by Gets, used from any thread with no lock held. The uploads' scheduler does not need it: it begins no more steps
than there is room for.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from s3mount.errors import Unreachable
from s3mount.store import patience
from s3mount.store.concurrency import Concurrency

# Longer than those before may take: each of them has a deadline of its own.
TURN_WAIT_S_MAX = 600.0


class Turns:
    def __init__(self, concurrency: Concurrency) -> None:
        self._concurrency = concurrency
        self._changed = threading.Condition(threading.Lock())
        self._taken = 0

    @contextmanager
    def turn(self, size: int) -> Iterator[None]:
        """Spans a request for `size` bytes; leaving it normally says that they came. Raises Unreachable when the
        caller's patience ends before its turn comes."""
        self._take()
        try:
            yield
            self._concurrency.succeeded(size)
        finally:
            with self._changed:
                self._taken -= 1
                self._changed.notify(max(0, self._concurrency.limit - self._taken))

    def strained(self) -> None:
        """S3 was too busy for a try."""
        self._concurrency.strained()

    def _take(self) -> None:
        deadline_s = time.monotonic() + TURN_WAIT_S_MAX
        with self._changed:
            if not self._has_room():
                self._concurrency.note_full()
            # Whoever is before may hear from S3 meanwhile, which lengthens the caller's patience.
            while not self._changed.wait_for(self._has_room, patience.left_s(max(0.0, deadline_s - time.monotonic()))):
                if patience.left_s(max(0.0, deadline_s - time.monotonic())) <= 0.0:
                    raise Unreachable("too many requests before this one are waiting for S3")
            self._taken += 1

    def _has_room(self) -> bool:
        return self._taken < self._concurrency.limit
