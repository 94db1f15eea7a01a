"""The locks and their one order.

    inode lock (one stripe)  →  cache file lock  →  index lock

A thread takes them from left to right, never back, never two stripes, and calls no S3 while it holds any of them.
The index lock is the namespace lock too: names change inside an index transaction and nowhere else.
Private locks of one object (a queue, a counter) are leaves: nothing is called while they are held.
"""

import threading

from s3mount.model import Ino

STRIPES = 256


class InodeLocks:
    """A lock per inode, striped so that their number is bounded. Two inodes may share one: hold one at a time."""

    def __init__(self) -> None:
        self._stripes = tuple(threading.RLock() for _ in range(STRIPES))

    def of(self, ino: Ino) -> threading.RLock:
        return self._stripes[ino % STRIPES]
