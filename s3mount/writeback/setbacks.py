"""Failures in a row, inode by inode: when each is tried again, and who is hurried once S3 answers after an outage.

Used by the scheduler, from all its threads. The lock is a leaf: what is found under it is written to the index after.
"""

import threading
from collections.abc import Iterable
from typing import NamedTuple

from cachetools import LRUCache

from s3mount.model import Ino
from s3mount.writeback.context import PROBE_S, back_off_s

SETBACKS_MAX = 100_000
NS = 10**9
# One that fails while others succeed is hurried no more often than this.
HURRY_PAUSE_NS = 10 * NS


class Setback(NamedTuple):
    """Failures in a row, and when the next attempt is due: whoever makes the inode due earlier waits all the same.
    `hurried_ns`: when it was last made due before its time."""

    failures: int = 0
    until_ns: int = 0
    hurried_ns: int = 0


NO_SETBACK = Setback()


class Setbacks:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: LRUCache[Ino, Setback] = LRUCache(SETBACKS_MAX)
        self._are_waiting = False

    def of(self, ino: Ino) -> Setback:
        with self._lock:
            return self._of.get(ino, NO_SETBACK)

    def postpone(self, ino: Ino, now_ns: int, next_due_ns: int | None) -> int:
        """One more failure: until when to wait. At any time somebody is due within PROBE_S, so that the end of an
        outage is noticed, however long it was; `next_due_ns`: when the next of the others is."""
        with self._lock:
            setback = self._of.get(ino, NO_SETBACK)
            failures = setback.failures + 1
            wait_s = back_off_s(failures)
            if wait_s > PROBE_S and (next_due_ns is None or next_due_ns > now_ns + int(PROBE_S * NS)):
                wait_s = PROBE_S
            until_ns = now_ns + int(wait_s * NS)
            self._of[ino] = setback._replace(failures=failures, until_ns=until_ns)
            self._are_waiting = True
            return until_ns

    def note_conflict(self, ino: Ino) -> bool:
        """It met another version and is tried again at once; True when it failed before, and must wait instead."""
        with self._lock:
            if ino in self._of:
                return True
            self._of[ino] = Setback(1)
            return False

    def forget(self, inos: Iterable[Ino] | None) -> None:
        """Let these (None: all) be tried as soon as they are due, as if they had not failed."""
        with self._lock:
            if inos is None:
                self._of.clear()
            else:
                for ino in inos:
                    self._of.pop(ino, None)

    def hurry(self, now_ns: int) -> list[tuple[Ino, int]]:
        """S3 took something: (inode, time at which it is due now) for all whose wait is shortened by that."""
        with self._lock:
            if not self._are_waiting:
                return []
            self._are_waiting = False
            hurried: list[tuple[Ino, int]] = []
            for ino, setback in list(self._of.items()):
                due_ns = max(now_ns, setback.hurried_ns + HURRY_PAUSE_NS)
                if due_ns < setback.until_ns:
                    self._of[ino] = setback._replace(until_ns=due_ns, hurried_ns=due_ns)
                    hurried.append((ino, due_ns))
            return hurried
