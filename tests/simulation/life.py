"""One life of a drive in the simulation: a user at work on it, over a store that fails and a disk that is recorded.

A life ends by kill -9, by a power cut, or in good order; the next begins with what that left, and with the same bucket.
"""

import contextlib
import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from s3mount.errors import IOFailure, NoSpace, NotFound, Stale, Unreachable
from s3mount.model import Fh, ObjectKey
from s3mount.store.base import StoreProperties
from s3mount.vfs.space import KEEP_SIZE, PUNCH_HOLE
from s3mount.writeback import batches, multipart, streaming, uploader
from tests.faults.bench import Bench
from tests.simulation import threads
from tests.simulation.model import Crash, File, Mark, Model, Names
from tests.simulation.tasks import World
from tests.support.crash_disk import CrashDisk
from tests.support.faulty_store import Moment
from tests.support.memory_store import MemoryStore, StoredObject, Upload

FOLDERS = ("", "d", "e")
NAMES = tuple(f"{folder}/{name}".strip("/") for folder in FOLDERS for name in ("a", "b", "c"))
SIZE_MAX = 12_000
PART_BYTES = 2_000
SMALL_BYTES = 1_000
FAULT_SHARE = 0.08
DRAIN_S = 3600.0
UPLOADS_GONE_S = 600.0


@dataclass(frozen=True)
class Bucket:
    """All that S3 has at one moment."""

    objects: dict[ObjectKey, StoredObject]
    uploads: dict[str, Upload]


class SimBench(Bench):
    """A bench whose store is `memory`, on a clock of the simulation."""

    def __init__(self, folder: Path, memory: MemoryStore, watch: Callable[[str, str, Moment], None]):
        self._memory = memory
        self._watch = watch
        super().__init__(folder, cache_bytes=1 << 20)

    def make_store(self) -> MemoryStore:
        return self._memory

    def start(self) -> None:
        self.store.watch = self._watch
        super().start()


