"""Reading a directory by pages while names come and go."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3mount.drive import Drive, DriveOptions
from s3mount.model import ROOT_INO, Caller, DirEntry, Fh
from s3mount.remote.defaults import Defaults
from s3mount.vfs.directories import PAGE_ENTRIES
from s3mount.vfs.filesystem import FileSystem
from tests.support.entries import all_entries
from tests.support.memory_store import MemoryStore

ME = Caller(0, 0)
COUNT = 3 * PAGE_ENTRIES + 100
NAMES = [f"n{number:05}" for number in range(COUNT)]


@pytest.fixture
def fs(tmp_path: Path) -> Iterator[FileSystem]:
    store = MemoryStore()
    for name in NAMES:
        store.foreign_put(name, b"x")
    options = DriveOptions(defaults=Defaults(0, 0, 0o022), cache_limit_bytes=1 << 24, write_back_delay_s=60.0)
    drive = Drive(store, tmp_path, options)
    yield drive.filesystem
    drive.close()


def test_each_name_once_in_one_order(fs: FileSystem) -> None:
    fh = fs.opendir(ROOT_INO)
    assert [entry.name for entry in all_entries(fs, fh)] == NAMES
    assert [entry.name for entry in all_entries(fs, fh)] == NAMES, "from the start again"
    seed = random.randrange(1 << 30)
    dice = random.Random(seed)
    for _ in range(20):
        place = dice.randrange(COUNT)
        page = fs.readdir(fh, place)
        assert [entry.name for entry in page] == NAMES[place : place + len(page)], f"seed {seed}"
    assert not fs.readdir(fh, COUNT)
    fs.releasedir(fh)


def test_what_is_gone_by_now_is_left_out_and_nothing_else(fs: FileSystem) -> None:
    fh = fs.opendir(ROOT_INO)
    first = fs.readdir(fh, 0)
    handed_out = first[:100]
    gone = {*NAMES[50:90], *NAMES[PAGE_ENTRIES : 2 * PAGE_ENTRIES], NAMES[-1]}
    for name in gone:
        fs.unlink(ROOT_INO, name)
    _, new = fs.create(ROOT_INO, "a-new", 0o644, os.O_WRONLY | os.O_CREAT, ME)
    fs.release(new)
    rest = [entry.name for entry in _from(fs, fh, handed_out[-1].next_place)]
    assert rest == [name for name in NAMES[100:] if name not in gone]
    assert [entry.name for entry in all_entries(fs, fh)] == sorted({*NAMES, "a-new"} - gone), "as if opened anew"
    fs.releasedir(fh)


def test_an_entry_is_as_it_is_when_its_turn_comes(fs: FileSystem) -> None:
    fh = fs.opendir(ROOT_INO)
    page = fs.readdir(fh, 0)
    fs.rename(ROOT_INO, NAMES[-1], ROOT_INO, "z-renamed")
    ino = fs.lookup(ROOT_INO, NAMES[-2]).ino
    rest = {entry.attr.ino: entry for entry in _from(fs, fh, page[-1].next_place)}
    assert "z-renamed" in {entry.name for entry in rest.values()}
    assert rest[ino].is_complete
    assert rest[ino].attr.size == 1
    fs.releasedir(fh)


def _from(fs: FileSystem, fh: Fh, start: int) -> Iterator[DirEntry]:
    while page := fs.readdir(fh, start):
        yield from page
        start = page[-1].next_place
