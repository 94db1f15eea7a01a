"""How WinFsp's kernel driver and winfsp.dll speak: the layouts of FSP_FSCTL_TRANSACT (winfsp/fsctl.h). Pure."""

import ctypes
from typing import Any, ClassVar

from tests.support import winfsp_driver as nt

U16, U32, U64 = ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64

CREATE_KIND, OVERWRITE_KIND, CLEANUP_KIND, CLOSE_KIND, READ_KIND, WRITE_KIND = range(1, 7)
QUERY_INFORMATION_KIND, SET_INFORMATION_KIND = 7, 8
FLUSH_KIND, QUERY_VOLUME_KIND, SET_VOLUME_KIND, QUERY_DIRECTORY_KIND = 11, 12, 13, 14
QUERY_SECURITY_KIND, SET_SECURITY_KIND = 19, 20

# FILE_INFORMATION_CLASS
BASIC_CLASS, RENAME_CLASS, DISPOSITION_CLASS, ALLOCATION_CLASS, END_OF_FILE_CLASS = 4, 10, 13, 19, 20
LABEL_CLASS = 2

# Bits of Create.Flags: whoever opens is a program, and may pass through directories.
USER_MODE, HAS_TRAVERSE, OPEN_TARGET_DIRECTORY = 0x1, 0x2, 0x10
PATTERN_IS_NAME = 0x2
# Bits of Cleanup.Flags, and what the callback gets for each.
CLEANUPS = {
    nt.DELETES: 0x1, nt.SETS_SIZE: 0x2, nt.SETS_ARCHIVE: 0x4, nt.SETS_READ: 0x8, nt.SETS_WRITTEN: 0x10,
    nt.SETS_CHANGED: 0x20,
}  # fmt: skip


class Buffer(ctypes.Structure):
    """Where in the bytes after the request something is."""

    _fields_: ClassVar[Any] = [("offset", U16), ("size", U16)]


class FileInfo(ctypes.Structure):
    _fields_: ClassVar[Any] = [
        ("attributes", U32), ("reparse_tag", U32), ("allocated", U64), ("size", U64), ("created", U64),
        ("accessed", U64), ("written", U64), ("changed", U64), ("index", U64), ("hard_links", U32), ("ea_size", U32),
    ]  # fmt: skip

    def told(self) -> nt.Info:
        return nt.Info(
            self.attributes, self.size, self.allocated, self.created, self.accessed, self.written, self.changed,
            self.index,
        )  # fmt: skip


class VolumeInfo(ctypes.Structure):
    _fields_: ClassVar[Any] = [("total", U64), ("free", U64), ("label_size", U16), ("label", U16 * 32)]


class Context(ctypes.Structure):
    _fields_: ClassVar[Any] = [("node", U64), ("open", U64)]


class Create(ctypes.Structure):
    _fields_: ClassVar[Any] = [
        ("options", U32), ("attributes", U32), ("security", Buffer), ("allocation", U64), ("token", U64),
        ("desired", U32), ("granted", U32), ("share", U32), ("ea", Buffer), ("flags", U32), ("stream", U16),
    ]  # fmt: skip


class Overwrite(ctypes.Structure):
    _fields_: ClassVar[Any] = [
        ("context", Context), ("attributes", U32), ("allocation", U64), ("supersedes", U32), ("ea", Buffer),
    ]  # fmt: skip


class Cleanup(ctypes.Structure):
    _fields_: ClassVar[Any] = [("context", Context), ("flags", U32)]


class Transfer(ctypes.Structure):
    _fields_: ClassVar[Any] = [
        ("context", Context), ("address", U64), ("offset", U64), ("length", U32), ("key", U32), ("constrained", U32),
    ]  # fmt: skip


class Basic(ctypes.Structure):
    _fields_: ClassVar[Any] = [
        ("attributes", U32), ("created", U64), ("accessed", U64), ("written", U64), ("changed", U64),
    ]  # fmt: skip


