"""The layouts of fsctl.h and winfsp.h, by the numbers that their own assertions and comments have."""

import ctypes
import struct

import pytest

from s3mount.bindings import winfsp_abi as abi
from tests.support.winfsp_stub import CALLBACKS

PARAMS = {
    "sector_size": 4096, "sectors_per_allocation_unit": 1, "max_component_length": 255,
    "volume_serial_number": 0x01020304, "file_info_timeout": 1000, "volume_info_timeout": 10_000,
    "dir_info_timeout": 5000, "security_timeout": 60_000, "volume_info_timeout_valid": 1, "dir_info_timeout_valid": 0,
    "security_timeout_valid": 1,
}  # fmt: skip
INFO = {
    "file_attributes": 0x20, "allocation_size": 4096, "file_size": 5, "creation_time": 1, "last_access_time": 2,
    "last_write_time": 3, "change_time": 4, "index_number": (1 << 64) - 1,
}  # fmt: skip


def packed(**more: int) -> bytes:
    return abi.volume_params(**PARAMS, **more, prefix="\\s3mount\\é", file_system_name="S3MOUNT")


def test_volume_params() -> None:
    """FSP_FSCTL_VOLUME_PARAMS: 504 bytes, of which the first 456 are those of version 0."""
    found = packed()
    assert len(found) == 504
    assert struct.unpack_from("<4H", found) == (504, 4096, 1, 255)
    assert struct.unpack_from("<Q5I", found, 8) == (0, 0x01020304, 0, 0, 0, 1000)
    assert found[40:424].decode("utf-16-le").rstrip("\0") == "\\s3mount\\é"
    assert found[424:456].decode("utf-16-le").rstrip("\0") == "S3MOUNT"
    assert struct.unpack_from("<5I", found, 456) == (0b101, 10_000, 5000, 60_000, 0)
    assert not any(found[476:])


@pytest.mark.parametrize(
    ("name", "bit"),
    [
        ("case_sensitive_search", 0),
        ("case_preserved_names", 1),
        ("unicode_on_disk", 2),
        ("persistent_acls", 3),
        ("read_only_volume", 9),
        ("post_cleanup_when_modified_only", 10),
        ("pass_query_directory_file_name", 13),
        ("flush_and_purge_on_cleanup", 14),
        ("um_file_context_is_user_context2", 16),
    ],
)
def test_flags(name: str, bit: int) -> None:
    assert struct.unpack_from("<I", packed(**{name: 1}), 36) == (1 << bit,)
    assert struct.unpack_from("<I", packed(**{name: 0}), 36) == (0,)


def test_a_flag_that_is_none() -> None:
    with pytest.raises(KeyError, match="reparse_points"):
        packed(reparse_points=1)


def test_what_is_told_of_a_file() -> None:
    """FSP_FSCTL_FILE_INFO: 72 bytes; FSP_FSCTL_DIR_INFO: 104, and the name."""
    info = abi.file_info(INFO)
    assert len(info) == 72
    assert struct.unpack("<II7QII", info) == (0x20, 0, 4096, 5, 1, 2, 3, 4, (1 << 64) - 1, 0, 0)
    entry = abi.dir_info("é\U0001f600", INFO)
    assert struct.unpack_from("<H", entry) == (104 + 6,)
    assert entry[8:80] == info
    assert entry[104:] == "é\U0001f600".encode("utf-16-le")
    assert abi.DIR_INFO_BYTES == 104


def test_what_is_told_of_the_volume() -> None:
    """FSP_FSCTL_VOLUME_INFO, 88 bytes with its padding."""
    told = abi.volume_info(3, 2, "a" * 32)
    assert struct.unpack_from("<QQH", told) == (3, 2, 64)
    assert told[18:] == "a".encode("utf-16-le") * 32


def test_where_a_name_goes_in_its_real_case() -> None:
    """FSP_FSCTL_OPEN_FILE_INFO begins with the information."""
    assert abi.OpenFileInfo.name.offset == 72
    assert abi.OpenFileInfo.name_size.offset == 72 + ctypes.sizeof(ctypes.c_void_p)


def test_callbacks_are_in_the_places_of_the_interface() -> None:
    """FSP_FILE_SYSTEM_INTERFACE: 64 entries, each a name and its arguments; written down once more for the stand-in."""
    sizes = {"UINT8": 1, "BOOLEAN": 1, "UINT32": 4, "ULONG": 4, "UINT64": 8}
    written = [line.lstrip("!").partition(" ") for line in CALLBACKS.strip().splitlines()]
    nothing = {line[1:].partition(" ")[0] for line in CALLBACKS.strip().splitlines() if line[0] == "!"}
    for name, (slot, arguments) in abi.CALLBACKS.items():
        callback, _, kinds = written[slot]
        assert callback.lower() == name.replace("_", "")
        pointer = ctypes.sizeof(ctypes.c_void_p)
        assert [ctypes.sizeof(kind) for kind in arguments] == [sizes.get(kind, pointer) for kind in kinds.split(", ")]
        assert (callback in nothing) == (name in abi.UNANSWERED)
    assert abi.INTERFACE_SLOTS == 64
