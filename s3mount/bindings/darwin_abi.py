"""macFUSE's libfuse 3, where it is another than Linux's: which file it is, structures, and forms of its callbacks.

Taken by lowlevel_abi.py on macOS, as linux_abi.py is elsewhere: both define the same names with the same meaning. It
loads nothing, and every width is explicit, so that it is the same wherever it is imported; it was never run on macOS.

Of the library's two forms this is the one with Darwin's extensions, which a C program gets too unless it says otherwise
(include/fuse_common.h and fuse_lowlevel.h of https://github.com/macfuse/library, 3.18). The other one has 32 bits for
the number of a drive's blocks, a quarter of what --capacity needs by default, and takes names for the same whatever
their case. Layouts are those of arm64 and of x86-64 with 64-bit inode numbers, which are one.
"""

import ctypes
import os
from collections.abc import Iterator
from ctypes import Structure, c_char, c_int32, c_int64, c_uint16, c_uint32, c_uint64
from pathlib import Path
from typing import Any, Final

from s3mount.model import VolumeInfo

LIBRARY_FOLDERS: Final = ("usr/local/lib", "opt/homebrew/lib")
mode_t = c_uint16
dev_t = c_int32
# Behind those of Linux: where in the value to begin.
XATTR_POSITION: Final = (c_uint32,)
# Functions that take one of the structures below have a symbol of their own for this form.
SYMBOL_SUFFIX: Final = "$DARWIN"


class timespec(Structure):
    _fields_ = (("tv_sec", c_int64), ("tv_nsec", c_int64))


class c_stat(Structure):
    """struct fuse_darwin_attr, with the names that the fields of a struct stat have; they differ by that prefix."""

    _fields_ = (
        ("st_ino", c_uint64),
        ("st_mode", mode_t),
        ("st_nlink", c_uint16),
        ("st_uid", c_uint32),
        ("st_gid", c_uint32),
        ("st_rdev", dev_t),
        ("st_atimespec", timespec),
        ("st_mtimespec", timespec),
        ("st_ctimespec", timespec),
        ("st_birthtimespec", timespec),
        ("st_bkuptimespec", timespec),
        ("st_size", c_int64),
        ("st_blocks", c_int64),
        ("st_blksize", c_int32),
        ("st_flags", c_uint32),
        ("reserved", c_uint64 * 8),
    )


class c_statvfs(Structure):
    """struct statfs of sys/mount.h."""

    _fields_ = (
        ("f_bsize", c_uint32),
        ("f_iosize", c_int32),
        ("f_blocks", c_uint64),
        ("f_bfree", c_uint64),
        ("f_bavail", c_uint64),
        ("f_files", c_uint64),
        ("f_ffree", c_uint64),
        ("f_fsid", c_int32 * 2),
        ("f_owner", c_uint32),
        ("f_type", c_uint32),
        ("f_flags", c_uint32),
        ("f_fssubtype", c_uint32),
        ("f_fstypename", c_char * 16),
        ("f_mntonname", c_char * 1024),
        ("f_mntfromname", c_char * 1024),
        ("f_flags_ext", c_uint32),
        ("f_reserved", c_uint32 * 7),
    )


class file_info(Structure):
    _fields_ = (
        ("flags", c_int32),
        ("writepage", c_uint32, 1),
        ("direct_io", c_uint32, 1),
        ("keep_cache", c_uint32, 1),
        ("flush", c_uint32, 1),
        ("nonseekable", c_uint32, 1),
        ("flock_release", c_uint32, 1),
        ("cache_readdir", c_uint32, 1),
        ("noflush", c_uint32, 1),
        ("parallel_direct_writes", c_uint32, 1),
        ("padding", c_uint32, 23),
        ("padding2", c_uint32),
        ("padding3", c_uint32),
        ("fh", c_uint64),
        ("lock_owner", c_uint64),
        ("poll_events", c_uint32),
        ("backing_id", c_int32),
        ("compat_flags", c_uint64),
        ("reserved", c_uint64 * 2),
    )


class conn_info(Structure):
    _fields_ = (
        ("proto_major", c_uint32),
        ("proto_minor", c_uint32),
        ("max_write", c_uint32),
        ("max_read", c_uint32),
        ("max_readahead", c_uint32),
        ("capable", c_uint32),
        ("want", c_uint32),
        ("max_background", c_uint32),
        ("congestion_threshold", c_uint32),
        ("time_gran", c_uint32),
        ("max_backing_stack_depth", c_uint32),
        ("no_interrupt", c_uint32),
        ("capable_ext", c_uint64),
        ("want_ext", c_uint64),
        ("capable_darwin", c_uint64),
        ("want_darwin", c_uint64),
        ("reserved", c_uint32 * 16),
    )


class libfuse_version(Structure):
    """The first bit of the last word says which form the callbacks have."""

    _fields_ = (("major", c_uint32), ("minor", c_uint32), ("hotfix", c_uint32), ("darwin_extensions_enabled", c_uint32))


def library_path() -> str:
    """Where libfuse 3 is; FUSE_LIBRARY_PATH in the environment wins. Raises OSError."""
    named = os.environ.get("FUSE_LIBRARY_PATH")
    found = named or next(libraries(Path("/")), None)
    if found is None:
        raise OSError("no libfuse3*.dylib in " + " or ".join(f"/{folder}" for folder in LIBRARY_FOLDERS))
    return str(found)


def libraries(root: Path) -> Iterator[Path]:
    """Every libfuse 3 below `root`, the one that a C program would be linked with first."""
    for folder in LIBRARY_FOLDERS:
        # Its own name comes before those with a version in them.
        yield from sorted((root / folder).glob("libfuse3*.dylib"), key=lambda path: (len(path.name), path))


def version_of(library: ctypes.CDLL) -> tuple[int, int]:
    major, minor = divmod(library["fuse_version"](), 100)
    return major, minor


def new_session(library: ctypes.CDLL, arguments: Structure, operations: Structure) -> int | None:
    """fuse_session_new, which is an inline function there."""
    made_for = libfuse_version(*version_of(library), 0, 1)
    create = library["fuse_session_new_versioned"]
    create.restype = ctypes.c_void_p
    create.argtypes = (*[ctypes.c_void_p] * 2, ctypes.c_size_t, *[ctypes.c_void_p] * 2)
    reference: Any = ctypes.byref
    session: int | None = create(
        reference(arguments), reference(operations), ctypes.sizeof(operations), reference(made_for), None
    )
    return session


def volume_of(volume: VolumeInfo) -> Structure:
    filled = c_statvfs()
    filled.f_bsize = filled.f_iosize = volume.block_size
    filled.f_blocks = volume.blocks
    filled.f_bfree = filled.f_bavail = volume.blocks_free
    filled.f_files, filled.f_ffree = volume.files, volume.files_free
    return filled
