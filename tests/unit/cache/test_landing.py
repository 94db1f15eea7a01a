"""What a fetch brought lands slice by slice: what happens to the file between two of them counts."""

import errno
import threading
from collections.abc import Callable
from types import TracebackType

import pytest

from s3mount.cache.extents import Extents
from s3mount.cache.fetcher import LANDING_BYTES
from s3mount.model import Ino, RemoteObject
from tests.unit.cache.support import KIB, MIB, Bench, content

INO = Ino(7)
SIZE = 3 * MIB
BODY = content(SIZE)


class LockWithGap:
    """A block file's lock; the first time that it is free after a part of the fetch has landed, `meanwhile` is run."""

    def __init__(self, lock: threading.Lock, has_landed: Callable[[], bool], meanwhile: Callable[[], None]) -> None:
        self._lock = lock
        self._has_landed = has_landed
        self._meanwhile: Callable[[], None] | None = meanwhile

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        meanwhile = None
        if self._has_landed():
            meanwhile, self._meanwhile = self._meanwhile, None
        self._lock.release()
        if meanwhile is not None:
            meanwhile()


def fetch(bench: Bench, meanwhile: Callable[[RemoteObject], None]) -> bytes:
    """Read all of the object, with `meanwhile` between its first slice and its second; what the reader got."""
    remote = bench.store.object("a", BODY)
    file = bench.cache._files.get(INO)
    file.lock = LockWithGap(file.lock, lambda: bool(file.present), lambda: meanwhile(remote))  # type: ignore[assignment]
    return bench.cache.read(INO, remote, start=0, end=SIZE)


def landed(bench: Bench) -> list[tuple[int, int]]:
    with bench.cache._files.locked(INO) as file:
        return list(file.present)


def test_no_more_than_a_slice_is_written_at_once(bench: Bench) -> None:
    assert fetch(bench, lambda remote: None) == BODY
    sizes = [int(line.rpartition("+")[2]) for line in bench.journal.lines if line.startswith("pwrite")]
    assert sizes == [LANDING_BYTES] * (SIZE // LANDING_BYTES)
    assert bench.entries.saves == 1


def test_a_write_between_two_slices_stays(bench: Bench) -> None:
    edit = content(300 * KIB, seed=2)
    at = LANDING_BYTES - 1000
    assert fetch(bench, lambda remote: bench.write(INO, at, edit)) == BODY
    now = BODY[:at] + edit + BODY[at + len(edit) :]
    assert bench.cache.read(INO, None, start=0, end=SIZE) == now
    assert list(bench.cache.dirty_extents(INO)) == [(at, at + len(edit))]
    assert bench.cache.used_bytes == SIZE
    assert not bench.cache.find_damage(INO)


def test_what_has_landed_is_read_before_the_rest_has(bench: Bench) -> None:
    got: list[bytes] = []

    def look(remote: RemoteObject) -> None:
        got.append(bench.cache.read(INO, remote, start=0, end=LANDING_BYTES))

    assert fetch(bench, look) == BODY
    assert got == [BODY[:LANDING_BYTES]]
    assert bench.store.gets == [(0, SIZE)]


def test_a_file_that_is_cut_between_two_slices_gets_no_more(bench: Bench) -> None:
    kept = LANDING_BYTES // 2
    fetch(bench, lambda remote: bench.cache.resize(INO, SIZE, kept))
    assert landed(bench) == [(0, kept)]
    assert bench.cache.used_bytes == kept
    assert bench.cache.read(INO, None, start=0, end=kept) == BODY[:kept]


def test_a_file_that_is_cut_and_grows_again_between_two_slices_has_zeros(bench: Bench) -> None:
    kept = LANDING_BYTES // 2

    def cut(remote: RemoteObject) -> None:
        bench.cache.resize(INO, SIZE, kept)
        bench.cache.resize(INO, kept, SIZE)

    fetch(bench, cut)
    assert bench.cache.read(INO, None, start=0, end=SIZE) == BODY[:kept] + bytes(SIZE - kept)


def test_a_file_whose_object_was_replaced_between_two_slices_has_nothing_of_the_old_one(bench: Bench) -> None:
    other = content(SIZE, seed=3)

    def replace(remote: RemoteObject) -> None:
        bench.store.foreign_put("a", other)
        bench.cache.discard(INO)

    assert fetch(bench, replace) == BODY
    assert landed(bench) == []
    assert bench.cache.used_bytes == 0
    remote = bench.store.object("a", other)
    assert bench.cache.read(INO, remote, start=0, end=SIZE) == other


def test_slices_that_had_landed_before_the_disk_failed_are_kept(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def fail(remote: RemoteObject) -> None:
        bench.disk.fail_write = OSError(errno.ENOSPC, "full")

    assert fetch(bench, fail) == BODY
    assert "cannot be kept" in caplog.text
    caplog.clear()
    bench.disk.fail_write = None
    assert landed(bench) == list(Extents([(0, LANDING_BYTES)]))
    assert bench.cache.used_bytes == LANDING_BYTES
    assert not bench.cache.find_damage(INO)
