"""POSIX access control lists as the kernel hands them over, and what they have to do with mode bits. Pure.

Called by vfs/xattrs.py and by whatever creates files or changes modes. The bytes are those of linux/posix_acl_xattr.h:
a 32-bit version, then for each entry a 16-bit tag, 16 bits of permissions and a 32-bit id, all little-endian. The rules
are those of the withdrawn POSIX 1003.1e draft 17 as acl(5) states them. Who may do what is decided by the kernel, which
asks for these lists; here they are kept in step with the mode.
"""

import stat
import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from s3mount.errors import InvalidArgument

ACCESS = "system.posix_acl_access"
DEFAULT = "system.posix_acl_default"

VERSION = 2
UNDEFINED_ID = 0xFFFFFFFF
_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")


class Tag(IntEnum):
    USER_OBJ = 0x01
    USER = 0x02
    GROUP_OBJ = 0x04
    GROUP = 0x08
    MASK = 0x10
    OTHER = 0x20


_NAMED = (Tag.USER, Tag.GROUP)


class Entry(NamedTuple):
    tag: Tag
    permissions: int
    id: int = UNDEFINED_ID


Acl = tuple[Entry, ...]


def decode(value: bytes) -> Acl:
    """Raises InvalidArgument for what is no valid list (acl_valid(3)). Of no entries: none, the list is to go."""
    if len(value) < _HEADER.size or (len(value) - _HEADER.size) % _ENTRY.size:
        raise InvalidArgument("not an access control list")
    if _HEADER.unpack_from(value)[0] != VERSION:
        raise InvalidArgument("an access control list of an unknown version")
    try:
        acl = tuple(Entry(Tag(tag), permissions, id_) for tag, permissions, id_ in _ENTRY.iter_unpack(value[4:]))
    except ValueError as error:
        raise InvalidArgument("an access control list with an unknown kind of entry") from error
    acl = tuple(entry if entry.tag in _NAMED else entry._replace(id=UNDEFINED_ID) for entry in acl)
    if acl and not _is_valid(acl):
        raise InvalidArgument("not a valid access control list")
    return acl


def encode(acl: Acl) -> bytes:
    entries = b"".join(_ENTRY.pack(entry.tag, entry.permissions, entry.id) for entry in acl)
    return _HEADER.pack(VERSION) + entries


def _is_valid(acl: Acl) -> bool:
    tags = [entry.tag for entry in acl]
    has_named = any(tag in _NAMED for tag in tags)
    return (
        all(tags.count(tag) == 1 for tag in (Tag.USER_OBJ, Tag.GROUP_OBJ, Tag.OTHER))
        and tags.count(Tag.MASK) in ((1,) if has_named else (0, 1))
        and tags == sorted(tags)
        and all(entry.permissions <= 0o7 for entry in acl)
        and all(entry.id != UNDEFINED_ID for entry in acl if entry.tag in _NAMED)
    )


def is_minimal(acl: Acl) -> bool:
    """Whether mode bits say all of it."""
    return len(acl) == 3


def mode_with(acl: Acl, mode: int) -> int:
    """`mode` once `acl` is its access list: the group bits are the mask, if there is one."""
    of = {entry.tag: entry.permissions for entry in acl}
    group = of.get(Tag.MASK, of[Tag.GROUP_OBJ])
    return mode & ~0o777 | of[Tag.USER_OBJ] << 6 | group << 3 | of[Tag.OTHER]


def with_mode(acl: Acl, mode: int) -> Acl:
    """`acl` after chmod to `mode`: its mask takes the group bits, or the owning group where there is no mask."""
    group = Tag.MASK if any(entry.tag == Tag.MASK for entry in acl) else Tag.GROUP_OBJ
    bits = {Tag.USER_OBJ: mode >> 6 & 0o7, group: mode >> 3 & 0o7, Tag.OTHER: mode & 0o7}
    return tuple(entry._replace(permissions=bits.get(entry.tag, entry.permissions)) for entry in acl)


def inherit(parent: Mapping[str, bytes], mode: int, umask: int) -> tuple[int, dict[str, bytes]]:
    """(mode, extended attributes) of what is created with `mode` in a directory with the attributes `parent`: its
    default list instead of the umask, if it has one."""
    default = parent.get(DEFAULT)
    if default is None or stat.S_ISLNK(mode):
        return (mode if stat.S_ISLNK(mode) else mode & ~umask), {}
    acl = decode(default)
    bits = mode & mode_with(acl, 0o777)
    mode = mode & ~0o777 | bits & 0o777
    inherited = {} if is_minimal(acl) else {ACCESS: encode(with_mode(acl, mode))}
    return mode, inherited | ({DEFAULT: default} if stat.S_ISDIR(mode) else {})


def after_chmod(xattrs: Mapping[str, bytes], mode: int) -> dict[str, bytes]:
    """The extended attributes of a file whose mode becomes `mode`."""
    access = xattrs.get(ACCESS)
    return dict(xattrs) if access is None else {**xattrs, ACCESS: encode(with_mode(decode(access), mode))}
