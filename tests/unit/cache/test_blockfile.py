"""Order of effects on rows and disk, and what is left after each failure."""

import errno
from pathlib import Path

import pytest

from s3mount.cache.disk import LocalDisk
from s3mount.cache.extents import Extents
from s3mount.errors import IOFailure, NoSpace
from s3mount.model import CacheRow, Ino
from tests.unit.cache.support import KIB, MIB, Bench, content

INO = Ino(0x1A7)


def lines(bench: Bench) -> list[str]:
    taken = bench.journal.lines.copy()
    bench.journal.lines.clear()
    return taken


def test_evict_shrinks_the_row_then_commits_then_frees(bench: Bench) -> None:
    remote = bench.store.object("a", content(1000))
    bench.cache.read(INO, remote, start=0, end=1000)
    lines(bench)
    bench.limit = 0
    bench.cache._budget.limit_bytes = 0
    bench.cache._evictor.evict(0)
    assert lines(bench) == [f"remove {INO}", "commit", f"unlink {INO}"]
    assert bench.cache.used_bytes == bench.cache.present_bytes(INO) == 0


def test_part_of_a_file_is_evicted_by_a_hole(bench: Bench) -> None:
    remote = bench.store.object("a", content(8 * MIB))
    bench.cache.read(INO, remote, start=0, end=8 * MIB)
    bench.cache.write(INO, 0, b"dirty")
    bench.cache.save(INO)
    lines(bench)
    bench.cache._budget.limit_bytes = 7 * MIB
    bench.cache._evictor.evict(0)
    assert lines(bench) == [f"save {INO}", "commit", f"punch {INO} 5-{MIB + 128 * KIB}"]
    assert bench.cache.used_bytes == 7 * MIB - 128 * KIB + 5
    assert bench.cache.read(INO, remote, start=0, end=8 * MIB) == b"dirty" + content(8 * MIB)[5:]


def test_without_holes_only_whole_clean_files_go(tmp_path: Path) -> None:
    bench = Bench(tmp_path, can_punch=False)
    remote = bench.store.object("a", content(8 * MIB))
    bench.cache.read(Ino(1), remote, start=0, end=8 * MIB)
    bench.cache.read(Ino(2), remote, start=0, end=8 * MIB)
    bench.write(1, 0, b"dirty")
    bench.owed.clear()
    lines(bench)
    bench.cache._budget.limit_bytes = 15 * MIB
    bench.cache._evictor.evict(0)
    assert lines(bench) == ["remove 2", "commit", "unlink 2"]
    bench.cache.close()


def test_fetched_bytes_are_on_disk_before_the_row_says_so(bench: Bench) -> None:
    remote = bench.store.object("a", content(1000))
    bench.cache.read(INO, remote, start=0, end=1000)
    assert lines(bench) == [f"pwrite {INO} 0+1000", f"save {INO}"]


def test_a_file_made_here_is_written_without_a_sync(bench: Bench) -> None:
    bench.write(INO, 5000, content(100))
    bench.write(INO, 0, content(100))
    bench.cache.resize(INO, 5100, 50)
    bench.write(INO, 50, content(100))
    assert not [line for line in lines(bench) if line.startswith("fdatasync")]


def test_what_a_former_run_left_is_gone_for_good_before_it_is_written_over(bench: Bench) -> None:
    """The row may survive a power cut that the bytes do not: those of before must not show in their place."""
    bench.write(INO, 0, content(9000))
    bench.cache.save(INO)
    bench.cache.resize(INO, 9000, 6000)
    bench.cache.save(INO)
    present = Extents([(0, 1000), (5000, 6000)])
    bench.entries.rows[INO] = CacheRow(bench.cache._ground.tag + present.packed(), b"", 2000, 1)
    bench.entries.seals.clear()
    bench.restart()
    lines(bench)
    bench.write(INO, 2000, content(10))
    bench.write(INO, 3000, content(10))
    bench.write(INO, 8000, content(10))
    assert lines(bench) == [
        f"punch {INO} 1000-5000",
        f"fdatasync {INO}",
        f"pwrite {INO} 2000+10",
        f"pwrite {INO} 3000+10",
        f"pwrite {INO} 8000+10",
    ]


