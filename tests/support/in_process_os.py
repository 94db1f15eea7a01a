"""OsLike on a PathFileSystem, without FUSE: does what the kernel does in front of it.

That is: symlinks, file positions, and the open flags and refusals that the kernel deals with itself.
"""

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from s3mount.bindings.error_codes import errno_of
from s3mount.errors import FsError, NotFound
from s3mount.model import Attr, Caller, Fh, Seek, VolumeInfo
from s3mount.vfs.paths import PathFileSystem
from tests.support.entries import all_entries
from tests.support.os_like import Time

T = TypeVar("T")
SYMLINKS_MAX = 40


@dataclass
class OpenFile:
    fh: Fh
    flags: int
    is_dir: bool
    position: int = 0


class InProcessOs:
    root: Path | None = None

    def __init__(self, filesystem: PathFileSystem, now_ns: Callable[[], int]) -> None:
        self._filesystem = filesystem
        self._now_ns = now_ns
        self._files: dict[int, OpenFile] = {}
        self._next = 1000
        self._caller = Caller(os.getuid(), os.getgid())

    # -- what the kernel does before FUSE is asked --

    def _call(self, function: Callable[..., T], *args: object) -> T:
        try:
            return function(*args)
        except FsError as error:
            code = errno_of(error)
            raise OSError(code, os.strerror(code)) from error

    def _resolve(self, path: str, *, follows: bool) -> str:
        """The path without symlinks, the last component's only when `follows`; it need not exist."""
        waiting, done, links = path.split("/")[::-1], "", 0
        while waiting:
            name = waiting.pop()
            if name in ("", "."):
                continue
            if name == "..":
                done = done.rpartition("/")[0]
                continue
            here = f"{done}/{name}"
            try:
                attr: Attr | None = self._call(self._filesystem.getattr, here)
            except OSError as error:
                if error.errno != errno.ENOENT or waiting:
                    raise
                attr = None
            if attr is not None and stat.S_ISLNK(attr.mode) and (waiting or follows):
                links += 1
                if links > SYMLINKS_MAX:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                target = self._call(self._filesystem.readlink, here)
                done = "" if target.startswith("/") else done
                waiting += target.split("/")[::-1]
                continue
            if attr is not None and waiting and not stat.S_ISDIR(attr.mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            done = here
        return done or "/"

    def _exact(self, path: str) -> str:
        return self._resolve(path, follows=False)

    def _followed(self, path: str) -> str:
        return self._resolve(path, follows=True)

    def _file(self, fh: int) -> OpenFile:
        if fh not in self._files:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._files[fh]

    def open(self, path: str, flags: int, mode: int = 0o644) -> int:
        exclusive = flags & os.O_CREAT and flags & os.O_EXCL
        where = self._resolve(path, follows=not exclusive and not flags & os.O_NOFOLLOW)
        try:
            attr: Attr | None = self._filesystem.getattr(where)
        except NotFound:
            attr = None
        except FsError as error:
            raise OSError(errno_of(error), path) from error
        fh = self._open_existing(where, attr, flags) if attr is not None else self._open_new(where, flags, mode)
        self._next += 1
        self._files[self._next] = OpenFile(fh, flags, attr is not None and stat.S_ISDIR(attr.mode))
        return self._next

    def _open_existing(self, where: str, attr: Attr, flags: int) -> Fh:
        code = 0
        writes = flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC
        if flags & os.O_CREAT and flags & os.O_EXCL:
            code = errno.EEXIST
        elif stat.S_ISLNK(attr.mode):
            code = errno.ENOTDIR if flags & os.O_DIRECTORY else errno.ELOOP
        elif flags & os.O_DIRECTORY and not stat.S_ISDIR(attr.mode):
            code = errno.ENOTDIR
        elif stat.S_ISDIR(attr.mode) and (writes or flags & os.O_CREAT):
            code = errno.EISDIR
        if code:
            raise OSError(code, os.strerror(code))
        if stat.S_ISDIR(attr.mode):
            return self._call(self._filesystem.opendir, where)
        return self._call(self._filesystem.open, where, flags & ~os.O_CREAT)

    def _open_new(self, where: str, flags: int, mode: int) -> Fh:
        if not flags & os.O_CREAT:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return self._call(self._filesystem.create, where, mode, flags, self._caller)

    # -- the calls --

    def close(self, fh: int) -> None:
        file = self._file(fh)
        del self._files[fh]
        try:
            if not file.is_dir:
                self._call(self._filesystem.flush, file.fh)
        finally:
            self._call(self._filesystem.releasedir if file.is_dir else self._filesystem.release, file.fh)

    def read(self, fh: int, size: int) -> bytes:
        data = self.pread(fh, size, self._file(fh).position)
        self._file(fh).position += len(data)
        return data

    def pread(self, fh: int, size: int, offset: int) -> bytes:
        file = self._file(fh)
        if file.is_dir:
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if file.flags & os.O_ACCMODE == os.O_WRONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._call(self._filesystem.read, file.fh, offset, size)

    def write(self, fh: int, data: bytes) -> int:
        file = self._file(fh)
        written = self.pwrite(fh, data, file.position)
        file.position += written
        return written

    def pwrite(self, fh: int, data: bytes, offset: int) -> int:
        file = self._file(fh)
        if file.flags & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._call(self._filesystem.write, file.fh, offset, data)

    def fsync(self, fh: int) -> None:
        self._call(self._filesystem.fsync, self._file(fh).fh, False)

    def fsync_dir(self, path: str) -> None:
        fh = self._call(self._filesystem.opendir, self._followed(path))
        try:
            self._call(self._filesystem.fsyncdir, fh, False)
        finally:
            self._call(self._filesystem.releasedir, fh)

    def ftruncate(self, fh: int, size: int) -> None:
        file = self._file(fh)
        if file.flags & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._call(self._filesystem.truncate, None, size, file.fh)

    def fstat(self, fh: int) -> Attr:
        return self._call(self._filesystem.getattr, None, self._file(fh).fh)

    def fchmod(self, fh: int, mode: int) -> None:
        self._call(self._filesystem.chmod, None, mode, self._file(fh).fh)

    def fchown(self, fh: int, uid: int, gid: int) -> None:
        self._call(self._filesystem.chown, None, uid, gid, self._file(fh).fh)

    def futime(self, fh: int, atime: Time, mtime: Time) -> None:
        self._call(self._filesystem.utimens, None, *self._times(atime, mtime), self._file(fh).fh)

    def truncate(self, path: str, size: int) -> None:
        where = self._followed(path)
        if stat.S_ISDIR(self._call(self._filesystem.getattr, where).mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        self._call(self._filesystem.truncate, where, size)

    def stat(self, path: str) -> Attr:
        return self._call(self._filesystem.getattr, self._followed(path))

    def lstat(self, path: str) -> Attr:
        return self._call(self._filesystem.getattr, self._exact(path))

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        self._call(self._filesystem.mkdir, self._exact(path), mode, self._caller)

    def rmdir(self, path: str) -> None:
        self._call(self._filesystem.rmdir, self._exact(path))

    def unlink(self, path: str) -> None:
        self._call(self._filesystem.unlink, self._exact(path))

    def rename(self, old: str, new: str, flags: int = 0) -> None:
        source, target = self._exact(old), self._exact(new)
        if source.startswith(f"{target}/") and not flags:
            # The kernel knows that an ancestor of the source is not empty, and says so before it looks at types.
            self._call(self._filesystem.getattr, source)
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        self._call(self._filesystem.rename, source, target, flags)

    def symlink(self, target: str, path: str) -> None:
        self._call(self._filesystem.symlink, target, self._exact(path), self._caller)

    def readlink(self, path: str) -> str:
        return self._call(self._filesystem.readlink, self._exact(path))

    def scan(self, path: str) -> dict[str, Attr]:
        where = self._followed(path)
        fh = self._call(self._filesystem.opendir, where)
        try:
            entries = self._call(all_entries, self._filesystem, fh)
        finally:
            self._call(self._filesystem.releasedir, fh)
        base = where.rstrip("/")
        return {e.name: e.attr if e.is_complete else self._filesystem.getattr(f"{base}/{e.name}") for e in entries}

    def listdir(self, path: str) -> list[str]:
        return list(self.scan(path))

    def chmod(self, path: str, mode: int) -> None:
        self._call(self._filesystem.chmod, self._followed(path), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        self._call(self._filesystem.chown, self._exact(path), uid, gid)

    def utime(self, path: str, atime: Time, mtime: Time) -> None:
        self._call(self._filesystem.utimens, self._exact(path), *self._times(atime, mtime))

    def _times(self, *times: Time) -> list[int | None]:
        now_ns = self._now_ns()
        return [now_ns if isinstance(time, str) else time for time in times]

    def statvfs(self) -> VolumeInfo:
        return self._call(self._filesystem.statfs)

    def fallocate(self, fh: int, mode: int, offset: int, length: int) -> None:
        self._call(self._filesystem.allocate, self._file(fh).fh, mode, offset, length)

    def seek(self, fh: int, offset: int, whence: int) -> int:
        wanted = Seek.DATA if whence == os.SEEK_DATA else Seek.HOLE
        return self._call(self._filesystem.seek, self._file(fh).fh, offset, wanted)

    def copy_range(self, fh_in: int, offset_in: int, fh_out: int, offset_out: int, size: int) -> int:
        source, target = self._file(fh_in).fh, self._file(fh_out).fh
        return self._call(self._filesystem.copy_range, source, offset_in, target, offset_out, size)
