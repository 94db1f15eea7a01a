"""WindowsApi over kernel32, by ctypes. Can be imported, and made, on Windows only."""

import ctypes
import mmap
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_int, c_int64, c_uint32, c_uint64, c_void_p, c_wchar, c_wchar_p, sizeof
from io import FileIO
from typing import Any, Final

from s3mount.selftest.windows_api import (
    ERROR_FILE_NOT_FOUND,
    Entry,
    Handle,
    Times,
    Win32Error,
)

# The names that only Windows has.
_WINDOWS: Final[Any] = ctypes
_MAPPING: Final[Any] = mmap
INVALID_HANDLE: Final = c_void_p(-1).value
INVALID_ATTRIBUTES: Final = 0xFFFFFFFF
ERROR_HANDLE_EOF: Final = 38
ERROR_NO_MORE_FILES: Final = 18
FILE_END_OF_FILE_INFO: Final = 6
TO_THE_END: Final = 0xFFFFFFFF


class _Overlapped(Structure):
    _fields_ = (
        ("internal", c_void_p),
        ("internal_high", c_void_p),
        ("offset", c_uint32),
        ("offset_high", c_uint32),
        ("event", c_void_p),
    )


class _FileTime(Structure):
    _fields_ = (("low", c_uint32), ("high", c_uint32))

    @classmethod
    def of(cls, value: int) -> "_FileTime":
        return cls(value & 0xFFFFFFFF, value >> 32)

    def value(self) -> int:
        return int(self.high) << 32 | int(self.low)


class _FindData(Structure):
    """WIN32_FIND_DATAW"""

    _fields_ = (
        ("attributes", c_uint32),
        ("created", _FileTime),
        ("accessed", _FileTime),
        ("written", _FileTime),
        ("size_high", c_uint32),
        ("size_low", c_uint32),
        ("reserved", c_uint32 * 2),
        ("name", c_wchar * 260),
        ("alternate_name", c_wchar * 14),
    )

    def entry(self) -> Entry:
        return Entry(self.name, self.attributes, self.size_high << 32 | self.size_low, self.written.value())


_BOOL = c_int
# Function: what it returns, what it takes.
_SIGNATURES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "CreateFileW": (c_void_p, (c_wchar_p, c_uint32, c_uint32, c_void_p, c_uint32, c_uint32, c_void_p)),
    "CloseHandle": (_BOOL, (c_void_p,)),
    "ReadFile": (_BOOL, (c_void_p, c_void_p, c_uint32, POINTER(c_uint32), POINTER(_Overlapped))),
    "WriteFile": (_BOOL, (c_void_p, c_void_p, c_uint32, POINTER(c_uint32), POINTER(_Overlapped))),
    "SetFileInformationByHandle": (_BOOL, (c_void_p, c_int, c_void_p, c_uint32)),
    "GetFileSizeEx": (_BOOL, (c_void_p, POINTER(c_int64))),
    "FlushFileBuffers": (_BOOL, (c_void_p,)),
    "GetFileTime": (_BOOL, (c_void_p, *[POINTER(_FileTime)] * 3)),
    "SetFileTime": (_BOOL, (c_void_p, *[POINTER(_FileTime)] * 3)),
    "GetFileAttributesW": (c_uint32, (c_wchar_p,)),
    "SetFileAttributesW": (_BOOL, (c_wchar_p, c_uint32)),
    "MoveFileExW": (_BOOL, (c_wchar_p, c_wchar_p, c_uint32)),
    "DeleteFileW": (_BOOL, (c_wchar_p,)),
    "CreateDirectoryW": (_BOOL, (c_wchar_p, c_void_p)),
    "RemoveDirectoryW": (_BOOL, (c_wchar_p,)),
    "FindFirstFileW": (c_void_p, (c_wchar_p, POINTER(_FindData))),
    "FindNextFileW": (_BOOL, (c_void_p, POINTER(_FindData))),
    "FindClose": (_BOOL, (c_void_p,)),
    "GetDiskFreeSpaceExW": (_BOOL, (c_wchar_p, *[POINTER(c_uint64)] * 3)),
}