def test_what_an_upload_left_is_gone_for_good_before_it_is_written_over(bench: Bench) -> None:
    bench.write(INO, 0, content(9000))
    bench.upload(INO, 9000)
    bench.cache.resize(INO, 9000, 100)
    lines(bench)
    bench.write(INO, 200, content(10))
    bench.write(INO, 300, content(10))
    assert lines(bench) == [f"fdatasync {INO}", f"pwrite {INO} 200+10", f"pwrite {INO} 300+10"]


def test_a_name_that_was_removed_is_gone_for_good_before_the_file_is_made_anew(bench: Bench) -> None:
    bench.write(INO, 0, content(9000))
    remote = bench.upload(INO, 9000)
    bench.cache._budget.limit_bytes = 0
    bench.cache._evictor.evict(0)
    bench.cache._budget.limit_bytes = MIB
    lines(bench)
    bench.write(INO, 0, content(10))
    assert lines(bench) == [f"fdatasync {INO}", f"fsync_directory {INO}", f"pwrite {INO} 0+10"]
    assert bench.cache.read(INO, remote, start=0, end=20) == content(10) + content(9000)[10:20]


def test_clean_bytes_are_declared_dirty_before_they_change(bench: Bench) -> None:
    remote = bench.store.object("a", content(1000))
    bench.cache.read(INO, remote, start=0, end=1000)
    lines(bench)
    bench.cache.write(INO, 10, b"x")
    bench.cache.write(INO, 20, b"y")
    bench.cache.save(INO)
    assert lines(bench) == [
        f"fdatasync {INO}",
        f"save {INO}",
        f"pwrite {INO} 10+1",
        f"save_seals {INO}",  # once for each segment and save
        f"pwrite {INO} 20+1",
        f"save {INO}",
    ]
    assert list(bench.cache.dirty_extents(INO)) == [(10, 11), (20, 21)]


def test_shrink_saves_before_it_cuts(bench: Bench) -> None:
    bench.write(INO, 0, content(1000))
    lines(bench)
    bench.cache.resize(INO, 1000, 400)
    assert lines(bench) == [f"save {INO}", f"truncate {INO} 400"]
    assert list(bench.entries.present(INO)) == [(0, 400)]
    assert bench.cache.used_bytes == 400


def test_grow_never_shows_stale_bytes(bench: Bench) -> None:
    remote = bench.store.object("a", b"\xff" * 1000)
    bench.cache.resize(INO, 1000, 300)
    bench.cache.read(INO, remote, start=0, end=300)  # brings bytes past the file's end, too
    bench.cache.resize(INO, 300, 900)
    assert bench.cache.read(INO, remote, start=0, end=900) == b"\xff" * 300 + bytes(600)
    assert list(bench.cache.dirty_extents(INO)) == [(300, 900)]
    assert bench.cache.used_bytes == 900


def test_discard_removes_the_row_then_the_file(bench: Bench) -> None:
    bench.write(INO, 0, b"abc")
    bench.cache.save(INO)
    lines(bench)
    bench.cache.discard(INO)
    assert lines(bench) == [f"remove {INO}", f"unlink {INO}"]
    assert bench.cache.used_bytes == 0
    assert not bench.cache.dirty_extents(INO)


def test_what_goes_along_with_a_save_is_done_whether_or_not_there_is_something_to_save(bench: Bench) -> None:
    def refused() -> None:
        raise NoSpace("the index is full")

    done: list[str] = []
    bench.cache.write(INO, 0, b"abc")
    with pytest.raises(NoSpace):
        bench.cache.save(INO, refused)
    before = bench.entries.saves
    bench.cache.save(INO, lambda: done.append("with the row"))
    assert bench.entries.saves == before + 1, "what was undone is saved again"
    bench.cache.save(INO, lambda: done.append("alone"))
    assert (bench.entries.saves, done) == (before + 1, ["with the row", "alone"])


def test_save_is_free_when_nothing_changed(bench: Bench) -> None:
    bench.write(INO, 0, b"abc")
    bench.cache.save(INO)
    lines(bench)
    bench.cache.save(INO)
    assert lines(bench) == []


