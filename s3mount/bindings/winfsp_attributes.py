"""What Windows keeps of a file beyond POSIX: attribute bits and creation time, as an extended attribute. Pure.

Used by winfsp.py, from any thread. The extended attribute is Samba's `user.DOSATTRIB` (xattr_DOSATTRIB in its
librpc/idl/xattr.idl), so that the archive bit is the same whether a bucket is a drive on Windows, or mounted on Linux
and exported by Samba or ksmbd. It travels to the bucket as every extended attribute does (xattr_format.py), and a
change of it is a change of metadata. Read are Samba's versions 3 to 5, and the text alone that Wine and old Sambas
write; written is version 4, as Samba does since 4.11. A file has none while nobody has set anything: it is due for
backup then, as a new file on NTFS is.

Times are FILETIMEs here: 100 ns since 1601 (https://learn.microsoft.com/windows/win32/sysinfo/file-times).
"""

import re
import struct
from dataclasses import dataclass
from enum import IntFlag

from s3mount.model import Attr

XATTR = "user.DOSATTRIB"
EPOCH_FILETIME = 116_444_736_000_000_000
FILETIME_MAX = (1 << 63) - 1
ALLOCATION_BYTES = 4096


class FileAttribute(IntFlag):
    """FILE_ATTRIBUTE_*, those that mean anything here."""

    READONLY = 0x1
    HIDDEN = 0x2
    SYSTEM = 0x4
    DIRECTORY = 0x10
    ARCHIVE = 0x20
    NOT_CONTENT_INDEXED = 0x2000


KEPT = (
    FileAttribute.READONLY
    | FileAttribute.HIDDEN
    | FileAttribute.SYSTEM
    | FileAttribute.ARCHIVE
    | FileAttribute.NOT_CONTENT_INDEXED
)

_HAS_ATTRIBUTES, _HAS_CREATED, _HAS_ITIME = 0x1, 0x10, 0x40
_VERSION = 4
_HEAD = struct.Struct("<HH")  # version, twice
# By version: which of the fields are set, attributes, then the others; creation time and itime by their place.
_FIELDS = {3: struct.Struct("<IIIQQQQ"), 4: struct.Struct("<IIQQ"), 5: struct.Struct("<IIQ")}
_CREATED_AT = {3: 5, 4: 3, 5: 2}
_ITIME_AT = {4: 2}
_TEXT = re.compile(rb"0x([0-9a-fA-F]{1,8})(?:\0|\Z)")


@dataclass(frozen=True, slots=True)
class WindowsAttributes:
    """None where nobody has set it. `itime`: Samba's own, carried along."""

    bits: FileAttribute | None = None
    created: int | None = None
    itime: int | None = None

    def shown(self, *, is_dir: bool) -> FileAttribute:
        """What Windows is told; 0 is what it calls NORMAL."""
        if is_dir:
            return (self.bits or FileAttribute(0)) | FileAttribute.DIRECTORY
        return FileAttribute.ARCHIVE if self.bits is None else self.bits


def decode(value: bytes | None) -> WindowsAttributes:
    """Never raises: what makes no sense says nothing."""
    if value is None:
        return WindowsAttributes()
    text = _TEXT.match(value)
    bits = None if text is None else FileAttribute(int(text[1], 16) & KEPT)
    end = value.find(b"\0")
    start = (end + 2) & ~1
    if end < 0 or len(value) < start + _HEAD.size:
        return WindowsAttributes(bits)
    version, _ = _HEAD.unpack_from(value, start)
    fields = _FIELDS.get(version)
    start = (start + _HEAD.size + 3) & ~3
    if fields is None or len(value) < start + fields.size:
        return WindowsAttributes(bits)
    found = fields.unpack_from(value, start)
    which = found[0]
    if which & _HAS_ATTRIBUTES:
        bits = FileAttribute(found[1] & KEPT)
    return WindowsAttributes(
        bits,
        found[_CREATED_AT[version]] or None if which & _HAS_CREATED else None,
        found[_ITIME_AT[version]] if which & _HAS_ITIME and version in _ITIME_AT else None,
    )


def encode(attributes: WindowsAttributes) -> bytes:
    which = _HAS_ATTRIBUTES * (attributes.bits is not None)
    which |= _HAS_CREATED * (attributes.created is not None) | _HAS_ITIME * (attributes.itime is not None)
    fields = (which, attributes.bits or 0, attributes.itime or 0, attributes.created or 0)
    # An empty text, and what aligns versions and fields.
    return b"\0\0" + _HEAD.pack(_VERSION, _VERSION) + b"\0\0" + _FIELDS[_VERSION].pack(*fields)


def filetime(time_ns: int) -> int:
    return max(0, min(FILETIME_MAX, time_ns // 100 + EPOCH_FILETIME))


def time_ns(time: int) -> int:
    return (time - EPOCH_FILETIME) * 100


def file_info(attr: Attr, attributes: WindowsAttributes, *, is_dir: bool) -> dict[str, int]:
    """What winfspy wants to hear of a file. `index_number` is what tools tell files apart by."""
    size = 0 if is_dir else attr.size
    oldest = filetime(min(attr.mtime_ns, attr.ctime_ns))
    return {
        "file_attributes": attributes.shown(is_dir=is_dir),
        "allocation_size": -(-size // ALLOCATION_BYTES) * ALLOCATION_BYTES,
        "file_size": size,
        "creation_time": oldest if attributes.created is None else attributes.created,
        "last_access_time": filetime(attr.atime_ns),
        "last_write_time": filetime(attr.mtime_ns),
        "change_time": filetime(attr.ctime_ns),
        "index_number": attr.ino,
    }
