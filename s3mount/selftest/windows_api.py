"""The calls of Windows that the checks make, as a contract: windows_calls.py has the real ones.

A Protocol, so that the checks can be run where Windows is not, over a model of it. Paths are absolute. Every call
raises Win32Error and no other error.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

# winnt.h, winbase.h, fileapi.h
GENERIC_READ: Final = 0x80000000
GENERIC_WRITE: Final = 0x40000000
DELETE: Final = 0x10000
FILE_APPEND_DATA: Final = 0x4
FILE_WRITE_ATTRIBUTES: Final = 0x100
SHARE_READ, SHARE_WRITE, SHARE_DELETE, SHARE_ALL = 0x1, 0x2, 0x4, 0x7
CREATE_NEW, CREATE_ALWAYS, OPEN_EXISTING, OPEN_ALWAYS, TRUNCATE_EXISTING = 1, 2, 3, 4, 5
READONLY, HIDDEN, SYSTEM, DIRECTORY, ARCHIVE, NORMAL = 0x1, 0x2, 0x4, 0x10, 0x20, 0x80
DELETE_ON_CLOSE: Final = 0x04000000
# Without it CreateFile opens no directory.
BACKUP_SEMANTICS: Final = 0x02000000
REPLACE_EXISTING: Final = 1

# winerror.h, those that the checks wait for
ERROR_FILE_NOT_FOUND: Final = 2
ERROR_PATH_NOT_FOUND: Final = 3
ERROR_ACCESS_DENIED: Final = 5
ERROR_SHARING_VIOLATION: Final = 32
ERROR_FILE_EXISTS: Final = 80
ERROR_INVALID_NAME: Final = 123
ERROR_DIR_NOT_EMPTY: Final = 145
ERROR_ALREADY_EXISTS: Final = 183
ERROR_FILENAME_EXCED_RANGE: Final = 206
ERROR_NAMES: Final = {
    value: name.removeprefix("ERROR_").replace("_", " ").lower()
    for name, value in list(globals().items())
    if name.startswith("ERROR_") and isinstance(value, int)
}

Handle = int


def shown_error(code: int) -> str:
    return f"error {code} ({ERROR_NAMES[code]})" if code in ERROR_NAMES else f"error {code}"


class Win32Error(OSError):
    def __init__(self, code: int) -> None:
        super().__init__(shown_error(code))
        self.code = code


class Entry(NamedTuple):
    """What FindFirstFile tells of a name."""

    name: str
    attributes: int
    size: int
    written: int


class Times(NamedTuple):
    """100 ns since 1601."""

    created: int
    accessed: int
    written: int


class WindowsApi(Protocol):
    def create(self, path: str, access: int, share: int, disposition: int, flags: int) -> Handle:
        """CreateFile; `flags` holds attributes too."""

    def close(self, handle: Handle) -> None: ...

    def read(self, handle: Handle, offset: int, size: int) -> bytes: ...

    def write(self, handle: Handle, offset: int | None, data: bytes) -> None:
        """At the end of the file for None."""

    def set_size(self, handle: Handle, size: int) -> None: ...

    def size(self, handle: Handle) -> int: ...

    def flush(self, handle: Handle) -> None:
        """FlushFileBuffers."""

    def times(self, handle: Handle) -> Times: ...

    def set_times(self, handle: Handle, times: Times) -> None: ...

    def attributes(self, path: str) -> int: ...

    def set_attributes(self, path: str, attributes: int) -> None: ...

    def move(self, old: str, new: str, flags: int) -> None:
        """MoveFileEx."""

    def delete(self, path: str) -> None: ...

    def make_directory(self, path: str) -> None: ...

    def remove_directory(self, path: str) -> None: ...

    def find(self, pattern: str) -> Sequence[Entry]:
        """FindFirstFile and the rest, without "." and ".."."""

    def space(self, folder: str) -> tuple[int, int]:
        """(free for this user, in all) bytes."""

    @property
    def can_map(self) -> bool: ...

    def map_read(self, path: str, offset: int, size: int) -> bytes: ...

    def map_write(self, path: str, offset: int, data: bytes) -> None: ...


def verbatim(path: str) -> str:
    """The form for which Windows has no limit of 260 characters, and takes every name as it is."""
    if path.startswith("\\\\?\\"):
        return path
    return f"\\\\?\\UNC\\{path[2:]}" if path.startswith("\\\\") else f"\\\\?\\{path}"


@contextmanager
def opened(
    api: WindowsApi, path: str, access: int = GENERIC_READ, disposition: int = OPEN_EXISTING, *, share: int = SHARE_ALL,
    flags: int = NORMAL,
) -> Iterator[Handle]:  # fmt: skip
    handle = api.create(path, access, share, disposition, flags)
    try:
        yield handle
    finally:
        api.close(handle)
