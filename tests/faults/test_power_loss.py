"""Power is cut at any moment, and a new drive takes over what the disk may hold then (P2, P3, P5).

Each seed is one run of random work on a drive over a recorded disk, with fsync of files and of directories, uploads
under way all the time, evictions, drains and orderly restarts; and a few power cuts in it, each with one of the legal
states after it (tests/support/crash_disk.py). The bucket is as it was at that moment.

S3MOUNT_POWER_SEEDS: how many seeds, from S3MOUNT_POWER_SEED on.
"""

import contextlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from s3mount.cache import disk
from s3mount.errors import IOFailure, NoSpace, NotFound, Stale
from s3mount.model import Fh, ObjectKey
from tests.faults.bench import Bench
from tests.support.crash_disk import CrashDisk, Op
from tests.support.faulty_store import Moment
from tests.support.memory_store import MemoryStore, StoredObject

SEEDS = int(os.environ.get("S3MOUNT_POWER_SEEDS", "80"))
FIRST = int(os.environ.get("S3MOUNT_POWER_SEED", "0"))
CUTS_A_SEED = 3
STEPS = 30
FOLDERS = ("", "d", "e")
NAMES = tuple(f"{folder}/{name}".strip("/") for folder in FOLDERS for name in ("a", "b", "c"))
SIZE_MAX = 12_000


@dataclass(eq=False)
class File:
    """What the file may hold: as it was at its last fsync, and after each change since."""

    versions: list[bytes] = field(default_factory=lambda: [b""])

    @property
    def now(self) -> bytes:
        return self.versions[-1]

    def holds(self, found: bytes) -> bool:
        if found in self.versions:
            return True
        if len(self.versions) == 1 or len(found) not in map(len, self.versions):
            return False
        longest = max(map(len, self.versions))
        columns = [version.ljust(longest, b"\0") for version in self.versions]
        return all(any(byte == column[at] for column in columns) or not byte for at, byte in enumerate(found))


Names = dict[str, File]


@dataclass(frozen=True)
class Mark:
    """What may be found, as far as the drive has promised: names since the last fsync of a directory, and versions."""

    names: tuple[Names, ...]
    versions: dict[File, tuple[bytes, ...]]
    after: str

    def choices(self, path: str) -> list[File | None]:
        found = {id(names.get(path)): names.get(path) for names in self.names}
        return [None if file is None else File(list(self.versions[file])) for file in found.values()]


@dataclass(frozen=True)
class Bucket:
    objects: dict[ObjectKey, StoredObject]


