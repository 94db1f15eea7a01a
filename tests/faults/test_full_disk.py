"""The disk under the state folder is full, or broken, at any call (P1, P2, P7): the change that could not be kept fails
with NoSpace or IOFailure, nothing acknowledged is harmed, and once the disk is well everything goes on.

Called to fail: each method of the cache's disk, and every write, truncate and sync of SQLite's files. Once more on a
small file system that is really full (root only).
"""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3mount.cache.disk import LocalDisk, LocalFile
from s3mount.errors import FsError, IOFailure, NoSpace
from tests.faults.bench import KIB, LONG_S, MIB, Bench
from tests.support import sqlite_files
from tests.support.sqlite_files import Act, observed

KINDS = {errno.ENOSPC: NoSpace, errno.EIO: IOFailure}
SYSTEM_BYTES = 24 * MIB


def failing(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def acknowledged(bench: Bench, path: str, data: bytes) -> None:
    bench.write(path, data)
    fh = bench.open(path)
    bench.fs.fsync(fh)
    bench.fs.release(fh)


def change(bench: Bench, path: str) -> None:
    """Write, grow and sync an existing file, and create another."""
    fh = bench.open(path)
    try:
        bench.fs.write(fh, 100, b"n" * 5000)
        bench.fs.truncate(path, 9000, fh)
        bench.fs.fsync(fh)
        bench.fs.flush(fh)
    finally:
        bench.fs.release(fh)
    bench.write("/new", b"new")


def goes_on(bench: Bench) -> None:
    """The disk is well again: what was acknowledged is there, the same change succeeds, all reaches the bucket."""
    assert bench.read("/kept") == b"k" * KIB
    assert len(bench.read("/file")) in (1000, 5100, 9000)
    change(bench, "/file")
    bench.check({"kept": b"k" * KIB, "file": (b"f" * 100 + b"n" * 5000).ljust(9000, b"\0"), "new": b"new"})


@pytest.mark.parametrize("code", list(KINDS), ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["pwrite", "truncate", "fdatasync"])
def test_a_file_call_fails(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    bench = make_bench(delay_s=LONG_S)
    acknowledged(bench, "/kept", b"k" * KIB)
    acknowledged(bench, "/file", b"f" * 1000)
    with monkeypatch.context() as patch:
        patch.setattr(LocalFile, call, failing(code))
        with pytest.raises(KINDS[code]):
            change(bench, "/file")
        assert bench.read("/kept") == b"k" * KIB
    goes_on(bench)


@pytest.mark.parametrize("code", list(KINDS), ids=errno.errorcode.get)
def test_a_new_block_file_cannot_be_opened(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    bench = make_bench(delay_s=LONG_S)
    acknowledged(bench, "/kept", b"k" * KIB)
    acknowledged(bench, "/file", b"f" * 1000)
    fh = bench.create("/new")
    with monkeypatch.context() as patch:
        patch.setattr(LocalDisk, "open", failing(code))
        with pytest.raises(KINDS[code]):
            bench.fs.write(fh, 0, b"new")
    bench.close_file(fh)
    assert bench.read("/new") == b""
    goes_on(bench)


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (Act.WRITE, sqlite_files.FULL),
        (Act.WRITE, sqlite_files.IOERR_WRITE),
        (Act.SYNC, sqlite_files.IOERR_FSYNC),
    ],
    ids=lambda value: str(getattr(value, "value", value)),
)
def test_sqlite_fails_at_each_call(tmp_path: Path, act: Act, code: int) -> None:
    """At the n-th call and all after it, for every n until the change goes through."""
    kinds = (NoSpace,) if code == sqlite_files.FULL else (IOFailure,)
    nth = 0
    failed = True
    while failed:
        nth += 1
        failed = fails_from(tmp_path / str(nth), act, code, nth, kinds)
    assert nth > (1 if act is Act.SYNC else 10)


def fails_from(folder: Path, act: Act, code: int, nth: int, kinds: tuple[type[FsError], ...]) -> bool:
    folder.mkdir()
    left: list[int] = []

    def observer(this: Act, path: str, number: int, data: bytes, do: Callable[[], int]) -> int:
        if left and this is act and path.startswith(str(folder)):
            left[0] -= 1
            if left[0] <= 0:
                return code
        return do()

    with observed(observer):
        bench = Bench(folder, delay_s=LONG_S)
        try:
            acknowledged(bench, "/kept", b"k" * KIB)
            acknowledged(bench, "/file", b"f" * 1000)
            left.append(nth)
            try:
                change(bench, "/file")
            except kinds:
                failed = True
            else:
                failed = False
            left.clear()
            goes_on(bench)
        finally:
            bench.close()
    return failed


@pytest.fixture
def small_system(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: a really full file system; only root may mount one")
    folder = tmp_path / "small"
    folder.mkdir()
    options = f"size={SYSTEM_BYTES},mode=0700"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    if done.returncode != 0:
        pytest.skip(f"NOT TESTED: a really full file system; mount says {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True, timeout=20)


def test_a_file_system_that_is_full(small_system: Path) -> None:
    ballast = small_system / "ballast"
    ballast.write_bytes(bytes(4 * MIB))
    bench = Bench(small_system, delay_s=LONG_S)
    written: dict[str, bytes] = {}
    refused = 0
    try:
        for number in range(40):
            body = bytes([number]) * MIB
            try:
                acknowledged(bench, f"/{number}", body)
            except NoSpace:
                refused += 1
            else:
                written[str(number)] = body
        assert refused, "the file system never was full"
        assert len(written) > 10
        for path, body in written.items():
            assert bench.read(f"/{path}") == body
        assert shutil.disk_usage(small_system).free < MIB
        ballast.unlink()
        for path in list(written)[:4]:
            bench.fs.unlink(f"/{path}")
            del written[path]
        bench.drain()
        for path, body in written.items():
            assert bench.read(f"/{path}") == body
            assert bench.bucket()[path] == body
        bench.restart()
        acknowledged(bench, "/last", b"last")
        bench.drain()
        assert bench.bucket() == bench.tree()
    finally:
        bench.close()
