"""What S3 refuses or cannot be asked: kept, shown, tried again at the right time, and in no tight loop (P3, P4)."""

import threading
import time
from collections.abc import Callable

import pytest

from s3mount.errors import Denied, IOFailure, NoSpace
from s3mount.vfs.context import VfsOptions
from tests.faults.bench import MIB, Bench, until
from tests.support.faulty_store import FOR_GOOD

Make = Callable[..., Bench]
DENIED = Denied("no permission")


def left_paths(bench: Bench, deadline_s: float = 5.0) -> set[str]:
    began = time.monotonic()
    left = bench.drive.drain(deadline_s, lambda backlog: None)
    assert time.monotonic() - began < deadline_s, "the drain ends when nothing is left that can be done"
    return {entry.path for entry in left}


def parked(bench: Bench, count: int = 1) -> None:
    until(lambda: bench.drive.writeback.backlog().parked == count)


def test_a_refused_upload_is_parked_once_and_reported_at_close_and_fsync(bench: Bench) -> None:
    bench.store.fail("put", "a", error=DENIED, times=FOR_GOOD)
    bench.write("/a", b"x")
    parked(bench)
    tries = bench.store.count("put", "a")
    time.sleep(0.5)
    assert bench.store.count("put", "a") == tries == 1
    fh = bench.open("/a")
    with pytest.raises(IOFailure):
        bench.fs.fsync(fh)
    with pytest.raises(IOFailure):
        bench.fs.flush(fh)
    bench.fs.release(fh)
    assert left_paths(bench) == {"/a"}
    assert bench.store.count("put", "a") == 2
    bench.store.heal()
    bench.restart()
    bench.check({"a": b"x"})


def test_drain_names_a_refused_upload_in_front_of_its_tombstone(bench: Bench) -> None:
    bench.write("/a", b"one")
    bench.drain()
    gate = bench.store.hold("delete", "a")
    bench.fs.unlink("/a")
    bench.store.fail("put", "a", error=DENIED, times=FOR_GOOD)
    gate.wait_arrived()
    bench.store.fail("delete", "a")
    bench.write("/a", b"two")
    gate.open()
    assert "/a" in left_paths(bench)
    bench.store.heal()
    bench.check({"a": b"two"})


def test_one_that_waits_for_a_refused_rename_is_refused_as_well(bench: Bench) -> None:
    bench.write("/a", b"one")
    bench.drain()
    bench.store.fail("copy", "b", error=DENIED, times=FOR_GOOD)
    bench.fs.rename("/a", "/b")
    parked(bench)
    bench.write("/a", b"two")
    parked(bench, 2)
    tries = bench.store.count("copy", "b")
    time.sleep(0.5)
    assert bench.store.count("copy", "b") == tries
    assert left_paths(bench) == {"/a", "/b"}
    bench.store.heal()
    bench.check({"a": b"two", "b": b"one"})


def test_a_refused_child_of_a_renamed_directory_does_not_hang_the_drain(bench: Bench) -> None:
    bench.mkdir("/d")
    bench.write("/d/x", b"x")
    bench.drain()
    bench.store.fail("copy", "e/x", error=DENIED, times=FOR_GOOD)
    bench.fs.rename("/d", "/e")
    assert "/e/x" in left_paths(bench)
    bench.store.heal()
    bench.check({"e/x": b"x"})


def test_a_refused_delete_is_named(bench: Bench) -> None:
    bench.write("/a", b"x")
    bench.drain()
    bench.store.fail("delete", error=DENIED, times=FOR_GOOD)
    bench.fs.unlink("/a")
    assert left_paths(bench) == {"/a"}
    bench.store.heal()
    bench.check({})
    assert bench.drive.writeback.refused() == []


def test_an_unreachable_store_is_tried_after_one_second_then_two(bench: Bench) -> None:
    bench.store.fail("put", "a", times=FOR_GOOD)
    bench.write("/a", b"x")
    until(lambda: bench.store.count("put", "a"))
    time.sleep(0.8)
    assert bench.store.count("put", "a") == 1
    until(lambda: bench.store.count("put", "a") == 2, 1.0)
    bench.write("/a", b"y")
    time.sleep(0.8)
    assert bench.store.count("put", "a") == 2, "a change in between is no reason to try earlier"
    bench.store.heal()
    bench.check({"a": b"y"})


