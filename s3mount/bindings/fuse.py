"""mfusepy.Operations over a FileSystem: decode, call, return. No decisions.

Called by FuseSession from libfuse's threads, many at once; keeps no state of its own. Every method raises FsError or
whatever the FileSystem let slip; FuseSession turns both into errno. Not here on purpose, so that the kernel or
libfuse answers without an upcall:
- xattr calls: libfuse's ENOSYS makes the kernel answer ENOTSUP by itself from then on, which `cp -a`, `rsync -A` and
  `ls` all take as "no such thing here". Answering ENOTSUP ourselves would cost an upcall for security.capability on
  every write.
- lock, flock: the kernel keeps them locally. access: `default_permissions`. fallocate, lseek, copy_file_range: the
  kernel or the C library falls back to plain writes and reads.
"""

import os
import stat
import time
from collections.abc import Sequence

import mfusepy

from s3mount.bindings.served import ServedFileSystem
from s3mount.errors import NotSupported
from s3mount.model import Attr, Caller, DirEntry, Fh, VolumeInfo

PERMISSION_BITS = 0o7777


class FuseOperations(mfusepy.Operations):  # type: ignore[misc]  # mfusepy is untyped here
    use_ns = True
    # libfuse 2 reads these from the operations table; mfusepy carries the first two over to libfuse 3's config.
    flag_nullpath_ok = True
    flag_nopath = True
    flag_utime_omit_ok = True

    def __init__(self, filesystem: ServedFileSystem) -> None:
        self._filesystem = filesystem

    def getattr(self, path: str | None, fh: Fh | None = None) -> Attr:
        return self._filesystem.getattr(path, fh)

    def readlink(self, path: str) -> str:
        return self._filesystem.readlink(path)

    def mknod(self, path: str, mode: int, dev: int) -> None:
        if not stat.S_ISREG(mode):
            raise NotSupported(f"special files are not kept: {path}")
        self._filesystem.release(
            self._filesystem.create(path, mode & PERMISSION_BITS, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _caller())
        )

    def mkdir(self, path: str, mode: int) -> None:
        self._filesystem.mkdir(path, mode & PERMISSION_BITS, _caller())

    def unlink(self, path: str) -> None:
        self._filesystem.unlink(path)

    def rmdir(self, path: str) -> None:
        self._filesystem.rmdir(path)

    def symlink(self, target: str, source: str) -> None:
        """mfusepy's names: the link is made at `target` and holds `source`."""
        self._filesystem.symlink(source, target, _caller())

    def rename(self, old: str, new: str, flags: int = 0) -> None:
        self._filesystem.rename(old, new, flags)

    def link(self, target: str, source: str) -> None:
        raise NotSupported(f"hard links are not kept: {target}")

    def chmod(self, path: str | None, mode: int, fh: Fh | None = None) -> None:
        self._filesystem.chmod(path, mode & PERMISSION_BITS, fh)

    def chown(self, path: str | None, uid: int, gid: int, fh: Fh | None = None) -> None:
        self._filesystem.chown(path, uid, gid, fh)

    def truncate(self, path: str | None, length: int, fh: Fh | None = None) -> None:
        self._filesystem.truncate(path, length, fh)

    def utimens(
        self, path: str | None, times: tuple[int | None, int | None] | None = None, fh: Fh | None = None
    ) -> None:
        """`times` is (atime, mtime) in ns, None in it leaves that time; no `times` at all sets both to now."""
        if times is None:
            now_ns = time.time_ns()
            times = (now_ns, now_ns)
        self._filesystem.utimens(path, times[0], times[1], fh)

    def create(self, path: str, mode: int, flags: int) -> Fh:
        return self._filesystem.create(path, mode & PERMISSION_BITS, flags, _caller())

    def open(self, path: str, flags: int) -> Fh:
        return self._filesystem.open(path, flags)

    def read(self, path: str | None, size: int, offset: int, fh: Fh) -> bytes:
        return self._filesystem.read(fh, offset, size)

    def write(self, path: str | None, data: memoryview, offset: int, fh: Fh, is_page: bool = False) -> int:
        return self._filesystem.write(fh, offset, data, is_page=is_page)

    def flush(self, path: str | None, fh: Fh) -> None:
        self._filesystem.flush(fh)

    def fsync(self, path: str | None, datasync: int, fh: Fh) -> None:
        self._filesystem.fsync(fh, bool(datasync))

    def release(self, path: str | None, fh: Fh) -> None:
        self._filesystem.release(fh)

    def opendir(self, path: str) -> Fh:
        return self._filesystem.opendir(path)

    def readdir(self, path: str | None, fh: Fh) -> Sequence[DirEntry]:
        return self._filesystem.readdir(fh)

    def releasedir(self, path: str | None, fh: Fh) -> None:
        self._filesystem.releasedir(fh)

    def fsyncdir(self, path: str | None, datasync: int, fh: Fh) -> None:
        self._filesystem.fsyncdir(fh, bool(datasync))

    def statfs(self, path: str) -> VolumeInfo:
        return self._filesystem.statfs()


def _caller() -> Caller:
    uid, gid, _pid = mfusepy.fuse_get_context()
    return Caller(uid, gid)
