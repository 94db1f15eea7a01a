"""The C side of the FUSE binding: libfuse's callbacks in, FuseOperations called, errno out; and `run_fuse`.

Called by mount.py in the main thread; the callbacks run on libfuse's own threads, many at once. It knows pointers,
structures and mount options, and nothing of files. It replaces those wrappers of mfusepy.FUSE that drop what a
caller asked for: rename flags, the handle of chmod, chown, truncate and utimens, UTIME_NOW and UTIME_OMIT, and the
attributes of a directory's entries.
"""

import ctypes
import errno
import logging
import stat
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import mfusepy

from s3mount.bindings.error_codes import errno_of
from s3mount.bindings.fuse import FuseOperations
from s3mount.bindings.mount_point import StderrCapture, check_mountpoint, option_text
from s3mount.bindings.served import Ready, ServedFileSystem
from s3mount.bindings.stat_buffer import UNKNOWN_INO, fill_entry, fill_stat, fill_statvfs, read_time
from s3mount.errors import FsError, MountPointUnusable

log = logging.getLogger(__name__)

IO_BYTES_MAX = 1 << 20
ATTR_TIMEOUT_S = 1.0
# A name that another client makes in the bucket has to show up at once, so its absence is never remembered.
NEGATIVE_TIMEOUT_S = 0.0
THREADS_MAX = 32
BACKGROUND_REQUESTS_MAX = 64
# A FUSE thread that wants the interpreter from a thread busy in Python waits this long for each of its calls; with
# the default of 5 ms one busy thread takes creating files from 7 000 to 40 a second, with this to 1 000.
SWITCH_INTERVAL_S = 0.0001
# enum fuse_readdir_flags and enum fuse_fill_dir_flags, fuse.h
READDIR_PLUS = 1
FILL_DIR_PLUS = 2
# FUSE_CAP_HANDLE_KILLPRIV, fuse_common.h; libfuse wants it by itself, and from some versions the kernel hears of it.
CAP_HANDLE_KILLPRIV = 1 << 12
# What fuse_main returns when its loop was ended by a signal.
LOOP_ENDED = (7, 8)
MOUNT_REFUSED_HINT = "check -o and /dev/fuse, and start a container with --device /dev/fuse --cap-add SYS_ADMIN"

_ENCODING = ("utf-8", "surrogateescape")
_addressof = ctypes.addressof
_thread = threading.local()


def _keep_thread_state() -> None:
    """Make this libfuse thread's Python state outlive the callback. ctypes would build and drop one for each call, and
    with it everything in a threading.local; keeping it makes calls 1.6 times as fast. libfuse keeps its threads until
    the mount ends (see _options), so this is bounded by THREADS_MAX."""
    _thread.is_kept = True
    ctypes.pythonapi.PyGILState_Ensure()


