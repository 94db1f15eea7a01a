"""Small files and copies that go together: what goes wrong with one is its own affair; none is sent before its attempt
is on record."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from s3mount.errors import Denied, IOFailure, Missing, PreconditionFailed, Rejected, StoreError, Unreachable
from s3mount.model import Ino, ObjectKey
from s3mount.store.base import Condition, GivePuts, Put
from s3mount.writeback.batches import SMALL_BYTES, Batches
from tests.faults.bench import CALLER, KIB, Bench, until
from tests.support.faulty_store import FOR_GOOD, Moment

NAMES = [f"f{number}" for number in range(12)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Nothing goes up before somebody drains."""
    bench = Bench(tmp_path, delay_s=3600.0)
    yield bench
    bench.close()


def _fill(bench: Bench, body: bytes = b"body") -> dict[str, bytes]:
    for name in NAMES:
        bench.write(f"/{name}", body + name.encode())
    return {name: body + name.encode() for name in NAMES}


def _drain_soon(bench: Bench) -> threading.Thread:
    thread = threading.Thread(target=lambda: bench.drive.writeback.drain(10.0, lambda _: None))
    thread.start()
    return thread


def test_one_thread_puts_all_and_each_has_begun_in_a_batch(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.mkdir("/d")
    bench.fs.symlink("target", "/link", CALLER)
    model = _fill(bench)
    sizes: list[int] = []
    begin = Batches._begin

    def counted(self: Batches) -> object:
        if self._taken:
            sizes.append(len(self._taken))
        return begin(self)

    monkeypatch.setattr(Batches, "_begin", counted)
    alone: list[Ino] = []
    monkeypatch.setattr(bench.drive.writeback._scheduler._batches, "_alone", lambda ino, wanted: alone.append(ino))
    bench.drain()
    assert not alone
    assert sum(sizes) == len(NAMES) + 2
    assert len(sizes) < len(NAMES), "several at a time"
    assert bench.bucket() == model | {"link": b"target"}
    assert "d/" in bench.object_keys()
    assert bench.store.count("put") == len(NAMES) + 2


def test_every_attempt_is_on_record_before_it_is_sent(bench: Bench) -> None:
    _fill(bench)
    unknown: list[str] = []

    def look(operation: str, key: str, moment: Moment) -> None:
        if (
            operation == "put"
            and moment is Moment.BEFORE
            and bench.index.inodes.with_attempt_at(ObjectKey(key)) is None
        ):
            unknown.append(key)

    bench.store.watch = look
    bench.drain()
    assert not unknown


@pytest.mark.parametrize("error", [Unreachable("injected"), Rejected("injected"), Denied("injected")])
def test_a_failure_is_that_one_files(bench: Bench, error: StoreError) -> None:
    model = _fill(bench)
    bench.store.fail("put", "f3", error=error, times=FOR_GOOD)
    thread = _drain_soon(bench)
    until(lambda: bench.bucket().keys() == model.keys() - {"f3"}, what="all but one are there")
    until(lambda: bench.store.count("put", "f3"), what="it was tried")
    if not error.temporary:
        until(lambda: bench.index.parked.count() == 1, what="it is parked")
    bench.store.heal()
    thread.join(15)
    bench.drain()
    assert bench.bucket() == model


def test_a_lost_reply_makes_no_conflict(bench: Bench) -> None:
    model = _fill(bench)
    for name in NAMES[:4]:
        bench.store.fail("put", name, moment=Moment.AFTER)
    bench.drain()
    assert bench.bucket() == model
    assert bench.conflicts() == 0


def test_a_foreign_object_at_one_key_is_a_conflict_of_that_one(bench: Bench) -> None:
    model = _fill(bench)
    bench.memory.foreign_put("f3", b"foreign")
    bench.drain()
    bucket = bench.bucket()
    assert bucket.pop("f3") == b"foreign"
    assert [body for name, body in bucket.items() if "conflict" in name] == [model.pop("f3")]
    assert {name: body for name, body in bucket.items() if "conflict" not in name} == model


def test_one_that_takes_long_holds_up_no_other_and_is_put_again_when_it_changes(bench: Bench) -> None:
    model = _fill(bench)
    gate = bench.store.hold("put", "f0")
    thread = _drain_soon(bench)
    gate.wait_arrived()
    until(lambda: bench.bucket().keys() == model.keys() - {"f0"}, what="the others are there")
    bench.write("/f0", b"changed")
    gate.open()
    thread.join(15)
    bench.drain()
    assert bench.bucket() == model | {"f0": b"changed" + model["f0"][7:]}
    assert bench.store.count("put", "f0") == 2


def test_one_that_is_removed_or_renamed_under_way(bench: Bench) -> None:
    model = _fill(bench)
    gates = [bench.store.hold("put", name) for name in ("f0", "f1")]
    thread = _drain_soon(bench)
    for gate in gates:
        gate.wait_arrived()
    bench.fs.unlink("/f0")
    bench.fs.rename("/f1", "/g1")
    for gate in gates:
        gate.open()
    thread.join(15)
    bench.drain()
    del model["f0"]
    model["g1"] = model.pop("f1")
    assert bench.bucket() == model


def test_a_large_file_and_small_ones_do_not_wait_for_each_other(bench: Bench) -> None:
    bench.write("/large", bytes(SMALL_BYTES + 1))
    model = _fill(bench)
    gate = bench.store.hold("put", "large")
    thread = _drain_soon(bench)
    gate.wait_arrived()
    until(lambda: bench.bucket() == model, what="the small ones are there")
    gate.open()
    thread.join(15)
    assert bench.bucket().keys() == model.keys() | {"large"}


def test_no_more_are_under_way_than_may_be(bench: Bench) -> None:
    concurrency = bench.drive.writeback._context.concurrency
    under_way, most = Counter[str](), [0]

    def count(operation: str, key: str, moment: Moment) -> None:
        if operation == "put":
            under_way["now"] += 1 if moment is Moment.BEFORE else -1
            most.append(under_way["now"] - concurrency.limit)
            time.sleep(0.005)

    _fill(bench)
    bench.store.watch = count
    bench.drain()
    assert max(most) <= 0


@pytest.mark.parametrize("broken", [IOFailure("injected"), ZeroDivisionError()])
def test_what_cannot_be_begun_together_goes_up_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, broken: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    model = _fill(bench)

    def refuse(ino: Ino, key: ObjectKey) -> Condition | None:
        raise broken

    monkeypatch.setattr(bench.drive.writeback._scheduler._batches._settlement, "begin_unasked", refuse)
    bench.drain()
    caplog.clear()
    assert bench.bucket() == model


def test_what_cannot_be_recorded_is_put_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = _fill(bench)
    settlement = bench.drive.writeback._scheduler._batches._settlement
    uploaded, broken = settlement.uploaded, [IOFailure("injected"), ZeroDivisionError()]

    def fail(*arguments: object) -> None:
        if broken:
            raise broken.pop()
        uploaded(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(settlement, "uploaded", fail)
    bench.drain()
    caplog.clear()
    assert (bench.bucket(), bench.conflicts()) == (model, 0)


def test_each_is_read_when_those_before_it_are_on_their_way(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _fill(bench)
    events: list[str] = []
    uploader = bench.drive.writeback._scheduler._batches._uploader
    prepare, put_many = uploader.prepare, bench.store.put_many

    def read(ino: Ino, key: ObjectKey, condition: Condition, size_max: int) -> object:
        events.append(f"read {key}")
        return prepare(ino, key, condition, size_max)

    def observed(take: Callable[[int], Iterable[Put]], give: GivePuts) -> None:
        def sent(count: int) -> Iterator[Put]:
            for put in take(count):
                events.append(f"send {put.key}")
                yield put

        put_many(sent, give)

    monkeypatch.setattr(uploader, "prepare", read)
    monkeypatch.setattr(bench.store, "put_many", observed)
    bench.drain()
    keys = [event.split()[1] for event in events[::2]]
    assert events == [f"{what} {key}" for key in keys for what in ("read", "send")]
    assert sorted(keys) == sorted(model)


@pytest.mark.parametrize("asked_for", [0, 1, 4])
def test_a_store_that_stumbles_gives_back_what_it_had(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, asked_for: int
) -> None:
    """Also what was begun and not read yet."""
    model = _fill(bench, b"x" * KIB)
    put_many, broken = bench.store.put_many, [1]

    def stumble(take: object, give: object) -> None:
        if broken:
            broken.clear()
            assert len(list(islice(take(4), asked_for))) == asked_for  # type: ignore[operator]
            raise ZeroDivisionError
        put_many(take, give)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.store, "put_many", stumble)
    bench.drain()
    caplog.clear()
    assert (bench.bucket(), bench.conflicts()) == (model, 0)
    assert bench.drive.writeback.backlog().is_empty


@pytest.mark.parametrize("change", ["rename", "chmod"])
def test_copies_go_with_them_whatever_their_size(bench: Bench, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Under a new name, or over themselves."""
    bench.mkdir("/old")
    bench.fs.symlink("target", "/old/link", CALLER)
    bench.write("/old/large", b"l" * (SMALL_BYTES + 1))
    for name in NAMES:
        bench.write(f"/old/{name}", name.encode())
    bench.drain()
    before, puts = bench.bucket(), bench.store.count("put")
    alone: list[Ino] = []
    scheduler = bench.drive.writeback._scheduler
    go_alone = scheduler._batches._alone

    def noted(ino: Ino, wanted: set[ObjectKey]) -> None:
        alone.append(ino)
        go_alone(ino, wanted)

    monkeypatch.setattr(scheduler._batches, "_alone", noted)
    if change == "rename":
        bench.fs.rename("/old", "/new")
    else:
        for name in ("large", *NAMES):
            bench.fs.chmod(f"/old/{name}", 0o640)
    bench.drain()
    assert alone == ([bench.ino("/new")] if change == "rename" else []), "it hands the move down"
    place = "new" if change == "rename" else "old"
    assert bench.bucket() == {key.replace("old", place): body for key, body in before.items()}
    assert bench.store.count("copy") == len(NAMES) + (2 if change == "rename" else 1)
    assert bench.store.count("put") == puts + (change == "rename"), "the marker alone"
    assert bench.conflicts() == 0


def test_what_is_written_before_its_copy_is_sent_is_put(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _fill(bench)
    bench.drain()
    for name in NAMES:
        bench.fs.rename(f"/{name}", f"/new-{name}")
    begin = Batches._begin
    written: list[bool] = []

    def then_write(self: Batches) -> object:
        begun = begin(self)
        if begun and not written:
            written.append(True)
            bench.write("/new-f0", b"NEW!")
        return begun

    monkeypatch.setattr(Batches, "_begin", then_write)
    bench.drain()
    assert written
    model["f0"] = b"NEW!" + model["f0"][4:]
    assert (bench.bucket(), bench.conflicts()) == ({f"new-{name}": body for name, body in model.items()}, 0)


@pytest.mark.parametrize("error", [Missing("injected"), PreconditionFailed("injected"), Unreachable("injected")])
def test_a_copy_that_fails_is_that_one_files(bench: Bench, error: StoreError) -> None:
    model = _fill(bench)
    bench.drain()
    for name in NAMES:
        bench.fs.rename(f"/{name}", f"/new-{name}")
    bench.store.fail("copy", "new-f3", error=error)
    bench.drain()
    assert (bench.bucket(), bench.conflicts()) == ({f"new-{name}": body for name, body in model.items()}, 0)


def test_a_lost_reply_to_a_copy_makes_no_conflict(bench: Bench) -> None:
    model = _fill(bench)
    bench.drain()
    for name in NAMES:
        bench.fs.rename(f"/{name}", f"/new-{name}")
    for name in NAMES[:4]:
        bench.store.fail("copy", f"new-{name}", moment=Moment.AFTER)
    bench.drain()
    assert (bench.bucket(), bench.conflicts()) == ({f"new-{name}": body for name, body in model.items()}, 0)


def test_stop_begins_no_more_and_the_next_run_takes_it_up(bench: Bench) -> None:
    model = _fill(bench)
    gate = bench.store.hold("put", "f0")
    thread = _drain_soon(bench)
    gate.wait_arrived()
    writeback = bench.drive.writeback
    stopping = threading.Thread(target=writeback.stop, args=(5.0,))
    stopping.start()
    until(lambda: writeback._scheduler._is_stopping.is_set())
    before = bench.store.count("put")
    bench.write("/late", b"late")
    gate.open()
    began_s = time.monotonic()
    stopping.join(10)
    assert time.monotonic() - began_s < 4.0
    assert bench.store.count("put") == before
    thread.join(15)
    bench.restart()
    bench.drain()
    assert (bench.bucket(), bench.conflicts()) == (model | {"late": b"late"}, 0)
