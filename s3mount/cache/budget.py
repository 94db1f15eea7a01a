"""The cache's hard limit: how many bytes are present, and how many are promised to writes and fetches under way.

Called by the block files (what was added, what was freed), by FileCache.reserve and by the fetcher. One leaf lock,
nothing is called under it. Does not know how room is made: that is the evictor's.

A Reservation belongs to the thread that opened it: bytes that thread adds come out of the reservation, so that they
are never counted twice. What it did not use goes back when it is closed.
"""

import threading
from types import TracebackType


class Reservation:
    """`size` bytes of room. A context manager; closing twice is no error."""

    __slots__ = ("_budget", "_outer", "left")

    def __init__(self, budget: "Budget", size: int):
        self._budget = budget
        self._outer: Reservation | None = None
        self.left = size

    def __enter__(self) -> "Reservation":
        self._outer = self._budget.current()
        self._budget.set_current(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.set_current(self._outer)
        self.close()

    def close(self) -> None:
        self._budget.give_back(self)


class Budget:
    def __init__(self, limit_bytes: int, used_bytes: int):
        self.limit_bytes = limit_bytes
        self._used = used_bytes
        self._promised = 0
        self._news = 0
        self._freed_total = 0
        self._clean_news = 0
        self._changed = threading.Condition(threading.Lock())
        self._local = threading.local()

    @property
    def used_bytes(self) -> int:
        return self._used

    @property
    def freed_total(self) -> int:
        """Bytes freed since the start: grows whenever there is progress."""
        return self._freed_total

    @property
    def clean_news(self) -> int:
        """Counts the moments at which more bytes may have become evictable."""
        return self._clean_news

    def current(self) -> Reservation | None:
        """The calling thread's innermost open reservation."""
        reservation: Reservation | None = getattr(self._local, "reservation", None)
        return reservation

    def set_current(self, reservation: Reservation | None) -> None:
        self._local.reservation = reservation

    def try_reserve(self, size: int) -> Reservation | None:
        with self._changed:
            if size and self._used + self._promised + size > self.limit_bytes:
                return None
            self._promised += size
            return Reservation(self, size)

    def shortage(self, size: int) -> int:
        """How many bytes must be freed before `size` more fit."""
        with self._changed:
            return max(0, self._used + self._promised + size - self.limit_bytes)

    def grew(self, size: int, reservation: Reservation | None = None) -> None:
        """`size` more bytes are present: out of `reservation`, by default the calling thread's, as far as it goes.
        Bytes of a fetch name theirs, and are clean."""
        if not size:
            return
        with self._changed:
            self._clean_news += reservation is not None
            reservation = reservation or self.current()
            self._used += size
            if reservation is not None:
                covered = min(size, reservation.left)
                reservation.left -= covered
                self._promised -= covered

    def freed(self, size: int) -> None:
        """`size` bytes are present no more, and their space is given back."""
        if size:
            with self._changed:
                self._used -= size
                self._freed_total += size
                self._tell()

    def give_back(self, reservation: Reservation) -> None:
        with self._changed:
            self._promised -= reservation.left
            reservation.left = 0
            self._tell()

    def tell(self) -> None:
        """Dirty bytes became clean: whoever waits for room should try to evict again."""
        with self._changed:
            self._clean_news += 1
            self._tell()

    def _tell(self) -> None:
        self._news += 1
        self._changed.notify_all()

    def news(self) -> int:
        """Counts the moments at which room may have appeared."""
        return self._news

    def wait(self, seen: int, timeout_s: float) -> bool:
        """Until news() is ahead of `seen`, `timeout_s` real seconds at most; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._news != seen, timeout_s)
