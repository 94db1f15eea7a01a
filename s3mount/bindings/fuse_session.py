"""One mount over libfuse's low-level interface, from mount(2) to the last thread's end: `run_fuse`.

Called by mount.py in the main thread; the callbacks (fuse.py) run on libfuse's own threads, many at once. It knows
mount options, signals and what the kernel is asked for, and nothing of files.
"""

import ctypes
import logging
import os
import signal
import sys
import threading
from typing import Any

from s3mount.bindings import lowlevel_abi as abi
from s3mount.bindings.fuse import FuseCallbacks
from s3mount.bindings.invalidation import Invalidation
from s3mount.bindings.kernel_readahead import start_raising
from s3mount.bindings.mount_options import IO_BYTES_MAX, MountOptions, library_of, mount_options
from s3mount.bindings.mount_point import StderrCapture, check_mountpoint
from s3mount.bindings.served import Ready, ServedFileSystem
from s3mount.errors import MountPointUnusable
from s3mount.host import take_end_signals
from s3mount.model import Ino

log = logging.getLogger(__name__)

BACKGROUND_REQUESTS_MAX = 64
# A FUSE thread that wants the interpreter from a thread busy in Python waits this long for each of its calls; with
# the default of 5 ms one busy thread takes creating files from 7 000 to 40 a second, with this to 1 000.
SWITCH_INTERVAL_S = 0.0001
# FUSE_CAP_*, fuse_common.h. libfuse wants both by itself.
# The kernel would drop a file's cached pages whenever its mtime moves, and with each own write it does.
CAP_AUTO_INVAL_DATA = 1 << 12
# Without it the kernel itself takes the setuid bit off a file that another user writes to.
CAP_HANDLE_KILLPRIV = 1 << 20
# The kernel goes by access lists, and leaves the umask to us: where a directory has a default list it does not count.
CAPS_ACCESS_LISTS = 1 << 19 | 1 << 6
MOUNT_REFUSED_HINT = "check -o and /dev/fuse, and start a container with --device /dev/fuse --cap-add SYS_ADMIN"


class _Refused(Exception):
    """libfuse would not; what it said is on stderr."""


def run_fuse(
    filesystem: ServedFileSystem,
    mountpoint: str,
    *,
    source_name: str,
    read_only: bool,
    allow_other: bool,
    extra_options: tuple[str, ...],
    on_ready: Ready,
    detaching: threading.Event | None = None,
) -> None:
    """Mount `filesystem` and serve it until it is unmounted or SIGTERM, SIGINT or SIGHUP arrives (libfuse's own
    handlers, while Python has the default ones). Call it in the main thread. Shortens the interpreter's switch
    interval for the whole process, and makes "/" its current directory. `detaching` is not looked at: a mount ends
    where the system says so.

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

    options = mount_options(
        library_of(sys.platform, is_macfuse=abi.is_macfuse),
        source_name=source_name,
        read_only=read_only,
        allow_other=allow_other,
        extra_options=extra_options,
    )
    log.debug("libfuse %d.%d mounts %s with -o %s", *abi.version, mountpoint, options.text)
    why = ""
    try:
        with capture:
            status = _serve(filesystem, mountpoint, options, on_init)
            if not is_mounted.is_set():
                raise _Refused(f"libfuse's loop ended with {status}")
    except _Refused as error:
        why = capture.text() or str(error)
    if why:
        raise MountPointUnusable(f"cannot mount on {mountpoint}: {why}; {MOUNT_REFUSED_HINT}")
    if status < 0:
        log.error("serving %s ended with libfuse's code %d", mountpoint, status)
    elif status > 0:
        log.info("serving %s was ended by signal %d", mountpoint, status)


def _serve(filesystem: ServedFileSystem, mountpoint: str, options: MountOptions, on_init: Ready) -> int:
    """Mount, serve, unmount: what session_loop returned. Raises _Refused when it came to no mount."""
    operations = abi.fuse_lowlevel_ops()
    operations.init = abi.init_t(_init_callback(on_init))
    FuseCallbacks(filesystem).fill(operations)
    arguments = [b"s3mount", b"-o", options.text.encode("utf-8", "surrogateescape")]
    argv = (ctypes.c_char_p * (len(arguments) + 1))(*arguments)
    session = abi.session_new(abi.fuse_args(len(arguments), argv, 0), operations)
    if not session:
        raise _Refused("no session")
    invalidation = _invalidation(session)
    filesystem.watch(invalidation.note)
    # libfuse takes over the signals that are at their default; Python has a handler of its own for this one.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        if abi.session_mount(session, os.fsencode(mountpoint)):
            raise _Refused("not mounted")
        try:
            abi.set_signal_handlers(session)
            invalidation.start()
            if sys.platform == "linux":
                start_raising(os.path.abspath(mountpoint))
            # The folder that it was started in must not stay in use for as long as the mount lives.
            os.chdir("/")
            take_end_signals()
            return abi.session_loop(
                session,
                threads_max=options.threads_max,
                idle_threads_max=options.idle_threads_max,
                clones_fd=options.clones_fd,
            )
        finally:
            abi.remove_signal_handlers(session)
            abi.session_unmount(session)
    finally:
        if invalidation.end():
            abi.session_destroy(session)
        signal.signal(signal.SIGINT, interrupt)


def _invalidation(session: int) -> Invalidation:
    def forget_inode(ino: Ino) -> int:
        return int(abi.notify_inval_inode(session, ino, 0, 0))

    def forget_name(parent: Ino, name: str) -> int:
        encoded = name.encode("utf-8", "surrogateescape")
        return int(abi.notify_inval_entry(session, parent, encoded, len(encoded)))

    return Invalidation(forget_inode, forget_name)


def _init_callback(on_init: Ready) -> Any:
    def init(userdata: int | None, connection: Any) -> None:
        try:
            _set_up(connection.contents)
            on_init()
        except BaseException:  # an exception must not unwind into C
            log.exception("the start of the mount failed in a way nobody foresaw")

    return init


def _set_up(connection: Any) -> None:
    connection.max_background = BACKGROUND_REQUESTS_MAX
    connection.congestion_threshold = BACKGROUND_REQUESTS_MAX * 3 // 4
    connection.max_write = connection.max_read = IO_BYTES_MAX
    connection.want &= ~(CAP_HANDLE_KILLPRIV | CAP_AUTO_INVAL_DATA)
    if connection.capable & CAPS_ACCESS_LISTS == CAPS_ACCESS_LISTS:
        connection.want |= CAPS_ACCESS_LISTS