class Work:
    """Random work on a bench, with the marks that say what it may leave."""

    def __init__(self, bench: Bench, crash: CrashDisk, dice: random.Random):
        self.bench = bench
        self.crash = crash
        self.dice = dice
        self.names: list[Names] = [{}]
        self.files: list[File] = []
        self.open: dict[File, Fh] = {}
        self.mark("begin")

    def mark(self, after: str) -> None:
        mark = Mark(tuple(self.names), {file: tuple(file.versions) for file in self.files}, after)
        self.crash.mark(lambda: mark)

    @property
    def now(self) -> Names:
        return self.names[-1]

    def rename_to(self, names: Names, what: str) -> None:
        """From here on the names may be these."""
        self.names.append(names)
        self.mark(what)

    def step(self) -> None:
        actions = (
            [self.write] * 8 + [self.sync] * 6 + [self.sync_folder] * 3 + [self.replace] * 3 + [self.move] * 2
            + [self.remove] * 2 + [self.truncate] * 2 + [self.evict, self.drain, self.pause, self.pause, self.release]
        )  # fmt: skip
        self.dice.choice(actions)()

    def handle(self, path: str) -> tuple[File, Fh]:
        file = self.now.get(path)
        if file is None:
            file = File()
            self.files.append(file)
            self.rename_to({**self.now, path: file}, f"create {path}")
            self.open[file] = self.bench.create(f"/{path}")
        elif file not in self.open:
            self.open[file] = self.bench.open(f"/{path}")
        return file, self.open[file]

    def close(self, file: File) -> None:
        if file in self.open:
            self.bench.close_file(self.open.pop(file))

    def some_file(self) -> str:
        return self.dice.choice(sorted(self.now) or list(NAMES))

    def change(self, file: File, content: bytes, what: str) -> None:
        file.versions.append(content)
        self.mark(f"{what}: {len(content)} bytes")

    def put(self, path: str, offset: int, data: bytes) -> File:
        file, fh = self.handle(path)
        before = file.now.ljust(offset, b"\0")
        self.change(file, before[:offset] + data + before[offset + len(data) :], f"write {path} {offset}+{len(data)}")
        self.bench.fs.write(fh, offset, data)
        if self.dice.random() < 0.5:
            self.close(file)
        return file

    def write(self) -> None:
        path = self.dice.choice(NAMES)
        data = self.dice.randbytes(self.dice.choice([1, 100, 3_000]))
        self.put(path, self.dice.choice([0, 0, 700, self.dice.randrange(SIZE_MAX)]), data)

    def truncate(self) -> None:
        path = self.some_file()
        file, fh = self.handle(path)
        size = self.dice.choice([0, len(file.now) // 2, self.dice.randrange(SIZE_MAX)])
        self.change(file, file.now[:size].ljust(size, b"\0"), f"truncate {path}")
        self.bench.fs.truncate(f"/{path}", size, fh)

    def sync(self) -> None:
        path = self.some_file()
        file, fh = self.handle(path)
        self.bench.fs.fsync(fh)
        file.versions = [file.now]
        self.mark(f"fsync {path}")

    def sync_folder(self) -> None:
        fh = self.bench.fs.opendir(f"/{self.dice.choice(FOLDERS)}")
        self.bench.fs.fsyncdir(fh)
        self.bench.fs.releasedir(fh)
        self.names = [self.now]
        self.mark("fsync of a directory")

    def replace(self) -> None:
        """As an editor does: a new file, synced, renamed into place, the directory synced."""
        path = self.dice.choice(NAMES)
        file = self.put("draft", 0, self.dice.randbytes(self.dice.randrange(1, SIZE_MAX)))
        fh = self.handle("draft")[1]
        self.bench.fs.fsync(fh)
        file.versions = [file.now]
        self.mark("fsync draft")
        self.close(file)
        self.relocate("draft", path)
        self.sync_folder()

    def relocate(self, old: str, new: str) -> None:
        moved = {path: file for path, file in self.now.items() if path != old}
        self.rename_to({**moved, new: self.now[old]}, f"rename {old} {new}")
        self.bench.fs.rename(f"/{old}", f"/{new}")

    def move(self) -> None:
        old = self.some_file()
        if old in self.now:
            self.relocate(old, self.dice.choice([name for name in NAMES if name != old]))

    def remove(self) -> None:
        path = self.some_file()
        if path in self.now:
            self.rename_to({name: file for name, file in self.now.items() if name != path}, f"unlink {path}")
            self.bench.fs.unlink(f"/{path}")

    def evict(self) -> None:
        cache = self.bench.drive.cache
        with contextlib.suppress(NoSpace), cache.reserve(cache.limit_bytes, 0.0):
            pass
        path = self.some_file()
        if path in self.now:
            assert self.bench.read(f"/{path}") == self.now[path].now

    def pause(self) -> None:
        time.sleep(self.dice.choice([0, 0.002, 0.01]))

    def release(self) -> None:
        for file in list(self.open):
            self.close(file)

    def drain(self) -> None:
        """What the bucket was said to have is not to be replaced by what was before."""
        self.bench.drain()
        for file in self.files:
            file.versions = [file.now]
        self.names = [self.now]
        self.mark("drain")
        if self.dice.random() < 0.5:
            self.release()
            self.bench.restart()


def record(folder: Path, seed: int) -> CrashDisk:
    dice = random.Random(seed)
    folder.mkdir()
    crash = CrashDisk(folder)
    with crash.recorded():
        bench = Bench(folder, cache_bytes=1 << 20)
        bench.store.watch = lambda operation, key, moment: (
            crash.mark(lambda: Bucket(bench.memory.objects())) if moment is Moment.AFTER else None
        )
        try:
            work = Work(bench, crash, dice)
            for name in FOLDERS[1:]:
                bench.mkdir(f"/{name}")
            work.sync_folder()
            crash.mark(lambda: "begin")
            for _ in range(STEPS):
                work.step()
            crash.mark(lambda: "end")
        finally:
            bench.close()
    return crash


class AfterTheCut(Bench):
    """A bench over an image and the bucket of that moment."""

    def __init__(self, folder: Path, bucket: Bucket):
        self.bucket_then = bucket
        super().__init__(folder)

    def make_store(self) -> MemoryStore:
        memory = MemoryStore()
        memory._objects = dict(self.bucket_then.objects)
        return memory


def check(image: Path, mark: Mark, bucket: Bucket) -> None:
    bench = AfterTheCut(image, bucket)
    try:
        found: dict[str, bytes] = {}
        lost: set[str] = set()
        lost_sight: set[str] = set()
        paths = [f"{folder}/{name}".strip("/") for folder in FOLDERS for name in bench.names(f"/{folder}")]
        for path in paths:
            if path in FOLDERS:
                continue
            try:
                found[path] = read(bench, path)
            except NotFound:
                lost_sight.add(path)  # our own move or deletion, which the index did not know of, is being met
            except IOFailure:
                # Bytes that nobody synced may be gone; then the file says so, and is not served as zeros.
                assert any(file is not None and len(file.versions) > 1 for file in mark.choices(path)), (
                    f"{path} is lost"
                )
                lost.add(path)
                bench.fs.unlink(f"/{path}")
        for path in {*NAMES, "draft"} - lost - lost_sight:
            if None not in mark.choices(path):
                compare(path, found.get(path), mark)
        bench.drain()
        for folder in FOLDERS:
            bench.refresh(f"/{folder}")  # objects of files that were lost here may be there, from before the cut
        bucket_now = bench.bucket()
        assert bucket_now == bench.tree()
        for path in {*NAMES, "draft"} - lost:
            beside = [key for key in bucket_now if key.startswith(f"{path} (conflict ")]
            if not beside and is_left_over(path, bucket_now.get(path), mark):
                continue
            compare(path, bucket_now[beside[0]] if beside else bucket_now.get(path), mark)
    finally:
        bench.close()


def is_left_over(path: str, body: bytes | None, mark: Mark) -> bool:
    """An object with all of a file's bytes, under a name that the file has had: it may outlive a cut move."""
    return None in mark.choices(path) and any(body in versions for versions in mark.versions.values())


def read(bench: Bench, path: str) -> bytes:
    """Until our own newer object, which the index does not know of any more, is met by the upload, it is in the way."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return bench.read(f"/{path}")
        except Stale:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def compare(path: str, found: bytes | None, mark: Mark) -> None:
    choices = mark.choices(path)
    if found is None:
        assert None in choices, f"{path} is gone, of {[file and list(map(len, file.versions)) for file in choices]}"
        return
    sizes = [file and list(map(len, file.versions)) for file in choices]
    assert any(file is not None and file.holds(found) for file in choices), (
        f"{path}: {len(found)} bytes, not of {sizes}"
    )


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: what is synced here is never read back from a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder)


def run_seed(seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = folder / "boot"
    monkeypatch.setattr(disk, "BOOT_ID_PATH", boot)
    boot.write_bytes(b"before")
    crash = record(folder / "state", seed)
    boot.write_bytes(b"after")
    first = next(at for at, event in enumerate(crash.events) if event.mark == "begin")
    last = next(at for at, event in enumerate(crash.events) if event.mark == "end")
    dice = random.Random(seed)
    for number in range(CUTS_A_SEED):
        until = dice.randint(first, last)
        marks = [event.mark for event in crash.events[:until] if event.op is Op.MARK]
        mark = next(mark for mark in reversed(marks) if isinstance(mark, Mark))
        bucket = next((mark for mark in reversed(marks) if isinstance(mark, Bucket)), Bucket({}))
        image = folder / f"image{number}"
        crash.image(until, image, dice)
        try:
            check(image, mark, bucket)
        except BaseException as error:
            trail = [mark.after for mark in marks if isinstance(mark, Mark)]
            error.add_note(f"S3MOUNT_POWER_SEED={seed}, cut {number} after event {until} of {last}: {trail}")
            raise
        shutil.rmtree(image)


@pytest.mark.timeout(60 + 3 * SEEDS)
def test_power_cuts(quick_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"S3MOUNT_POWER_SEED={FIRST} S3MOUNT_POWER_SEEDS={SEEDS}")
    for seed in range(FIRST, FIRST + SEEDS):
        folder = quick_folder / str(seed)
        folder.mkdir()
        run_seed(seed, folder, monkeypatch)
        shutil.rmtree(folder)
