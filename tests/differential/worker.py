"""A process that makes file calls when told to: pickled (name, arguments) in, pickled outcomes out.

Two of them are two programs that use the same files at the same time. serve() is what runs in the process.
"""

import errno
import hashlib
import mmap
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import linux
from tests.support.mount_process import REPOSITORY

UMASK = 0o022
END_DEADLINE_S = 20.0
# A call that waits would stop the machine; on regular files the flag does nothing.
NEVER_WAITS = os.O_NONBLOCK
# Later than any time that the machine sets, and before it was written.
SET_TIMES_END_NS = 1_600_000_000_000_000_000
Outcome = Any


@dataclass(frozen=True)
class Refused:
    """The errno's name."""

    code: str


class Calls:
    """What can be asked for. Paths are absolute; a slot is a handle by the name that the machine gave it."""

    def __init__(self) -> None:
        self._fds: dict[str, int] = {}

    def open(self, slot: str, path: str, flags: int, mode: int) -> None:
        self._fds[slot] = os.open(path, flags | NEVER_WAITS, mode)

    def close(self, slot: str) -> None:
        os.close(self._fds.pop(slot))

    def read(self, slot: str, size: int) -> bytes:
        return os.read(self._fds[slot], size)

    def write(self, slot: str, data: bytes) -> int:
        return os.write(self._fds[slot], data)

    def pread(self, slot: str, size: int, offset: int) -> bytes:
        return os.pread(self._fds[slot], size, offset)

    def pwrite(self, slot: str, data: bytes, offset: int) -> int:
        return os.pwrite(self._fds[slot], data, offset)

    def write_mapped(self, slot: str, data: bytes, offset: int) -> int:
        """Through a shared mapping, as much of `data` as lies within the file."""
        fd = self._fds[slot]
        room = os.fstat(fd).st_size - offset
        if room <= 0 or not data:
            return 0
        with mmap.mmap(fd, 0) as view:
            view[offset : offset + len(data[:room])] = data[:room]
        return len(data[:room])

    def false_holes(self, slot: str) -> list[tuple[int, int]]:
        """Ranges that are called a hole and are not zeros, or that are neither data nor a hole."""
        fd, wrong, here = self._fds[slot], [], 0
        size, position = os.fstat(fd).st_size, os.lseek(fd, 0, os.SEEK_CUR)
        while here < size:
            hole = os.lseek(fd, here, os.SEEK_HOLE)
            data = _next_data(fd, hole, size)
            if any(os.pread(fd, data - hole, hole)) or not here <= hole <= data:
                wrong.append((hole, data))
            here = data
        os.lseek(fd, position, os.SEEK_SET)
        return wrong

    def lseek(self, slot: str, offset: int, whence: int) -> int:
        return os.lseek(self._fds[slot], offset, whence)

    def ftruncate(self, slot: str, size: int) -> None:
        os.ftruncate(self._fds[slot], size)

    def fsync(self, slot: str) -> None:
        os.fsync(self._fds[slot])

    def fstat(self, slot: str) -> tuple[object, ...]:
        return shown(os.fstat(self._fds[slot]))

    def fchmod(self, slot: str, mode: int) -> None:
        os.fchmod(self._fds[slot], mode)

    def fchown(self, slot: str, uid: int, gid: int) -> None:
        os.fchown(self._fds[slot], uid, gid)

    def futimens(self, slot: str, time_ns: int) -> None:
        os.utime(self._fds[slot], ns=(time_ns, time_ns))

    def posix_fallocate(self, slot: str, offset: int, size: int) -> None:
        os.posix_fallocate(self._fds[slot], offset, size)

    def fallocate(self, slot: str, mode: int, offset: int, size: int) -> None:
        linux.fallocate(self._fds[slot], mode, offset, size)

    def copy_file_range(self, source: str, target: str, size: int, source_offset: int, target_offset: int) -> int:
        return os.copy_file_range(self._fds[source], self._fds[target], size, source_offset, target_offset)

    def truncate(self, path: str, size: int) -> None:
        os.truncate(path, size)

    def lstat(self, path: str) -> tuple[object, ...]:
        return shown(os.lstat(path))

    def atime(self, path: str) -> object:
        return _set_time(os.lstat(path).st_atime_ns)

    def inodes(self, path: str) -> dict[str, int]:
        return {
            os.path.join(folder, name): os.lstat(os.path.join(folder, name)).st_ino
            for folder, directories, files in os.walk(path)
            for name in [*directories, *files]
        }

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(path, mode)

    def rmdir(self, path: str) -> None:
        os.rmdir(path)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def rename(self, old: str, new: str, flags: int) -> None:
        linux.rename(old, new, flags)

    def symlink(self, target: str, path: str) -> None:
        os.symlink(target, path)

    def readlink(self, path: str) -> str:
        return os.readlink(path)

    def link(self, old: str, new: str) -> None:
        os.link(old, new, follow_symlinks=False)

    def mknod(self, path: str, mode: int) -> None:
        os.mknod(path, mode)

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(path, mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.lchown(path, uid, gid)

    def utime(self, path: str, atime: int | str | None, mtime: int | str | None) -> None:
        linux.utime(path, atime, mtime)

    def setxattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        os.setxattr(path, name, value, flags, follow_symlinks=False)

    def getxattr(self, path: str, name: str) -> bytes:
        return os.getxattr(path, name, follow_symlinks=False)

    def removexattr(self, path: str, name: str) -> None:
        os.removexattr(path, name, follow_symlinks=False)

    def access(self, path: str, mode: int) -> bool:
        return os.access(path, mode)

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def tree(self, path: str) -> dict[str, tuple[object, ...]]:
        """All below `path`: attributes, and the bytes' digest, the target or the names."""
        found: dict[str, tuple[object, ...]] = {}
        places = sorted(os.path.join(f, name) for f, dirs, files in os.walk(path) for name in [*dirs, *files])
        for place in places:
            os.lstat(place)  # with a new index, how many names a file has is known when all were met
        first_names: dict[int, str] = {}
        for place in places:
            state, short = os.lstat(place), os.path.relpath(place, path)
            first = "" if stat.S_ISDIR(state.st_mode) else first_names.setdefault(state.st_ino, short)
            found[short] = (*shown(state), first, _content(place, state), _attributes(place))
        return found


def shown(state: os.stat_result) -> tuple[object, ...]:
    """What both sides must agree on: kind and mode, owner, link count, size, and the mtime if it was set. A
    directory's size is the file system's own affair, and so is, on some, its link count."""
    is_dir = stat.S_ISDIR(state.st_mode)
    size, links = (0, 0) if is_dir else (state.st_size, state.st_nlink)
    return (oct(state.st_mode), state.st_uid, state.st_gid, links, size, _set_time(state.st_mtime_ns))


def _set_time(time_ns: int) -> object:
    return time_ns if time_ns < SET_TIMES_END_NS else "now"


def _attributes(place: str) -> dict[str, bytes]:
    names = sorted(os.listxattr(place, follow_symlinks=False))
    return {name: os.getxattr(place, name, follow_symlinks=False) for name in names}


def _next_data(fd: int, offset: int, size: int) -> int:
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return size


def _content(place: str, state: os.stat_result) -> str:
    if stat.S_ISLNK(state.st_mode):
        return os.readlink(place)
    return hashlib.sha256(Path(place).read_bytes()).hexdigest() if stat.S_ISREG(state.st_mode) else ""


class Worker:
    """The process, from outside. One call at a time."""

    def __init__(self, uid: int | None = None) -> None:
        code = f"from tests.differential.worker import serve; serve({uid})"
        command = [sys.executable, "-c", code]
        self._process = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout

    def call(self, name: str, *args: object) -> Outcome:
        """What the call returned, or Refused."""
        pickle.dump((name, args), self._to)
        self._to.flush()
        return pickle.load(self._from)

    def end(self) -> None:
        self._to.close()
        self._process.wait(END_DEADLINE_S)
        self._from.close()


def outcome(call: Callable[..., object], args: tuple[object, ...]) -> Outcome:
    try:
        return call(*args)
    except OSError as error:
        return Refused(errno.errorcode.get(error.errno or 0, str(error)))


def serve(uid: int | None) -> None:
    """Until the input ends; with `uid` as that user, which only root may ask for."""
    os.umask(UMASK)
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    calls = Calls()
    while True:
        try:
            name, args = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(outcome(getattr(calls, name), args), sys.stdout.buffer)
        sys.stdout.buffer.flush()
