"""drive.py: one process a state folder, and a cache smaller than a file (P7)."""

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from s3mount.drive import Drive, DriveOptions
from s3mount.errors import MountError
from s3mount.model import Caller
from s3mount.remote.defaults import Defaults
from s3mount.vfs.paths import PathFileSystem
from tests.support.memory_store import MemoryStore

MIB = 1 << 20
CACHE_MIB = 16


def make_drive(store: MemoryStore, folder: Path) -> Drive:
    options = DriveOptions(defaults=Defaults(0, 0, 0o022), cache_limit_bytes=CACHE_MIB * MIB, write_back_delay_s=0.05)
    return Drive(store, folder, options)


def paths(drive: Drive) -> PathFileSystem:
    return PathFileSystem(drive.filesystem)


def test_one_process_a_state_folder(tmp_path: Path) -> None:
    store = MemoryStore()
    drive = make_drive(store, tmp_path)
    with pytest.raises(MountError, match=rf"in use by another s3mount \(process {os.getpid()}\)"):
        make_drive(store, tmp_path)
    drive.close()
    make_drive(store, tmp_path).close()


def test_a_state_folder_serves_one_source_for_good(tmp_path: Path) -> None:
    options = DriveOptions(defaults=Defaults(0, 0, 0o022), cache_limit_bytes=MIB, source="s3://one/ at here")
    Drive(MemoryStore(), tmp_path, options).close()
    with pytest.raises(MountError, match=r"belongs to s3://one/ at here, not to s3://one/ at there"):
        Drive(MemoryStore(), tmp_path, replace(options, source="s3://one/ at there"))
    Drive(MemoryStore(), tmp_path, options).close()


def test_a_file_larger_than_the_cache_is_read(tmp_path: Path) -> None:
    store = MemoryStore()
    content = random.Random(7).randbytes(4 * CACHE_MIB * MIB)
    store.foreign_put("large", content)
    drive = make_drive(store, tmp_path)
    fh = paths(drive).open("/large", os.O_RDONLY)
    for start in range(0, len(content), MIB):
        assert paths(drive).read(fh, start, MIB) == content[start : start + MIB]
        assert drive.cache.used_bytes <= CACHE_MIB * MIB
    paths(drive).release(fh)
    drive.close()


def test_a_file_larger_than_the_cache_is_written_and_read_back(tmp_path: Path) -> None:
    store = MemoryStore()
    drive = make_drive(store, tmp_path)
    dice = random.Random(8)
    pieces = [dice.randbytes(MIB) for _ in range(3 * CACHE_MIB)]
    fh = paths(drive).create("/large", 0o644, os.O_RDWR, Caller(0, 0))
    for number, piece in enumerate(pieces):
        assert paths(drive).write(fh, number * MIB, piece) == MIB
        assert drive.cache.used_bytes <= CACHE_MIB * MIB
    for number, piece in enumerate(pieces):
        assert paths(drive).read(fh, number * MIB, MIB) == piece
    paths(drive).flush(fh)
    paths(drive).release(fh)
    assert drive.drain(30, lambda _: None) == []
    assert store.objects()["large"].body == b"".join(pieces)
    drive.close()


def test_fsync_puts_bytes_on_disk_before_the_index_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P2: the block file is synced first, the index durably committed after it, and only then fsync returns."""
    drive = make_drive(MemoryStore(), tmp_path)
    events: list[str] = []
    sync, save, commit = drive.cache.sync, drive.cache.save, drive.index.commit_durably
    monkeypatch.setattr(drive.cache, "sync", lambda ino: (sync(ino), events.append("bytes synced")))
    monkeypatch.setattr(drive.cache, "save", lambda *a: (save(*a), events.append("extents committed")))
    monkeypatch.setattr(drive.index, "commit_durably", lambda: (commit(), events.append("index durable")))
    fh = paths(drive).create("/file", 0o644, os.O_RDWR, Caller(0, 0))
    paths(drive).write(fh, 0, b"bytes")
    paths(drive).fsync(fh)
    assert events == ["bytes synced", "extents committed", "index durable"]
    paths(drive).release(fh)
    drive.close()
