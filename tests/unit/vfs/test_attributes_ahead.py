"""Attributes of a tree that is walked are asked for before their directory is read; no more of them than a few."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3mount.drive import Drive, DriveOptions
from s3mount.model import ROOT_INO, Ino, ObjectInfo, ObjectKey
from s3mount.remote.defaults import Defaults
from s3mount.vfs.attributes_ahead import FILES_MAX
from s3mount.vfs.filesystem import FileSystem
from tests.support.entries import all_entries
from tests.support.memory_store import MemoryStore

DIRECTORIES = 30
FILES = 6
WAIT_S = 5.0


class _Store(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.heads: list[ObjectKey] = []

    def head(self, key: ObjectKey) -> ObjectInfo:
        self.heads.append(key)
        return super().head(key)

    def heads_of(self, directory: int) -> int:
        return sum(key.startswith(f"top/d{directory:02}/") and not key.endswith("/") for key in self.heads)


@pytest.fixture
def store() -> _Store:
    store = _Store()
    for directory in range(DIRECTORIES):
        for file in range(FILES):
            store.foreign_put(f"top/d{directory:02}/f{file}", b"x")
    return store


@pytest.fixture
def fs(store: _Store, tmp_path: Path) -> Iterator[FileSystem]:
    options = DriveOptions(defaults=Defaults(0, 0, 0o022), cache_limit_bytes=1 << 24, write_back_delay_s=60.0)
    drive = Drive(store, tmp_path, options)
    yield drive.filesystem
    drive.close()


def _read(fs: FileSystem, directory: int) -> Ino:
    top = fs.lookup(ROOT_INO, "top").ino
    ino = fs.lookup(top, f"d{directory:02}").ino
    fh = fs.opendir(ino)
    assert len(list(all_entries(fs, fh))) == FILES
    fs.releasedir(fh)
    return ino


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _walk_begins(fs: FileSystem, store: _Store) -> None:
    """Two directories beside each other; a listing of what follows is on its way then, and a third one meets it."""
    for directory in range(2):
        _read(fs, directory)
    top = fs.lookup(ROOT_INO, "top").ino
    _wait(lambda: all(inode.is_listed for inode in fs._context.index.inodes.directories_in(top)))


def test_a_walk_finds_the_attributes_of_the_next_directories(fs: FileSystem, store: _Store) -> None:
    _walk_begins(fs, store)
    _read(fs, 2)
    _wait(lambda: store.heads_of(3) == FILES and store.heads_of(4) == FILES)
    for directory in range(DIRECTORIES):
        ino = _read(fs, directory)
        for file in range(FILES):
            assert fs.lookup(ino, f"f{file}").size == 1
    assert [store.heads_of(directory) for directory in range(DIRECTORIES)] == [FILES] * DIRECTORIES, "each once"


def test_a_walk_that_ends_early_has_asked_for_a_bounded_number(fs: FileSystem, store: _Store) -> None:
    _walk_begins(fs, store)
    _read(fs, 2)
    _wait(lambda: len({key for key in store.heads if not key.endswith("/")}) >= FILES_MAX)
    time.sleep(0.2)
    assert sum(map(store.heads_of, range(3, DIRECTORIES))) <= FILES_MAX


def test_one_directory_alone_is_no_walk(fs: FileSystem, store: _Store) -> None:
    _walk_begins(fs, store)
    time.sleep(0.2)
    before = sum(map(store.heads_of, range(2, DIRECTORIES)))
    for _ in range(3):
        _read(fs, 1)
    time.sleep(0.2)
    assert sum(map(store.heads_of, range(2, DIRECTORIES))) == before


def test_who_reads_files_gets_their_attributes_with_their_bytes(fs: FileSystem, store: _Store) -> None:
    ino = _read(fs, DIRECTORIES - 1)
    fs.release(fs.open(fs.lookup(ino, "f0").ino, 0))
    _walk_begins(fs, store)
    _read(fs, 2)
    time.sleep(0.2)
    assert sum(map(store.heads_of, range(3, DIRECTORIES - 1))) == 0
