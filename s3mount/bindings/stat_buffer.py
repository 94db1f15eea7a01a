"""Attr and VolumeInfo into the C structures that libfuse reads; utimens arguments out of them.

Called by FuseSession from libfuse's threads; pure but for the memory it is handed. The layout of `struct stat` is
taken from mfusepy, whose tables know each platform; it is compiled into one struct format, because a pack is ten
times cheaper than as many ctypes assignments and this runs for every file of every listing.
"""

import ctypes
import stat
import struct
import sys
from typing import Any

import mfusepy

from s3mount.model import Attr, VolumeInfo

# stdio and many copying tools write in pieces of st_blksize; each piece is one upcall.
PREFERRED_IO_BYTES = 128 << 10
NS_PER_S = 1_000_000_000
# sys/stat.h; a time of these nanoseconds asks for "now" or for "leave as it is".
UTIME_NOW, UTIME_OMIT = (-1, -2) if sys.platform == "darwin" else ((1 << 30) - 1, (1 << 30) - 2)
# The inode number libfuse itself gives to an entry it knows nothing of; 0 would make the C library skip the entry.
UNKNOWN_INO = 0xFFFFFFFF

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_FIELDS = ("st_ino", "st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blksize", "st_blocks")
_TIMES = ("st_atimespec", "st_mtimespec", "st_ctimespec")


def _compile() -> tuple[struct.Struct, tuple[int, ...]]:
    """The format of struct stat, and for each packed place the number of the value in `_values` that goes there."""
    places: list[tuple[int, str, int]] = []
    for number, name in enumerate(_FIELDS):
        field = getattr(mfusepy.c_stat, name)
        places.append((field.offset, _CODES[field.size], number))
    for number, name in enumerate(_TIMES):
        field = getattr(mfusepy.c_stat, name)
        for half, part in enumerate(("tv_sec", "tv_nsec")):
            inner = getattr(mfusepy.c_timespec, part)
            code = _CODES[inner.size].lower()
            places.append((field.offset + inner.offset, code, len(_FIELDS) + 2 * number + half))
    places.sort()
    layout, end = "=", 0
    for offset, code, _number in places:
        layout += f"{offset - end}x{code}"
        end = offset + struct.calcsize(f"={code}")
    layout += f"{ctypes.sizeof(mfusepy.c_stat) - end}x"
    return struct.Struct(layout), tuple(number for _offset, _code, number in places)


_FORMAT, _ORDER = _compile()
_PACK_INTO = _FORMAT.pack_into


def fill_stat(buffer: Any, attr: Attr) -> None:
    """Write `attr` over the whole of `buffer`, a c_stat."""
    atime_s, atime_ns = divmod(attr.atime_ns, NS_PER_S)
    mtime_s, mtime_ns = divmod(attr.mtime_ns, NS_PER_S)
    ctime_s, ctime_ns = divmod(attr.ctime_ns, NS_PER_S)
    values = (
        attr.ino,
        attr.mode,
        attr.nlink,
        attr.uid,
        attr.gid,
        attr.size,
        PREFERRED_IO_BYTES,
        attr.blocks,
        atime_s,
        atime_ns,
        mtime_s,
        mtime_ns,
        ctime_s,
        ctime_ns,
    )
    _PACK_INTO(buffer, 0, *[values[number] for number in _ORDER])


def fill_entry(buffer: Any, ino: int, mode: int) -> None:
    """Write what a plain directory entry shows: the inode number and the file type, 0 for "not known yet"."""
    buffer.st_ino = ino
    buffer.st_mode = stat.S_IFMT(mode)


def fill_statvfs(buffer: Any, volume: VolumeInfo) -> None:
    """Write `volume` into a c_statvfs, whose other fields libfuse has zeroed."""
    buffer.f_bsize = buffer.f_frsize = volume.block_size
    buffer.f_blocks = volume.blocks
    buffer.f_bfree = buffer.f_bavail = volume.blocks_free
    buffer.f_files = volume.files
    buffer.f_ffree = buffer.f_favail = volume.files_free
    buffer.f_namemax = volume.name_bytes_max


def read_time(value: Any, now_ns: int) -> int | None:
    """A timespec of utimensat(2) in ns since the epoch; None for UTIME_OMIT, `now_ns` for UTIME_NOW."""
    if value.tv_nsec == UTIME_OMIT:
        return None
    if value.tv_nsec == UTIME_NOW:
        return now_ns
    return int(value.tv_sec) * NS_PER_S + int(value.tv_nsec)
