"""Linux calls that the os module does not reach: renameat2, fallocate, utimensat with UTIME_NOW and UTIME_OMIT."""

import ctypes
import os
from pathlib import Path

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2
FALLOC_KEEP_SIZE = 1
FALLOC_PUNCH_HOLE = 2
FALLOC_ZERO_RANGE = 16
# The functional suite imports this on Windows too.
_libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None


class Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


def rename(old: str, new: str, flags: int) -> None:
    if _libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), ctypes.c_uint(flags)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), old, None, new)


def fallocate(fh: int, mode: int, offset: int, length: int) -> None:
    if _libc.fallocate(fh, mode, ctypes.c_int64(offset), ctypes.c_int64(length)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def utime(path: str, atime: int | str | None, mtime: int | str | None) -> None:
    """Times in ns, a str for "now", None to leave one. Does not follow a symlink."""
    times = (Timespec * 2)(_timespec(atime), _timespec(mtime))
    if _libc.utimensat(AT_FDCWD, os.fsencode(path), times, AT_SYMLINK_NOFOLLOW):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)


def futime(fd: int, atime: int | str | None, mtime: int | str | None) -> None:
    """The same for an open file."""
    if _libc.futimens(fd, (Timespec * 2)(_timespec(atime), _timespec(mtime))):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _timespec(time: int | str | None) -> Timespec:
    if time is None:
        return Timespec(0, UTIME_OMIT)
    if isinstance(time, str):
        return Timespec(0, UTIME_NOW)
    return Timespec(*divmod(time, 1_000_000_000))


def peak_rss_bytes(pid: int) -> int:
    """The most memory that a process ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
