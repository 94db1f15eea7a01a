"""Keeps our own finished writes from being mistaken for somebody else's.

A listing takes time: a page read before our PUT or DELETE may be merged after it. Whoever finishes a write notes its
key here, inside the index transaction that records it; the merge leaves keys alone that were noted since its listing
began. Writes not yet finished are seen by being owed.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from s3mount.model import ObjectKey


class WriteGuard:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sequence = 0
        self._noted: dict[ObjectKey, int] = {}
        self._listings: list[int] = []

    def note(self, keys: Iterable[ObjectKey]) -> None:
        """These keys were just written or deleted by us."""
        with self._lock:
            if self._listings:
                self._sequence += 1
                self._noted.update((key, self._sequence) for key in keys)

    @contextmanager
    def listing(self) -> Iterator[int]:
        """Spans a listing from before its first request to after its last merge; yields what `is_noted` wants."""
        with self._lock:
            began = self._sequence
            self._listings.append(began)
        try:
            yield began
        finally:
            with self._lock:
                self._listings.remove(began)
                if not self._listings:
                    self._noted.clear()

    def is_noted(self, key: ObjectKey, began: int) -> bool:
        with self._lock:
            return self._noted.get(key, -1) > began

    def is_noted_below(self, dir_key: ObjectKey, began: int) -> bool:
        with self._lock:
            return any(sequence > began and key.startswith(dir_key) for key, sequence in self._noted.items())