class FuseSession(mfusepy.FUSE):  # type: ignore[misc]  # mfusepy is untyped here
    """One mount; the constructor returns when it has ended. Raises RuntimeError with fuse_main's number."""

    def __init__(self, operations: FuseOperations, mountpoint: str, on_init: Ready, options: dict[str, Any]) -> None:
        self._on_init = on_init
        super().__init__(operations, mountpoint, foreground=True, **options)

    def _wrapper(self, func: Callable[..., int | None], *args: Any) -> int:
        try:
            if not hasattr(_thread, "is_kept"):
                _keep_thread_state()
            return func(*args) or 0
        except FsError as error:
            code = errno_of(error)
            if code == errno.EIO:
                log.error("%s: %s", func.__name__, error, exc_info=error.__cause__ is not None)
            return -code
        except BaseException:  # an exception must not unwind into C; the drive goes on
            log.exception("%s failed in a way nobody foresaw", func.__name__)
            return -errno.EIO

    # -- life of the mount --

    def _init(self, conn: Any, config: Any) -> None:
        connection = conn.contents
        connection.max_background = BACKGROUND_REQUESTS_MAX
        connection.congestion_threshold = BACKGROUND_REQUESTS_MAX * 3 // 4
        if config:
            # libfuse 2 has a fixed buffer, and breaks off when the kernel is told of more than fits.
            connection.max_write = connection.max_read = IO_BYTES_MAX
            # Without it the kernel itself takes the setuid bit off a file that another user writes to.
            connection.want &= ~CAP_HANDLE_KILLPRIV
            settings = config.contents
            settings.entry_timeout = settings.attr_timeout = ATTR_TIMEOUT_S
            settings.negative_timeout = NEGATIVE_TIMEOUT_S
            # An unlinked open file is unlinked; libfuse would rename it to a name that ends up in the bucket.
            settings.hard_remove = True
            settings.nullpath_ok = True
            settings.use_ino = True
        self._on_init()

    # -- attributes --

    def fgetattr(self, path: bytes | None, buf: Any, fip: Any) -> None:
        fill_stat(buf.contents, self.operations.getattr(_path(path), _fh(fip)))

    def chmod_fuse_3(self, path: bytes | None, mode: int, fip: Any) -> None:
        self.operations.chmod(_path(path), mode, _fh(fip))

    def chown_fuse_3(self, path: bytes | None, uid: int, gid: int, fip: Any) -> None:
        # uid_t is unsigned: the "leave it" of chown(2) arrives as its largest value.
        uid_kept = uid == ctypes.c_uint32(-1).value
        gid_kept = gid == ctypes.c_uint32(-1).value
        self.operations.chown(_path(path), -1 if uid_kept else uid, -1 if gid_kept else gid, _fh(fip))

    def truncate_fuse_3(self, path: bytes | None, length: int, fip: Any) -> None:
        self.operations.truncate(_path(path), length, _fh(fip))

    def utimens_fuse_2(self, path: bytes | None, buf: Any) -> None:
        self.utimens_fuse_3(path, buf, None)

    def utimens_fuse_3(self, path: bytes | None, buf: Any, fip: Any) -> None:
        times = None
        if buf:
            now_ns = time.time_ns()
            times = (read_time(buf.contents.actime, now_ns), read_time(buf.contents.modtime, now_ns))
        self.operations.utimens(_path(path), times, _fh(fip))

    def statfs(self, path: bytes, buf: Any) -> None:
        fill_statvfs(buf.contents, self.operations.statfs(path.decode(*_ENCODING)))

    # -- names --

    def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> None:
        self.operations.rename(old.decode(*_ENCODING), new.decode(*_ENCODING), flags)

    def readlink(self, path: bytes, buf: Any, bufsize: int) -> None:
        target = self.operations.readlink(path.decode(*_ENCODING)).encode(*_ENCODING)[: bufsize - 1] + b"\0"
        ctypes.memmove(buf, target, len(target))

    # -- content --

    def create(self, path: bytes, mode: int, fip: Any) -> None:
        handle = fip.contents
        handle.fh = self.operations.create(path.decode(*_ENCODING), mode, handle.flags)

    def read(self, path: bytes | None, buf: Any, size: int, offset: int, fip: Any) -> int:
        data = self.operations.read(None, size, offset, fip.contents.fh)
        if len(data) > size:
            raise ValueError(f"{len(data)} bytes for a read of {size}")
        ctypes.memmove(buf, data, len(data))
        return len(data)

    def write(self, path: bytes | None, buf: Any, size: int, offset: int, fip: Any) -> int:
        borrowed = (ctypes.c_char * size).from_address(_addressof(buf.contents))
        handle = fip.contents
        data = memoryview(borrowed).cast("B")
        written: int = self.operations.write(None, data, offset, handle.fh, bool(handle.writepage))
        return written

    # -- directories --

    def readdir_fuse_2(self, path: bytes | None, buf: Any, filler: Any, offset: int, fip: Any) -> None:
        self._list(buf, lambda b, name, st, next_offset, _plus: filler(b, name, st, next_offset), offset, fip, False)

    def readdir_fuse_3(self, path: bytes | None, buf: Any, filler: Any, offset: int, fip: Any, flags: int) -> None:
        self._list(buf, filler, offset, fip, bool(flags & READDIR_PLUS))

    def _list(self, buf: Any, filler: Any, offset: int, fip: Any, wants_attributes: bool) -> None:
        """Fill one reply from `offset` on. An entry's offset is where the next call goes on: its place, plus one,
        in the snapshot behind "." and ".."."""
        entries = self.operations.readdir(None, fip.contents.fh)
        entry_stat = mfusepy.c_stat()
        fill_entry(entry_stat, UNKNOWN_INO, stat.S_IFDIR)
        for place in range(offset, 2):
            if filler(buf, (b".", b"..")[place], entry_stat, place + 1, 0):
                return
        for place in range(max(offset - 2, 0), len(entries)):
            entry = entries[place]
            fills_attributes = wants_attributes and entry.is_complete
            if fills_attributes:
                fill_stat(entry_stat, entry.attr)
            else:
                fill_entry(entry_stat, entry.attr.ino, entry.attr.mode)
            flags = FILL_DIR_PLUS if fills_attributes else 0
            if filler(buf, entry.name.encode(*_ENCODING), entry_stat, place + 3, flags):
                return


