"""libfuse 3's low-level interface as ctypes: structures, the table of callbacks, the functions.

Imported by the other modules of this binding by way of load_binding(); it decides nothing. Which library it is, and the
structures that differ between systems, is `native`'s: linux_abi.py (mfusepy's) or darwin_abi.py. What is here has been
the same everywhere since 3.10 (fuse_lowlevel.h, fuse_common.h).

Structures have C's own names. Functions of `quick` are called with the interpreter's lock held: they make no system
call, and to give the lock up costs more than they do. A reply does not belong to them: the program that it wakes may
take the processor away from the thread that wakes it.
"""

import ctypes
import sys
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_double, c_int, c_size_t, c_uint, c_uint32, c_uint64
from ctypes import c_longlong as off_t
from ctypes import c_void_p as address
from typing import Any

if sys.platform == "darwin":
    from s3mount.bindings import darwin_abi as _system
else:
    from s3mount.bindings import linux_abi as _system

native = _system
VERSION_MIN = (3, 10)
_path = native.library_path()
quick = ctypes.PyDLL(_path)
blocking = ctypes.CDLL(_path)
is_macfuse = hasattr(blocking, "macfuse_version")
version = native.version_of(blocking)
if version < VERSION_MIN:
    raise ImportError(f"libfuse {version[0]}.{version[1]} is too old, 3.10 is the first that will do")

ino_t = c_uint64
mode_t = native.mode_t
dev_t = native.dev_t
file_info = native.file_info
conn_info = native.conn_info


class fuse_entry_param(Structure):
    _fields_ = (
        ("ino", c_uint64),
        ("generation", c_uint64),
        ("attr", native.c_stat),
        ("attr_timeout", c_double),
        ("entry_timeout", c_double),
    )


class fuse_ctx(Structure):
    _fields_ = (("uid", c_uint32), ("gid", c_uint32), ("pid", c_int), ("umask", mode_t))


class fuse_args(Structure):
    _fields_ = (("argc", c_int), ("argv", POINTER(c_char_p)), ("allocated", c_int))


class fuse_loop_config_v1(Structure):
    _fields_ = (("clone_fd", c_int), ("max_idle_threads", c_uint))


# The arguments of each callback behind the first, the request; the order is that of struct fuse_lowlevel_ops.
CALLBACKS: dict[str, tuple[Any, ...]] = {
    "lookup": (ino_t, c_char_p),
    "forget": (ino_t, c_uint64),
    "getattr": (ino_t, address),
    "setattr": (ino_t, address, c_int, address),
    "readlink": (ino_t,),
    "mknod": (ino_t, c_char_p, mode_t, dev_t),
    "mkdir": (ino_t, c_char_p, mode_t),
    "unlink": (ino_t, c_char_p),
    "rmdir": (ino_t, c_char_p),
    "symlink": (c_char_p, ino_t, c_char_p),
    "rename": (ino_t, c_char_p, ino_t, c_char_p, c_uint),
    "link": (ino_t, ino_t, c_char_p),
    "open": (ino_t, address),
    "read": (ino_t, c_size_t, off_t, address),
    "write": (ino_t, address, c_size_t, off_t, address),
    "flush": (ino_t, address),
    "release": (ino_t, address),
    "fsync": (ino_t, c_int, address),
    "opendir": (ino_t, address),
    "readdir": (ino_t, c_size_t, off_t, address),
    "releasedir": (ino_t, address),
    "fsyncdir": (ino_t, c_int, address),
    "statfs": (ino_t,),
    "setxattr": (ino_t, c_char_p, address, c_size_t, c_int, *native.XATTR_POSITION),
    "getxattr": (ino_t, c_char_p, c_size_t, *native.XATTR_POSITION),
    "listxattr": (ino_t, c_size_t),
    "removexattr": (ino_t, c_char_p),
    "access": (ino_t, c_int),
    "create": (ino_t, c_char_p, mode_t, address),
    "getlk": (ino_t, address, address),
    "setlk": (ino_t, address, address, c_int),
    "bmap": (ino_t, c_size_t, c_uint64),
    "ioctl": (ino_t, c_uint, address, address, c_uint, address, c_size_t, c_size_t),
    "poll": (ino_t, address, address),
    "write_buf": (ino_t, address, off_t, address),
    "retrieve_reply": (address, ino_t, off_t, address),
    "forget_multi": (c_size_t, address),
    "flock": (ino_t, address, c_int),
    "fallocate": (ino_t, c_int, off_t, off_t, address),
    "readdirplus": (ino_t, c_size_t, off_t, address),
    "copy_file_range": (ino_t, off_t, address, ino_t, off_t, address, c_size_t, c_int),
    "lseek": (ino_t, off_t, c_int, address),
}
PROTOTYPES = {name: CFUNCTYPE(None, address, *arguments) for name, arguments in CALLBACKS.items()}
init_t = CFUNCTYPE(None, address, POINTER(conn_info))
destroy_t = CFUNCTYPE(None, address)


