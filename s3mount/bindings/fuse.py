"""libfuse's callbacks over a FileSystem: decode, call, reply. No decisions.

Called by libfuse's threads, many at once, through the table that `FuseCallbacks.fill` makes; keeps no state of its own.
A callback is a method, which returns what the kernel is to hear or raises, and a row of TABLE, which says how that is
sent. `_guarded` around each sees to it that every request is answered exactly once: a reply function does its last
thing first and calls libfuse last, so whatever raises has not replied yet.

Not in the table on purpose, so that the kernel or libfuse answers without an upcall:
- forget: inode numbers are the index's and are not counted; libfuse takes note by itself.
- getlk, setlk, flock: the kernel keeps them locally. access: `default_permissions`.
"""

import ctypes
import errno
import itertools
import logging
import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from s3mount.bindings import lowlevel_abi as abi
from s3mount.bindings.error_codes import errno_of, no_attribute_errno
from s3mount.bindings.served import ServedFileSystem
from s3mount.bindings.stat_buffer import ATTR_TIMEOUT_S, attr_change, dirent_bytes, entry_bytes, stat_bytes
from s3mount.errors import FsError, NotSupported
from s3mount.model import Attr, Caller, DirEntry, Fh, Ino, Seek, VolumeInfo

log = logging.getLogger(__name__)

PERMISSION_BITS = 0o7777
# The inode number for an entry of which none is known; 0 would make the C library skip the entry.
UNKNOWN_INO = Ino(0xFFFFFFFF)
# "." and "..", which come before what the drive has.
DOTS = 2
FH_OFFSET: int = abi.file_info.fh.offset
PyBUF_READ = 0x100

_ENCODING = ("utf-8", "surrogateescape")
_file_info = abi.file_info.from_address
_ctx_at = abi.fuse_ctx.from_address
_fh_at = ctypes.c_uint64.from_address
_borrow = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)(
    ("PyMemoryView_FromMemory", ctypes.pythonapi)
)
_thread = threading.local()

Reply = Callable[[int, tuple[Any, ...], Any], int]
Packed = tuple[ctypes.Array[ctypes.c_char], int]


def _keep_thread_state() -> None:
    """Make this libfuse thread's Python state outlive the callback. ctypes would build and drop one for each call, and
    with it everything in a threading.local; keeping it makes calls 1.6 times as fast. libfuse keeps its threads until
    the mount ends, so this is bounded by their number."""
    _thread.is_kept = True
    ctypes.pythonapi.PyGILState_Ensure()


# -- replies: (request, arguments of the callback, its result) to libfuse's status ---------------------------------


def _done(request: int, arguments: tuple[Any, ...], result: object) -> int:
    return int(abi.reply_err(request, 0))


def _entry(request: int, arguments: tuple[Any, ...], attr: Attr) -> int:
    return int(abi.reply_entry(request, entry_bytes(attr)))


def _attr(request: int, arguments: tuple[Any, ...], attr: Attr) -> int:
    return int(abi.reply_attr(request, stat_bytes(attr), ATTR_TIMEOUT_S))


def _text(request: int, arguments: tuple[Any, ...], text: str) -> int:
    return int(abi.reply_readlink(request, text.encode(*_ENCODING)))


def _opened(request: int, arguments: tuple[Any, ...], fh: Fh) -> int:
    address = arguments[-1]
    _fh_at(address + FH_OFFSET).value = fh
    return int(abi.reply_open(request, address))


def _created(request: int, arguments: tuple[Any, ...], made: tuple[Attr, Fh]) -> int:
    address = arguments[-1]
    _fh_at(address + FH_OFFSET).value = made[1]
    return int(abi.reply_create(request, entry_bytes(made[0]), address))


def _data(request: int, arguments: tuple[Any, ...], data: bytes) -> int:
    return int(abi.reply_buf(request, data, len(data)))


def _packed(request: int, arguments: tuple[Any, ...], packed: Packed) -> int:
    return int(abi.reply_buf(request, *packed))


def _written(request: int, arguments: tuple[Any, ...], size: int) -> int:
    return int(abi.reply_write(request, size))


def _found(request: int, arguments: tuple[Any, ...], offset: int) -> int:
    return int(abi.reply_lseek(request, offset))


def _attribute(request: int, arguments: tuple[Any, ...], value: bytes | None) -> int:
    if value is None:
        return int(abi.reply_err(request, no_attribute_errno(sys.platform)))
    return _sized(request, arguments[2], value)