def _path(path: bytes | None) -> str | None:
    return None if path is None else path.decode(*_ENCODING)


def _fh(fip: Any) -> int | None:
    return int(fip.contents.fh) if fip else None


def run_fuse(
    filesystem: ServedFileSystem,
    mountpoint: str,
    *,
    source_name: str,
    read_only: bool,
    allow_other: bool,
    extra_options: tuple[str, ...],
    on_ready: Ready,
) -> None:
    """Mount `filesystem` and serve it until it is unmounted or SIGTERM, SIGINT or SIGHUP arrives (libfuse's own
    handlers, while Python has the default ones). Call it in the main thread. Shortens the interpreter's switch
    interval for the whole process.

    `on_ready` is called once, from a FUSE thread, when the kernel has accepted the mount; it must not block.
    Raises MountPointUnusable, with libfuse's reason, when the mount was never made. Leaves nothing mounted then.
    """
    check_mountpoint(mountpoint)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    capture = StderrCapture()
    is_mounted = threading.Event()

    def on_init() -> None:
        capture.end()
        is_mounted.set()
        on_ready()

    options = _options(source_name, read_only, allow_other, extra_options)
    try:
        with capture:
            FuseSession(FuseOperations(filesystem), mountpoint, on_init, options)
    except RuntimeError as error:
        if not is_mounted.is_set():
            reason = capture.text() or f"fuse_main returned {error}"
            raise MountPointUnusable(f"cannot mount on {mountpoint}: {reason}; {MOUNT_REFUSED_HINT}") from error
        level = logging.INFO if error.args[0] in LOOP_ENDED else logging.ERROR
        log.log(level, "serving %s ended with fuse_main's code %s", mountpoint, error)


def _options(source_name: str, read_only: bool, allow_other: bool, extra_options: tuple[str, ...]) -> dict[str, Any]:
    version = (mfusepy.fuse_version_major, mfusepy.fuse_version_minor)
    options: dict[str, Any] = {
        "fsname": option_text(source_name),
        "subtype": "s3mount",
        "default_permissions": True,
        "allow_other": allow_other,
        "ro": read_only,
        "max_read": IO_BYTES_MAX,
    }
    if version >= (3, 12):
        # Never fewer idle than at most: a thread that ends takes its thread-local state with it.
        options |= {"max_threads": THREADS_MAX, "max_idle_threads": THREADS_MAX}
    elif version >= (3, 0):
        options["max_idle_threads"] = THREADS_MAX
    else:
        options |= {
            "hard_remove": True,
            "use_ino": True,
            "big_writes": True,
            "attr_timeout": ATTR_TIMEOUT_S,
            "entry_timeout": ATTR_TIMEOUT_S,
            "negative_timeout": NEGATIVE_TIMEOUT_S,
        }
    for option in extra_options:
        name, is_assignment, value = option.partition("=")
        options[name] = option_text(value) if is_assignment else True
    return options
