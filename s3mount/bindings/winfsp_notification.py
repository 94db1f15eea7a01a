"""Tells Windows what others have changed in the bucket: the driver forgets it, and Explorer shows it anew.

winfsp_session.py makes one for a volume; the drive calls `note` and `note_new`, from any thread and under its locks, so
they only queue. What was queued goes to the driver in one piece, from a thread of its own that holds nothing:
FspFileSystemNotifyBegin waits for renames to end and FspFileSystemNotifyEnd lets them begin again (winfsp.h), so a
callback that told would wait for itself. Between the two nothing is called but FspFileSystemNotify, and every wait in
it has a deadline.
"""

import logging
import struct
from enum import Enum, IntEnum, IntFlag
from typing import NamedTuple

from s3mount.bindings.courier import Courier
from s3mount.bindings.served import ServedFileSystem
from s3mount.bindings.winfsp_dll import function
from s3mount.bindings.winfsp_names import to_windows
from s3mount.errors import FsError, MountPointUnusable
from s3mount.model import ROOT_INO, Ino

log = logging.getLogger(__name__)

TOGETHER_MAX = 128
# Shorter than the courier's deadline for its end.
BEGIN_TIMEOUT_MS = 3000
PATH_UNITS_MAX = 1023
FAILED = 0x80000000
# FSP_FSCTL_NOTIFY_INFO (fsctl.h): size without the padding that follows, filter, action; the name comes after.
_RECORD = struct.Struct("<HxxII")
_ALIGNED = 8


class Filter(IntFlag):
    """FILE_NOTIFY_CHANGE_*, winnt.h: who watches a directory says which of them it wants to hear of."""

    FILE_NAME = 0x1
    DIR_NAME = 0x2
    ATTRIBUTES = 0x4
    SIZE = 0x8
    LAST_WRITE = 0x10


class Action(IntEnum):
    """FILE_ACTION_*, winnt.h."""

    ADDED = 1
    REMOVED = 2
    MODIFIED = 3


class News(Enum):
    CHANGED = "changed"
    GONE = "gone"
    NEW = "new"


# What is gone may have been either, and the name alone is known.
_NAMES = Filter.FILE_NAME | Filter.DIR_NAME
_CONTENT = Filter.ATTRIBUTES | Filter.SIZE | Filter.LAST_WRITE
_TOLD = {
    News.CHANGED: (_CONTENT, Action.MODIFIED),
    News.GONE: (_NAMES, Action.REMOVED),
    News.NEW: (_NAMES, Action.ADDED),
}


class Change(NamedTuple):
    """`name` in the directory `ino`, or with None the inode itself."""

    ino: Ino
    name: str | None
    news: News


class NotifyFunctions:
    """Each takes the address of an FSP_FILE_SYSTEM and returns an NTSTATUS."""

    def __init__(self) -> None:
        """Raises MountPointUnusable."""
        try:
            self._begin, self._notify, self._end = (
                function(f"FspFileSystemNotify{name}") for name in ("Begin", "", "End")
            )
        except (OSError, AttributeError) as error:
            raise MountPointUnusable(
                f"WinFsp cannot tell of changes ({error}): install version 2.1 or newer"
            ) from error

    def begin(self, file_system: int, timeout_ms: int) -> int:
        return int(self._begin(file_system, timeout_ms))

    def notify(self, file_system: int, records: bytes) -> int:
        return int(self._notify(file_system, records, len(records)))

    def end(self, file_system: int) -> int:
        return int(self._end(file_system))


def record(path: str, news: News) -> bytes:
    """For one path (from the root of the drive, in the case that its names have), padded for the next to follow."""
    filters, action = _TOLD[news]
    name = path.encode("utf-16-le", "surrogatepass")
    size = _RECORD.size + len(name)
    return _RECORD.pack(size, filters, action) + name + bytes(-size % _ALIGNED)


class Notification:
    def __init__(self, filesystem: ServedFileSystem, functions: NotifyFunctions, volume: int):
        """`volume`: the address of its FSP_FILE_SYSTEM, good until `end` has returned True."""
        self._filesystem = filesystem
        self._functions = functions
        self._volume = volume
        self._courier: Courier[Change] = Courier(self._tell, name="notification", together_max=TOGETHER_MAX)

    def start(self) -> None:
        self._courier.start()

    def note(self, ino: Ino, name: str | None) -> None:
        """As ServedFileSystem.watch has it. Never blocks: what does not fit the queue is left to the timeouts."""
        self._send(Change(ino, name, News.CHANGED if name is None else News.GONE))

    def note_new(self, parent: Ino, name: str) -> None:
        self._send(Change(parent, name, News.NEW))

    def _send(self, change: Change) -> None:
        if not self._courier.send(change):
            log.debug("too many changes at once to tell Windows of %s", change)

    def _tell(self, changes: list[Change]) -> None:
        # All that may take a lock of the drive is done before the driver holds back renames.
        records = b"".join(record(path, change.news) for change in changes if (path := self._path(change)))
        if not records:
            return
        status = self._functions.begin(self._volume, BEGIN_TIMEOUT_MS)
        if status < FAILED:
            try:
                status = self._functions.notify(self._volume, records)
            finally:
                self._functions.end(self._volume)
        if status >= FAILED:
            log.info("Windows was not told of %d changes by others: status 0x%08X", len(changes), status)

    def _path(self, change: Change) -> str | None:
        """None for what has none any more, or none that Windows can hold."""
        parts = [] if change.name is None else [change.name]
        ino, length = change.ino, 0
        try:
            while ino != ROOT_INO:
                place = self._filesystem.place(ino)
                if place is None or length > PATH_UNITS_MAX:
                    return None
                ino, name = place
                length += len(name)
                parts.append(name)
        except FsError as error:
            log.info("Windows is not told of %s: %s", change, error)
            return None
        path = "\\" + "\\".join(map(to_windows, reversed(parts)))
        return path if len(path.encode("utf-16-le", "surrogatepass")) <= 2 * PATH_UNITS_MAX else None

    def end(self) -> bool:
        """Tell nothing more. False when the driver is being told at this moment, and does not return."""
        return self._courier.end()
