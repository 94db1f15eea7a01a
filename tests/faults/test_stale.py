"""A file that others replace, cut or remove while it is open here: what was opened before fails with ESTALE rather than
give bytes of two versions, or zeros (P5)."""

import contextlib
import os
import threading
from collections.abc import Callable

import pytest

from s3mount.errors import Stale
from s3mount.model import Fh
from tests.faults.bench import MIB, Bench
from tests.support.faulty_store import Moment

Make = Callable[..., Bench]
OLD = b"".join(bytes([n]) * MIB for n in range(1, 25))  # more than one block, and more than is read ahead
CHANGES = {"same size": b"N" * len(OLD), "longer": b"N" * (len(OLD) + 5), "shorter": b"N" * MIB, "removed": None}


def change(bench: Bench, body: bytes | None) -> None:
    if body is None:
        bench.memory.foreign_delete("a")
    else:
        bench.memory.foreign_put("a", body)


@pytest.fixture(params=CHANGES)
def body(request: pytest.FixtureRequest) -> bytes | None:
    return CHANGES[request.param]


def read_on(bench: Bench, fh: Fh) -> bytes:
    """What comes from the second MiB on, before ESTALE; it must be of the old version."""
    got = b""
    with contextlib.suppress(Stale):
        for start in range(MIB, len(OLD), MIB):
            got += bench.fs.read(fh, start, MIB)
    assert got == OLD[MIB : MIB + len(got)]
    return got


@pytest.mark.parametrize("is_noticed", [True, False], ids=["listed", "not listed"])
@pytest.mark.parametrize("is_cached", [True, False], ids=["cached", "not cached"])
def test_a_reader(bench: Bench, body: bytes | None, is_noticed: bool, is_cached: bool) -> None:
    bench.memory.foreign_put("a", OLD)
    bench.memory.foreign_put("other", b"x")
    fh = bench.open("/a", os.O_RDONLY)
    assert bench.fs.read(fh, 0, MIB) == OLD[:MIB]
    if is_cached:
        assert bench.read_all(fh) == OLD
    change(bench, body)
    if is_noticed:
        bench.refresh()
        bench.names()
    if is_cached and not is_noticed:
        assert bench.read_all(fh) == OLD  # nothing tells, and all of it is the old one
    else:
        assert not is_noticed or not read_on(bench, fh)
        assert len(read_on(bench, fh)) < len(OLD) - MIB
        with pytest.raises(Stale):
            bench.fs.read(fh, 0, 1)
    bench.refresh()
    if body is not None:
        assert bench.read("/a") == body
    else:
        assert bench.names() == ["other"]
    with pytest.raises(Stale):
        bench.fs.read(fh, 0, 1)
    bench.fs.release(fh)
    bench.drain()
    assert bench.is_clean()


def test_a_new_version_of_an_open_file_is_another_inode(bench: Bench) -> None:
    """The kernel keeps one size and one page cache an inode."""
    bench.memory.foreign_put("a", OLD)
    fh = bench.open("/a", os.O_RDONLY)
    ino = bench.ino("/a")
    bench.memory.foreign_put("a", b"new")
    bench.refresh()
    assert bench.ino("/a") != ino
    assert bench.index.inodes.get(ino).size == len(OLD)
    assert bench.read("/a") == b"new"
    bench.fs.release(fh)
    assert bench.index.inodes.find(ino) is None
    bench.write("/a", b"N")
    bench.check({"a": b"New"})

    ino = bench.ino("/a")
    bench.memory.foreign_put("a", b"newest")
    bench.refresh()
    assert bench.fs.getattr("/a").size == 6
    assert bench.ino("/a") == ino  # not open: the same file with other content


@pytest.mark.parametrize("body", [b"new", None])
def test_a_change_during_a_fetch(bench: Bench, body: bytes | None) -> None:
    bench.memory.foreign_put("a", OLD)
    bench.names()
    fh = bench.open("/a", os.O_RDONLY)
    for moment in (Moment.BEFORE, Moment.AFTER):
        bench.store.heal()
        bench.memory.foreign_put("a", OLD)
        bench.refresh()
        bench.fs.release(fh)
        fh = bench.open("/a", os.O_RDONLY)
        gate = bench.store.hold("get", "a", moment=moment)
        outcome: list[object] = []

        def read(fh: Fh = fh, outcome: list[object] = outcome) -> None:
            try:
                outcome.append(bench.fs.read(fh, 0, MIB))
            except Stale as error:
                outcome.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        gate.wait_arrived()
        change(bench, body)
        bench.refresh()
        bench.names()
        gate.open()
        reader.join(10)
        assert isinstance(outcome[0], Stale)
        assert bench.fs.getattr("/a").size == 3 if body else "a" not in bench.names()
    bench.fs.release(fh)


def test_who_writes_to_a_removed_file_is_told(bench: Bench) -> None:
    bench.memory.foreign_put("a", OLD)
    fh = bench.open("/a")
    bench.memory.foreign_delete("a")
    bench.refresh()
    bench.names()
    with pytest.raises(Stale):
        bench.fs.write(fh, 0, b"lost otherwise")
    bench.fs.release(fh)