def test_a_full_cache_does_not_hammer_an_unreachable_store(make_bench: Make) -> None:
    bench = make_bench(cache_bytes=4 * MIB, vfs=VfsOptions(room_deadline_s=1.5))
    bench.store.fail("put", times=FOR_GOOD)
    bench.write("/a", b"x" * (3 * MIB))
    until(lambda: bench.store.count("put"))
    fh = bench.create("/b")
    with pytest.raises(NoSpace):  # noqa: PT012 which write it is depends on what was evicted
        for n in range(4):
            bench.fs.write(fh, n * MIB, b"y" * MIB)
    bench.fs.release(fh)
    assert bench.store.count("put", "a") <= 3
    bench.store.heal()
    bench.drain()


def test_a_full_cache_does_not_try_what_was_refused(make_bench: Make) -> None:
    bench = make_bench(cache_bytes=4 * MIB, vfs=VfsOptions(room_deadline_s=1.0))
    bench.store.fail("put", error=DENIED, times=FOR_GOOD)
    bench.write("/a", b"x" * (3 * MIB))
    parked(bench)
    fh = bench.create("/b")
    with pytest.raises(NoSpace):  # noqa: PT012 which write it is depends on what was evicted
        for n in range(4):
            bench.fs.write(fh, n * MIB, b"y" * MIB)
    bench.fs.release(fh)
    assert bench.store.count("put", "a") == 1


def test_files_being_written_do_not_starve_one_that_is_closed(make_bench: Make) -> None:
    bench = make_bench(delay_s=0.3)
    fhs = [bench.create(f"/open{n}") for n in range(80)]
    stop = threading.Event()

    def write_on() -> None:
        at = 0
        while not stop.is_set():
            for fh in fhs:
                bench.fs.write(fh, at, b"x")
            at += 1

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        bench.write("/closed", b"c")
        until(lambda: bench.bucket().get("closed") == b"c", 5.0)
    finally:
        stop.set()
        writer.join()
    for fh in fhs:
        bench.close_file(fh)
    bench.drain()


def test_an_idle_drive_with_a_file_being_written_does_not_spin(
    make_bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(delay_s=5.0)
    turns = 0
    due = bench.index.inodes.due

    def counted(*args: object) -> object:
        nonlocal turns
        turns += 1
        return due(*args)  # type: ignore[arg-type]

    fh = bench.create("/a")
    bench.fs.write(fh, 0, b"x")
    monkeypatch.setattr(bench.index.inodes, "due", counted)
    bench.fs.write(fh, 1, b"x")
    time.sleep(1.0)
    assert turns < 20
    bench.close_file(fh)


def test_drain_takes_files_that_are_open_as_they_are(bench: Bench) -> None:
    fh = bench.create("/a")
    bench.fs.write(fh, 0, b"x")
    bench.drain()
    assert bench.bucket() == {"a": b"x"}
    bench.fs.write(fh, 1, b"y")
    bench.close_file(fh)
    bench.check({"a": b"xy"})


def test_a_drain_ends_at_its_deadline(bench: Bench) -> None:
    bench.store.fail("put", times=FOR_GOOD)
    bench.write("/a", b"x")
    began = time.monotonic()
    left = bench.drive.drain(0.5, lambda backlog: None)
    assert time.monotonic() - began < 1.5
    assert [entry.path for entry in left] == ["/a"]


def test_fsync_remote_waits_for_the_bucket_and_keeps_its_deadline(make_bench: Make) -> None:
    bench = make_bench(delay_s=60.0, vfs=VfsOptions(fsync_remote=True, upload_deadline_s=0.5))
    fh = bench.create("/a")
    bench.fs.write(fh, 0, b"x")
    bench.fs.fsync(fh)
    assert bench.bucket() == {"a": b"x"}
    bench.store.fail("put", times=FOR_GOOD)
    bench.fs.write(fh, 0, b"y")
    with pytest.raises(IOFailure):
        bench.fs.fsync(fh)
    bench.fs.release(fh)


def test_drain_beside_writers_ends_when_they_do(bench: Bench) -> None:
    def write(n: int) -> None:
        for round_ in range(20):
            bench.write(f"/{n}", bytes([round_]) * 100)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    for _ in range(3):
        bench.drive.drain(0.2, lambda backlog: None)
    for writer in writers:
        writer.join(10)
    bench.check({str(n): bytes([19]) * 100 for n in range(4)})
