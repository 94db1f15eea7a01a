"""Random use against a bytearray, from one thread and from many."""

import os
import random
import threading
import time
from pathlib import Path

import pytest

from s3mount.cache.holes import HOLE_BLOCK_BYTES
from s3mount.errors import PreconditionFailed
from s3mount.model import Ino, RemoteObject, Seek
from tests.unit.cache.support import KIB, Bench, content

SEED = int(os.environ.get("S3MOUNT_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
INO = Ino(3)


class File:
    """A file as its owner knows it: content, size and the object under it."""

    def __init__(self, bench: Bench, ino: int, size: int, dice: random.Random):
        self.bench = bench
        self.ino = Ino(ino)
        self.body = bytearray(dice.randbytes(size))
        self.remote: RemoteObject = bench.store.object(f"file{ino}", bytes(self.body))
        self.dice = dice

    def check(self) -> None:
        start = self.dice.randrange(len(self.body) + 1)
        end = min(len(self.body), start + self.dice.choice([1, 100, 5000, 300_000]))
        assert self.bench.cache.read(self.ino, self.remote, start=start, end=end) == self.body[start:end]

    def write(self) -> None:
        offset = self.dice.randrange(len(self.body) + 2000)
        data = self.dice.randbytes(self.dice.choice([1, 100, 4096, 20_000]))
        self.bench.owed.add(self.ino)
        with self.bench.cache.reserve(len(data) + 2000, 10):
            if offset > len(self.body):
                self.bench.cache.resize(self.ino, len(self.body), offset)
                self.body.extend(bytes(offset - len(self.body)))
            self.bench.cache.write(self.ino, offset, data)
        self.body[offset : offset + len(data)] = data

    def resize(self) -> None:
        size = max(0, len(self.body) + self.dice.randrange(-30_000, 10_000))
        self.bench.owed.add(self.ino)
        with self.bench.cache.reserve(10_000, 10):
            self.bench.cache.resize(self.ino, len(self.body), size)
        self.body = self.body[:size] + bytes(max(0, size - len(self.body)))

    def punch(self) -> None:
        start = self.dice.randrange(len(self.body) + 1)
        end = min(len(self.body), start + self.dice.choice([1, 5000, 50_000]))
        if start == end:
            return
        self.bench.owed.add(self.ino)
        with self.bench.cache.reserve(2 * HOLE_BLOCK_BYTES, 10):
            self.bench.cache.punch(self.ino, start, end)
        self.body[start:end] = bytes(end - start)

    def check_holes(self) -> None:
        """They are zeros, and so many as the cache says."""
        size, at, total = len(self.body), 0, 0
        while (hole := self.bench.cache.seek(self.ino, at, size, Seek.HOLE)) not in (None, size):
            assert hole is not None
            at = self.bench.cache.seek(self.ino, hole, size, Seek.DATA) or size
            assert not any(self.body[hole:at])
            total += at - hole
        assert total == self.bench.cache.hole_bytes(self.ino)

    def upload(self) -> None:
        """As a multipart upload does it: dirty parts from here, the others as the object has them."""
        before = self.bench.store.objects()[self.remote.key].body
        merged = bytearray(before[: len(self.body)].ljust(len(self.body), b"\0"))
        for start, end in self.bench.cache.dirty_extents(self.ino):
            merged[start:end] = self.bench.cache.read(self.ino, self.remote, start=start, end=end)
        assert merged == self.body
        self.remote = self.bench.store.object(f"file{self.ino}", bytes(merged))
        self.bench.owed.discard(self.ino)
        self.bench.cache.mark_clean(self.ino)

    def replace(self) -> None:
        """Somebody else writes the object."""
        self.body = bytearray(self.dice.randbytes(self.dice.randrange(1, 200_000)))
        self.bench.store.foreign_put(self.remote.key, bytes(self.body))
        self.bench.cache.discard(self.ino)
        self.bench.owed.discard(self.ino)
        if self.remote.size:
            with pytest.raises(PreconditionFailed):
                self.bench.cache.read(self.ino, self.remote, start=0, end=1)
        self.remote = self.bench.store.object(f"file{self.ino}", bytes(self.body))


def evict(bench: Bench, share: float) -> None:
    bench.cache._budget.limit_bytes = int(bench.cache.used_bytes * share)
    bench.cache._evictor.evict(0)
    bench.cache._budget.limit_bytes = bench.limit


def test_bytes_equal_a_bytearray(tmp_path: Path) -> None:
    print(f"S3MOUNT_TEST_SEED={SEED}")
    dice = random.Random(SEED)
    for round_number in range(8):
        bench = Bench(tmp_path / str(round_number), limit=dice.choice([400 * KIB, 4 << 20, 1 << 30]))
        file = File(bench, INO, dice.choice([0, 1000, 150_000]) + 1, dice)
        for _ in range(120):
            step = dice.choice(
                [file.check] * 3 + [file.write] * 2 + [file.resize, file.upload, file.punch, file.check_holes]
            )
            special = dice.random()
            if special < 0.05:
                bench.cache.save(INO)
                bench.restart()
            elif special < 0.15:
                evict(bench, dice.random())
            elif special < 0.18:
                file.replace()
            elif special < 0.23 and len(file.body) < bench.limit // 2:
                bench.cache.load(INO, file.remote, len(file.body))
            if len(file.body) > 250_000:
                step = file.upload
                step()
                step = file.resize
            step()
            assert bench.cache.used_bytes == bench.cache.present_bytes(INO) - bench.cache.hole_bytes(INO)
        whole = bench.cache.read(INO, file.remote, start=0, end=len(file.body))
        assert whole == file.body
        bench.cache.close()


def test_readers_writers_and_eviction_together(tmp_path: Path) -> None:
    print(f"S3MOUNT_TEST_SEED={SEED}")
    bench = Bench(tmp_path, limit=600 * KIB)
    files = [File(bench, ino, 100_000, random.Random(SEED + ino)) for ino in range(1, 6)]
    locks = [threading.Lock() for _ in files]
    shared = content(150_000, SEED)
    remote = bench.store.object("shared", shared)
    deadline = time.monotonic() + 3
    failures: list[BaseException] = []

    def own(number: int) -> None:
        file, dice = files[number], random.Random(SEED + 100 + number)
        while time.monotonic() < deadline:
            with locks[number]:
                dice.choice([file.check, file.check, file.write, file.upload])()
                if len(file.body) > 100_000 or dice.random() < 0.2:
                    file.resize()
                    file.upload()

    def read_shared(number: int) -> None:
        dice = random.Random(SEED + 200 + number)
        while time.monotonic() < deadline:
            start = dice.randrange(len(shared))
            end = min(len(shared), start + dice.choice([10, 4096, 100_000]))
            assert bench.cache.read(Ino(77), remote, start=start, end=end) == shared[start:end]

    def evict_all() -> None:
        while time.monotonic() < deadline:
            bench.cache._evictor.evict(bench.limit)
            time.sleep(0.003)

    def guarded(target: object, *args: int) -> None:
        try:
            target(*args)  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(own, n)) for n in range(len(files))]
    threads += [threading.Thread(target=guarded, args=(read_shared, n)) for n in range(3)]
    threads += [threading.Thread(target=guarded, args=(evict_all,))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures, failures
    for file in files:
        assert bench.cache.read(file.ino, file.remote, start=0, end=len(file.body)) == file.body
    inos = [file.ino for file in files] + [Ino(77)]
    assert bench.cache.used_bytes == sum(bench.cache.present_bytes(ino) - bench.cache.hole_bytes(ino) for ino in inos)
    bench.cache.close()
    assert bench.entries.total_bytes() == bench.cache.used_bytes
