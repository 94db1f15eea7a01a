"""A bit flips in a cache file: clean bytes are fetched again, dirty ones refused, and good ones are never blamed."""

import logging
import random
from pathlib import Path

import pytest

from s3mount.cache.seals import SEAL_BLOCK_BYTES, SEGMENT_BYTES, Seals
from s3mount.errors import Damaged
from s3mount.model import Ino, RemoteObject
from tests.unit.cache.support import KIB, Bench, content
from tests.unit.cache.test_crash import SIZE, run_until

INO = Ino(5)
LENGTH = 300 * KIB


def flip(bench: Bench, at: int) -> None:
    file = bench.disk._disk.open(INO, create=False)
    file.pwrite(bytes([file.pread(1, at)[0] ^ 1]), at)
    file.close()


def fetched(bench: Bench) -> RemoteObject:
    remote = bench.store.object("a", content(LENGTH))
    bench.cache.read(INO, remote, start=0, end=LENGTH)
    return remote


def test_damaged_clean_bytes_are_fetched_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    remote = fetched(bench)
    bench.cache.save(INO)
    flip(bench, 200 * KIB)
    cache = bench.restart()
    bench.store.gets.clear()
    assert cache.read(INO, remote, start=0, end=1000) == content(LENGTH)[:1000]
    assert cache.damaged == 0
    assert not bench.store.gets
    with caplog.at_level(logging.WARNING):
        assert cache.read(INO, remote, start=0, end=LENGTH) == content(LENGTH)
    assert bench.store.gets == [(SEAL_BLOCK_BYTES, 2 * SEAL_BLOCK_BYTES)]
    assert "damaged on disk" in caplog.text
    assert cache.damaged == 1
    assert cache.used_bytes == cache.present_bytes(INO) == LENGTH
    assert bench.restart().read(INO, remote, start=0, end=LENGTH) == content(LENGTH)


def test_damaged_dirty_bytes_are_refused_until_they_are_written_again(bench: Bench) -> None:
    bench.write(5, 0, content(LENGTH))
    bench.cache.save(INO)
    flip(bench, 10)
    cache = bench.restart()
    for _ in range(2):
        with pytest.raises(Damaged):
            cache.read(INO, None, start=0, end=100)
    assert cache.damaged == 1
    whole = content(LENGTH)
    assert cache.read(INO, None, start=SEAL_BLOCK_BYTES, end=LENGTH) == whole[SEAL_BLOCK_BYTES:]
    with pytest.raises(Damaged):
        cache.load(INO, None, LENGTH)
    bench.write(5, 50, b"x")  # what is left of the block is no better for it
    bench.cache.save(INO)
    cache = bench.restart()
    with pytest.raises(Damaged):
        cache.read(INO, None, start=0, end=1)
    bench.write(5, 0, whole[:SEAL_BLOCK_BYTES])
    assert cache.read(INO, None, start=0, end=LENGTH) == whole


def test_an_upload_looks_again(bench: Bench) -> None:
    bench.write(5, 0, content(LENGTH))
    flip(bench, 10)
    bench.cache.read(INO, None, start=0, end=100)
    with pytest.raises(Damaged):
        bench.cache.read(INO, None, start=0, end=100, for_upload=True)
    with pytest.raises(Damaged):
        bench.cache.load(INO, None, LENGTH)


def test_an_upload_fetches_damaged_clean_bytes_again(bench: Bench) -> None:
    remote = fetched(bench)
    bench.write(5, LENGTH - 10, b"edit")
    flip(bench, 10)
    bench.cache.load(INO, remote, LENGTH)
    expected = content(LENGTH)[:-10] + b"edit" + content(LENGTH)[-6:]
    assert bench.cache.read(INO, remote, start=0, end=LENGTH) == expected


def test_a_file_cut_short_on_disk_is_damage(bench: Bench) -> None:
    remote = fetched(bench)
    bench.write(5, 0, b"dirty")
    bench.cache.save(INO)
    file = bench.disk._disk.open(INO, create=False)
    file.truncate(2)
    file.close()
    cache = bench.restart()
    with pytest.raises(Damaged):
        cache.read(INO, remote, start=0, end=100)
    assert cache.read(INO, remote, start=2 * SEAL_BLOCK_BYTES, end=LENGTH) == content(LENGTH)[2 * SEAL_BLOCK_BYTES :]


