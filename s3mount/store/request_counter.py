"""Counts the requests that went out, by S3 operation name: S3 bills by the request.

Used by both S3 clients at the moment of sending, from any thread.
"""

import threading
from collections import Counter
from collections.abc import Mapping


class RequestCounter:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, operation: str) -> None:
        with self._lock:
            self._counts[operation] += 1

    def counts(self) -> Mapping[str, int]:
        """A copy: it does not change afterwards."""
        with self._lock:
            return dict(self._counts)
