"""The host on Linux, macOS and the BSDs. What each name means, here and in windows.py, is said here.

Chosen by the package. Threads: any. A `number` is a file descriptor; every function that takes one raises OSError.
"""

import errno
import fcntl
import functools
import os
import select
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import ctypes

assert sys.platform != "win32"

# What ends a process in an orderly way: the user, the system, a terminal that closes.
END_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Whether files have an owner and mode bits that keep others out.
HAS_OWNERS: Final = True
# Whether a drive is there exactly as long as its process serves it, and nobody else can take it away.
PROCESS_HOLDS_DRIVE: Final = False
BOOT_ID_PATH: Path = Path("/proc/sys/kernel/random/boot_id")

_PROC: Final = Path("/proc")
_FALLOC_FL_KEEP_SIZE: Final = 1
_FALLOC_FL_PUNCH_HOLE: Final = 2
# sys/fcntl.h of macOS, whose fsync(2) stops at the disk's own cache.
_F_FULLFSYNC: Final = 51

AnyPath = str | os.PathLike[str]

# -- files -------------------------------------------------------------------------------------------------------

# At an offset, whatever else is read or written through the same number meanwhile. Bound, not wrapped: each read and
# write of cached bytes passes here.
pread = os.pread
pwrite = os.pwrite


def open_shared(path: AnyPath, flags: int, mode: int = 0o600) -> int:
    """As os.open, of bytes as they are; the file can be renamed and removed while it is open."""
    return os.open(path, flags, mode)


def open_sparse(path: AnyPath, flags: int, mode: int = 0o600) -> int:
    """The same of a file that takes no room where nothing was written, as far as its file system can do that."""
    return os.open(path, flags, mode)


def truncate(number: int, length: int) -> None:
    """Cut the file, or lengthen it with zeros that are not written."""
    os.ftruncate(number, length)


def punch_hole(number: int, start: int, end: int) -> None:
    """[start, end) reads as zeros and takes no space; the length stays. EOPNOTSUPP where that cannot be done."""
    _fallocate(number, _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, start, end)


def allocate(number: int, start: int, end: int) -> None:
    """Writes to [start, end) do not fail for want of space from here on; content and length stay. EOPNOTSUPP where
    that cannot be done."""
    _fallocate(number, _FALLOC_FL_KEEP_SIZE, start, end)


@functools.cache
def _libc() -> "ctypes.CDLL | None":
    # Here, since a command that only asks a mount something has no use for it.
    import ctypes

    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _fallocate(number: int, mode: int, start: int, end: int) -> None:
    libc = _libc()
    if libc is None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    import ctypes

    while libc.fallocate(number, mode, ctypes.c_int64(start), ctypes.c_int64(end - start)) != 0:
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


def fdatasync(number: int) -> None:
    """The file's bytes and its length survive power loss on return."""
    if sys.platform == "darwin":
        _sync_through(number)
    else:
        getattr(os, "fdatasync", os.fsync)(number)


def _sync_through(number: int) -> None:
    try:
        fcntl.fcntl(number, _F_FULLFSYNC)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY):
            raise
        # A file system that is not on a disk of this computer.
        os.fsync(number)


def sync_folder(path: Path) -> None:
    """The names made and removed in the folder before survive power loss on return."""
    number = os.open(path, os.O_RDONLY)
    try:
        _sync_through(number) if sys.platform == "darwin" else os.fsync(number)
    finally:
        os.close(number)


def sync_filesystem(path: Path) -> bool:
    """Everything written to the file system of that folder survives power loss on return. False: not possible."""
    libc = _libc()
    if libc is None:
        return False
    number = os.open(path, os.O_RDONLY)
    try:
        return bool(libc.syncfs(number) == 0)
    finally:
        os.close(number)


def replace(draft: Path, path: Path) -> None:
    """`draft`, synced, becomes `path`: after power loss `path` is the one before or this. Survives power loss once the
    folder is synced."""
    os.replace(draft, path)


def lock_exclusively(number: int) -> bool:
    """Lock the file until the number is closed or the process dies; False when it is locked through another number.
    The holder's bytes can be read all the same."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


# -- who and when ------------------------------------------------------------------------------------------------


def effective_uid() -> int:
    """The owner that files made by this process have, as os.stat says it."""
    return os.geteuid()


def own_ids() -> tuple[int, int]:
    """User and group of this user, as numbers that other systems understand."""
    return os.getuid(), os.getgid()


def boot_identity() -> bytes:
    """Changes whenever the machine boots; empty when unknown."""
    try:
        return BOOT_ID_PATH.read_bytes().strip()
    except OSError:
        return b""


def taken_letters() -> str:
    """Of the drives that this process sees, in upper case, with and without a medium; "" where there are no letters."""
    return ""


# -- processes ---------------------------------------------------------------------------------------------------


def start_time(pid: int) -> str | None:
    """When the process started, as a word to compare; "" where the system does not tell; None when no such process
    runs. A zombie does not run."""
    if not (_PROC / "self" / "stat").exists():
        return "" if _answers_signals(pid) else None
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the program's name in parentheses and may hold blanks and parentheses itself.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _answers_signals(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def detached(number: int) -> tuple[int, Mapping[str, Any]]:
    """How to start a process that outlives this one and its terminal and has the open file `number`: what names
    the file to `handed_down` there, and arguments of subprocess.Popen."""
    return number, {"pass_fds": (number,), "start_new_session": True}


def handed_down(given: int) -> int:
    """The number of an open file that the parent handed down; no further process gets it. Raises OSError."""
    os.set_inheritable(given, False)
    return given


def wait_readable(number: int, deadline_s: float) -> bool:
    """Whether a read of the pipe returns at once; waits for that, at most `deadline_s` seconds."""
    readable, _, _ = select.select([number], [], [], deadline_s)
    return bool(readable)


def hold_end_signals() -> None:
    """No END_SIGNALS come to the calling thread, nor to any that is started from it, until take_end_signals().

    libfuse's loop waits for the signal in the main thread. One that any thread may take can be taken while the main one
    is on its way to it (signal(7): for process-directed signals the kernel chooses an arbitrary thread), and the loop
    would wait on, until the next file operation."""
    signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)


def take_end_signals() -> None:
    """The calling thread gets END_SIGNALS again, also those that came meanwhile."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)


def end_with_console() -> None:
    """A terminal that is closed, and a user who logs off, count as one of END_SIGNALS from here on."""
    # The kernel sends SIGHUP.
