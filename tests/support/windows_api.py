"""WindowsApi over the model of WinFsp's driver (winfsp_driver.py): what kernel32 makes of its calls, on Linux.

The drive is S:. There are no mappings: they are the cache manager's, which the model does not have.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from s3mount.selftest import windows_api as win
from s3mount.selftest.windows_api import Entry, Times, Win32Error
from tests.support import winfsp_driver as nt
from tests.support.winfsp_driver import Handle, NtError, Volume

T = TypeVar("T")
DRIVE = "S:\\"
# RtlNtStatusToDosError
CODES = {
    nt.NAME_INVALID: win.ERROR_INVALID_NAME,
    nt.NAME_NOT_FOUND: win.ERROR_FILE_NOT_FOUND,
    nt.NO_SUCH_FILE: win.ERROR_FILE_NOT_FOUND,
    nt.PATH_NOT_FOUND: win.ERROR_PATH_NOT_FOUND,
    nt.NAME_COLLISION: win.ERROR_ALREADY_EXISTS,
    nt.ACCESS_DENIED: win.ERROR_ACCESS_DENIED,
    nt.CANNOT_DELETE: win.ERROR_ACCESS_DENIED,
    nt.DELETE_PENDING: win.ERROR_ACCESS_DENIED,
    nt.IS_A_DIRECTORY: win.ERROR_ACCESS_DENIED,
    nt.SHARING_VIOLATION: win.ERROR_SHARING_VIOLATION,
    nt.NOT_EMPTY: win.ERROR_DIR_NOT_EMPTY,
    nt.NOT_A_DIRECTORY: 267,
    nt.WRITE_PROTECTED: 19,
    nt.END_OF_FILE: 38,
    nt.INVALID_PARAMETER: 87,
    0xC0000106: win.ERROR_FILENAME_EXCED_RANGE,
}
DISPOSITIONS = {
    win.CREATE_NEW: nt.CREATE,
    win.CREATE_ALWAYS: nt.OVERWRITE_IF,
    win.OPEN_EXISTING: nt.OPEN,
    win.OPEN_ALWAYS: nt.OPEN_IF,
    win.TRUNCATE_EXISTING: nt.OVERWRITE,
}
ATTRIBUTES = win.READONLY | win.HIDDEN | win.SYSTEM | win.ARCHIVE


def nt_path(path: str) -> str:
    path = path.removeprefix("\\\\?\\")
    assert path.upper().startswith(DRIVE)
    return path[2:]


def nt_access(access: int) -> int:
    wanted = access & 0x1FFFF | nt.READ_ATTRIBUTES
    wanted |= nt.READ_DATA if access & win.GENERIC_READ else 0
    return wanted | (nt.WRITE_DATA | nt.APPEND_DATA | nt.WRITE_ATTRIBUTES if access & win.GENERIC_WRITE else 0)


class VolumeApi:
    can_map = False

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self._handles: dict[int, Handle] = {}
        self._last = 0

    def _call(self, call: Callable[..., T], *arguments: object, **more: object) -> T:
        try:
            return call(*arguments, **more)
        except NtError as error:
            raise Win32Error(CODES[error.status]) from error

    def _within(self, path: str, access: int, call: Callable[[Handle], T], options: int = 0) -> T:
        handle = self._call(self.volume.create, nt_path(path), nt.OPEN, access, options=options)
        try:
            return self._call(call, handle)
        finally:
            self.volume.close(handle)

    # -- handles --

    def create(self, path: str, access: int, share: int, disposition: int, flags: int) -> int:
        options = 0 if flags & win.BACKUP_SEMANTICS else nt.NON_DIRECTORY_FILE
        options |= nt.DELETE_ON_CLOSE if flags & win.DELETE_ON_CLOSE else 0
        attributes = flags & ATTRIBUTES | nt.ARCHIVE
        try:
            handle = self._call(
                self.volume.create, nt_path(path), DISPOSITIONS[disposition], nt_access(access),
                options=options, attributes=attributes, share=share,
            )  # fmt: skip
        except Win32Error as error:
            if error.code == win.ERROR_ALREADY_EXISTS:
                raise Win32Error(win.ERROR_FILE_EXISTS) from error
            raise
        self._last += 4
        self._handles[self._last] = handle
        return self._last

    def close(self, handle: int) -> None:
        self.volume.close(self._handles.pop(handle))

    def read(self, handle: int, offset: int, size: int) -> bytes:
        try:
            return self._call(self.volume.read, self._handles[handle], offset, size)
        except Win32Error as error:
            if error.code == 38:
                return b""
            raise

    def write(self, handle: int, offset: int | None, data: bytes) -> None:
        opened = self._handles[handle]
        if data:
            self._call(self.volume.write, opened, None if not opened.access & nt.WRITE_DATA else offset, data)

    def set_size(self, handle: int, size: int) -> None:
        self._call(self.volume.set_size, self._handles[handle], size)

    def size(self, handle: int) -> int:
        return self._call(self.volume.info, self._handles[handle]).size

    def flush(self, handle: int) -> None:
        self._call(self.volume.flush, self._handles[handle])

    def times(self, handle: int) -> Times:
        info = self._call(self.volume.info, self._handles[handle])
        return Times(info.created, info.accessed, info.written)

    def set_times(self, handle: int, times: Times) -> None:
        created, accessed, written = times
        opened = self._handles[handle]
        self._call(self.volume.set_basic, opened, created=created, accessed=accessed, written=written)

    # -- names --

    def attributes(self, path: str) -> int:
        return self._call(self.volume.stat, nt_path(path)).attributes or nt.NORMAL

    def set_attributes(self, path: str, attributes: int) -> None:
        self._within(
            path, nt.WRITE_ATTRIBUTES, lambda handle: self.volume.set_basic(handle, attributes=attributes or nt.NORMAL)
        )

    def move(self, old: str, new: str, flags: int) -> None:
        self._call(self.volume.move, nt_path(old), nt_path(new), replaces=bool(flags & win.REPLACE_EXISTING))

    def delete(self, path: str) -> None:
        self._call(self.volume.delete, nt_path(path), options=nt.NON_DIRECTORY_FILE)

    def make_directory(self, path: str) -> None:
        self.volume.close(
            self._call(self.volume.create, nt_path(path), nt.CREATE, nt.READ_DATA, options=nt.DIRECTORY_FILE)
        )

    def remove_directory(self, path: str) -> None:
        self._call(self.volume.delete, nt_path(path), options=nt.DIRECTORY_FILE)

    def find(self, pattern: str) -> Sequence[Entry]:
        """A name, all, names that begin like this, or those that end like this: `*.txt`."""
        folder, _, last = pattern.rpartition("\\")
        wanted = last.upper()

        def listed(handle: Handle) -> list[tuple[str, nt.Info]]:
            if "*" not in last:
                return [self.volume.entry(handle, last)]
            return list(self.volume.entries(handle))

        try:
            found = self._within(folder, nt.READ_DATA, listed, nt.DIRECTORY_FILE)
        except Win32Error as error:
            if error.code == win.ERROR_FILE_NOT_FOUND:
                return []
            raise
        before, _, after = wanted.partition("*")
        return [
            Entry(name, info.attributes, info.size, info.written)
            for name, info in found
            if name not in (".", "..") and name.upper().startswith(before) and name.upper().endswith(after)
        ]

    def space(self, folder: str) -> tuple[int, int]:
        total, free, _ = self._call(self.volume.volume)
        return free, total

    def map_read(self, path: str, offset: int, size: int) -> bytes:
        raise AssertionError("there are no mappings")

    def map_write(self, path: str, offset: int, data: bytes) -> None:
        raise AssertionError("there are no mappings")
