"""OsLike on a drive of Windows: what a C library there makes of open, rename and the rest, with NT's calls.

What Windows has no call for skips the test that asks for it. Errors are those errnos that the C library makes of the
statuses. Everything is opened for sharing; a rename replaces files, never a directory, and a file that is open can be
neither removed for good nor replaced.
"""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from s3mount import host
from s3mount.bindings.winfsp_attributes import filetime, time_ns
from s3mount.model import Attr, Ino, VolumeInfo
from tests.support import winfsp_driver as nt
from tests.support.os_like import Time
from tests.support.winfsp_driver import Handle, Info, NtError, Volume

T = TypeVar("T")
ERRNO = {
    nt.NAME_NOT_FOUND: errno.ENOENT,
    nt.PATH_NOT_FOUND: errno.ENOENT,
    nt.NAME_COLLISION: errno.EEXIST,
    nt.NAME_INVALID: errno.EINVAL,
    nt.ACCESS_DENIED: errno.EACCES,
    nt.CANNOT_DELETE: errno.EACCES,
    nt.DELETE_PENDING: errno.EACCES,
    nt.SHARING_VIOLATION: errno.EACCES,
    nt.IS_A_DIRECTORY: errno.EISDIR,
    nt.NOT_A_DIRECTORY: errno.ENOTDIR,
    nt.NOT_EMPTY: errno.ENOTEMPTY,
    nt.INVALID_PARAMETER: errno.EINVAL,
    0xC0000106: errno.ENAMETOOLONG,
    0xC0000904: errno.EFBIG,
    0xC000007F: errno.ENOSPC,
}
ACCESS_MODE = os.O_RDONLY | os.O_WRONLY | os.O_RDWR
ACCESS = {
    os.O_RDONLY: nt.READ_DATA | nt.READ_ATTRIBUTES,
    os.O_WRONLY: nt.WRITE_DATA | nt.READ_ATTRIBUTES | nt.WRITE_ATTRIBUTES,
    os.O_RDWR: nt.READ_DATA | nt.WRITE_DATA | nt.READ_ATTRIBUTES | nt.WRITE_ATTRIBUTES,
}
RENAME_NOREPLACE = 1


def _no(what: str) -> Callable[..., NoReturn]:
    def skip(*_: object, **__: object) -> NoReturn:
        pytest.skip(f"Windows has no {what}")

    return skip


class OpenFile:
    def __init__(self, handle: Handle, flags: int) -> None:
        self.handle, self.flags, self.position = handle, flags, 0


