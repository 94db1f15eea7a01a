"""The junction of a drive in a folder, which winfsp.dll asks NTFS to make. Kept here: Wine 8 and 10 make none.

Used by winfsp_device.py, on any of winfsp.dll's threads. The folder itself is real: the DLL makes it by NtCreateFile,
to be removed with its handle. Wine does so, also when the process is killed. Nothing follows the junction but who asks
`targets`.
"""

import ctypes
import struct

SET_REPARSE_POINT = 0x900A4
ERROR_INVALID_PARAMETER, ERROR_INVALID_REPARSE_DATA = 87, 4392

_TAG_MOUNT_POINT = 0xA0000003
# Of REPARSE_DATA_BUFFER: tag, length, reserved; then where in the text after them are the two names. [MS-FSCC] 2.1.2.5
_HEAD, _NAMES = struct.Struct("<IHH"), struct.Struct("<HHHH")
_PATH_CHARS_MAX = 1 << 15


class Junctions:
    """`targets`: folder -> where its junction leads, for as long as the DLL has it open."""

    def __init__(self) -> None:
        self.targets: dict[str, str] = {}
        self._folders: dict[int, str] = {}

    def make(self, handle: int, given: bytes) -> int:
        """FSCTL_SET_REPARSE_POINT: Windows' error."""
        if len(given) < _HEAD.size + _NAMES.size:
            return ERROR_INVALID_PARAMETER
        tag, size, _ = _HEAD.unpack_from(given)
        begin, length, shown, shown_length = _NAMES.unpack_from(given, _HEAD.size)
        text = given[_HEAD.size + _NAMES.size :]
        is_whole = size == len(given) - _HEAD.size and max(begin + length, shown + shown_length) <= len(text)
        if tag != _TAG_MOUNT_POINT or not is_whole:
            return ERROR_INVALID_REPARSE_DATA
        folder = self._folders[handle] = _path_of(handle)
        self.targets[folder] = text[begin : begin + length].decode("utf-16-le")
        return 0

    def forget(self, handle: int) -> None:
        """It is being closed."""
        self.targets.pop(self._folders.pop(handle, ""), None)


def _path_of(handle: int) -> str:
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    path = ctypes.create_unicode_buffer(_PATH_CHARS_MAX)
    assert kernel.GetFinalPathNameByHandleW(ctypes.c_void_p(handle), path, _PATH_CHARS_MAX, 0)
    return path.value.removeprefix("\\\\?\\")
