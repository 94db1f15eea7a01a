"""What WinFsp's callbacks and its structures look like in memory (winfsp/winfsp.h, winfsp/fsctl.h of version 2.1).

Used by winfsp_ctypes.py; pure, but for reading and writing where it is told to. Numbers are little endian: there is no
Windows otherwise.
"""

import ctypes
import struct
from collections.abc import Mapping
from ctypes import c_uint8, c_uint32, c_uint64
from ctypes import c_void_p as address
from typing import Any, Final

# FSP_FILE_SYSTEM_INTERFACE: what is called, its place, and its arguments behind the first, the file system. A BOOLEAN
# is a byte. Those that are left out are for what this drive has not.
INTERFACE_SLOTS: Final = 64
CALLBACKS: Final[Mapping[str, tuple[int, tuple[Any, ...]]]] = {
    "get_volume_info": (0, (address,)),
    "set_volume_label": (1, (address, address)),
    "get_security_by_name": (2, (address, address, address, address)),
    "create": (3, (address, c_uint32, c_uint32, c_uint32, address, c_uint64, address, address)),
    "open": (4, (address, c_uint32, c_uint32, address, address)),
    "overwrite": (5, (address, c_uint32, c_uint8, c_uint64, address)),
    "cleanup": (6, (address, address, c_uint32)),
    "close": (7, (address,)),
    "read": (8, (address, address, c_uint64, c_uint32, address)),
    "write": (9, (address, address, c_uint64, c_uint32, c_uint8, c_uint8, address, address)),
    "flush": (10, (address, address)),
    "get_file_info": (11, (address, address)),
    "set_basic_info": (12, (address, c_uint32, c_uint64, c_uint64, c_uint64, c_uint64, address)),
    "set_file_size": (13, (address, c_uint64, c_uint8, address)),
    "can_delete": (14, (address, address)),
    "rename": (15, (address, address, address, c_uint8)),
    "get_security": (16, (address, address, address)),
    "set_security": (17, (address, c_uint32, address)),
    "read_directory": (18, (address, address, address, address, c_uint32, address)),
    "get_dir_info_by_name": (24, (address, address, address)),
}
# They return nothing; all others a status.
UNANSWERED: Final = frozenset({"cleanup", "close"})

# FSP_FSCTL_VOLUME_PARAMS; the flags are two fields of bits, here by number.
_VOLUME_PARAMS: Final = struct.Struct("<HHHHQIIIIII384s32sIIIIIII4x16x")
_FLAGS: Final = {
    "case_sensitive_search": 0, "case_preserved_names": 1, "unicode_on_disk": 2, "persistent_acls": 3,
    "read_only_volume": 9, "post_cleanup_when_modified_only": 10, "pass_query_directory_file_name": 13,
    "flush_and_purge_on_cleanup": 14, "um_file_context_is_user_context2": 16,
}  # fmt: skip
_TIMEOUTS: Final = ("volume_info_timeout", "dir_info_timeout", "security_timeout")

# FSP_FSCTL_FILE_INFO; hard links and extended attributes are 0.
_FILE_INFO: Final = struct.Struct("<II7Q8x")
# FSP_FSCTL_VOLUME_INFO, without the padding behind it.
_VOLUME_INFO: Final = struct.Struct("<QQH64s")
# FSP_FSCTL_DIR_INFO: size, information, padding; the name comes after, without an end.
_DIR_INFO: Final = struct.Struct("<H6x72s24x")
DIR_INFO_BYTES: Final = _DIR_INFO.size


def wide(text: str) -> bytes:
    """UTF-16 with its end."""
    return text.encode("utf-16-le", "surrogatepass") + b"\0\0"


def text_at(place: int) -> str:
    """Up to its end. Wide characters are UTF-16 where WinFsp is."""
    return ctypes.wstring_at(place)


def volume_params(
    *,
    sector_size: int,
    sectors_per_allocation_unit: int,
    max_component_length: int,
    volume_serial_number: int,
    file_info_timeout: int,
    prefix: str,
    file_system_name: str,
    **more: int,
) -> bytes:
    """`more`: flags, and the times of what has one of its own, each with a NAME_valid. Raises KeyError for others."""
    given = dict(more)
    times = [given.pop(name) for name in _TIMEOUTS]
    valid = sum(given.pop(f"{name}_valid") << bit for bit, name in enumerate(_TIMEOUTS))
    flags = sum(int(value) << _FLAGS[name] for name, value in given.items())
    return _VOLUME_PARAMS.pack(
        _VOLUME_PARAMS.size, sector_size, sectors_per_allocation_unit, max_component_length, 0, volume_serial_number,
        0, 0, 0, file_info_timeout, flags, prefix.encode("utf-16-le"), file_system_name.encode("utf-16-le"),
        valid, *times, 0, 0, 0,
    )  # fmt: skip


def file_info(info: Mapping[str, int]) -> bytes:
    return _FILE_INFO.pack(
        info["file_attributes"], 0, info["allocation_size"], info["file_size"], info["creation_time"],
        info["last_access_time"], info["last_write_time"], info["change_time"], info["index_number"],
    )  # fmt: skip


def dir_info(name: str, info: Mapping[str, int]) -> bytes:
    text = name.encode("utf-16-le")
    return _DIR_INFO.pack(DIR_INFO_BYTES + len(text), file_info(info)) + text


def volume_info(total: int, free: int, label: str) -> bytes:
    text = label.encode("utf-16-le")
    return _VOLUME_INFO.pack(total, free, len(text), text)


def put(place: int, data: bytes) -> None:
    ctypes.memmove(place, data, len(data))


class OpenFileInfo(ctypes.Structure):
    """FSP_FSCTL_OPEN_FILE_INFO, which every FSP_FSCTL_FILE_INFO of an open is the beginning of."""

    _fields_ = (("info", c_uint8 * _FILE_INFO.size), ("name", address), ("name_size", ctypes.c_uint16))