def _attribute_names(request: int, arguments: tuple[Any, ...], names: bytes) -> int:
    return _sized(request, arguments[1], names)


def _sized(request: int, room: int, value: bytes) -> int:
    """`room`: what the caller has; 0 when it asks for the size."""
    if room and len(value) > room:
        return int(abi.reply_err(request, errno.ERANGE))
    return int(abi.reply_buf(request, value, len(value)) if room else abi.reply_xattr(request, len(value)))


def _volume(request: int, arguments: tuple[Any, ...], volume: VolumeInfo) -> int:
    return int(abi.reply_statfs(request, abi.native.volume_of(volume)))


class FuseCallbacks:
    """A method takes the request and what libfuse hands over after it; `info` is the address of a fuse_file_info."""

    def __init__(self, filesystem: ServedFileSystem) -> None:
        self._filesystem = filesystem

    def fill(self, operations: abi.fuse_lowlevel_ops) -> None:
        """Enter every callback; they live as long as `operations`."""
        for name, row in TABLE.items():
            undo = row.undo and row.undo.__get__(self)
            callback = _guarded(name, row.method.__get__(self), row.reply, undo)
            setattr(operations, name, abi.PROTOTYPES[name](callback))

    # -- attributes --

    def lookup(self, request: int, parent: Ino, name: bytes) -> Attr:
        return self._filesystem.lookup(parent, name.decode(*_ENCODING))

    def getattr(self, request: int, ino: Ino, info: int | None) -> Attr:
        return self._filesystem.getattr(ino)

    def setattr(self, request: int, ino: Ino, stat_address: int, to_set: int, info: int | None) -> Attr:
        change = attr_change(stat_address, to_set, time.time_ns())
        return self._filesystem.setattr(ino, change, _fh(info) if info else None)

    def statfs(self, request: int, ino: Ino) -> VolumeInfo:
        return self._filesystem.statfs()

    # -- names --

    def readlink(self, request: int, ino: Ino) -> str:
        return self._filesystem.readlink(ino)

    def mknod(self, request: int, parent: Ino, name: bytes, mode: int, rdev: int) -> Attr:
        return self._filesystem.mknod(parent, name.decode(*_ENCODING), mode, rdev, _caller(request))

    def mkdir(self, request: int, parent: Ino, name: bytes, mode: int) -> Attr:
        return self._filesystem.mkdir(parent, name.decode(*_ENCODING), mode & PERMISSION_BITS, _caller(request))

    def unlink(self, request: int, parent: Ino, name: bytes) -> None:
        self._filesystem.unlink(parent, name.decode(*_ENCODING))

    def rmdir(self, request: int, parent: Ino, name: bytes) -> None:
        self._filesystem.rmdir(parent, name.decode(*_ENCODING))

    def symlink(self, request: int, target: bytes, parent: Ino, name: bytes) -> Attr:
        return self._filesystem.symlink(
            target.decode(*_ENCODING), parent, name.decode(*_ENCODING), _caller(request)
        )  # fmt: skip

    def rename(self, request: int, parent: Ino, name: bytes, new_parent: Ino, new_name: bytes, flags: int) -> None:
        self._filesystem.rename(parent, name.decode(*_ENCODING), new_parent, new_name.decode(*_ENCODING), flags)

    def link(self, request: int, ino: Ino, new_parent: Ino, new_name: bytes) -> Attr:
        return self._filesystem.link(ino, new_parent, new_name.decode(*_ENCODING))

    # -- extended attributes --

    def getxattr(self, request: int, ino: Ino, name: bytes, size: int, position: int = 0) -> bytes | None:
        _require_whole(position)
        return self._filesystem.getxattr(ino, name.decode(*_ENCODING))

    def listxattr(self, request: int, ino: Ino, size: int) -> bytes:
        return b"".join(name.encode(*_ENCODING) + b"\0" for name in self._filesystem.listxattr(ino, _caller(request)))

    def setxattr(
        self, request: int, ino: Ino, name: bytes, value: int | None, size: int, flags: int, position: int = 0
    ) -> None:
        _require_whole(position)
        data = ctypes.string_at(value, size) if value else b""
        self._filesystem.setxattr(ino, name.decode(*_ENCODING), data, flags)

    def removexattr(self, request: int, ino: Ino, name: bytes) -> None:
        self._filesystem.removexattr(ino, name.decode(*_ENCODING))

    # -- bytes --

    def create(self, request: int, parent: Ino, name: bytes, mode: int, info: int) -> tuple[Attr, Fh]:
        return self._filesystem.create(
            parent, name.decode(*_ENCODING), mode & PERMISSION_BITS, _file_info(info).flags, _caller(request)
        )

    def open(self, request: int, ino: Ino, info: int) -> Fh:
        handle = _file_info(info)
        fh = self._filesystem.open(ino, handle.flags, _caller(request))
        handle.keep_cache = self._filesystem.keeps_pages(fh)
        return fh

    def read(self, request: int, ino: Ino, size: int, offset: int, info: int) -> bytes:
        data = self._filesystem.read(_fh(info), offset, size)
        if len(data) > size:
            raise ValueError(f"{len(data)} bytes for a read of {size}")
        return data

    def write(self, request: int, ino: Ino, buffer: int, size: int, offset: int, info: int) -> int:
        handle = _file_info(info)
        data = _borrow(buffer, size, PyBUF_READ)
        return self._filesystem.write(handle.fh, offset, data, is_page=bool(handle.writepage))

    def fallocate(self, request: int, ino: Ino, mode: int, offset: int, length: int, info: int) -> None:
        self._filesystem.allocate(_fh(info), mode, offset, length)

    def lseek(self, request: int, ino: Ino, offset: int, whence: int, info: int) -> int:
        wanted = Seek.DATA if whence == os.SEEK_DATA else Seek.HOLE  # type: ignore[attr-defined,unused-ignore]
        return self._filesystem.seek(_fh(info), offset, wanted)

    def copy_file_range(
        self, request: int, ino_in: Ino, offset_in: int, info_in: int, ino_out: Ino, offset_out: int, info_out: int,
        size: int, flags: int,
    ) -> int:  # fmt: skip
        return self._filesystem.copy_range(_fh(info_in), offset_in, _fh(info_out), offset_out, size)

    def flush(self, request: int, ino: Ino, info: int) -> None:
        self._filesystem.flush(_fh(info))

    def fsync(self, request: int, ino: Ino, datasync: int, info: int) -> None:
        self._filesystem.fsync(_fh(info), bool(datasync))

    def release(self, request: int, ino: Ino, info: int) -> None:
        self._filesystem.release(_fh(info))

    def undo_open(self, fh: Fh) -> None:
        self._filesystem.release(fh)

    def undo_create(self, made: tuple[Attr, Fh]) -> None:
        self._filesystem.release(made[1])

    # -- directories --

    def opendir(self, request: int, ino: Ino, info: int) -> Fh:
        return self._filesystem.opendir(ino)

    def undo_opendir(self, fh: Fh) -> None:
        self._filesystem.releasedir(fh)

    def readdir(self, request: int, ino: Ino, size: int, offset: int, info: int) -> Packed:
        return self._list(request, ino, size, offset, info, abi.add_direntry, _dirent_of)

    def readdirplus(self, request: int, ino: Ino, size: int, offset: int, info: int) -> Packed:
        return self._list(request, ino, size, offset, info, abi.add_direntry_plus, _entry_of)

    def _list(
        self, request: int, ino: Ino, size: int, offset: int, info: int, add: Any, describe: Callable[[DirEntry], bytes]
    ) -> Packed:
        """Fill one reply from `offset` on. An entry's offset is where the next call goes on: its next place, behind
        "." and "..". A reply may have room left, the end is an empty one."""
        entries = self._filesystem.readdir(_fh(info), max(offset - DOTS, 0))
        buffer = ctypes.create_string_buffer(size)
        start, used = ctypes.addressof(buffer), 0
        for entry in itertools.chain(_dots(ino)[offset:], entries):
            name = entry.name.encode(*_ENCODING)
            needed = add(request, start + used, size - used, name, describe(entry), entry.next_place + DOTS)
            if needed > size - used:
                break
            used += needed
        return buffer, used

    def releasedir(self, request: int, ino: Ino, info: int) -> None:
        self._filesystem.releasedir(_fh(info))

    def fsyncdir(self, request: int, ino: Ino, datasync: int, info: int) -> None:
        self._filesystem.fsyncdir(_fh(info), bool(datasync))


