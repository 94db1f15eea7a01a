"""S3 is away for a while, silent or refusing: what is here goes on, what is not fails in time, and all of it goes up
by itself when S3 is back (P4)."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3mount.errors import IOFailure
from s3mount.store import patience
from s3mount.writeback import context as writeback_context
from tests.faults.bench import CALLER, MIB, until
from tests.network.conftest import OFFLINE_S, NetworkBench, Stopwatch
from tests.support.fault_proxy import FaultProxy, Line
from tests.support.s3_server import S3Server

LITTLE_S = 1.0
AWAY = (Line.SILENT, Line.CUT)


@pytest.fixture
def stale_bench(seaweed: S3Server, proxy: FaultProxy, tmp_path: Path) -> Iterator[NetworkBench]:
    """One whose every listing is out of date at once."""
    bench = NetworkBench(tmp_path, server=seaweed, proxy=proxy, ttl_s=0.0)
    try:
        yield bench
    finally:
        bench.close()


def go_away(bench: NetworkBench, line: Line) -> None:
    assert bench.proxy is not None
    bench.proxy.line = line


@pytest.mark.parametrize("line", AWAY)
def test_what_is_here_goes_on(stale_bench: NetworkBench, line: Line) -> None:
    bench = stale_bench
    bench.mkdir("/listed")
    bench.write("/listed/cached", b"cached")
    bench.settle()
    assert bench.names("/listed") == ["cached"]
    go_away(bench, line)
    with Stopwatch() as first:
        assert bench.names("/listed") == ["cached"]
    assert first.s < OFFLINE_S + LITTLE_S
    with Stopwatch() as rest:
        assert bench.read("/listed/cached") == b"cached"
        bench.write("/listed/new", b"new")
        bench.fs.rename("/listed/cached", "/listed/renamed")
        bench.mkdir("/made")
        bench.write("/made/file", b"made")
        bench.fs.chmod("/made/file", 0o600)
        assert bench.names("/listed") == ["new", "renamed"]
    assert rest.s < LITTLE_S  # it is known that S3 is away
    bench.proxy.heal()  # type: ignore[union-attr]
    bench.settle(20)
    bench.check({"listed/renamed": b"cached", "listed/new": b"new", "made/file": b"made"})


def failing_operations(bench: NetworkBench) -> dict[str, Callable[[], object]]:
    fs = bench.fs
    open_fh = bench.open("/uncached", os.O_RDONLY)
    return {
        "opendir of a never-listed directory": lambda: bench.names("/never"),
        "getattr below one": lambda: fs.getattr("/never/file"),
        "create below one": lambda: bench.create("/never/new"),
        "mkdir below one": lambda: bench.mkdir("/never/new"),
        "symlink below one": lambda: fs.symlink("target", "/never/link", CALLER),
        "unlink below one": lambda: fs.unlink("/never/file"),
        "rmdir of one": lambda: fs.rmdir("/never"),
        "rename into one": lambda: fs.rename("/uncached", "/never/uncached"),
        "truncate below one": lambda: fs.truncate("/never/file", 1),
        "read of uncached bytes": lambda: fs.read(open_fh, 0, 1000),
        "getattr of what was only listed": lambda: fs.getattr("/only-listed"),
        "open of what was only listed": lambda: bench.open("/only-listed"),
        "chmod of what was only listed": lambda: fs.chmod("/only-listed", 0o600),
        "readlink of what was only listed": lambda: fs.readlink("/only-listed"),
    }


@pytest.mark.parametrize("line", AWAY)
def test_every_operation_returns_in_time(bench: NetworkBench, line: Line) -> None:
    """All at once from many threads, so that they also wait for each other's requests and turns."""
    for key in ("uncached", "never/file", "only-listed"):
        bench.put_foreign(key, b"x" * 100_000)
    assert "never" in bench.names()
    bench.fs.getattr("/uncached")
    operations = failing_operations(bench)
    until(lambda: bench.proxy.count("HeadObject") >= 2)  # type: ignore[union-attr]
    listed = bench.index.inodes.get(bench.ino("/only-listed"))
    bench.index.inodes.update(listed._replace(metadata_known=False))
    go_away(bench, line)
    took: dict[str, float] = {}
    wrong: dict[str, object] = {}

    def run(name: str, operation: Callable[[], object]) -> None:
        with Stopwatch() as watch:
            try:
                wrong[name] = operation()
            except IOFailure:
                pass
            except Exception as error:  # noqa: BLE001 - shown by the assertion below
                wrong[name] = error
        took[name] = watch.s

    for _ in range(2):
        threads = [threading.Thread(target=run, args=item, daemon=True) for item in operations.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert not wrong
        assert len(took) == len(operations)
        assert max(took.values()) < OFFLINE_S + LITTLE_S, took
    bench.proxy.heal()  # type: ignore[union-attr]
    assert bench.names("/never") == ["file"]


@pytest.mark.parametrize("line", AWAY)
def test_it_drains_soon_after(bench: NetworkBench, monkeypatch: pytest.MonkeyPatch, line: Line) -> None:
    """However late the back-off has become: something is tried every PROBE_S, and its success hurries the rest."""
    monkeypatch.setattr("s3mount.writeback.setbacks.back_off_s", lambda failures: 1000.0)
    monkeypatch.setattr("s3mount.writeback.setbacks.PROBE_S", 2.0)
    bench.write("/gone", b"gone")
    bench.settle()
    go_away(bench, line)
    expected = {}
    for number in range(30):
        bench.write(f"/file{number}", b"body")
        expected[f"file{number}"] = b"body"
    bench.fs.unlink("/gone")
    time.sleep(4)
    assert bench.drive.writeback.backlog().files == 30
    bench.proxy.heal()  # type: ignore[union-attr]
    with Stopwatch() as watch:
        bench.settle(40)
    assert watch.s < writeback_context.PROBE_S
    bench.check(expected)


def test_a_slow_line_is_not_a_silent_one(bench: NetworkBench) -> None:
    """1 MB/s, shared by uploads and reads that take longer than the offline time-out, all told."""
    assert bench.proxy is not None
    bodies = {f"file{number}": os.urandom(3 * MIB) for number in range(4)}
    bench.put_foreign("foreign", os.urandom(4 * MIB))
    bodies["foreign"] = bench.bucket()["foreign"]
    bench.proxy.bytes_per_s = 1_000_000
    for name in bodies.keys() - {"foreign"}:
        bench.write(f"/{name}", bodies[name])
    assert bench.read("/foreign") == bodies["foreign"]
    bench.settle(60)
    bench.proxy.heal()
    assert bench.proxy.count("PutObject") == 4
    bench.check(bodies)


def test_patience_counts_from_the_last_sign_of_life() -> None:
    with patience.limited(0.3), patience.limited(100):
        assert patience.left_s(100) <= 0.3
        time.sleep(0.2)
        patience.heard()
        assert patience.left_s(100) > 0.25
        time.sleep(0.35)
        assert patience.left_s(100) == 0.0
    assert patience.left_s(100) == 100
