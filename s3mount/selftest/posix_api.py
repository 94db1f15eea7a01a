"""The calls of Linux and macOS that the checks make: those of `os`, in one place so that tests can put a liar there."""

import mmap
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

# The names that Windows has not, or Linux alone.
_SYSTEM: Final[Any] = os
_MAPPING: Final[Any] = mmap
FOLDER_PREFIX: Final = "s3mount-selftest-"


class PosixApi:
    """Each is the call of `os` of that name, or does what its name says, and raises OSError."""

    open = staticmethod(os.open)
    close = staticmethod(os.close)
    append = staticmethod(os.write)
    truncate = staticmethod(os.ftruncate)
    fsync = staticmethod(os.fsync)
    fstat = staticmethod(os.fstat)
    stat = staticmethod(os.stat)
    lstat = staticmethod(os.lstat)
    chmod = staticmethod(os.chmod)
    utime = staticmethod(os.utime)
    rename = staticmethod(os.rename)
    unlink = staticmethod(os.unlink)
    mkdir = staticmethod(os.mkdir)
    rmdir = staticmethod(os.rmdir)
    listdir = staticmethod(os.listdir)
    symlink = staticmethod(os.symlink)
    readlink = staticmethod(os.readlink)
    link = staticmethod(os.link)
    has_xattrs = hasattr(_SYSTEM, "setxattr")

    def read(self, fd: int, size: int, offset: int) -> bytes:
        return bytes(_SYSTEM.pread(fd, size, offset))

    def write(self, fd: int, data: bytes, offset: int) -> None:
        _SYSTEM.pwrite(fd, data, offset)

    def statvfs(self, path: str) -> Any:
        return _SYSTEM.statvfs(path)

    def own_uid(self) -> int:
        return int(_SYSTEM.geteuid())

    def setxattr(self, path: str, name: str, value: bytes) -> None:
        _SYSTEM.setxattr(path, name, value)

    def getxattr(self, path: str, name: str) -> bytes:
        return bytes(_SYSTEM.getxattr(path, name))

    def listxattr(self, path: str) -> list[str]:
        return list(_SYSTEM.listxattr(path))

    def removexattr(self, path: str, name: str) -> None:
        _SYSTEM.removexattr(path, name)

    def map_read(self, fd: int, offset: int, size: int) -> bytes:
        with _MAPPING.mmap(fd, offset + size, prot=_MAPPING.PROT_READ) as mapped:
            return bytes(mapped[offset : offset + size])

    def map_write(self, fd: int, offset: int, data: bytes) -> None:
        """Through a shared mapping that is gone when it returns; msync is left out, as most programs do."""
        with _MAPPING.mmap(fd, offset + len(data)) as mapped:
            mapped[offset : offset + len(data)] = data

    # -- for the runner --

    def make_own_folder(self, drive: str) -> str:
        return tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=drive)

    def make_folder(self, folder: str, name: str) -> str:
        path = os.path.join(folder, name)
        os.mkdir(path)
        return path

    def remove_all(self, folder: str) -> None:
        for above, names, _ in os.walk(folder):
            for name in names:
                path = os.path.join(above, name)
                if not os.path.islink(path):
                    os.chmod(path, stat.S_IRWXU)
        shutil.rmtree(folder)

    # -- what the checks say often --

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """A new file."""
        with self.opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode) as fd:
            self.write(fd, data, 0)

    def get(self, path: str) -> bytes:
        with self.opened(path, os.O_RDONLY) as fd:
            return self.read(fd, self.fstat(fd).st_size + 1, 0)

    @contextmanager
    def opened(self, path: str, flags: int, mode: int = 0o644) -> Iterator[int]:
        fd = self.open(path, flags, mode)
        try:
            yield fd
        finally:
            self.close(fd)


class PosixFile:
    """RandomFile."""

    can_map = True

    def __init__(self, api: PosixApi, path: str) -> None:
        self._api, self._path = api, path
        self._fd = api.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def read(self, offset: int, size: int) -> bytes:
        return self._api.read(self._fd, size, offset)

    def write(self, offset: int, data: bytes) -> None:
        self._api.write(self._fd, data, offset)

    def truncate(self, size: int) -> None:
        self._api.truncate(self._fd, size)

    def size(self) -> int:
        return self._api.fstat(self._fd).st_size

    def flush(self) -> None:
        self._api.fsync(self._fd)

    def reopen(self) -> None:
        self.close()
        self._fd = self._api.open(self._path, os.O_RDWR)

    def map_read(self, offset: int, size: int) -> bytes:
        return self._api.map_read(self._fd, offset, size)

    def map_write(self, offset: int, data: bytes) -> None:
        self._api.map_write(self._fd, offset, data)

    def close(self) -> None:
        self._api.close(self._fd)
