"""The open-file table. A handle stands alone: the file it names may be renamed or unlinked meanwhile.

Opening and the question "is it still open?" happen inside an index transaction, so that unlink and open cannot miss
each other. The table's own lock is a leaf.
"""

import os
import threading
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from cachetools import LRUCache

from s3mount.errors import BadHandle
from s3mount.model import DirEntry, Fh, Ino

REMEMBERED_MAX = 100_000
# The bits of open's flags that say what for. Windows has no name for them.
ACCESS_MODES = os.O_RDONLY | os.O_WRONLY | os.O_RDWR


class FileHandle(NamedTuple):
    """One open of a file. `epoch`: which foreign change of the object it was opened after. `keeps_pages`: what the
    kernel has of the file's bytes from earlier opens is right."""

    ino: Ino
    flags: int
    epoch: int
    keeps_pages: bool = False

    @property
    def can_read(self) -> bool:
        return self.flags & ACCESS_MODES in (os.O_RDONLY, os.O_RDWR)

    @property
    def can_write(self) -> bool:
        return self.flags & ACCESS_MODES in (os.O_WRONLY, os.O_RDWR)

    @property
    def appends(self) -> bool:
        return bool(self.flags & os.O_APPEND)


@dataclass(slots=True)
class DirHandle:
    """One open of a directory, with the inodes that were in it then, or when it was last read from its start again, by
    name; and the entries that were read last.

    The kernel lets one thread at a time read through an open directory."""

    ino: Ino
    inos: "array[int]"
    page: list[DirEntry] = field(default_factory=list)
    is_begun: bool = False


class Handles:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_fh = 1
        self._open: dict[Fh, FileHandle | DirHandle] = {}
        self._opens: Counter[Ino] = Counter()
        self._writers: Counter[Ino] = Counter()
        self._epochs: Counter[Ino] = Counter()
        # Opened before, and not changed by someone else since.
        self._unchanged: LRUCache[Ino, bool] = LRUCache(REMEMBERED_MAX)

    def open_file(self, ino: Ino, flags: int, *, must_be_read: bool = False) -> Fh:
        """`must_be_read`: the kernel is to ask for the bytes even if it has them."""
        with self._lock:
            handle = FileHandle(ino, flags, self._epochs[ino], ino in self._unchanged and not must_be_read)
            self._unchanged[ino] = True
            self._opens[ino] += 1
            if handle.can_write:
                self._writers[ino] += 1
            return self._add(handle)

    def open_dir(self, ino: Ino, inos: "array[int]") -> Fh:
        with self._lock:
            return self._add(DirHandle(ino, inos))

    def _add(self, handle: FileHandle | DirHandle) -> Fh:
        fh = Fh(self._next_fh)
        self._next_fh += 1
        self._open[fh] = handle
        return fh

    def file(self, fh: Fh) -> FileHandle:
        handle = self._open.get(fh)
        if not isinstance(handle, FileHandle):
            raise BadHandle(f"no open file has handle {fh}")
        return handle

    def directory(self, fh: Fh) -> DirHandle:
        handle = self._open.get(fh)
        if not isinstance(handle, DirHandle):
            raise BadHandle(f"no open directory has handle {fh}")
        return handle

    def close(self, fh: Fh) -> FileHandle | DirHandle:
        with self._lock:
            handle = self._open.pop(fh, None)
            if handle is None:
                raise BadHandle(f"nothing open has handle {fh}")
            if isinstance(handle, FileHandle):
                self._count_down(self._opens, handle.ino)
                if handle.can_write:
                    self._count_down(self._writers, handle.ino)
                if handle.ino not in self._opens:
                    del self._epochs[handle.ino]
            return handle

    @staticmethod
    def _count_down(counter: Counter[Ino], ino: Ino) -> None:
        counter[ino] -= 1
        if not counter[ino]:
            del counter[ino]

    def is_open(self, ino: Ino) -> bool:
        return ino in self._opens

    def is_open_for_write(self, ino: Ino) -> bool:
        return ino in self._writers

    def content_changed(self, ino: Ino) -> None:
        """Someone else replaced the object: handles opened before must not read the new bytes as their own."""
        with self._lock:
            self._unchanged.pop(ino, None)
            if ino in self._opens:
                self._epochs[ino] += 1

    def is_stale(self, handle: FileHandle) -> bool:
        return self._epochs.get(handle.ino, 0) != handle.epoch
