"""Budget, reservations, eviction order, and the bounds on what is open and in memory."""

import threading
from pathlib import Path

import pytest

from s3mount.cache.open_files import OpenFiles
from s3mount.cache.table import BlockFiles
from s3mount.errors import NoSpace
from s3mount.model import Ino
from tests.unit.cache.support import MIB, Bench, content


@pytest.fixture
def small(bench: Bench) -> Bench:
    bench.limit = 10_000
    bench.restart()
    return bench


def fetch(bench: Bench, *inos: int, size: int = 2000) -> None:
    for ino in inos:
        remote = bench.store.object(f"o{ino}", content(size, ino))
        assert bench.cache.read(Ino(ino), remote, start=0, end=size) == content(size, ino)


def present(bench: Bench, *inos: int) -> list[int]:
    return [ino for ino in inos if bench.cache.present_bytes(Ino(ino))]


def test_reservation_is_used_up_exactly(small: Bench) -> None:
    with small.cache.reserve(4000, 1) as reservation:
        small.cache.write(Ino(1), 0, bytes(3000))
        assert (small.cache.used_bytes, reservation.left) == (3000, 1000)
        small.cache.write(Ino(1), 1000, bytes(3000))
        assert (small.cache.used_bytes, reservation.left) == (4000, 0)
    small.cache.reserve(6000, 1).close()
    with pytest.raises(NoSpace):
        small.cache.reserve(10_001, 1)


def test_longest_unused_goes_first(small: Bench) -> None:
    fetch(small, 1, 2, 3, 4, 5)
    fetch(small, 1)
    with small.cache.reserve(4000, 1):
        assert present(small, 1, 2, 3, 4, 5) == [1, 4, 5]


def test_rows_from_before_the_start_go_first(small: Bench) -> None:
    fetch(small, 3, 1, 2, 4, 5)
    small.restart()
    fetch(small, 3)
    with small.cache.reserve(2000, 1):
        assert present(small, 1, 2, 3, 4, 5) == [2, 3, 4, 5]


@pytest.mark.parametrize("is_changing", [False, True])
def test_a_file_that_may_soon_be_owed_again_goes_whole(bench: Bench, is_changing: bool) -> None:
    bench.limit = 8 * MIB
    bench.restart()
    fetch(bench, 1, size=6 * MIB)
    fetch(bench, 2, size=2 * MIB)
    bench.changing.update([1] if is_changing else [])
    with bench.cache.reserve(MIB, 1):
        assert bench.cache.present_bytes(Ino(1)) == (0 if is_changing else 5 * MIB)
        assert present(bench, 2)
    fetch(bench, 1, size=6 * MIB)


def test_owed_and_dirty_files_stay(small: Bench) -> None:
    fetch(small, 1, 2, 3, 4)
    small.owed.add(1)
    small.cache.write(Ino(2), 0, bytes(2000))
    with small.cache.reserve(4000, 1):
        assert present(small, 1, 2, 3, 4) == [1, 2, 4]


def test_reserve_waits_for_uploads(small: Bench) -> None:
    for ino in range(1, 6):
        small.write(ino, 0, content(2000))

    def upload_one() -> None:
        small.upload(min(small.owed), 2000)

    small.on_pressure = upload_one
    with small.cache.reserve(5000, 1):
        assert present(small, 1, 2, 3, 4, 5) == [4, 5]
    assert small.owed == {4, 5}


def test_reserve_gives_up_when_nothing_comes_free(small: Bench) -> None:
    small.write(1, 0, bytes(10_000))
    pressed = []

    def press() -> None:
        pressed.append(small.clock.monotonic_s())
        small.clock.advance(1)

    small.on_pressure = press
    with pytest.raises(NoSpace):
        small.cache.reserve(1, 5)
    assert len(pressed) == 5


def test_progress_starts_the_deadline_again(small: Bench) -> None:
    for ino in range(1, 11):
        small.write(ino, 0, content(1000))
    rounds = []

    def upload_slowly() -> None:
        rounds.append(len(small.owed))
        small.clock.advance(1)
        if len(rounds) % 2 == 0:
            small.upload(min(small.owed), 1000)

    small.on_pressure = upload_slowly
    with small.cache.reserve(8000, 3):
        assert len(rounds) == 16


def test_mark_clean_wakes_a_writer_that_waits(small: Bench) -> None:
    small.write(1, 0, content(10_000))
    pressed = threading.Event()
    small.on_pressure = pressed.set
    got: list[object] = []
    writer = threading.Thread(target=lambda: got.append(small.cache.reserve(10_000, 60)), daemon=True)
    writer.start()
    assert pressed.wait(5)
    small.upload(1, 10_000)
    writer.join(5)
    assert got
    assert small.cache.used_bytes == 0


def test_fetch_under_way_keeps_its_file(small: Bench) -> None:
    fetch(small, 1)
    remote = small.store.object("o1", content(4000, 1))
    small.store.hold.clear()
    reader = threading.Thread(target=lambda: small.cache.read(Ino(1), remote, start=0, end=4000))
    reader.start()
    assert small.store.waiting.acquire(timeout=5)
    assert small.store.waiting.acquire(timeout=5)
    assert small.cache._evictor.evict(9000) == 0
    small.store.hold.set()
    reader.join(5)
    assert small.cache.present_bytes(Ino(1)) == 4000


def test_open_files_are_bounded(bench: Bench) -> None:
    open_files = OpenFiles(open_max=4)
    object.__setattr__(bench.cache._ground, "open_files", open_files)
    for ino in range(1, 20):
        bench.write(ino, 0, b"abc")
        assert len(open_files) <= 4
    for ino in range(1, 20):
        assert bench.cache.read(Ino(ino), None, start=0, end=3) == b"abc"
        assert len(open_files) <= 4


def test_files_in_memory_are_bounded(bench: Bench) -> None:
    files = BlockFiles(bench.cache._ground, lambda ino: ino not in bench.owed, files_max=16)
    bench.cache._files = files
    for ino in range(1, 60):
        bench.write(ino, 0, b"abc")
        assert len(files.snapshot()) <= 17
    for ino in range(1, 60):
        assert bench.cache.read(Ino(ino), None, start=0, end=3) == b"abc"
        assert list(bench.cache.dirty_extents(Ino(ino))) == [(0, 3)]
        assert len(files.snapshot()) <= 17


def test_real_disk_gives_the_space_back(bench: Bench, tmp_path: Path) -> None:
    if not bench.cache._disk._disk.can_punch:  # type: ignore[attr-defined]
        pytest.skip("this filesystem punches no holes")
    remote = bench.store.object("a", content(8 * MIB))
    bench.cache.read(Ino(1), remote, start=0, end=8 * MIB)
    bench.cache._budget.limit_bytes = 2 * MIB
    bench.cache._evictor.evict(0)
    path = tmp_path / "cache" / "01" / "1"
    assert path.stat().st_blocks * 512 <= 2 * MIB + 8192
    assert path.stat().st_size == 8 * MIB
