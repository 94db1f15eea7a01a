"""Eight threads do what they like to one tree, with listings all the time: no deadlock, no request under a lock, and in
the end the bucket is the tree. S3MOUNT_TEST_SEED repeats a run, S3MOUNT_TEST_SECONDS makes it longer."""

import contextlib
import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from s3mount.errors import FsError
from tests.faults.bench import CALLER, KIB, Bench
from tests.faults.test_crash import Death, clone, reborn
from tests.support.faulty_store import FOR_GOOD, Moment

Make = Callable[..., Bench]
THREADS = 8


def no_lock_is_held(bench: Bench) -> Callable[[str, str, Moment], None]:
    index_lock = bench.index._database.locked()
    stripes = bench.drive.locks._stripes

    def watch(operation: str, key: str, moment: Moment) -> None:
        if moment is Moment.BEFORE:
            assert not index_lock._is_owned(), f"{operation} {key} under the index lock"  # type: ignore[attr-defined]
            held = any(stripe._is_owned() for stripe in stripes)  # type: ignore[attr-defined]
            assert not held, f"{operation} {key} under an inode lock"

    return watch


class Vandal:
    """One thread's random operations on a few names in a few directories."""

    def __init__(self, bench: Bench, seed: str):
        self.bench = bench
        self.random = random.Random(seed)
        self.errors: list[BaseException] = []

    def path(self) -> str:
        return "/".join(["", *(self.random.choice("pq") for _ in range(self.random.randrange(3))), self.name()])

    def name(self) -> str:
        return self.random.choice("abcpq")

    def run(self, until_s: float) -> None:
        try:
            while time.monotonic() < until_s:
                with contextlib.suppress(FsError):
                    self.act()
        except BaseException as error:
            self.errors.append(error)
            raise

    def act(self) -> None:
        fs, path = self.bench.fs, self.path()
        match self.random.randrange(10):
            case 0 | 1 | 2:
                self.write(path)
            case 3:
                fs.unlink(path)
            case 4 | 5:
                fs.rename(path, self.path())
            case 6:
                fs.mkdir(path, 0o755, CALLER)
            case 7:
                fs.rmdir(path)
            case 8:
                self.bench.read(path)
            case 9:
                self.random.choice((lambda: fs.chmod(path, 0o600), lambda: fs.truncate(path, 10), self.list))()

    def list(self) -> None:
        self.bench.names("/" + self.random.choice("pq"))

    def write(self, path: str) -> None:
        fs = self.bench.fs
        fh = fs.create(path, 0o644, os.O_RDWR, CALLER)
        try:
            fs.write(
                fh, self.random.choice((0, 0, 5000)), self.random.randbytes(1) * self.random.randrange(1, 20 * KIB)
            )
            fs.flush(fh)
        finally:
            fs.release(fh)


@pytest.mark.parametrize("fault", [None, Moment.BEFORE, Moment.AFTER])
def test_many_threads(make_bench: Make, fault: Moment | None) -> None:
    seed = os.environ.get("S3MOUNT_TEST_SEED") or str(random.randrange(1 << 32))
    print("S3MOUNT_TEST_SEED =", seed)
    bench = make_bench(ttl_s=0.0)
    bench.store.watch = no_lock_is_held(bench)
    chance = random.Random(f"{seed} faults")
    if fault is not None:
        held = bench.store.watch

        def watch(operation: str, key: str, moment: Moment) -> None:
            held(operation, key, moment)
            if moment is Moment.BEFORE and operation in ("put", "copy", "delete") and chance.random() < 0.02:
                bench.store.fail(operation, key, moment=fault)

        bench.store.watch = watch
    until_s = time.monotonic() + float(os.environ.get("S3MOUNT_TEST_SECONDS", "1"))
    vandals = [Vandal(bench, f"{seed} {n}") for n in range(THREADS)]
    threads = [threading.Thread(target=vandal.run, args=(until_s,), daemon=True) for vandal in vandals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "deadlock"
    assert not [error for vandal in vandals for error in vandal.errors]
    bench.store.fail("put", times=0, skip=FOR_GOOD)
    bench.store.watch = no_lock_is_held(bench)
    left = bench.drive.drain(20.0, lambda backlog: None)
    assert not left, "\n".join(bench.oddities())
    known = bench.tree()
    assert bench.bucket() == known
    assert bench.conflicts() == 0, [call for call in bench.store.calls if call[1] in conflict_keys(bench)]
    bench.drive.close()
    folder = bench.folder / "anew"
    folder.mkdir()
    bench.folder = folder
    bench.start()
    assert bench.tree() == known


def conflict_keys(bench: Bench) -> set[str]:
    """The keys of objects that met a conflict, by the names of their copies."""
    return {key.split(" (conflict")[0] for key in bench.object_keys() if "(conflict" in key}


def test_deaths_among_many_threads(make_bench: Make, tmp_path: Path) -> None:
    seed = os.environ.get("S3MOUNT_TEST_SEED") or str(random.randrange(1 << 32))
    print("S3MOUNT_TEST_SEED =", seed)
    bench = make_bench(ttl_s=0.0)
    deaths: list[Death] = []
    turn = threading.Lock()
    when_s = [time.monotonic() + after_s for after_s in (2.0, 1.5, 1.0, 0.5)]

    def die_now_and_then(operation: str, key: str, moment: Moment) -> None:
        with turn:
            if not when_s or time.monotonic() < when_s[-1] or operation == "list_page":
                return
            when_s.pop()
            with bench.index.locked():
                folder = tmp_path / f"death{len(deaths)}"
                # A block file may be unlinked meanwhile: what its inode's row was is gone by then.
                with contextlib.suppress(shutil.Error):
                    shutil.copytree(bench.folder, folder)
                deaths.append(Death(f"{operation} {key} {moment.value}", folder, clone(bench.memory), 0))

    bench.store.watch = die_now_and_then
    until_s = time.monotonic() + 2.5
    threads = [
        threading.Thread(target=Vandal(bench, f"{seed} {n}").run, args=(until_s,), daemon=True) for n in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    bench.close()
    assert len(deaths) >= 3
    for death in deaths:
        with reborn(death) as again:
            again.drain()
            assert again.bucket() == again.tree(), death.label
            assert again.conflicts() == 0, death.label
