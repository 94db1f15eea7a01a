"""Cached bytes of files that are gone: nothing is done for those that have none, and no room is lost to the others."""

from pathlib import Path

import pytest

from s3mount.cache.disk import LocalDisk
from s3mount.model import Ino
from s3mount.vfs.discards import WAITING_MAX
from tests.faults.bench import LONG_S, Bench


@pytest.fixture
def unlinked(monkeypatch: pytest.MonkeyPatch) -> list[Ino]:
    """The block files that were unlinked."""
    found: list[Ino] = []
    unlink = LocalDisk.unlink
    monkeypatch.setattr(LocalDisk, "unlink", lambda disk, ino: (found.append(ino), unlink(disk, ino)))
    return found


def test_a_file_of_which_nothing_is_cached_costs_the_disk_nothing(tmp_path: Path, unlinked: list[Ino]) -> None:
    bench = Bench(tmp_path, delay_s=LONG_S)
    bench.memory.foreign_put("a", b"bytes")
    bench.fs.getattr("/a")
    bench.fs.unlink("/a")
    bench.drive.filesystem.fsyncdir(bench.fs.opendir("/"))
    assert unlinked == []
    bench.close()


def test_bytes_cached_by_an_earlier_mount_wait_until_the_removal_is_durable(
    tmp_path: Path, unlinked: list[Ino], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, delay_s=LONG_S)
    bench.write("/a", b"owed, and nowhere else")
    ino = bench.ino("/a")
    bench.restart()
    is_durable = []
    commit = bench.index.commit_durably
    monkeypatch.setattr(bench.index, "commit_durably", lambda: (commit(), is_durable.append(len(unlinked))))
    bench.fs.unlink("/a")
    assert unlinked == []
    bench.drive.filesystem.fsyncdir(bench.fs.opendir("/"))
    assert unlinked == [ino]
    assert is_durable[0] == 0
    bench.close()


def test_removing_what_an_earlier_mount_cached_gives_its_room_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for number in range(2 * WAITING_MAX):
        bench.write(f"/{number}", b"x" * 1000)
    bench.drain()
    bench.restart()
    assert bench.drive.cache.used_bytes == 2 * WAITING_MAX * 1000
    for number in range(2 * WAITING_MAX):
        bench.fs.unlink(f"/{number}")
    # What the sweep of the start meets first does not wait, so the last few may.
    assert bench.drive.cache.used_bytes < WAITING_MAX * 1000
    bench.drive.filesystem.fsyncdir(bench.fs.opendir("/"))
    assert bench.drive.cache.used_bytes == 0
    assert bench.index.cache_entries.total_bytes() == 0
    bench.close()


def test_what_others_removed_gives_its_room_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.write("/a", b"x" * 1000)
    bench.drain()
    bench.restart()
    bench.memory.foreign_delete("a")
    bench.refresh("/")
    assert bench.names("/") == []
    assert bench.drive.cache.used_bytes == 0
    bench.close()