class Life:
    def __init__(
        self,
        world: World,
        crash_disk: CrashDisk,
        memory: MemoryStore,
        model: Model,
        trail: list[str],
    ) -> None:
        self.world = world
        self.dice = world.dice
        self.crash_disk = crash_disk
        self.memory = memory
        self.model = model
        self.trail = trail
        self.fault_share = 0.0
        self.open: dict[File, Fh] = {}
        self.is_over = False
        self.bench: SimBench

    # -- what happens at each request ------------------------------------------------------------------------------

    def _watch(self, operation: str, key: str, moment: Moment) -> None:
        world = self.world
        threads.assert_no_lock_held(world)
        if moment is Moment.AFTER:
            self.crash_disk.mark(self._bucket)
        if self.dice.random() < 0.5:
            world.switch()
        else:
            world.sleep(self.dice.choice([0.001, 0.01, 0.1, 1.0]))
        if self.dice.random() < self.fault_share:
            self.trail.append(f"{operation} {key} fails {moment.value}")
            raise Unreachable("injected")

    def _bucket(self) -> Bucket:
        return Bucket(self.memory.objects(), copy.deepcopy(self.memory._uploads))

    def mark(self, after: str) -> None:
        self.trail.append(after)
        mark = self.model.mark(after)
        self.crash_disk.mark(lambda: mark)

    # -- the user's work -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.bench = SimBench(self.crash_disk.folder, self.memory, self._watch)
        for name in FOLDERS[1:]:
            if name not in self.bench.names("/"):
                self.bench.mkdir(f"/{name}")

    def work(self, steps: int) -> None:
        self.fault_share = self.dice.choice([0.0, FAULT_SHARE])
        for _ in range(steps):
            try:
                self.step()
            except IOFailure as error:
                self.trail.append(f"EIO: {error}")  # it needed a read or a listing, and that failed
                self.look_again()
            self.settle_names()
        self.fault_share = 0.0

    def look_again(self) -> None:
        share, self.fault_share = self.fault_share, 0.0
        self.model.see(self.bench.tree())
        self.fault_share = share

    def settle_names(self) -> None:
        """The operation is over: its change of names survives kill -9."""
        self.model.certain = len(self.model.names) - 1
        self.mark("done")

    def step(self) -> None:
        actions = (
            [self.write] * 8 + [self.sync] * 5 + [self.sync_folder] * 3 + [self.replace] * 3 + [self.move] * 3
            + [self.remove] * 2 + [self.truncate] * 2 + [self.evict, self.drain, self.restart]
            + [self.pause] * 4 + [self.release] + [self.punch] * 2
        )  # fmt: skip
        self.dice.choice(actions)()

    def handle(self, path: str) -> tuple[File, Fh]:
        file = self.model.now.get(path)
        if file is None:
            file = File()
            self.model.files.append(file)
            self.rename_to({**self.model.now, path: file}, f"create {path}")
            self.open[file] = self.bench.create(f"/{path}")
        elif file not in self.open:
            self.open[file] = self.bench.open(f"/{path}")
        return file, self.open[file]

    def close(self, file: File) -> None:
        if file in self.open:
            self.bench.close_file(self.open.pop(file))
            file.closed = len(file.versions) - 1
            self.mark("close")

    def rename_to(self, names: Names, what: str) -> None:
        """From here on the names may be these."""
        self.model.names.append(names)
        self.mark(what)

    def some_file(self) -> str:
        return self.dice.choice(sorted(self.model.now) or list(NAMES))

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
        data = self.dice.randbytes(self.dice.choice([1, 100, 3_000, 9_000]))
        self.put(self.dice.choice(NAMES), self.dice.choice([0, 0, 700, self.dice.randrange(SIZE_MAX)]), data)

    def truncate(self) -> None:
        path = self.some_file()
        file, fh = self.handle(path)
        size = self.dice.choice([0, len(file.now) // 2, self.dice.randrange(SIZE_MAX)])
        self.change(file, file.now[:size].ljust(size, b"\0"), f"truncate {path}")
        self.bench.fs.truncate(f"/{path}", size, fh)

    def punch(self) -> None:
        path = self.some_file()
        file, fh = self.handle(path)
        start, size = self.dice.choice([0, self.dice.randrange(SIZE_MAX)]), self.dice.choice([700, 9_000])
        inside = len(file.now[start : start + size])
        self.change(file, file.now[:start] + bytes(inside) + file.now[start + inside :], f"punch {path} {start}+{size}")
        self.bench.fs.allocate(fh, PUNCH_HOLE | KEEP_SIZE, start, size)

    def sync(self) -> None:
        path = self.some_file()
        file, fh = self.handle(path)
        self.bench.fs.fsync(fh)
        file.versions, file.closed = [file.now], 0
        self.mark(f"fsync {path}")

    def sync_folder(self) -> None:
        fh = self.bench.fs.opendir(f"/{self.dice.choice(FOLDERS)}")
        self.bench.fs.fsyncdir(fh)
        self.bench.fs.releasedir(fh)
        self.model.names, self.model.certain = [self.model.now], 0
        self.mark("fsync of a directory")

    def replace(self) -> None:
        """As an editor does: a new file, synced, renamed into place, the directory synced."""
        path = self.dice.choice(NAMES)
        file = self.put("draft", 0, self.dice.randbytes(self.dice.randrange(1, SIZE_MAX)))
        fh = self.handle("draft")[1]
        self.bench.fs.fsync(fh)
        file.versions, file.closed = [file.now], 0
        self.mark("fsync draft")
        self.close(file)
        self.relocate("draft", path)
        self.sync_folder()

    def relocate(self, old: str, new: str) -> None:
        moved = {path: file for path, file in self.model.now.items() if path != old}
        self.rename_to({**moved, new: self.model.now[old]}, f"rename {old} {new}")
        self.bench.fs.rename(f"/{old}", f"/{new}")

    def move(self) -> None:
        old = self.some_file()
        if old in self.model.now:
            self.relocate(old, self.dice.choice([name for name in NAMES if name != old]))

    def remove(self) -> None:
        path = self.some_file()
        if path in self.model.now:
            rest = {name: file for name, file in self.model.now.items() if name != path}
            self.rename_to(rest, f"unlink {path}")
            self.bench.fs.unlink(f"/{path}")

    def evict(self) -> None:
        cache = self.bench.drive.cache
        with contextlib.suppress(NoSpace), cache.reserve(cache.limit_bytes, 0.0):
            pass
        path = self.some_file()
        if path in self.model.now:
            assert self.bench.read(f"/{path}") == self.model.now[path].now, f"{path} reads otherwise"

    def pause(self) -> None:
        self.world.sleep(self.dice.choice([0.001, 0.1, 1.0, 40.0]))

    def release(self) -> None:
        for file in list(self.open):
            self.close(file)

    def drain(self) -> None:
        """What the bucket was said to have is not to be replaced by what was before."""
        share, self.fault_share = self.fault_share, 0.0
        self.bench.drain(DRAIN_S)
        self.fault_share = share
        for file in self.model.files:
            file.versions, file.closed = [file.now], 0
        self.model.names, self.model.certain = [self.model.now], 0
        self.mark("drain")

    def restart(self) -> None:
        self.release()
        self.bench.restart()
        self.mark("restart")

    # -- after a crash ---------------------------------------------------------------------------------------------

    def check_kill(self, mark: Mark) -> None:
        """Nothing is uploaded on purpose here: the work goes on with what was found."""
        found = self.bench.tree()
        for path in (*NAMES, "draft"):
            self.compare(path, found.get(path), mark, Crash.KILL)
        self.model.see(found)
        self.model.survived()
        self.mark("found after kill -9")

    def check_power(self, mark: Mark) -> None:
        found, lost_sight, mark = self._look(mark)
        for path in sorted({*NAMES, "draft"} - mark.lost - lost_sight):
            if None not in mark.choices(path, Crash.POWER):
                self.compare(path, found.get(path), mark, Crash.POWER)
        self.bench.drain(DRAIN_S)
        for folder in FOLDERS:
            self.bench.refresh(f"/{folder}")  # objects of files that were lost may be there, from before the cut
        bucket = self.bench.bucket()
        tree = self.bench.tree()
        assert bucket == tree, "the bucket is not what the tree shows"
        for path in sorted({*NAMES, "draft"} - mark.lost):
            beside = [key for key in bucket if key.startswith(f"{path} (conflict ")]
            if not beside and None in mark.choices(path, Crash.POWER) and mark.is_whole(bucket.get(path)):
                continue  # under a name that the file has had: it may outlive a cut move
            self.compare(path, bucket[beside[0]] if beside else bucket.get(path), mark, Crash.POWER)
        for path in [path for path in tree if "(conflict " in path]:
            self.bench.fs.unlink(f"/{path}")
            del tree[path]
        self.bench.drain(DRAIN_S)
        self.model.adopt(tree)
        self.mark("found after a power cut")

    def _look(self, mark: Mark) -> tuple[dict[str, bytes], set[str], Mark]:
        """(found, lost sight of, promises left). What says that it is lost is removed."""
        found: dict[str, bytes] = {}
        lost_sight: set[str] = set()
        for path in [f"{folder}/{name}".strip("/") for folder in FOLDERS for name in self.bench.names(f"/{folder}")]:
            if path in FOLDERS:
                continue
            try:
                found[path] = self._read(path)
            except NotFound:
                lost_sight.add(path)  # our own move or deletion, which the index did not know of, is being met
            except IOFailure as error:
                # Bytes that nobody synced may be gone; then the file says so, and is not served as zeros.
                if not any(each and len(each.versions) > 1 for each in mark.choices(path, Crash.POWER)):
                    raise AssertionError(f"{path} is lost") from error
                mark = left = replace(mark, lost=mark.lost | {path})
                self.crash_disk.mark(lambda left=left: left)  # type: ignore[misc]
                self.bench.fs.unlink(f"/{path}")
        return found, lost_sight, mark

    def _read(self, path: str) -> bytes:
        """Until our own newer object, which the index does not know of any more, is met by the upload, it is in the
        way."""
        deadline_s = self.world.now_s + 600
        while True:
            try:
                return self.bench.read(f"/{path}")
            except Stale:
                if self.world.now_s > deadline_s:
                    raise
                self.world.sleep(0.1)

    def compare(self, path: str, found: bytes | None, mark: Mark, crash: Crash) -> None:
        choices = mark.choices(path, crash)
        sizes = [each and list(map(len, each.versions)) for each in choices]
        if found is None:
            assert None in choices, f"{path} is gone after a {crash.value}, of {sizes}"
        else:
            allowed = any(each is not None and each.holds(found) for each in choices)
            assert allowed, f"{path}: {len(found)} bytes after a {crash.value}, not of {sizes}"

    # -- the good end ----------------------------------------------------------------------------------------------

    def end_well(self) -> None:
        self.release()
        self.bench.drain(DRAIN_S)
        tree = self.bench.tree()
        for path in sorted({*tree, *self.model.now}):
            file = self.model.now.get(path)
            sizes = file and [len(version) for version in file.versions]
            same = file is not None and tree.get(path) == file.now
            assert same, f"{path} is not what was written: {len(tree.get(path, b''))} bytes of {sizes}"
        assert self.bench.bucket() == tree, "the bucket is not what the tree shows"
        assert not self.bench.oddities()
        self.bench.restart()
        # Uploads whose id or whose abort was lost are found by the next mount.
        assert self.world.wait(lambda: not self.memory.uploads(), UPLOADS_GONE_S), "uploads are left behind"
        self.bench.drive.close()


@contextlib.contextmanager
def simulated(dice: random.Random, now_s: float) -> Iterator[World]:
    """A world in which drives can be made, at this time."""
    world = World(dice, now_s)
    with pytest.MonkeyPatch.context() as patch:
        threads.install(world, patch)
        for module in (multipart, streaming, uploader):
            patch.setattr(module, "PART_BYTES", PART_BYTES)
        patch.setattr(batches, "SMALL_BYTES", SMALL_BYTES)
        try:
            yield world
        finally:
            world.end()


def new_memory(bucket: Bucket, world: World) -> MemoryStore:
    memory = MemoryStore(clock=threads.SimClock(world), properties=StoreProperties(part_bytes_min=1))
    memory._objects = dict(bucket.objects)
    memory._uploads = copy.deepcopy(bucket.uploads)
    return memory