def test_after_a_power_cut_nothing_is_blamed(bench: Bench) -> None:
    """Bytes and seals may be of different times then."""
    bench.write(5, 0, content(LENGTH))
    bench.cache.save(INO)
    flip(bench, 10)
    assert len(bench.restart(boot=b"second boot").read(INO, None, start=0, end=LENGTH)) == LENGTH


@pytest.mark.parametrize("seed", range(4))
def test_death_at_any_call_blames_nothing(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")
    die_at, died = 1, True
    while died:
        bench = Bench(tmp_path / str(die_at))
        owner, died = run_until(bench, seed, die_at)
        cache = bench.restart()
        assert cache.find_damage(INO) == []
        cache.load(INO, owner.remote, owner.size)
        cache.resize(INO, owner.size, SIZE * 2)
        assert cache.damaged == 0
        cache.close()
        die_at += 1


@pytest.mark.parametrize("seed", range(20))
def test_seals_hold_for_what_was_written(seed: int) -> None:
    """Random writes and cuts around the borders of blocks and segments; what is sealed is what is there."""
    print(f"seed {seed}")
    dice = random.Random(seed)
    body = bytearray(SEGMENT_BYTES + 3 * SEAL_BLOCK_BYTES)
    seals = Seals({})
    sealed: set[int] = set()
    unit = 4 * KIB
    for _ in range(60):
        start = dice.randrange(len(body) // unit) * unit
        end = min(len(body), start + dice.randrange(1, 80) * unit)
        seals.cut(start, end, lambda low, high: bytes(body[low:high]))
        sealed -= set(range(start, end, unit))
        if dice.random() < 0.7:
            body[start:end] = dice.randbytes(end - start)
            seals.add(start, memoryview(body)[start:end])
            sealed |= set(range(start, end, unit))
        if dice.random() < 0.1:
            rows = seals.unsaved()
            seals.mark_saved()
            assert all(
                seals.saved_over(number * SEGMENT_BYTES, (number + 1) * SEGMENT_BYTES)
                for number, row in rows.items()
                if row
            )
    found = seals.over(0, len(body))
    covered = [at for seal in found for at in range(seal.start, seal.end, unit)]
    assert sorted(covered) == sorted(sealed)
    reader = Seals(seals.unsaved())
    for seal in reader.unverified(0, len(body)):
        reader.cut(seal.start + unit // 2, seal.end + 1, lambda low, high: bytes(body[low:high]))
    assert all(seal.is_verified for seal in reader.over(0, len(body)))


@pytest.mark.parametrize("change", ["fetch", "write", "grow", "punch"])
def test_nothing_makes_zeros_of_dirty_bytes_that_were_lost_with_the_end_of_the_file(bench: Bench, change: str) -> None:
    remote = bench.store.object("file5", content(LENGTH))
    bench.owed.add(INO)
    bench.cache.resize(INO, 0, 100)  # bytes that no seal speaks of
    bench.cache.save(INO)
    file = bench.disk._disk.open(INO, create=False)
    file.truncate(40)
    file.close()
    cache = bench.restart()
    if change == "fetch":
        assert cache.read(INO, remote, start=200, end=300) == content(LENGTH)[200:300]
    else:
        steps = {
            "write": lambda: cache.write(INO, 200, b"x"),
            "grow": lambda: cache.resize(INO, 100, 200),
            "punch": lambda: cache.punch(INO, 60, 90),
        }
        with pytest.raises(Damaged):
            steps[change]()
    for _ in range(2):
        with pytest.raises(Damaged):
            cache.read(INO, remote, start=0, end=100)
        with pytest.raises(Damaged):
            cache.load(INO, remote, 100)
    cache.write(INO, 40, bytes(60))
    assert cache.read(INO, remote, start=40, end=100) == bytes(60)