def _dots(ino: Ino) -> tuple[DirEntry, DirEntry]:
    here = Attr(ino, stat.S_IFDIR, 0, 0, 0, 0, 0, 0, 0)
    above = Attr(UNKNOWN_INO, stat.S_IFDIR, 0, 0, 0, 0, 0, 0, 0)
    return (
        DirEntry(".", here, is_complete=False, next_place=1 - DOTS),
        DirEntry("..", above, is_complete=False, next_place=2 - DOTS),
    )


def _dirent_of(entry: DirEntry) -> bytes:
    return dirent_bytes(entry.attr)


def _entry_of(entry: DirEntry) -> bytes:
    return entry_bytes(entry.attr, is_complete=entry.is_complete)


def _require_whole(position: int) -> None:
    """macOS reads and writes nothing in pieces but resource forks, of which a drive has none."""
    if position:
        raise NotSupported("a piece of an extended attribute")


def _fh(info: int) -> Fh:
    return Fh(_fh_at(info + FH_OFFSET).value)


def _caller(request: int) -> Caller:
    context = _ctx_at(abi.req_ctx(request))
    return Caller(context.uid, context.gid, context.umask)


class Row(NamedTuple):
    """`undo` is called with the result when the kernel did not take the reply: the opening program was interrupted,
    and no release will come."""

    method: Callable[..., Any]
    reply: Reply
    undo: Callable[..., None] | None = None


