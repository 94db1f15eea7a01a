"""The local disk damages cached bytes: never uploaded silently, never shown, fetched again where that can be (P10)."""

import os

import pytest

from s3mount.errors import Damaged, IOFailure
from tests.faults.bench import LONG_S, MIB, Bench, until


def flip(bench: Bench, path: str, at: int) -> None:
    ino = bench.ino(path)
    with (bench.folder / "cache" / f"{ino % 256:02x}" / f"{ino:x}").open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("size", [1000, 20 * MIB])
def test_damaged_dirty_bytes_are_parked_and_not_uploaded(make_bench: type[Bench], size: int) -> None:
    bench = make_bench(delay_s=LONG_S)
    good = os.urandom(size)
    bench.write("/a", good)
    bench.write("/b", b"fine")
    flip(bench, "/a", size // 2)
    left = bench.drive.drain(10, lambda _: None)
    assert [entry.path for entry in left] == ["/a"]
    assert "damaged on disk" in left[0].cause
    assert bench.drive.writeback.refused() == left
    assert bench.bucket() == {"b": b"fine"}
    assert not bench.memory.uploads()
    assert bench.drive.cache.damaged == 1
    fh = bench.open("/a")
    with pytest.raises(IOFailure):
        bench.fs.fsync(fh)
    with pytest.raises(Damaged):
        bench.fs.read(fh, size // 2, 1)
    for at in range(0, size, MIB):
        bench.fs.write(fh, at, good[at : at + MIB])
    with pytest.raises(IOFailure):
        bench.fs.flush(fh)  # parked until somebody drains
    bench.fs.release(fh)
    bench.check({"a": good, "b": b"fine"})


def test_damaged_clean_bytes_of_an_edited_file_come_from_the_bucket(make_bench: type[Bench]) -> None:
    bench = make_bench(delay_s=LONG_S)
    good = os.urandom(MIB)
    bench.write("/a", good)
    bench.drain()
    bench.write("/a", b"edit", offset=MIB - 4)
    flip(bench, "/a", 10)
    bench.check({"a": good[:-4] + b"edit"})
    assert bench.drive.cache.damaged == 1


def test_damage_while_nothing_ran(make_bench: type[Bench]) -> None:
    bench = make_bench(delay_s=LONG_S)
    bench.write("/clean", b"clean" * 1000)
    bench.drain()
    bench.write("/dirty", b"dirty" * 1000)
    flip(bench, "/clean", 0)
    flip(bench, "/dirty", 0)
    bench.restart()
    assert bench.read("/clean") == b"clean" * 1000
    until(bench.drive.writeback.refused, what="the damaged file is parked")
    with pytest.raises(Damaged):
        bench.read("/dirty")
    bench.fs.unlink("/dirty")
    bench.check({"clean": b"clean" * 1000})