def test_sync_syncs_the_name_once(bench: Bench) -> None:
    bench.write(INO, 0, b"abc")
    lines(bench)
    bench.cache.sync(INO)
    bench.cache.sync(INO)
    assert lines(bench) == [f"fdatasync {INO}", f"fsync_directory {INO}", f"fdatasync {INO}"]


def test_sync_without_a_file_syncs_that_there_is_none(bench: Bench) -> None:
    bench.write(INO, 0, b"abc")
    bench.cache.sync(INO)
    bench.cache.discard(INO)
    lines(bench)
    bench.cache.sync(INO)
    bench.cache.sync(INO)
    assert lines(bench) == [f"fsync_directory {INO}"]


@pytest.mark.parametrize(("code", "failure"), [(errno.ENOSPC, NoSpace), (errno.EIO, IOFailure)])
def test_failed_write_adds_nothing(bench: Bench, code: int, failure: type[Exception]) -> None:
    bench.disk.fail_write = OSError(code, "broken")
    with pytest.raises(failure) as raised:
        bench.write(INO, 0, b"abc")
    assert raised.value.__cause__ is bench.disk.fail_write
    assert bench.cache.used_bytes == bench.cache.present_bytes(INO) == 0
    assert not bench.cache.dirty_extents(INO)


def test_failed_write_over_clean_bytes_leaves_them_dirty(bench: Bench) -> None:
    remote = bench.store.object("a", bytes(100))
    bench.cache.read(INO, remote, start=0, end=100)
    bench.disk.fail_write = OSError(errno.EIO, "broken")
    with pytest.raises(IOFailure):
        bench.write(INO, 90, b"\xff" * 20)
    assert list(bench.cache.dirty_extents(INO)) == [(90, 100)]
    assert bench.cache.present_bytes(INO) == 100


def test_fetched_bytes_reach_the_reader_though_the_disk_is_full(bench: Bench) -> None:
    remote = bench.store.object("a", b"abc")
    bench.disk.fail_write = OSError(errno.ENOSPC, "full")
    assert bench.cache.read(INO, remote, start=0, end=3) == b"abc"
    assert bench.cache.used_bytes == 0


def test_lost_dirty_bytes_are_a_failure_not_zeros(bench: Bench) -> None:
    bench.write(INO, 0, content(1000))
    bench.cache.save(INO)
    cache = bench.restart()
    bench.disk.unlink(INO)
    with pytest.raises(IOFailure):
        cache.read(INO, None, start=0, end=1000)


def test_lost_clean_bytes_are_fetched_again(bench: Bench) -> None:
    remote = bench.store.object("a", content(1000))
    bench.cache.read(INO, remote, start=0, end=1000)
    cache = bench.restart()
    bench.disk.unlink(INO)
    assert cache.read(INO, remote, start=0, end=1000) == content(1000)
    assert cache.used_bytes == 1000


def test_directory_is_private_and_fanned_out(bench: Bench, tmp_path: Path) -> None:
    bench.write(INO, 0, b"abc")
    path = tmp_path / "cache" / "a7" / "1a7"
    assert path.read_bytes() == b"abc"
    assert path.stat().st_mode & 0o777 == 0o600
    assert {folder.stat().st_mode & 0o777 for folder in (tmp_path / "cache", path.parent)} == {0o700}


def test_sweep_removes_what_the_index_does_not_know(bench: Bench) -> None:
    for ino in (1, 2, 0x302):
        bench.write(ino, 0, b"abc")
        bench.cache.save(Ino(ino))
    cache = bench.restart()
    bench.entries.rows.pop(Ino(2))
    assert cache.sweep(lambda ino: ino != 1) == 2
    assert list(bench.disk.list()) == [0x302]
    assert cache.read(Ino(0x302), None, start=0, end=3) == b"abc"


def test_sweep_removes_nothing_that_a_power_cut_could_bring_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write(INO, 0, b"abc")
    bench.cache.save(INO)
    cache = bench.restart()
    there: list[list[Ino]] = []
    monkeypatch.setattr(bench.entries, "commit_durably", lambda: there.append(list(bench.disk.list())))
    assert cache.sweep(lambda ino: False) == 1
    assert there == [[INO]]


def test_unusable_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        LocalDisk(tmp_path / "file")