class fuse_lowlevel_ops(Structure):
    _fields_ = (("init", init_t), ("destroy", destroy_t), *PROTOTYPES.items())


def _function(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    # From the library anew, not its attribute: that one is shared with whoever else asks for it.
    function = library[name]
    function.restype = result
    function.argtypes = arguments
    return function


def _of_attributes(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    """Of one that takes attributes, or a volume's numbers."""
    return _function(library, name + native.SYMBOL_SUFFIX, result, *arguments)


# Structures that are made here travel as bytes: c_char_p hands on a pointer to them.
reply_err = _function(blocking, "fuse_reply_err", c_int, address, c_int)
reply_none = _function(blocking, "fuse_reply_none", None, address)
reply_entry = _of_attributes(blocking, "fuse_reply_entry", c_int, address, c_char_p)
reply_create = _of_attributes(blocking, "fuse_reply_create", c_int, address, c_char_p, address)
reply_attr = _of_attributes(blocking, "fuse_reply_attr", c_int, address, c_char_p, c_double)
reply_readlink = _function(blocking, "fuse_reply_readlink", c_int, address, c_char_p)
reply_open = _function(blocking, "fuse_reply_open", c_int, address, address)
reply_write = _function(blocking, "fuse_reply_write", c_int, address, c_size_t)
reply_lseek = _function(blocking, "fuse_reply_lseek", c_int, address, off_t)
reply_buf = _function(blocking, "fuse_reply_buf", c_int, address, c_char_p, c_size_t)
reply_xattr = _function(blocking, "fuse_reply_xattr", c_int, address, c_size_t)
reply_statfs = _of_attributes(blocking, "fuse_reply_statfs", c_int, address, POINTER(native.c_statvfs))
add_direntry = _of_attributes(
    quick, "fuse_add_direntry", c_size_t, address, address, c_size_t, c_char_p, c_char_p, off_t
)  # fmt: skip
add_direntry_plus = _of_attributes(
    quick, "fuse_add_direntry_plus", c_size_t, address, address, c_size_t, c_char_p, c_char_p, off_t
)  # fmt: skip
req_ctx = _function(quick, "fuse_req_ctx", address, address)

session_mount = _function(blocking, "fuse_session_mount", c_int, address, c_char_p)
session_unmount = _function(blocking, "fuse_session_unmount", None, address)
session_destroy = _function(blocking, "fuse_session_destroy", None, address)
session_exit = _function(blocking, "fuse_session_exit", None, address)
notify_inval_inode = _function(blocking, "fuse_lowlevel_notify_inval_inode", c_int, address, ino_t, off_t, off_t)
notify_inval_entry = _function(blocking, "fuse_lowlevel_notify_inval_entry", c_int, address, ino_t, c_char_p, c_size_t)
set_signal_handlers = _function(blocking, "fuse_set_signal_handlers", c_int, address)
remove_signal_handlers = _function(blocking, "fuse_remove_signal_handlers", None, address)


def session_new(arguments: fuse_args, operations: fuse_lowlevel_ops) -> int | None:
    """None, with the reason on stderr, when libfuse makes none."""
    return native.new_session(blocking, arguments, operations)


def session_loop(session: int, *, threads_max: int, idle_threads_max: int, clones_fd: bool) -> int:
    """Serve until unmounted (0) or ended by a signal (its number); negative on failure. Up to 3.11 libfuse knows no
    limit of threads; the function has had a symbol of its own for each form of its second argument."""
    if version < (3, 12):
        config = fuse_loop_config_v1(clones_fd, idle_threads_max)
        loop = _function(blocking, "fuse_session_loop_mt_32", c_int, address, POINTER(fuse_loop_config_v1))
        return int(loop(session, config))
    made = _function(blocking, "fuse_loop_cfg_create", address)()
    try:
        _function(blocking, "fuse_loop_cfg_set_clone_fd", None, address, c_uint)(made, clones_fd)
        _function(blocking, "fuse_loop_cfg_set_max_threads", None, address, c_uint)(made, threads_max)
        _function(blocking, "fuse_loop_cfg_set_idle_threads", None, address, c_uint)(made, idle_threads_max)
        return int(_function(blocking, "fuse_session_loop_mt_312", c_int, address, address)(session, made))
    finally:
        _function(blocking, "fuse_loop_cfg_destroy", None, address)(made)
