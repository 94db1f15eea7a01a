"""Bounds how many block files hold an open file of the operating system; the longest unused are closed.

Called by BlockFile under its own lock. The inner lock is a leaf; another file's lock is only ever tried, never
waited for, so the bound may be passed by as many files as are in use by other threads at that moment.
"""

import heapq
import threading
from typing import Protocol

from s3mount.model import Ino

OPEN_FILES_MAX = 256
CLOSED_AT_ONCE = 16


class Closable(Protocol):
    ino: Ino
    lock: threading.Lock
    used_ns: int

    def close_locked(self) -> None: ...


class OpenFiles:
    def __init__(self, open_max: int = OPEN_FILES_MAX):
        self._open_max = open_max
        self._lock = threading.Lock()
        self._open: dict[int, Closable] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, file: Closable) -> None:
        with self._lock:
            self._open[id(file)] = file

    def remove(self, file: Closable) -> None:
        with self._lock:
            self._open.pop(id(file), None)

    def make_room(self, opening: Closable) -> None:
        """Before `opening`, whose lock the caller holds, opens its file."""
        if len(self._open) < self._open_max:
            return
        with self._lock:
            files = [file for file in self._open.values() if file is not opening]
        closed = 0
        for file in heapq.nsmallest(CLOSED_AT_ONCE * 4, files, key=lambda file: file.used_ns):
            if file.lock.acquire(blocking=False):
                try:
                    file.close_locked()
                    closed += 1
                finally:
                    file.lock.release()
            if closed == min(CLOSED_AT_ONCE, self._open_max):
                return