class Rename(ctypes.Structure):
    _fields_: ClassVar[Any] = [("name", Buffer), ("token", U64), ("flags", U32)]


class Wanted(ctypes.Union):
    _fields_: ClassVar[Any] = [("size", U64), ("deletes", U32), ("basic", Basic), ("rename", Rename)]


class SetInformation(ctypes.Structure):
    _fields_: ClassVar[Any] = [("context", Context), ("kind", U32), ("wanted", Wanted)]


class SetVolume(ctypes.Structure):
    _fields_: ClassVar[Any] = [("kind", U32), ("label", Buffer)]


class QueryDirectory(ctypes.Structure):
    _fields_: ClassVar[Any] = [
        ("context", Context), ("address", U64), ("length", U32), ("pattern", Buffer), ("marker", Buffer),
        ("flags", U32),
    ]  # fmt: skip


class SetSecurity(ctypes.Structure):
    _fields_: ClassVar[Any] = [("context", Context), ("which", U32), ("security", Buffer)]


class Asked(ctypes.Union):
    _fields_: ClassVar[Any] = [
        ("create", Create), ("overwrite", Overwrite), ("cleanup", Cleanup), ("context", Context),
        ("transfer", Transfer), ("set_information", SetInformation), ("set_volume", SetVolume),
        ("query_directory", QueryDirectory), ("set_security", SetSecurity),
    ]  # fmt: skip


class Request(ctypes.Structure):
    """`name`: the file's, which the bytes after the request begin with."""

    _fields_: ClassVar[Any] = [
        ("version", U16), ("size", U16), ("kind", U32), ("hint", U64), ("asked", Asked), ("name", Buffer),
        ("_to_8", U32),
    ]  # fmt: skip


class Opened(ctypes.Structure):
    _fields_: ClassVar[Any] = [
        ("context", Context), ("granted", U32), ("security", Buffer), ("info", FileInfo), ("name", Buffer),
        ("flags", U32),
    ]  # fmt: skip


class Answered(ctypes.Union):
    _fields_: ClassVar[Any] = [("opened", Opened), ("info", FileInfo), ("volume", VolumeInfo), ("buffer", Buffer)]


class Response(ctypes.Structure):
    _fields_: ClassVar[Any] = [
        ("version", U16), ("size", U16), ("kind", U32), ("hint", U64), ("information", U32), ("status", U32),
        ("answered", Answered),
    ]  # fmt: skip


class VolumeParams(ctypes.Structure):
    """FSP_FSCTL_VOLUME_PARAMS, as far as somebody asks for it here."""

    _fields_: ClassVar[Any] = [
        ("version", U16), ("sector_size", U16), ("sectors", U16), ("component_length_max", U16),
        ("created", U64), ("serial", U32), ("transact_ms", U32), ("irp_ms", U32), ("irp_max", U32),
        ("info_ms", U32), ("flags", U32), ("prefix", U16 * 192), ("file_system_name", U16 * 16),
    ]  # fmt: skip


# Bits of VolumeParams.flags
CASE_SENSITIVE, KEEPS_CASE, READ_ONLY, CLEANS_UP_WHEN_MODIFIED, CONTEXT_PER_OPEN = (
    1 << 0,
    1 << 1,
    1 << 9,
    1 << 10,
    1 << 16,
)

assert (ctypes.sizeof(Request), ctypes.sizeof(Response), ctypes.sizeof(VolumeParams)) == (88, 128, 456)


def text_of(units: Any, count: int | None = None) -> str:
    """Of UTF-16 units, up to the first 0 or `count` of them."""
    found = bytes(units).decode("utf-16-le", "surrogatepass")
    return found.partition("\0")[0] if count is None else found[:count]


def wide(text: str) -> bytes:
    """With its end."""
    return text.encode("utf-16-le", "surrogatepass") + b"\0\0"
