"""The process dies at every call to the disk or the rows; power is cut. What does the next run see?"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from s3mount.model import ETag, Ino, ObjectKey, RemoteObject, Seek
from tests.unit.cache.support import Bench, Died, content

INO = Ino(5)
SIZE = 50_000


class Owner:
    """Does what vfs and writeback do, in their order: owed is committed first, a smaller size before the bytes go."""

    def __init__(self, bench: Bench):
        self.bench = bench
        self.size = SIZE
        self.body = bytearray(content(SIZE))
        self.versions = [bytes(self.body)]
        self.remote = bench.store.object("a", bytes(self.body))

    def read(self, start: int) -> None:
        if start < self.size:
            self.bench.cache.read(INO, self.remote, start=start, end=min(self.size, start + 1000))

    def write(self, offset: int, data: bytes) -> None:
        self.bench.owed.add(INO)
        if offset > self.size:
            self.bench.cache.resize(INO, self.size, offset)
        self.bench.cache.write(INO, offset, data)
        self.body[len(self.body) :] = bytes(max(0, offset - len(self.body)))
        self.body[offset : offset + len(data)] = data
        self.save()

    def resize(self, size: int) -> None:
        self.bench.owed.add(INO)
        before, self.size = self.size, min(size, self.size)
        self.bench.cache.resize(INO, before, size)
        self.body = self.body[:size] + bytes(max(0, size - len(self.body)))
        self.save()

    def punch(self, start: int, end: int) -> None:
        end = min(end, self.size)
        if start < end:
            self.bench.owed.add(INO)
            self.bench.cache.punch(INO, start, end)
            self.body[start:end] = bytes(end - start)
            self.save()

    def save(self) -> None:
        self.bench.cache.save(INO)
        self.size = len(self.body)

    def upload(self) -> None:
        self.remote = self.bench.store.object("a", bytes(self.body))
        self.bench.owed.discard(INO)
        self.bench.cache.mark_clean(INO)

    def evict(self) -> None:
        limit, self.bench.cache._budget.limit_bytes = self.bench.limit, self.bench.cache.used_bytes // 2
        self.bench.cache._evictor.evict(0)
        self.bench.cache._budget.limit_bytes = limit

    def step(self, random: random.Random) -> None:
        choice = random.randrange(9)
        if choice < 2:
            self.read(random.randrange(SIZE))
        elif choice < 4:
            self.write(random.randrange(SIZE), random.randbytes(random.randrange(1, 3000)))
        elif choice == 4:
            self.resize(random.randrange(SIZE))
        elif choice == 5:
            self.upload()
        elif choice == 6:
            start = random.randrange(SIZE)
            self.punch(start, start + random.choice([10, 20_000]))
        else:
            self.evict()


def run_until(bench: Bench, seed: int, die_at: int) -> tuple[Owner, bool]:
    owner = Owner(bench)
    bench.journal.die_at = die_at
    dice = random.Random(seed)
    try:
        for _ in range(12):
            owner.step(dice)
    except Died:
        return owner, True
    return owner, False


@pytest.mark.parametrize("seed", range(6))
def test_death_at_any_call(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")
    die_at = 1
    died = True
    while died:
        bench = Bench(tmp_path / str(die_at))
        owner, died = run_until(bench, seed, die_at)
        cache = bench.restart()
        seen = cache.read(INO, owner.remote, start=0, end=owner.size)
        hole = cache.seek(INO, 0, owner.size, Seek.HOLE)
        while hole not in (None, owner.size):
            data = cache.seek(INO, hole, owner.size, Seek.DATA) or owner.size
            assert not any(seen[hole:data])
            hole = cache.seek(INO, data, owner.size, Seek.HOLE)
        there = bench.store.objects()[owner.remote.key].body
        dirty = cache.dirty_extents(INO)
        for at, byte in enumerate(seen):
            # A part that is not dirty is copied from the object: it must be what is read here.
            if at >= len(there) or byte != there[at]:
                assert dirty.covers(at, at + 1), (die_at, at)
        if INO not in bench.owed:
            assert seen == there[: owner.size]
            assert not dirty
        assert cache.used_bytes == cache.present_bytes(INO) - cache.hole_bytes(INO)
        cache.resize(INO, owner.size, SIZE * 2)
        assert cache.read(INO, owner.remote, start=owner.size, end=SIZE * 2) == bytes(SIZE * 2 - owner.size)
        cache.close()
        die_at += 1
    assert die_at > 10


def test_what_was_saved_is_there_after_kill(bench: Bench) -> None:
    bench.write(5, 0, content(1000))
    bench.cache.save(INO)
    cache = bench.restart()
    assert cache.used_bytes == 1000
    assert cache.read(INO, None, start=0, end=1000) == content(1000)
    assert list(cache.dirty_extents(INO)) == [(0, 1000)]


def test_upload_committed_but_row_still_dirty(bench: Bench) -> None:
    bench.write(5, 0, content(1000))
    bench.cache.save(INO)
    bench.owed.clear()
    assert not bench.restart().dirty_extents(INO)


def written_and_fetched(bench: Bench) -> RemoteObject:
    remote = bench.store.object("a", content(1000))
    bench.cache.read(INO, remote, start=0, end=1000)
    bench.write(5, 100, b"edited")
    bench.cache.save(INO)
    return remote


def test_after_a_power_cut_only_dirty_bytes_are_believed(bench: Bench) -> None:
    remote = written_and_fetched(bench)
    cache = bench.restart(boot=b"second boot")
    assert cache.present_bytes(INO) == cache.used_bytes == 6
    expected = content(1000)[:100] + b"edited" + content(1000)[106:]
    assert cache.read(INO, remote, start=0, end=1000) == expected
    assert bench.restart().present_bytes(INO) == 1000


def test_after_an_orderly_close_a_boot_costs_nothing(bench: Bench) -> None:
    written_and_fetched(bench)
    bench.cache.close()
    assert bench.restart(boot=b"second boot").present_bytes(INO) == 1000


def test_unknown_boot_is_not_believed(bench: Bench) -> None:
    bench.disk.boot = b""
    bench.restart()
    written_and_fetched(bench)
    assert bench.restart().present_bytes(INO) == 6


@pytest.mark.parametrize("damage", [lambda mark: b"", lambda mark: b"xyz\nfirst boot", lambda mark: mark[3:]])
def test_damaged_mark_is_not_believed(bench: Bench, damage: Callable[[bytes], bytes]) -> None:
    written_and_fetched(bench)
    bench.disk.store_mark(damage(bench.disk.load_mark()))
    assert bench.restart().present_bytes(INO) == 6


def test_remote_is_not_needed_for_what_is_present(bench: Bench) -> None:
    written_and_fetched(bench)
    gone = RemoteObject(ObjectKey("gone"), ETag("gone"), 1000)
    assert bench.restart().read(INO, gone, start=0, end=100) == content(1000)[:100]