TABLE = {
    "lookup": Row(FuseCallbacks.lookup, _entry),
    "getattr": Row(FuseCallbacks.getattr, _attr),
    "setattr": Row(FuseCallbacks.setattr, _attr),
    "readlink": Row(FuseCallbacks.readlink, _text),
    "mknod": Row(FuseCallbacks.mknod, _entry),
    "mkdir": Row(FuseCallbacks.mkdir, _entry),
    "unlink": Row(FuseCallbacks.unlink, _done),
    "rmdir": Row(FuseCallbacks.rmdir, _done),
    "symlink": Row(FuseCallbacks.symlink, _entry),
    "rename": Row(FuseCallbacks.rename, _done),
    "link": Row(FuseCallbacks.link, _entry),
    "getxattr": Row(FuseCallbacks.getxattr, _attribute),
    "listxattr": Row(FuseCallbacks.listxattr, _attribute_names),
    "setxattr": Row(FuseCallbacks.setxattr, _done),
    "removexattr": Row(FuseCallbacks.removexattr, _done),
    "create": Row(FuseCallbacks.create, _created, FuseCallbacks.undo_create),
    "open": Row(FuseCallbacks.open, _opened, FuseCallbacks.undo_open),
    "read": Row(FuseCallbacks.read, _data),
    "write": Row(FuseCallbacks.write, _written),
    "fallocate": Row(FuseCallbacks.fallocate, _done),
    "lseek": Row(FuseCallbacks.lseek, _found),
    "copy_file_range": Row(FuseCallbacks.copy_file_range, _written),
    "flush": Row(FuseCallbacks.flush, _done),
    "release": Row(FuseCallbacks.release, _done),
    "fsync": Row(FuseCallbacks.fsync, _done),
    "opendir": Row(FuseCallbacks.opendir, _opened, FuseCallbacks.undo_opendir),
    "readdir": Row(FuseCallbacks.readdir, _packed),
    "readdirplus": Row(FuseCallbacks.readdirplus, _packed),
    "releasedir": Row(FuseCallbacks.releasedir, _done),
    "fsyncdir": Row(FuseCallbacks.fsyncdir, _done),
    "statfs": Row(FuseCallbacks.statfs, _volume),
}


def _guarded(
    name: str, method: Callable[..., Any], reply: Reply, undo: Callable[..., None] | None
) -> Callable[..., None]:
    def callback(request: int, *arguments: Any) -> None:
        try:
            if not hasattr(_thread, "is_kept"):
                _keep_thread_state()
            result = method(request, *arguments)
            status = reply(request, arguments, result)
        except FsError as error:
            code = errno_of(error)
            if code == errno.EIO:
                log.error("%s: %s", name, error, exc_info=error.__cause__ is not None)
            abi.reply_err(request, code)
        except BaseException:  # an exception must not unwind into C; the drive goes on
            log.exception("%s failed in a way nobody foresaw", name)
            abi.reply_err(request, errno.EIO)
        else:
            if undo is not None and status == -errno.ENOENT:
                _undo(name, undo, result)

    return callback


def _undo(name: str, undo: Callable[..., None], result: object) -> None:
    try:
        undo(result)
    except BaseException:  # as above
        log.exception("%s could not be undone after its caller was interrupted", name)
