"""Lives of a drive, one after the other, each ended by kill -9, a power cut or in good order (P1, P2, P3, P5).

One thread, a clock of its own, a store that fails, a disk that loses what was not synced: a seed gives the same lives
each time. After the last life bucket and tree are what was written.

S3MOUNT_SIM_SEEDS: how many seeds, from S3MOUNT_SIM_SEED on. scripts/soak runs thousands.
"""

import contextlib
import logging
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3mount.errors import Unreachable
from s3mount.host import posix
from tests.simulation.life import DRAIN_S, Bucket, Life, SimBench, new_memory, simulated
from tests.simulation.model import Crash, Mark, Model
from tests.support.crash_disk import CrashDisk
from tests.support.faulty_store import Moment

SEEDS = int(os.environ.get("S3MOUNT_SIM_SEEDS", "16"))
FIRST = int(os.environ.get("S3MOUNT_SIM_SEED", "0"))
LIVES = 4
STEPS_MAX = 40
TURNS_MAX = 700
# A power cut is made at one of so many of the last events.
EVENTS_BACK = 300


class Saga:
    """What passes from one life to the next."""

    def __init__(self, seed: int, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.dice = random.Random(seed)
        self.folder = folder
        self.boot = folder / "boot"
        patch.setattr(posix, "BOOT_ID_PATH", self.boot)
        self.boot.write_bytes(b"boot 0")
        self.crash_disk = CrashDisk(self.new_folder("state0"))
        self.bucket = Bucket({}, {})
        self.model = Model()
        self.pending: tuple[Crash, Mark] | None = None
        self.now_s = 1_000_000.0
        self.trail: list[str] = []
        self.count = 0

    def new_folder(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir()
        return path

    def live(self, *, is_last: bool) -> None:
        with simulated(self.dice, self.now_s) as world, self.crash_disk.recorded():
            memory = new_memory(self.bucket, world)
            life = Life(world, self.crash_disk, memory, self.model, self.trail)
            begun = len(self.crash_disk.events)
            self.crash_disk.mark(life._bucket)
            mark = self.model.mark("begin") if self.pending is None else self.pending[1]
            self.crash_disk.mark(lambda: mark)
            is_done = [False]

            def story() -> None:
                life.begin()
                if self.pending is not None:
                    crash, mark = self.pending
                    (life.check_kill if crash is Crash.KILL else life.check_power)(mark)
                    self.pending = None
                life.sync_folder()
                life.work(self.dice.randrange(STEPS_MAX))
                life.end_well()
                is_done[0] = True

            world.spawn("user", story)
            turns = 10**9 if is_last else self.dice.randrange(1, TURNS_MAX)
            world.run(lambda: is_done[0] or world.turns >= turns)
            self.now_s = world.now_s
            if is_done[0]:
                self.bucket = life._bucket()
                self.trail.append("end in good order")
            else:
                self.crash(life, begun)

    def crash(self, life: Life, begun: int) -> None:
        self.count += 1
        before = self.crash_disk.open_numbers()
        if self.dice.random() < 0.5:
            self.kill(life)
        else:
            self.cut_power(begun)
        life.world.end()
        for number in before:
            with contextlib.suppress(OSError):
                os.close(number)

    def kill(self, life: Life) -> None:
        self.trail.append("kill -9")
        target = self.folder / f"state{self.count}"
        shutil.copytree(self.crash_disk.folder, target)
        self.crash_disk.move(target)
        self.bucket = life._bucket()
        # Killed while it was still recovering from a power cut, it owes no more than before.
        crash = Crash.KILL if self.pending is None else self.pending[0]
        self.pending = crash, self.last_mark(len(self.crash_disk.events))

    def cut_power(self, begun: int) -> None:
        events = len(self.crash_disk.events)
        until = self.dice.randint(max(begun + 2, events - EVENTS_BACK), events)
        self.trail.append(f"power cut {events - until} events ago")
        target = self.folder / f"state{self.count}"
        self.crash_disk.image(until, target, self.dice)
        self.bucket = next(
            event.mark for event in reversed(self.crash_disk.events[:until]) if isinstance(event.mark, Bucket)
        )
        self.pending = Crash.POWER, self.last_mark(until)
        self.boot.write_bytes(f"boot {self.count}".encode())
        self.crash_disk = CrashDisk(target)
        self.crash_disk.adopt()
        self.model = Model()

    def last_mark(self, until: int) -> Mark:
        return next(event.mark for event in reversed(self.crash_disk.events[:until]) if isinstance(event.mark, Mark))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Injected faults are many, and told by the trail."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def run_seed(seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Saga:
    saga = Saga(seed, folder, monkeypatch)
    try:
        for number in range(LIVES):
            saga.live(is_last=number == LIVES - 1)
    except BaseException as error:
        error.add_note(f"S3MOUNT_SIM_SEED={seed}: {saga.trail}")
        raise
    return saga


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: what is synced here is never read back from a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.mark.timeout(60 + 3 * SEEDS)
def test_lives(quick_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"S3MOUNT_SIM_SEED={FIRST} S3MOUNT_SIM_SEEDS={SEEDS}")
    crashes = 0
    for seed in range(FIRST, FIRST + SEEDS):
        folder = quick_folder / str(seed)
        folder.mkdir()
        crashes += run_seed(seed, folder, monkeypatch).count
        shutil.rmtree(folder)
    assert crashes > SEEDS // 2


def test_a_seed_gives_the_same_lives_each_time(quick_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast the machine is: to the second, its own clock goes a thousand times faster."""
    real_s = time.monotonic
    trails = []
    for name, pace in (("once", 1), ("again", 1000)):
        (quick_folder / name).mkdir()
        monkeypatch.setattr(time, "monotonic", lambda pace=pace: real_s() * pace)
        trails.append(run_seed(7, quick_folder / name, monkeypatch).trail)
    assert trails[0] == trails[1]


def test_an_hour_without_s3(quick_folder: Path) -> None:
    """Everything is written and what is here is read all the while; when S3 is back, all is there within a minute."""
    folder = quick_folder / "state"
    folder.mkdir()
    with simulated(random.Random(1), 1_000_000.0) as world:
        is_away = [False]

        def watch(operation: str, key: str, moment: Moment) -> None:
            world.sleep(0.01)
            if is_away[0] and moment is Moment.BEFORE:
                raise Unreachable("no network")

        bench = SimBench(folder, new_memory(Bucket({}, {}), world), watch)
        took_s: list[float] = []

        def story() -> None:
            bench.write("/before", b"before")
            bench.drain(DRAIN_S)
            is_away[0] = True
            for minute in range(60):
                bench.write(f"/{minute}", b"%d" % minute)
                assert bench.read("/before") == b"before"
                world.sleep(60)
            assert bench.bucket() == {"before": b"before"}
            is_away[0] = False
            back_s = world.now_s
            while not bench.is_clean():
                world.sleep(0.1)
            took_s.append(world.now_s - back_s)
            assert bench.bucket() == {"before": b"before"} | {str(minute): b"%d" % minute for minute in range(60)}
            bench.drive.close()

        world.spawn("user", story)
        world.run(lambda: bool(took_s) and bench.drive._is_closed)
    assert took_s[0] < 60


def test_the_clock_is_set_back_by_a_day(quick_folder: Path) -> None:
    """What is owed does not wait until the clock is there again, nor does what failed before or is to be deleted."""
    folder = quick_folder / "state"
    folder.mkdir()
    with simulated(random.Random(2), 1_000_000.0) as world:
        failing = ["/b"]

        def watch(operation: str, key: str, moment: Moment) -> None:
            world.sleep(0.01)
            if f"/{key}" in failing and moment is Moment.BEFORE:
                raise Unreachable("no network")

        bench = SimBench(folder, new_memory(Bucket({}, {}), world), watch)
        is_done = [False]

        def story() -> None:
            bench.write("/c", b"c")
            bench.drain(DRAIN_S)
            bench.write("/b", b"b")
            world.sleep(100)
            bench.write("/a", b"a")
            bench.fs.unlink("/c")
            world.set_back_s = 86_400.0
            failing.clear()
            world.sleep(60)
            assert bench.bucket() == {"a": b"a", "b": b"b"}
            bench.drive.close()
            is_done[0] = True

        world.spawn("user", story)
        world.run(lambda: is_done[0])