class Kernel32:
    can_map = True

    def __init__(self) -> None:
        library = _WINDOWS.WinDLL("kernel32", use_last_error=True)
        self._calls: dict[str, Any] = {}
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
            self._calls[name] = function

    def _call(self, name: str, *arguments: Any, failed: object = 0) -> Any:
        result = self._calls[name](*arguments)
        if result == failed:
            raise Win32Error(_WINDOWS.get_last_error())
        return result

    # -- handles --

    def create(self, path: str, access: int, share: int, disposition: int, flags: int) -> Handle:
        handle = self._call(
            "CreateFileW", path, access, share, None, disposition, flags, None, failed=INVALID_HANDLE
        )  # fmt: skip
        return int(handle)

    def close(self, handle: Handle) -> None:
        self._call("CloseHandle", handle)

    def read(self, handle: Handle, offset: int, size: int) -> bytes:
        buffer, count = ctypes.create_string_buffer(size), c_uint32()
        place = _Overlapped(offset=offset & 0xFFFFFFFF, offset_high=offset >> 32)
        try:
            self._call("ReadFile", handle, buffer, size, byref(count), byref(place))
        except Win32Error as error:
            if error.code != ERROR_HANDLE_EOF:
                raise
        return buffer.raw[: count.value]

    def write(self, handle: Handle, offset: int | None, data: bytes) -> None:
        count = c_uint32()
        low, high = (TO_THE_END, TO_THE_END) if offset is None else (offset & 0xFFFFFFFF, offset >> 32)
        place = _Overlapped(offset=low, offset_high=high)
        self._call("WriteFile", handle, data, len(data), byref(count), byref(place))

    def set_size(self, handle: Handle, size: int) -> None:
        wanted = c_int64(size)
        self._call("SetFileInformationByHandle", handle, FILE_END_OF_FILE_INFO, byref(wanted), sizeof(wanted))

    def size(self, handle: Handle) -> int:
        found = c_int64()
        self._call("GetFileSizeEx", handle, byref(found))
        return found.value

    def flush(self, handle: Handle) -> None:
        self._call("FlushFileBuffers", handle)

    def times(self, handle: Handle) -> Times:
        found = [_FileTime() for _ in range(3)]
        self._call("GetFileTime", handle, *map(byref, found))
        return Times(*(time.value() for time in found))

    def set_times(self, handle: Handle, times: Times) -> None:
        wanted = [_FileTime.of(time) for time in times]
        self._call("SetFileTime", handle, *map(byref, wanted))

    # -- names --

    def attributes(self, path: str) -> int:
        return int(self._call("GetFileAttributesW", path, failed=INVALID_ATTRIBUTES))

    def set_attributes(self, path: str, attributes: int) -> None:
        self._call("SetFileAttributesW", path, attributes)

    def move(self, old: str, new: str, flags: int) -> None:
        self._call("MoveFileExW", old, new, flags)

    def delete(self, path: str) -> None:
        self._call("DeleteFileW", path)

    def make_directory(self, path: str) -> None:
        self._call("CreateDirectoryW", path, None)

    def remove_directory(self, path: str) -> None:
        self._call("RemoveDirectoryW", path)

    def find(self, pattern: str) -> Sequence[Entry]:
        found = _FindData()
        try:
            search = self._call("FindFirstFileW", pattern, byref(found), failed=INVALID_HANDLE)
        except Win32Error as error:
            if error.code == ERROR_FILE_NOT_FOUND:
                return []
            raise
        entries = []
        try:
            while True:
                entries.append(found.entry())
                self._call("FindNextFileW", search, byref(found))
        except Win32Error as error:
            if error.code != ERROR_NO_MORE_FILES:
                raise
        finally:
            self._call("FindClose", search)
        return [entry for entry in entries if entry.name not in (".", "..")]

    def space(self, folder: str) -> tuple[int, int]:
        available, total, free = c_uint64(), c_uint64(), c_uint64()
        self._call("GetDiskFreeSpaceExW", folder, byref(available), byref(total), byref(free))
        return available.value, total.value

    # -- mappings: a second open, which shares all --

    def map_read(self, path: str, offset: int, size: int) -> bytes:
        with open(path, "rb", buffering=0) as file, _mapped(file, offset + size, _MAPPING.ACCESS_READ) as mapped:
            return bytes(mapped[offset : offset + size])

    def map_write(self, path: str, offset: int, data: bytes) -> None:
        end = offset + len(data)
        with open(path, "r+b", buffering=0) as file, _mapped(file, end, _MAPPING.ACCESS_WRITE) as mapped:
            mapped[offset:end] = data


def _mapped(file: FileIO, size: int, access: int) -> Any:
    return _MAPPING.mmap(file.fileno(), size, access=access)
