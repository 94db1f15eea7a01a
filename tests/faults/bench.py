"""A drive over a faulty store in memory, with the few calls that tests of the write-back make. No FUSE."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from s3mount.config import PREFETCH_BYTES
from s3mount.drive import Drive, DriveOptions
from s3mount.keys import is_dir_key
from s3mount.model import Caller, Fh
from s3mount.remote.defaults import Defaults
from s3mount.vfs.context import VfsOptions
from s3mount.vfs.paths import PathFileSystem
from tests.support.entries import all_entries
from tests.support.faulty_store import FaultyStore
from tests.support.memory_store import MemoryStore

CALLER = Caller(1000, 1000)
LONG_S = 3600.0
DEADLINE_S = 10.0
MIB = 1 << 20
KIB = 1 << 10


def until(condition: Callable[[], object], deadline_s: float = 5.0, what: str = "") -> None:
    """Return when `condition()` holds; fail after the deadline."""
    end, pause_s = time.monotonic() + deadline_s, 0.005
    while not condition():
        assert time.monotonic() < end, f"never came true: {what or condition}"
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.02)


@dataclass
class Bench:
    folder: Path
    delay_s: float = 0.0
    ttl_s: float = LONG_S
    cache_bytes: int = 128 * MIB
    prefetch_bytes: int = PREFETCH_BYTES
    vfs: VfsOptions = field(default_factory=VfsOptions)
    page_size: int = 1000
    is_over: MemoryStore | None = None  # the bucket of another bench

    def __post_init__(self) -> None:
        self.memory = self.is_over or self.make_store()
        self.store = FaultyStore(self.memory)
        self.start()

    def make_store(self) -> MemoryStore:
        return MemoryStore(page_size=self.page_size)

    def start(self) -> None:
        self.drive = Drive(
            self.store,
            self.folder,
            DriveOptions(
                defaults=Defaults(1000, 1000, 0o022),
                cache_limit_bytes=self.cache_bytes,
                write_back_delay_s=self.delay_s,
                metadata_ttl_s=self.ttl_s,
                prefetch_bytes=self.prefetch_bytes,
                vfs=self.vfs,
            ),
        )
        self.fs = PathFileSystem(self.drive.filesystem)
        self.index = self.drive.index

    def close(self) -> None:
        self.store.heal()
        self.drive.close()

    def restart(self) -> None:
        self.drive.close()
        self.start()

    def start_empty(self) -> None:
        """Over the same bucket, with a new index and an empty cache."""
        self.drive.close()
        self.folder = self.folder.with_name(f"{self.folder.name}-next")
        self.folder.mkdir()
        self.start()

    # -- files ---------------------------------------------------------------------------------------------------

    def open(self, path: str, flags: int = os.O_RDWR) -> Fh:
        return self.fs.open(path, flags)

    def create(self, path: str) -> Fh:
        return self.fs.create(path, 0o644, os.O_RDWR, CALLER)

    def close_file(self, fh: Fh) -> None:
        self.fs.flush(fh)
        self.fs.release(fh)

    def write(self, path: str, data: bytes, offset: int = 0) -> None:
        """Into an existing file, or a new one."""
        fh = self.open(path) if self.exists(path) else self.create(path)
        try:
            for at in range(0, len(data), MIB):
                self.fs.write(fh, offset + at, data[at : at + MIB])
        finally:
            self.close_file(fh)

    def read(self, path: str) -> bytes:
        fh = self.open(path, os.O_RDONLY)
        try:
            return self.read_all(fh)
        finally:
            self.fs.release(fh)

    def read_all(self, fh: Fh) -> bytes:
        pieces: list[bytes] = []
        offset = 0
        while piece := self.fs.read(fh, offset, MIB):
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    def exists(self, path: str) -> bool:
        *above, name = path.strip("/").split("/")
        return name in self.names("/" + "/".join(above))

    def names(self, path: str = "/") -> list[str]:
        fh = self.fs.opendir(path)
        try:
            return [entry.name for entry in all_entries(self.fs, fh)]
        finally:
            self.fs.releasedir(fh)

    def mkdir(self, path: str) -> None:
        self.fs.mkdir(path, 0o755, CALLER)

    def link(self, old: str, new: str) -> None:
        self.fs.link(old, new)

    def nlink(self, path: str) -> int:
        return self.fs.getattr(path).nlink

    def ino(self, path: str) -> int:
        return self.fs.getattr(path).ino

    def tree(self, path: str = "/") -> dict[str, bytes]:
        """Every file below, by key."""
        found: dict[str, bytes] = {}
        for name in self.names(path):
            below = f"{path.rstrip('/')}/{name}"
            if self.fs.getattr(below).mode & 0o170000 == 0o040000:
                found |= self.tree(below)
            else:
                found[below[1:]] = self.read(below)
        return found

    # -- the bucket ----------------------------------------------------------------------------------------------

    def drain(self, deadline_s: float = DEADLINE_S) -> None:
        left = self.drive.drain(deadline_s, lambda backlog: None)
        assert not left, f"not in the bucket: {left}"

    def bucket(self) -> dict[str, bytes]:
        """The objects that are files, by key; a directory's own file by its name in there."""
        return {
            f"{key}%key" if is_dir_key(key) else key: item.body
            for key, item in self.memory.objects().items()
            if item.body or not is_dir_key(key)
        }

    def object_keys(self) -> set[str]:
        return set(self.memory.objects())

    def refresh(self, path: str = "/") -> None:
        """Let the next use of this directory list it."""
        inode = self.index.inodes.get(self.fs.getattr(path).ino)
        self.drive.lister.invalidate(inode.ino)

    def conflicts(self) -> int:
        return self.drive.writeback.totals[2]

    def is_clean(self) -> bool:
        return self.drive.writeback.backlog().is_empty

    def settle(self, deadline_s: float = DEADLINE_S) -> None:
        """Like drain, but at the write-back's own pace: back-offs stay."""
        until(self.is_clean, deadline_s, "nothing owed")

    def check(self, expected: dict[str, bytes], *, conflicts: int = 0) -> None:
        """Everything is uploaded; bucket and tree are `expected`, and nothing else."""
        self.drain()
        assert self.bucket() == expected
        assert self.tree() == expected
        assert self.conflicts() == conflicts
        assert not self.memory.uploads()

    def oddities(self) -> list[str]:
        """Inodes that nothing will put right: not owed, and yet not where the bucket has them; or without a path."""
        odd = []
        for (ino,) in self.index._database.rows("SELECT ino FROM inode"):
            inode = self.index.inodes.get(ino)
            key = self.index.dentries.path_key(inode)
            if (not inode.is_owed and inode.remote_key != key) or (key is None and inode.nlink):
                calls = [call for call in self.store.calls if call[1] in (key, inode.remote_key)]
                odd.append(
                    f"path {key!r}, remote {inode.remote_key!r}, ino {inode.ino}, meta {inode.meta_generation}: {calls}"
                )
        return odd
