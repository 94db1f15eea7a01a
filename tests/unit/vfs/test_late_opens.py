"""Opens of what was renamed over or removed since it was looked up: one may be late, the next is not."""

import contextlib
import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from s3mount.drive import INDEX_NAME
from s3mount.errors import Stale
from s3mount.model import AttrChange, Ino
from s3mount.vfs import late_opens
from tests.faults.bench import CALLER, LONG_S, Bench, until


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, delay_s=LONG_S)


def replace(bench: Bench, body: bytes) -> None:
    """As an editor saves."""
    bench.write("/draft", body)
    bench.fs.rename("/draft", "/text")


def be_late(bench: Bench) -> None:
    """What the kernel's first try meets."""
    ino = bench.ino("/text")
    replace(bench, b"in between")
    with pytest.raises(Stale):
        bench.drive.filesystem.open(ino, os.O_RDONLY)


def orphans(bench: Bench) -> list[Ino]:
    return [inode.ino for inode in bench.index.inodes.orphans()]


def read(bench: Bench, ino: Ino) -> bytes:
    fs = bench.drive.filesystem
    fh = fs.open(ino, os.O_RDONLY)
    try:
        return fs.read(fh, 0, 100)
    finally:
        fs.release(fh)


def test_the_second_try_finds_what_was_renamed_over_meanwhile(bench: Bench) -> None:
    replace(bench, b"first")
    be_late(bench)
    ino = bench.ino("/text")
    replace(bench, b"third")
    assert read(bench, ino) == b"in between"
    assert read(bench, ino) == b"in between", "one open of several that are late ended it for the others"
    assert bench.read("/text") == b"third"
    bench.close()


def test_the_second_try_finds_what_was_removed_meanwhile(bench: Bench) -> None:
    replace(bench, b"first")
    be_late(bench)
    ino = bench.ino("/text")
    bench.fs.unlink("/text")
    assert read(bench, ino) == b"in between"
    assert bench.names() == []
    bench.close()


def test_what_was_removed_after_a_late_truncation_can_be_cut(bench: Bench) -> None:
    replace(bench, b"first")
    ino = bench.ino("/text")
    replace(bench, b"in between")
    with pytest.raises(Stale):
        bench.drive.filesystem.setattr(ino, AttrChange(size=0))
    ino = bench.ino("/text")
    replace(bench, b"third")
    assert bench.drive.filesystem.setattr(ino, AttrChange(size=2)).size == 2
    assert bench.read("/text") == b"third"
    bench.close()


def test_nothing_is_held_where_no_open_was_late(bench: Bench) -> None:
    replace(bench, b"first")
    replace(bench, b"second")
    assert orphans(bench) == []
    bench.close()


def test_what_was_held_goes_after_a_while(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_opens, "GRACE_S", 0.2)
    replace(bench, b"first")
    be_late(bench)
    ino = bench.ino("/text")
    replace(bench, b"third")
    assert orphans(bench) == [ino]
    until(lambda: not orphans(bench))
    with pytest.raises(Stale):
        bench.drive.filesystem.open(ino, os.O_RDONLY)
    bench.drive.filesystem.fsyncdir(bench.fs.opendir("/"))
    assert bench.drive.cache.used_bytes == len(b"third")
    bench.close()


def test_a_drain_is_of_what_is_held_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    replace(bench, b"first")
    be_late(bench)
    bench.drain()
    assert bench.bucket() == {"text": b"in between"}
    bench.fs.unlink("/text")
    assert len(orphans(bench)) == 1
    bench.drain()
    assert bench.bucket() == {}
    bench.close()


def test_a_drain_waits_for_what_is_being_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_opens, "GRACE_S", 0.2)
    bench = Bench(tmp_path)
    replace(bench, b"first")
    be_late(bench)
    bench.drain()
    opens = bench.drive._late_opens
    begun, close_file = threading.Event(), opens._close_file
    opens.close_with(lambda fh: (begun.set(), time.sleep(0.3), close_file(fh)))
    bench.fs.unlink("/text")
    if begun.wait(5):
        bench.drain()
    assert bench.bucket() == {}
    bench.close()


def test_a_drive_that_ends_lets_go_of_what_is_held(bench: Bench, tmp_path: Path) -> None:
    replace(bench, b"first")
    be_late(bench)
    replace(bench, b"third")
    assert len(orphans(bench)) == 1
    bench.close()
    with contextlib.closing(sqlite3.connect(tmp_path / INDEX_NAME)) as index:
        assert index.execute("SELECT count(*) FROM inode WHERE nlink = 0").fetchone() == (0,)
    bench.start()
    assert bench.read("/text") == b"third"
    bench.close()


def test_no_more_than_so_many_are_held(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_opens, "HELD_MAX", 3)
    replace(bench, b"first")
    be_late(bench)
    for number in range(5):
        replace(bench, b"%d" % number)
    assert len(orphans(bench)) == 3
    bench.close()


def test_directories_are_not_held(bench: Bench) -> None:
    replace(bench, b"first")
    be_late(bench)
    bench.fs.mkdir("/folder", 0o755, CALLER)
    bench.fs.rmdir("/folder")
    assert orphans(bench) == []
    bench.close()
