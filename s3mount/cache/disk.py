"""The only code that touches the cache directory: every effect on the local disk passes through `Disk`, so that a
test can be the disk, fail its n-th call or lose what was not synced.

Called by the block files and by trust.py. Threads: different files in parallel; calls on one DiskFile are made
under its block file's lock. Raises OSError and nothing else, which callers translate by disk_failure. Knows no extents.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from s3mount import host
from s3mount.errors import FileTooLarge, FsError, IOFailure, NoSpace
from s3mount.host import pread, pwrite
from s3mount.model import Ino

FOLDERS = 256
MARK_NAME = "trust"
PROBE_NAME = "probe"

_OPEN_FLAGS = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)

Buffer = bytes | bytearray | memoryview


def disk_failure(operation: str, ino: Ino, error: OSError) -> FsError:
    """What an error of the disk means to the caller of a file operation."""
    kind: type[FsError] = IOFailure
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        kind = NoSpace
    elif error.errno == errno.EFBIG:
        kind = FileTooLarge  # for the file system of the cache
    return kind(f"cannot {operation} the cache file of inode {ino}: {error.strerror or error}")


class DiskFile(Protocol):
    def pread(self, size: int, offset: int) -> bytes:
        """The bytes at `offset`: fewer than `size` only at the end of the file."""

    def pwrite(self, data: Buffer, offset: int) -> None:
        """All of `data`, or OSError after any part of it."""

    def length(self) -> int: ...

    def truncate(self, length: int) -> None: ...

    def punch_hole(self, start: int, end: int) -> None:
        """[start, end) reads as zeros and takes no space; the length stays."""

    def allocate(self, start: int, end: int) -> None:
        """Writes to [start, end) do not fail for want of space from here on, where the file system can do that. What
        it holds and its length stay."""

    def fdatasync(self) -> None: ...

    def close(self) -> None: ...


class Disk(Protocol):
    @property
    def can_punch(self) -> bool:
        """Whether punch_hole works here. Where it does not, space comes back only by truncate and unlink."""

    def open(self, ino: Ino, *, create: bool) -> DiskFile:
        """Raises FileNotFoundError when the file is not there and `create` is False."""

    def length(self, ino: Ino) -> int | None:
        """The file's length in bytes; None when there is no file."""

    def unlink(self, ino: Ino) -> None:
        """Remove the file if it is there."""

    def list(self) -> Iterator[Ino]: ...

    def fsync_directory(self, ino: Ino) -> None:
        """The file's name, or that there is none, survives power loss on return."""

    def sync_all(self) -> bool:
        """Everything written to the directory's filesystem survives power loss on return. False: not possible here."""

    def boot_identity(self) -> bytes:
        """Changes whenever the machine boots; empty when unknown."""

    def load_mark(self) -> bytes:
        """What store_mark last stored; empty when nothing was."""

    def store_mark(self, mark: bytes) -> None:
        """Replace the mark, atomically, durable against power loss on return."""


class LocalFile:
    __slots__ = ("_number",)

    def __init__(self, number: int):
        self._number = number

    def pread(self, size: int, offset: int) -> bytes:
        data = pread(self._number, size, offset)
        if len(data) == size or not data:
            return data
        pieces = [data]
        while data and (size := size - len(data)):
            offset += len(data)
            data = pread(self._number, size, offset)
            pieces.append(data)
        return b"".join(pieces)

    def pwrite(self, data: Buffer, offset: int) -> None:
        written = pwrite(self._number, data, offset)
        rest = memoryview(data).cast("B")
        while written < len(rest):
            rest, offset = rest[written:], offset + written
            written = pwrite(self._number, rest, offset)

    def length(self) -> int:
        return os.fstat(self._number).st_size

    def truncate(self, length: int) -> None:
        host.truncate(self._number, length)

    def punch_hole(self, start: int, end: int) -> None:
        host.punch_hole(self._number, start, end)

    def allocate(self, start: int, end: int) -> None:
        try:
            host.allocate(self._number, start, end)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise

    def fdatasync(self) -> None:
        host.fdatasync(self._number)

    def close(self) -> None:
        os.close(self._number)


class LocalDisk:
    """One file per inode under `directory`, named by its number in hex, spread over 256 folders. They are made when
    first needed, and stay: most drives begin with few files, and end with few."""

    def __init__(self, directory: Path):
        """Make the directory, readable by the owner alone; it and the folders in it are safe against power loss on
        return. Raises OSError when that fails."""
        self._directory = directory
        # Of which the names may be lost with power. Added to before the folder is there for others to use.
        self._unsynced_folders: set[Path] = set()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        host.sync_folder(directory)
        host.sync_folder(directory.parent)
        self._can_punch = self._probe()

    @property
    def can_punch(self) -> bool:
        return self._can_punch

    def _probe(self) -> bool:
        path = self._directory / PROBE_NAME
        file = LocalFile(host.open_sparse(path, _OPEN_FLAGS | os.O_CREAT))
        try:
            file.truncate(8192)
            file.punch_hole(0, 4096)
        except OSError:
            return False
        finally:
            file.close()
            path.unlink()
        return True

    def _path(self, ino: Ino) -> Path:
        return self._directory / f"{ino % FOLDERS:02x}" / f"{ino:x}"

    def open(self, ino: Ino, *, create: bool) -> LocalFile:
        flags = _OPEN_FLAGS | (os.O_CREAT if create else 0)
        path = f"{self._directory}/{ino % FOLDERS:02x}/{ino:x}"
        try:
            return LocalFile(host.open_sparse(path, flags))
        except FileNotFoundError:
            if not create:
                raise
        folder = self._path(ino).parent
        self._unsynced_folders.add(folder)
        folder.mkdir(mode=0o700, exist_ok=True)
        return LocalFile(host.open_sparse(path, flags))

    def length(self, ino: Ino) -> int | None:
        try:
            return self._path(ino).lstat().st_size
        except FileNotFoundError:
            return None

    def unlink(self, ino: Ino) -> None:
        self._path(ino).unlink(missing_ok=True)

    def list(self) -> Iterator[Ino]:
        for number in range(FOLDERS):
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(f"{self._directory}/{number:02x}"):
                    with contextlib.suppress(ValueError):
                        yield Ino(int(name, 16))

    def fsync_directory(self, ino: Ino) -> None:
        folder = self._path(ino).parent
        try:
            host.sync_folder(folder)
        except FileNotFoundError:
            return  # nor was there ever a name in it; who is about to make it syncs it too
        if folder in self._unsynced_folders:
            host.sync_folder(self._directory)
            self._unsynced_folders.discard(folder)

    def sync_all(self) -> bool:
        return host.sync_filesystem(self._directory)

    def boot_identity(self) -> bytes:
        return host.boot_identity()

    def load_mark(self) -> bytes:
        try:
            return (self._directory / MARK_NAME).read_bytes()
        except FileNotFoundError:
            return b""

    def store_mark(self, mark: bytes) -> None:
        draft = self._directory / f"{MARK_NAME}.new"
        number = host.open_shared(draft, _OPEN_FLAGS | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(number, mark)
            os.fsync(number)
        finally:
            os.close(number)
        host.replace(draft, self._directory / MARK_NAME)
        host.sync_folder(self._directory)