class WindowsOs:
    root: Path | None = None

    def __init__(self, volume: Volume, now_ns: Callable[[], int]) -> None:
        self.volume = volume
        self._now_ns = now_ns
        self._files: dict[int, OpenFile] = {}
        self._next = 1000

    def _call(self, function: Callable[..., T], *args: object, **more: object) -> T:
        try:
            return function(*args, **more)
        except NtError as error:
            code = ERRNO[error.status]
            raise OSError(code, os.strerror(code)) from error

    @staticmethod
    def _path(path: str) -> str:
        return "\\" + "\\".join(part for part in path.split("/") if part not in ("", "."))

    def _file(self, fh: int) -> OpenFile:
        if fh not in self._files:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._files[fh]

    def _within(self, path: str, access: int, call: Callable[[Handle], T], *, options: int = 0) -> T:
        handle = self._call(self.volume.create, self._path(path), nt.OPEN, access, options=options)
        try:
            return self._call(call, handle)
        finally:
            self.volume.close(handle)

    # -- files --

    def open(self, path: str, flags: int, mode: int = 0o644) -> int:
        if flags & getattr(os, "O_DIRECTORY", 0):
            pytest.skip("Windows has no O_DIRECTORY")
        disposition = {
            (0, 0): nt.OPEN,
            (0, os.O_TRUNC): nt.OVERWRITE,
            (os.O_CREAT, 0): nt.OPEN_IF,
            (os.O_CREAT, os.O_TRUNC): nt.OVERWRITE_IF,
        }[flags & os.O_CREAT, flags & os.O_TRUNC]
        if flags & os.O_CREAT and flags & os.O_EXCL:
            disposition = nt.CREATE
        access = ACCESS[flags & ACCESS_MODE]
        handle = self._call(
            self.volume.create, self._path(path), disposition, access, options=nt.NON_DIRECTORY_FILE
        )  # fmt: skip
        self._next += 1
        self._files[self._next] = OpenFile(handle, flags)
        return self._next

    def close(self, fh: int) -> None:
        self.volume.close(self._file(fh).handle)
        del self._files[fh]

    def read(self, fh: int, size: int) -> bytes:
        data = self.pread(fh, size, self._file(fh).position)
        self._file(fh).position += len(data)
        return data

    def pread(self, fh: int, size: int, offset: int) -> bytes:
        file = self._file(fh)
        if file.flags & ACCESS_MODE == os.O_WRONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if not size:
            return b""
        try:
            return self.volume.read(file.handle, offset, size)
        except NtError as error:
            if error.status == nt.END_OF_FILE:
                return b""
            raise

    def write(self, fh: int, data: bytes) -> int:
        file = self._file(fh)
        written = self.pwrite(fh, data, file.position)
        file.position += written
        return written

    def pwrite(self, fh: int, data: bytes, offset: int) -> int:
        file = self._file(fh)
        if file.flags & ACCESS_MODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._call(self.volume.write, file.handle, None if file.flags & os.O_APPEND else offset, data)

    def fsync(self, fh: int) -> None:
        self._call(self.volume.flush, self._file(fh).handle)

    fsync_dir = _no("fsync of a directory")

    def ftruncate(self, fh: int, size: int) -> None:
        file = self._file(fh)
        if file.flags & ACCESS_MODE == os.O_RDONLY:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._call(self.volume.set_size, file.handle, size)

    def truncate(self, path: str, size: int) -> None:
        self._within(path, nt.WRITE_DATA, lambda handle: self.volume.set_size(handle, size),
                     options=nt.NON_DIRECTORY_FILE)  # fmt: skip

    # -- attributes --

    def fstat(self, fh: int) -> Attr:
        return _attr(self._call(self.volume.info, self._file(fh).handle))

    def stat(self, path: str) -> Attr:
        return _attr(self._within(path, nt.READ_ATTRIBUTES, self.volume.info))

    lstat = stat

    def futime(self, fh: int, atime: Time, mtime: Time) -> None:
        self._set_times(self._file(fh).handle, atime, mtime)

    def utime(self, path: str, atime: Time, mtime: Time) -> None:
        self._within(path, nt.WRITE_ATTRIBUTES, lambda handle: self._set_times(handle, atime, mtime))

    def _set_times(self, handle: Handle, atime: Time, mtime: Time) -> None:
        accessed, written = (self._filetime(time) for time in (atime, mtime))
        self._call(self.volume.set_basic, handle, accessed=accessed, written=written)

    def _filetime(self, time: Time) -> int:
        if time is None:
            return 0
        return filetime(self._now_ns() if isinstance(time, str) else time)

    fchmod = chmod = _no("mode bits")
    fchown = chown = _no("user numbers")

    # -- names --

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        handle = self._call(self.volume.create, self._path(path), nt.CREATE, options=nt.DIRECTORY_FILE)
        self.volume.close(handle)

    def rmdir(self, path: str) -> None:
        self._within(path, nt.DELETE, self.volume.set_delete, options=nt.DIRECTORY_FILE)

    def unlink(self, path: str) -> None:
        self._within(path, nt.DELETE, self.volume.set_delete, options=nt.NON_DIRECTORY_FILE)

    def rename(self, old: str, new: str, flags: int = 0) -> None:
        if flags not in (0, RENAME_NOREPLACE):
            pytest.skip("Windows has no exchange of names")
        replaces = flags == 0
        self._within(
            old, nt.DELETE, lambda handle: self.volume.rename(handle, self._path(new), replaces=replaces)
        )  # fmt: skip

    symlink = readlink = _no("symbolic links here")

    def scan(self, path: str) -> dict[str, Attr]:
        found = self._within(
            path, nt.READ_DATA, lambda handle: list(self.volume.entries(handle)), options=nt.DIRECTORY_FILE
        )  # fmt: skip
        return {name: _attr(info) for name, info in found if name not in (".", "..")}

    def listdir(self, path: str) -> list[str]:
        return list(self.scan(path))

    def statvfs(self) -> VolumeInfo:
        total, free, _ = self.volume.volume()
        return VolumeInfo(4096, total // 4096, free // 4096, 1, 1, 255)

    fallocate = _no("fallocate")
    seek = _no("holes")
    copy_range = _no("copy_file_range")


def _attr(info: Info) -> Attr:
    is_dir = bool(info.attributes & nt.DIRECTORY)
    mode = stat.S_IFDIR | 0o755 if is_dir else stat.S_IFREG | 0o644
    times = (time_ns(info.accessed), time_ns(info.written), time_ns(info.changed))
    return Attr(Ino(info.index), mode, 1, *host.own_ids(), info.size, *times)
