"""Zeros that were made here take no room, count for nothing, and are known as holes as long as the file is cached."""

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.cache.holes import HOLE_BLOCK_BYTES, Holes
from s3mount.errors import NoSpace
from s3mount.model import Ino, Seek
from tests.unit.cache.support import KIB, MIB, Bench, content

INO = Ino(9)
TIB = 1 << 40
BLOCKS = 40


@given(st.lists(st.tuples(st.booleans(), st.integers(0, BLOCKS * 4096), st.integers(0, BLOCKS * 4096))))
def test_holes_are_the_blocks_that_were_dug_and_not_touched_since(steps: list[tuple[bool, int, int]]) -> None:
    holes, model = Holes(), [False] * BLOCKS
    for is_dug, start, end in steps:
        for block in range(BLOCKS):
            first, last = block * HOLE_BLOCK_BYTES, (block + 1) * HOLE_BLOCK_BYTES
            if is_dug and start <= first and last <= end:
                model[block] = True
            if not is_dug and start < end and start < last and end > first:
                model[block] = False
        (holes.dig if is_dug else holes.fill)(start, end)
    assert [holes.covers(n * 4096, (n + 1) * 4096) for n in range(BLOCKS)] == model
    assert holes.total == sum(model) * 4096


def test_seek_as_lseek_has_it() -> None:
    holes = Holes([(4096, 8192)])
    assert holes.seek(0, 10_000, Seek.DATA) == 0
    assert holes.seek(5000, 10_000, Seek.DATA) == 8192
    assert holes.seek(0, 10_000, Seek.HOLE) == 4096
    assert holes.seek(5000, 10_000, Seek.HOLE) == 5000
    assert holes.seek(9000, 10_000, Seek.HOLE) == 10_000
    assert holes.seek(5000, 8192, Seek.DATA) is None
    assert holes.seek(10_000, 10_000, Seek.HOLE) is None
    assert holes.seek(0, 0, Seek.DATA) is None


def allocated(bench: Bench, tmp_path: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in tmp_path.rglob("9") if path.is_file())


def test_a_tebibyte_of_zeros_costs_nothing(bench: Bench, tmp_path: Path) -> None:
    bench.cache.resize(INO, 0, TIB)
    bench.write(INO, TIB // 2, b"x")
    assert bench.cache.used_bytes <= HOLE_BLOCK_BYTES
    assert allocated(bench, tmp_path) <= 2 * HOLE_BLOCK_BYTES
    assert bench.cache.read(INO, None, start=TIB // 2 - 1, end=TIB // 2 + 2) == b"\0x\0"
    bench.cache.save(INO)
    cache = bench.restart()
    assert cache.hole_bytes(INO) == TIB - HOLE_BLOCK_BYTES
    assert cache.used_bytes <= HOLE_BLOCK_BYTES
    assert cache.seek(INO, 0, TIB, Seek.DATA) == TIB // 2
    assert list(cache.dirty_extents(INO)) == [(0, TIB)]


def test_holes_outlive_the_upload_and_are_not_evicted(bench: Bench) -> None:
    bench.write(INO, 0, content(2 * MIB))
    bench.cache.resize(INO, 2 * MIB, 4 * MIB)
    remote = bench.upload(INO, 4 * MIB)
    bench.cache._budget.limit_bytes = 0
    bench.cache._evictor.evict(0)
    assert bench.cache.used_bytes == 0
    assert bench.cache.hole_bytes(INO) == 2 * MIB
    bench.cache._budget.limit_bytes = 8 * MIB
    gets = len(bench.store.gets)
    assert bench.cache.read(INO, remote, start=3 * MIB, end=4 * MIB) == bytes(MIB)
    assert len(bench.store.gets) == gets
    assert bench.cache.read(INO, remote, start=0, end=4 * MIB) == content(2 * MIB) + bytes(2 * MIB)


def test_a_punched_range_gives_its_room_back(bench: Bench, tmp_path: Path) -> None:
    bench.write(INO, 0, content(MIB))
    bench.cache.punch(INO, 100, MIB - 100)
    inner = MIB - 2 * HOLE_BLOCK_BYTES
    assert bench.cache.used_bytes == MIB - inner
    assert allocated(bench, tmp_path) == MIB - inner
    assert bench.cache.read(INO, None, start=0, end=MIB) == content(MIB)[:100] + bytes(MIB - 200) + content(MIB)[-100:]


def test_a_hole_over_bytes_that_only_the_bucket_has(bench: Bench) -> None:
    remote = bench.store.object("a", content(MIB))
    bench.owed.add(INO)
    bench.cache.punch(INO, 64 * KIB, 128 * KIB)
    body = bench.cache.read(INO, remote, start=0, end=MIB)
    assert body == content(MIB)[: 64 * KIB] + bytes(64 * KIB) + content(MIB)[128 * KIB :]
    assert list(bench.cache.dirty_extents(INO)) == [(64 * KIB, 128 * KIB)]


def test_allocated_holes_count_and_are_on_disk(bench: Bench, tmp_path: Path) -> None:
    bench.cache.resize(INO, 0, MIB)
    with bench.cache.reserve(MIB, 1):
        bench.cache.allocate(INO, 0, MIB // 2)
    assert bench.cache.used_bytes == MIB // 2
    assert allocated(bench, tmp_path) == MIB // 2
    assert bench.cache.hole_bytes(INO) == MIB // 2


def test_no_space_to_allocate(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    bench.cache.resize(INO, 0, MIB)
    monkeypatch.setattr("s3mount.cache.disk.LocalFile.allocate", full)
    with pytest.raises(NoSpace):
        bench.cache.allocate(INO, 0, MIB)
    assert bench.cache.hole_bytes(INO) == MIB


def test_what_was_written_into_a_hole_and_not_saved_is_no_data_after_a_kill(bench: Bench) -> None:
    bench.cache.resize(INO, 0, MIB)
    bench.cache.save(INO)
    bench.write(INO, 64 * KIB, content(100))
    cache = bench.restart()
    assert cache.seek(INO, 0, MIB, Seek.DATA) is None
    assert cache.read(INO, None, start=0, end=MIB) == bytes(MIB)


def test_a_disk_without_holes_counts_zeros(tmp_path: Path) -> None:
    bench = Bench(tmp_path, can_punch=False)
    bench.cache.resize(INO, 0, MIB)
    assert bench.cache.used_bytes == MIB
    assert not bench.cache.hole_bytes(INO)
    bench.write(INO, 0, content(MIB))
    bench.cache.punch(INO, 0, MIB)
    assert bench.cache.read(INO, None, start=0, end=MIB) == bytes(MIB)
    bench.cache.close()


def test_what_takes_no_room_needs_none(bench: Bench) -> None:
    """A full cache keeps nobody from cutting a file or punching whole blocks."""
    assert bench.cache.zeros_room(0, 4096) == bench.cache.zeros_room(4096, TIB) == 0
    assert bench.cache.zeros_room(100, 200) == 100
    assert bench.cache.zeros_room(100, 10_000) == 3996 + 1808
    bench.write(INO, 0, content(MIB))
    bench.cache._budget.limit_bytes = MIB // 2
    with bench.cache.reserve(0, 0.0):
        bench.cache.punch(INO, 0, MIB)
    assert bench.cache.used_bytes == 0
