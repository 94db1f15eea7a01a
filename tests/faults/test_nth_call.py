"""Call n fails, for n = 1, 2, 3 … until the work goes through without (P1, P3): each operation is done or not done, and
once all is well the bucket equals the tree.

Calls of the store, before and after their effect, and calls of the cache's disk. Deaths of the process at such calls
are in test_crash.py.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s3mount.cache.disk import LocalDisk, LocalFile
from s3mount.errors import FsError, IOFailure, NoSpace
from tests.faults.bench import KIB, LONG_S, Bench
from tests.support.faulty_store import Moment

DISK_CALLS = (
    (LocalFile, "pread"), (LocalFile, "pwrite"), (LocalFile, "truncate"), (LocalFile, "punch_hole"),
    (LocalFile, "fdatasync"), (LocalDisk, "open"), (LocalDisk, "unlink"), (LocalDisk, "fsync_directory"),
)  # fmt: skip


def fsync(bench: Bench, path: str) -> None:
    fh = bench.open(path)
    try:
        bench.fs.fsync(fh)
    finally:
        bench.fs.release(fh)


def truncate(bench: Bench, path: str, size: int) -> None:
    bench.fs.truncate(path, size)


STEPS: tuple[Callable[[Bench], None], ...] = (
    lambda bench: bench.mkdir("/d"),
    lambda bench: bench.write("/a", b"1" * KIB),
    lambda bench: fsync(bench, "/a"),
    lambda bench: bench.write("/d/b", b"2" * KIB),
    lambda bench: bench.drain(0.0) if bench.is_clean() else None,
    lambda bench: bench.fs.rename("/a", "/d/c"),
    lambda bench: bench.write("/d/b", b"3" * 100, 50),
    lambda bench: truncate(bench, "/d/b", 80),
    lambda bench: truncate(bench, "/d/b", 2 * KIB),
    lambda bench: fsync(bench, "/d/b"),
    lambda bench: bench.write("/e", b"4" * KIB),
    lambda bench: bench.fs.unlink("/e"),
    lambda bench: bench.fs.rename("/d/b", "/d/c"),
    lambda bench: bench.fs.rename("/d", "/f"),
)
FINAL = {"f/c": (b"2" * 50 + b"3" * 30).ljust(2 * KIB, b"\0")}


@pytest.mark.parametrize("moment", list(Moment))
def test_the_nth_call_of_the_store(make_bench: Callable[..., Bench], moment: Moment) -> None:
    """The operations do not wait for it, so all of them succeed, and its failure is made good."""
    nth = 0
    while True:
        bench = make_bench()
        rule = bench.store.fail(moment=moment, skip=nth)
        for step in STEPS:
            try:
                step(bench)
            except IOFailure:
                step(bench)  # it needed a listing, and that failed
        bench.check(FINAL)
        bench.close()
        if rule.times:
            break
        nth += 1
    assert nth >= 3  # how many requests it takes depends on how much of it is over before an upload begins


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
def test_the_nth_call_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    nth = 0
    failed = True
    while failed:
        nth += 1
        (tmp_path / str(nth)).mkdir()
        bench = Bench(tmp_path / str(nth), delay_s=LONG_S)
        try:
            with monkeypatch.context() as patch:
                failed = run_with_failure(bench, patch, nth, code)
            bench.drain()
            assert bench.bucket() == bench.tree()
            bench.restart()
            assert bench.bucket() == bench.tree()
        finally:
            bench.close()
    assert nth > 15


def run_with_failure(bench: Bench, patch: pytest.MonkeyPatch, nth: int, code: int) -> bool:
    """Do the steps, each again if it fails; returns whether the n-th call was reached."""
    left = [nth]
    is_armed = [False]

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            left[0] -= is_armed[0]
            if is_armed[0] and left[0] == 0:
                raise OSError(code, os.strerror(code))
            return real(*args, **named)

        return call

    for kind, name in DISK_CALLS:
        patch.setattr(kind, name, wrapped(getattr(kind, name)))
    for number, step in enumerate(STEPS):
        before = bench.tree() if left[0] > 0 else {}
        is_armed[0] = True
        try:
            step(bench)
        except (NoSpace, IOFailure):
            is_armed[0] = False
            check_half_done(bench, number, before)
            retry(bench, step)
        finally:
            is_armed[0] = False
    return left[0] <= 0


def check_half_done(bench: Bench, number: int, before: dict[str, bytes]) -> None:
    """Nothing but the file that the step was about is touched."""
    touched = {1: {"a"}, 2: {"a"}, 3: {"d/b"}, 5: {"a", "d/c"}, 10: {"e"}, 11: {"e"}, 12: {"d/b", "d/c"}}
    about = touched.get(number, {"d/b"})
    after = bench.tree()
    for path in before.keys() - about:
        if number != len(STEPS) - 1:
            assert after.get(path) == before[path], f"{path} was harmed by step {number}"


def retry(bench: Bench, step: Callable[[Bench], None]) -> None:
    """An operation that failed late was done: to do it again may find nothing to do."""
    try:
        step(bench)
    except (NoSpace, IOFailure):
        raise  # the disk is well again
    except FsError:
        return
