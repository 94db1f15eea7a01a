"""libfuse 3 as mfusepy finds and knows it: which file it is, the structures that differ between systems.

Taken by lowlevel_abi.py everywhere but on macOS (darwin_abi.py, which defines the same names with the same meaning);
importing it loads the library, and raises what mfusepy raises.
"""

import ctypes
from ctypes import Structure, c_uint32, c_uint64
from typing import Final

import mfusepy

from s3mount.model import VolumeInfo

mode_t = c_uint32
dev_t = c_uint64
XATTR_POSITION: Final = ()
SYMBOL_SUFFIX: Final = ""

c_stat = mfusepy.c_stat
c_statvfs = mfusepy.c_statvfs
file_info = mfusepy.fuse_file_info
conn_info = mfusepy.fuse_conn_info


def library_path() -> str:
    return str(mfusepy._libfuse._name)


def version_of(library: ctypes.CDLL) -> tuple[int, int]:
    return mfusepy.fuse_version_major, mfusepy.fuse_version_minor


def new_session(library: ctypes.CDLL, arguments: Structure, operations: Structure) -> int | None:
    """None, with the reason on stderr, when it will not be one."""
    create = library["fuse_session_new"]
    create.restype = ctypes.c_void_p
    create.argtypes = (*[ctypes.c_void_p] * 2, ctypes.c_size_t, ctypes.c_void_p)
    session: int | None = create(ctypes.byref(arguments), ctypes.byref(operations), ctypes.sizeof(operations), None)
    return session


def volume_of(volume: VolumeInfo) -> Structure:
    """The structure that a reply to statfs takes."""
    filled: Structure = mfusepy.c_statvfs()
    filled.f_bsize = filled.f_frsize = volume.block_size
    filled.f_blocks = volume.blocks
    filled.f_bfree = filled.f_bavail = volume.blocks_free
    filled.f_files = volume.files
    filled.f_ffree = filled.f_favail = volume.files_free
    filled.f_namemax = volume.name_bytes_max
    return filled
