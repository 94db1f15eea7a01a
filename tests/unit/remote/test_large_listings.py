"""Listings of more than a page: what is merged together, what is removed in portions, how long it counts (P9)."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3mount.drive import Drive, DriveOptions
from s3mount.model import ROOT_INO, Caller, ObjectKey
from s3mount.remote.defaults import Defaults
from s3mount.remote.lister import LARGE_PAGES_MIN
from s3mount.remote.merge import SWEPT_AT_ONCE
from s3mount.store.base import ListPage
from s3mount.vfs.paths import PathFileSystem
from tests.support.entries import all_entries
from tests.support.memory_store import MemoryStore

ME = Caller(0, 0)
PAGE_S = 0.01


class SlowStore(MemoryStore):
    def list_page(
        self, prefix: ObjectKey, *, delimiter: str = "/", token: str | None = None, after: ObjectKey | None = None
    ) -> ListPage:
        time.sleep(PAGE_S)
        return super().list_page(prefix, delimiter=delimiter, token=token, after=after)


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def drive(store: SlowStore, tmp_path: Path) -> Iterator[Drive]:
    options = DriveOptions(
        defaults=Defaults(0, 0, 0o022), cache_limit_bytes=1 << 24, metadata_ttl_s=1e-6, write_back_delay_s=60.0
    )
    drive = Drive(store, tmp_path, options)
    yield drive
    drive.close()


def names(drive: Drive, path: str = "/") -> set[str]:
    fs = PathFileSystem(drive.filesystem)
    fh = fs.opendir(path)
    try:
        return {entry.name for entry in all_entries(fs, fh)}
    finally:
        fs.releasedir(fh)


def test_what_others_remove_and_add_among_thousands(drive: Drive, store: SlowStore) -> None:
    count = 2 * SWEPT_AT_ONCE + 200
    for number in range(count):
        store.foreign_put(f"n{number:05}", b"x")
    expected = {f"n{number:05}" for number in range(count)}
    assert names(drive) == expected
    fs = PathFileSystem(drive.filesystem)
    fh = fs.create("/mine", 0o644, os.O_WRONLY | os.O_CREAT, ME)  # owed, and not in the bucket
    fs.release(fh)
    fs.unlink("/n00003")  # in the bucket until its DELETE is sent
    for number in range(0, count, 2):
        store.foreign_delete(f"n{number:05}")
    store.foreign_put("a100%", b"x")
    store.foreign_put("z", b"x")
    store.foreign_put("n00001/below", b"x")
    expected = {f"n{number:05}" for number in range(1, count, 2)} - {"n00003"} | {"mine", "a100%", "z", "n00001%key"}
    assert names(drive) == expected
    assert drive.index.inodes.totals()[0] == len(expected) + 1


def test_a_name_that_is_taken_here_is_not_made_anew(drive: Drive, store: SlowStore) -> None:
    fs = PathFileSystem(drive.filesystem)
    for number in range(20):
        fs.release(fs.create(f"/local{number}", 0o600, os.O_WRONLY | os.O_CREAT, ME))
        store.foreign_put(f"local{number}", b"theirs")
        store.foreign_put(f"theirs{number}", b"theirs")
    fs.rename("/local1", "/elsewhere")
    expected = {f"{whose}{number}" for number in range(20) for whose in ("local", "theirs")} | {"elsewhere"}
    assert names(drive) == expected
    assert fs.getattr("/local0").size == 0, "what is owed here stays what is shown"
    assert fs.getattr("/local1").size == 6, "this name is theirs by now"


def test_a_change_in_a_page_that_is_known_is_seen(drive: Drive, store: SlowStore) -> None:
    for number in range(50):
        store.foreign_put(f"n{number}", b"old")
    fs = PathFileSystem(drive.filesystem)
    assert len(names(drive)) == 50
    store.foreign_put("n7", b"longer")
    assert len(names(drive)) == 50
    assert {fs.getattr(f"/n{number}").size for number in range(50) if number != 7} == {3}
    assert fs.getattr("/n7").size == 6


@pytest.mark.parametrize("pages", [LARGE_PAGES_MIN - 1, LARGE_PAGES_MIN])
def test_a_long_listing_counts_longer(drive: Drive, store: SlowStore, pages: int) -> None:
    """P9"""
    store.page_size = 1
    for number in range(pages):
        store.foreign_put(f"n{number:03}", b"x")
    names(drive)
    before = store.request_counts()["ListObjectsV2"]
    drive.filesystem.releasedir(drive.filesystem.opendir(ROOT_INO))
    again = store.request_counts()["ListObjectsV2"] - before
    assert again == (0 if pages >= LARGE_PAGES_MIN else pages)
