"""One face for "an operating system's file calls", so that the functional suite is written once.

`MountOs` is the os module below a real directory: a mounted drive, or a folder of the host as oracle. The other one
is in_process_os.py. Paths are relative to the root ("a/b"); errors are OSError with the errno a program sees.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from s3mount.model import Attr, VolumeInfo
from tests.support import linux

NOW = "now"
Time = int | str | None


class OsLike(Protocol):
    """`root` is the real directory, None where there is none. Times: ns, NOW, or None to leave one as it is."""

    root: Path | None

    def open(self, path: str, flags: int, mode: int = 0o644) -> int: ...
    def close(self, fh: int) -> None: ...
    def read(self, fh: int, size: int) -> bytes: ...
    def write(self, fh: int, data: bytes) -> int: ...
    def pread(self, fh: int, size: int, offset: int) -> bytes: ...
    def pwrite(self, fh: int, data: bytes, offset: int) -> int: ...
    def fsync(self, fh: int) -> None: ...
    def fsync_dir(self, path: str) -> None: ...
    def ftruncate(self, fh: int, size: int) -> None: ...
    def fstat(self, fh: int) -> Attr: ...
    def fchmod(self, fh: int, mode: int) -> None: ...
    def fchown(self, fh: int, uid: int, gid: int) -> None: ...
    def futime(self, fh: int, atime: Time, mtime: Time) -> None: ...
    def truncate(self, path: str, size: int) -> None: ...
    def stat(self, path: str) -> Attr: ...
    def lstat(self, path: str) -> Attr: ...
    def mkdir(self, path: str, mode: int = 0o755) -> None: ...
    def rmdir(self, path: str) -> None: ...
    def unlink(self, path: str) -> None: ...
    def rename(self, old: str, new: str, flags: int = 0) -> None: ...
    def symlink(self, target: str, path: str) -> None: ...
    def readlink(self, path: str) -> str: ...
    def listdir(self, path: str) -> list[str]: ...
    def scan(self, path: str) -> dict[str, Attr]:
        """Each name with its lstat."""

    def chmod(self, path: str, mode: int) -> None: ...
    def chown(self, path: str, uid: int, gid: int) -> None: ...
    def utime(self, path: str, atime: Time, mtime: Time) -> None: ...
    def statvfs(self) -> VolumeInfo: ...
    def fallocate(self, fh: int, mode: int, offset: int, length: int) -> None: ...
    def seek(self, fh: int, offset: int, whence: int) -> int:
        """With SEEK_DATA or SEEK_HOLE."""

    def copy_range(self, fh_in: int, offset_in: int, fh_out: int, offset_out: int, size: int) -> int: ...


def attr_of(result: os.stat_result) -> Attr:
    r = result
    times = (r.st_atime_ns, r.st_mtime_ns, r.st_ctime_ns)
    return Attr(r.st_ino, r.st_mode, r.st_nlink, r.st_uid, r.st_gid, r.st_size, *times, r.st_blocks)  # type: ignore[arg-type]


class MountOs:
    def __init__(self, root: Path) -> None:
        self.root: Path | None = root
        self._base = f"{root}/"

    def _at(self, path: str) -> str:
        return self._base + path

    def open(self, path: str, flags: int, mode: int = 0o644) -> int:
        return os.open(self._at(path), flags, mode)

    def close(self, fh: int) -> None:
        os.close(fh)

    def read(self, fh: int, size: int) -> bytes:
        return os.read(fh, size)

    def write(self, fh: int, data: bytes) -> int:
        return os.write(fh, data)

    def pread(self, fh: int, size: int, offset: int) -> bytes:
        return os.pread(fh, size, offset)

    def pwrite(self, fh: int, data: bytes, offset: int) -> int:
        return os.pwrite(fh, data, offset)

    def fsync(self, fh: int) -> None:
        os.fsync(fh)

    def fsync_dir(self, path: str) -> None:
        fh = os.open(self._at(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fh)
        finally:
            os.close(fh)

    def ftruncate(self, fh: int, size: int) -> None:
        os.ftruncate(fh, size)

    def fstat(self, fh: int) -> Attr:
        return attr_of(os.fstat(fh))

    def fchmod(self, fh: int, mode: int) -> None:
        os.fchmod(fh, mode)

    def fchown(self, fh: int, uid: int, gid: int) -> None:
        os.fchown(fh, uid, gid)

    def futime(self, fh: int, atime: Time, mtime: Time) -> None:
        linux.futime(fh, atime, mtime)

    def truncate(self, path: str, size: int) -> None:
        os.truncate(self._at(path), size)

    def stat(self, path: str) -> Attr:
        return attr_of(os.stat(self._at(path)))

    def lstat(self, path: str) -> Attr:
        return attr_of(os.lstat(self._at(path)))

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        os.mkdir(self._at(path), mode)

    def rmdir(self, path: str) -> None:
        os.rmdir(self._at(path))

    def unlink(self, path: str) -> None:
        os.unlink(self._at(path))

    def rename(self, old: str, new: str, flags: int = 0) -> None:
        linux.rename(self._at(old), self._at(new), flags)

    def symlink(self, target: str, path: str) -> None:
        os.symlink(target, self._at(path))

    def readlink(self, path: str) -> str:
        return os.readlink(self._at(path))

    def listdir(self, path: str) -> list[str]:
        return os.listdir(self._at(path))

    def scan(self, path: str) -> dict[str, Attr]:
        with os.scandir(self._at(path)) as entries:
            return {entry.name: attr_of(entry.stat(follow_symlinks=False)) for entry in entries}

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._at(path), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.lchown(self._at(path), uid, gid)

    def utime(self, path: str, atime: Time, mtime: Time) -> None:
        linux.utime(self._at(path), atime, mtime)

    def statvfs(self) -> VolumeInfo:
        v = os.statvfs(self._base)
        return VolumeInfo(v.f_frsize, v.f_blocks, v.f_bavail, v.f_files, v.f_ffree, v.f_namemax)

    def fallocate(self, fh: int, mode: int, offset: int, length: int) -> None:
        linux.fallocate(fh, mode, offset, length)

    def seek(self, fh: int, offset: int, whence: int) -> int:
        return os.lseek(fh, offset, whence)

    def copy_range(self, fh_in: int, offset_in: int, fh_out: int, offset_out: int, size: int) -> int:
        return os.copy_file_range(fh_in, fh_out, size, offset_in, offset_out)


def code_of(function: Callable[..., object], *args: object) -> int:
    """The errno that `function(*args)` raises, 0 when it succeeds."""
    try:
        function(*args)
    except OSError as error:
        return error.errno or -1
    return 0


def put(fs: OsLike, path: str, data: bytes = b"", mode: int = 0o644) -> None:
    """Make or replace a file."""
    fh = fs.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, mode)
    try:
        done = 0
        while done < len(data):
            done += fs.write(fh, data[done : done + (1 << 20)])
    finally:
        fs.close(fh)


def content(fs: OsLike, path: str) -> bytes:
    fh = fs.open(path, os.O_RDONLY)
    try:
        pieces: list[bytes] = []
        while piece := fs.read(fh, 1 << 20):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        fs.close(fh)
