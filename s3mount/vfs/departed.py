"""The last attributes of inodes whose rows are gone: the kernel may know such an inode by number for long.

A removed directory that is someone's current one or open, a file that was opened with O_PATH: stat of those works on
a local disk. Written by whoever drops a row (the vfs, foreign changes), inside that index transaction; read by
FileSystem. Any thread; the lock is a leaf. Bounded: who comes after that many others is told that the inode is stale.
"""

import threading

from cachetools import LRUCache

from s3mount.errors import Stale
from s3mount.model import Ino, Inode

DEPARTED_MAX = 10_000


class Departed:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: LRUCache[Ino, Inode] = LRUCache(DEPARTED_MAX)

    def keep(self, inode: Inode) -> None:
        """Inode numbers are never given out twice, so a kept row is never another's."""
        with self._lock:
            self._rows[inode.ino] = inode._replace(nlink=0)

    def get(self, ino: Ino) -> Inode:
        """Raises Stale."""
        with self._lock:
            inode = self._rows.get(ino)
        if inode is None:
            raise Stale("the inode is gone")
        return inode
