"""Someone else writes to the same keys (P6): both sides stay, and a conflict is found in few requests."""

import os
from collections.abc import Callable

import pytest

from s3mount.errors import PreconditionFailed, Stale
from tests.faults.bench import MIB, Bench, until
from tests.support.faulty_store import FOR_GOOD

Make = Callable[..., Bench]


def both(bench: Bench, ours: bytes, theirs: bytes, name: str = "a") -> None:
    bench.drain()
    bucket = bench.bucket()
    assert bucket.pop(name) == theirs
    ((key, body),) = bucket.items()
    assert key.startswith(f"{name} (conflict ")
    assert body == ours
    assert bench.conflicts() == 1
    bench.refresh()
    assert bench.tree() == bench.bucket()
    assert len(bench.store.calls) < 60


def test_a_foreign_object_where_a_new_file_goes(make_bench: Make) -> None:
    bench = make_bench(delay_s=0.2)
    bench.write("/a", b"ours")
    bench.memory.foreign_put("a", b"theirs")
    both(bench, b"ours", b"theirs")


def test_a_foreign_change_under_a_local_change(make_bench: Make) -> None:
    bench = make_bench(delay_s=0.2)
    bench.write("/a", b"base")
    bench.drain()
    bench.write("/a", b"ours")
    bench.memory.foreign_put("a", b"theirs")
    both(bench, b"ours", b"theirs")


def test_a_foreign_object_where_a_renamed_file_goes(make_bench: Make) -> None:
    bench = make_bench(delay_s=0.2)
    bench.write("/x", b"ours")
    bench.drain()
    bench.fs.rename("/x", "/a")
    bench.memory.foreign_put("a", b"theirs")
    both(bench, b"ours", b"theirs")


def test_a_foreign_delete_under_a_local_change(make_bench: Make) -> None:
    bench = make_bench(delay_s=0.2)
    bench.write("/a", b"base")
    bench.drain()
    bench.write("/a", b"ours")
    bench.memory.foreign_delete("a")
    bench.check({"a": b"ours"}, conflicts=1)


def test_a_foreign_change_of_what_is_renamed(make_bench: Make) -> None:
    bench = make_bench(delay_s=0.2)
    bench.write("/a", b"base")
    bench.drain()
    bench.fs.rename("/a", "/b")
    bench.memory.foreign_put("a", b"theirs")
    bench.check({"b": b"theirs"})


def test_a_foreign_change_under_metadata_changes_only(make_bench: Make) -> None:
    bench = make_bench(delay_s=0.2)
    bench.write("/a", b"base")
    bench.drain()
    bench.fs.chmod("/a", 0o600)
    bench.memory.foreign_put("a", b"theirs", {"color": "red"})
    bench.check({"a": b"theirs"})
    metadata = bench.memory.objects()["a"].metadata  # type: ignore[index]
    assert metadata["color"] == "red"
    assert metadata["mode"] == str(0o100600)


def test_a_foreign_change_of_a_renamed_and_edited_file(make_bench: Make) -> None:
    bench = make_bench(delay_s=0.2)
    bench.write("/a", b"base")
    bench.drain()
    bench.write("/a", b"ours")
    bench.fs.rename("/a", "/b")
    bench.memory.foreign_put("a", b"theirs")
    bench.drain()
    assert bench.bucket()["b"] == b"ours"


@pytest.mark.parametrize("act", ["put", "delete"])
@pytest.mark.parametrize("renamed", [False, True])
def test_a_foreign_change_under_a_partly_cached_edit_is_parked_and_loses_nothing(
    make_bench: Make, act: str, renamed: bool
) -> None:
    bench = make_bench(delay_s=0.2)
    bench.memory.foreign_put("a", b"\1" * (20 * MIB))
    bench.write("/a", b"edit", 10 * MIB)
    if renamed:
        bench.fs.rename("/a", "/b")
    if act == "put":
        bench.memory.foreign_put("a", b"theirs")
    else:
        bench.memory.foreign_delete("a")
    left = bench.drive.drain(5.0, lambda backlog: None)
    assert [entry.path for entry in left if "gone from the bucket" in entry.cause] == ["/b" if renamed else "/a"]
    assert len(bench.store.calls) < 60
    if act == "put":
        assert bench.bucket()["a"] == b"theirs"


def test_a_foreign_delete_of_a_symlink_never_read(bench: Bench) -> None:
    bench.memory.foreign_put("l", b"target", {"mode": str(0o120777)})
    bench.fs.getattr("/l")
    bench.memory.foreign_delete("l")
    bench.fs.chown("/l", 5, 5)
    bench.drain()
    assert bench.bucket() == {}
    assert "l" not in bench.names()


def test_a_foreign_object_is_not_deleted_for_an_upload_that_never_was(bench: Bench) -> None:
    gate = bench.store.hold("put", "a")
    bench.write("/a", b"ours")
    gate.wait_arrived()
    bench.memory.foreign_put("a", b"theirs")
    bench.fs.unlink("/a")
    gate.open()
    bench.drain()
    assert bench.bucket() == {"a": b"theirs"}


def test_a_store_that_refuses_every_condition_is_not_hammered(bench: Bench) -> None:
    bench.store.fail("put", "a", error=PreconditionFailed("always"), times=FOR_GOOD)
    bench.write("/a", b"x")
    until(lambda: bench.store.count("put", "a") >= 2)
    bench.drive.drain(1.0, lambda backlog: None)
    assert bench.store.count() < 15


def test_a_second_conflict_of_the_same_name(make_bench: Make) -> None:
    bench = make_bench(delay_s=0.2)
    for ours, theirs in ((b"1", b"x"), (b"2", b"y")):
        bench.refresh()
        bench.write("/a", ours)
        bench.memory.foreign_put("a", theirs)
        bench.drain()
    assert sorted(bench.bucket().values()) == [b"1", b"2", b"y"]


def test_open_handles_are_stale_once_a_foreign_version_is_taken_over(make_bench: Make) -> None:
    """P5: the handle was opened on bytes that are gone; a new open reads the new ones."""
    bench = make_bench(delay_s=0.2)
    bench.write("/a", b"base")
    bench.drain()
    fh = bench.fs.open("/a", os.O_RDONLY)
    assert bench.fs.read(fh, 0, 10) == b"base"
    bench.fs.chmod("/a", 0o600)
    bench.memory.foreign_put("a", b"theirs, longer")
    bench.drain()
    with pytest.raises(Stale):
        bench.fs.read(fh, 0, 20)
    bench.fs.release(fh)
    assert bench.read("/a") == b"theirs, longer"
