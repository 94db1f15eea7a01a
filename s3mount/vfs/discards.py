"""Cached bytes of files that are gone: given up only when the removal survives power loss.

Called by the vfs after the transaction in which an inode was dropped, from any thread, with no lock held. The file
that a power cut brings back under its name (an unlink, or a rename over it, that nobody synced) must still have its
bytes: they are clean now, but perhaps owed as far as the disk knows. One durable commit for many removals; the last of
them when the drive is closed. What waits when its process dies is swept by the next mount.
"""

import threading

from s3mount.cache.filecache import FileCache
from s3mount.index.index import Index
from s3mount.model import Ino

WAITING_MAX = 128
WAITING_SHARE = 32  # of the cache


class Discards:
    def __init__(self, index: Index, cache: FileCache):
        self._index = index
        self._cache = cache
        self._lock = threading.Lock()
        self._waiting: list[Ino] = []
        self._size = 0

    def add(self, ino: Ino) -> None:
        """The inode's row is gone, the one of its cached bytes is not yet. Raises NoSpace, IOFailure; the bytes stay on
        disk until the next mount then."""
        if not self._cache.has_any_of(ino):
            return
        size = self._cache.present_bytes(ino)
        if not size:
            self._cache.discard(ino)
            return
        with self._lock:
            self._waiting.append(ino)
            self._size += size
            is_enough = len(self._waiting) >= WAITING_MAX or self._size * WAITING_SHARE >= self._cache.limit_bytes
        if is_enough:
            self.commit()

    def commit(self) -> None:
        """Every change of the index so far is durable on return, and what waited for that given up. Raises NoSpace,
        IOFailure."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._size = 0
        self._index.commit_durably()
        for ino in waiting:
            self._cache.discard(ino)
