"""Attr as the bytes of the C structures that libfuse reads; the arguments of setattr out of them.

Called by FuseCallbacks from libfuse's threads; pure. The layout of `struct stat` is lowlevel_abi.native's; it is
compiled into one struct format, because a pack is ten times cheaper than as many ctypes assignments and this runs for
every lookup and every entry of a listing. Bytes, because ctypes passes them as a pointer without making anything.
"""

import ctypes
import struct
from operator import itemgetter

from s3mount.bindings.lowlevel_abi import fuse_entry_param, native
from s3mount.errors import NotSupported
from s3mount.model import Attr, AttrChange

# stdio and many copying tools write in pieces of st_blksize; each piece is one upcall.
PREFERRED_IO_BYTES = 128 << 10
NS_PER_S = 1_000_000_000
ATTR_TIMEOUT_S = 1.0

# FUSE_SET_ATTR_*, fuse_lowlevel.h
SET_MODE, SET_UID, SET_GID, SET_SIZE, SET_ATIME, SET_MTIME = (1 << bit for bit in range(6))
SET_ATIME_NOW, SET_MTIME_NOW = 1 << 7, 1 << 8
# macOS alone asks for these, as for times of creation and of backup, which are not kept.
SET_FLAGS = 1 << 31

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_FIELDS = ("st_ino", "st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blksize", "st_blocks", "st_rdev")
# An object has no time of creation to show; macOS is told the time of the content, as others do it there.
_TIMES = {"st_atimespec": 0, "st_mtimespec": 1, "st_ctimespec": 2, "st_birthtimespec": 1}


def _compile() -> tuple[str, list[int]]:
    """The format of struct stat, and for each packed place the number of the value in `_values` that goes there."""
    places: list[tuple[int, str, int]] = []
    for number, name in enumerate(_FIELDS):
        field = getattr(native.c_stat, name)
        places.append((field.offset, _CODES[field.size], number))
    for name, number in _TIMES.items():
        field = getattr(native.c_stat, name, None)
        if field is None:
            continue
        half_bytes = field.size // 2
        for half in (0, 1):
            code = _CODES[half_bytes].lower()
            places.append((field.offset + half * half_bytes, code, len(_FIELDS) + 2 * number + half))
    places.sort()
    layout, end = "", 0
    for offset, code, _number in places:
        layout += f"{offset - end}x{code}"
        end = offset + struct.calcsize(f"={code}")
    layout += f"{ctypes.sizeof(native.c_stat) - end}x"
    return layout, [number for _offset, _code, number in places]


_LAYOUT, _order = _compile()
_in_order = itemgetter(*_order)
_pack_stat = struct.Struct(f"={_LAYOUT}").pack
# ino, generation, attr, attr_timeout, entry_timeout
_ENTRY = struct.Struct(f"=QQ{_LAYOUT}dd")
_pack_entry = _ENTRY.pack
assert _ENTRY.size == ctypes.sizeof(fuse_entry_param)


_INO_FIRST = native.c_stat.st_ino.offset < native.c_stat.st_mode.offset


def _dirent_layout() -> str:
    layout, end = "=", 0
    for field in (native.c_stat.st_ino, native.c_stat.st_mode)[:: 1 if _INO_FIRST else -1]:
        layout += f"{field.offset - end}x{_CODES[field.size]}"
        end = field.offset + field.size
    return layout + f"{ctypes.sizeof(native.c_stat) - end}x"


_pack_dirent = struct.Struct(_dirent_layout()).pack


def _values(attr: Attr) -> tuple[int, ...]:
    atime_s, atime_ns = divmod(attr.atime_ns, NS_PER_S)
    mtime_s, mtime_ns = divmod(attr.mtime_ns, NS_PER_S)
    ctime_s, ctime_ns = divmod(attr.ctime_ns, NS_PER_S)
    return (
        attr.ino,
        attr.mode,
        attr.nlink,
        attr.uid,
        attr.gid,
        attr.size,
        PREFERRED_IO_BYTES,
        attr.blocks,
        attr.rdev,
        atime_s,
        atime_ns,
        mtime_s,
        mtime_ns,
        ctime_s,
        ctime_ns,
    )


def stat_bytes(attr: Attr) -> bytes:
    """A whole struct stat."""
    return _pack_stat(*_in_order(_values(attr)))


def dirent_bytes(attr: Attr) -> bytes:
    """A struct stat with what a plain directory entry shows: the number, and the type, 0 for "not known yet"."""
    return _pack_dirent(*((attr.ino, attr.mode) if _INO_FIRST else (attr.mode, attr.ino)))


def entry_bytes(attr: Attr, *, is_complete: bool = True) -> bytes:
    """A whole struct fuse_entry_param. Not complete: the kernel is to remember nothing of this inode, and only its
    number and type are shown (fuse_add_direntry_plus takes both from the attributes)."""
    timeout_s = ATTR_TIMEOUT_S
    return _pack_entry(attr.ino if is_complete else 0, 0, *_in_order(_values(attr)), timeout_s, timeout_s)


def attr_change(address: int, to_set: int, now_ns: int) -> AttrChange:
    """What a setattr asks for, from the struct stat at `address` and the bits that say what of it counts.

    truncate(2) asks for the size and for mtime "now" at once, which a change of size comes with anyway. Raises
    NotSupported for flags of chflags(2)."""
    asked = native.c_stat.from_address(address)
    if to_set & SET_FLAGS and asked.st_flags:
        raise NotSupported("files have no flags here")
    if to_set & SET_SIZE and to_set & SET_MTIME_NOW:
        to_set &= ~(SET_MTIME | SET_MTIME_NOW)
    return AttrChange(
        mode=asked.st_mode & 0o7777 if to_set & SET_MODE else None,
        uid=asked.st_uid if to_set & SET_UID else None,
        gid=asked.st_gid if to_set & SET_GID else None,
        size=asked.st_size if to_set & SET_SIZE else None,
        atime_ns=_time_ns(asked.st_atimespec, to_set, SET_ATIME, SET_ATIME_NOW, now_ns),
        mtime_ns=_time_ns(asked.st_mtimespec, to_set, SET_MTIME, SET_MTIME_NOW, now_ns),
    )


def _time_ns(value: ctypes.Structure, to_set: int, explicit: int, now: int, now_ns: int) -> int | None:
    if to_set & now:
        return now_ns
    return int(value.tv_sec) * NS_PER_S + int(value.tv_nsec) if to_set & explicit else None
