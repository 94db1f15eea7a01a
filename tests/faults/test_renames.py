"""Renames on their way to the bucket: in few requests, and never over bytes that are still needed (P1)."""

from collections.abc import Callable

import pytest

from s3mount.errors import Unreachable
from s3mount.vfs.namespace import RENAME_EXCHANGE
from tests.faults.bench import KIB, MIB, Bench, until
from tests.support.faulty_store import FOR_GOOD, Moment

Make = Callable[..., Bench]


def test_create_write_chmod_utimens_and_rename_are_one_put(make_bench: Make) -> None:
    bench = make_bench(delay_s=0.3)
    bench.write("/tmp", b"x" * KIB)
    bench.fs.chmod("/tmp", 0o600)
    bench.fs.utimens("/tmp", 1, 2)
    bench.fs.rename("/tmp", "/final")
    bench.settle()
    assert [call for call in bench.store.calls if call[0] != "list_page"] == [("put", "final")]
    bench.check({"final": b"x" * KIB})


def test_a_file_deleted_before_its_upload_costs_nothing(make_bench: Make) -> None:
    bench = make_bench(delay_s=0.3)
    bench.write("/a", b"x")
    bench.fs.unlink("/a")
    bench.settle()
    assert not [call for call in bench.store.calls if call[0] != "list_page"]


def test_rename_is_a_copy_then_a_delete_and_carries_metadata(bench: Bench) -> None:
    bench.memory.foreign_put("a", b"bytes", {"color": "red", "mode": str(0o100640)})
    bench.fs.rename("/a", "/b")
    bench.drain()
    assert bench.bucket() == {"b": b"bytes"}
    metadata = bench.memory.objects()["b"].metadata  # type: ignore[index]
    assert metadata["color"] == "red"
    assert metadata["mode"] == str(0o100640)
    calls = [call for call in bench.store.calls if call[0] in ("copy", "delete", "get")]
    assert calls == [("copy", "b"), ("delete", "a")]


def test_the_move_of_a_directory_asks_for_nothing_that_is_known(bench: Bench) -> None:
    bench.mkdir("/old")
    for name in "abc":
        bench.write(f"/old/{name}", b"x")
    bench.drain()
    bench.store.calls.clear()
    bench.fs.rename("/old", "/new")
    bench.drain()
    calls = [call for call in bench.store.calls if call[0] not in ("delete", "list_page")]
    assert sorted(calls) == [("copy", "new/a"), ("copy", "new/b"), ("copy", "new/c"), ("put", "new/")]


@pytest.mark.parametrize("steps", [("a>b",), ("a>b", "b>c"), ("a>t", "b>a", "t>b"), ("a>t", "b>a", "c>b", "t>c")])
def test_chains_swaps_and_rotations_of_uploaded_files(bench: Bench, steps: tuple[str, ...]) -> None:
    model = {name: name.encode() * 100 for name in "abc"}
    for name, data in model.items():
        bench.write(f"/{name}", data)
    bench.drain()
    for step in steps:
        old, new = step.split(">")
        bench.fs.rename(f"/{old}", f"/{new}")
        model[new] = model.pop(old)
    bench.check(model)


def test_a_new_file_at_the_old_name_waits_for_the_renamed_one(bench: Bench) -> None:
    bench.write("/a", b"old")
    bench.drain()
    bench.store.fail("copy", "b", times=1)
    bench.fs.rename("/a", "/b")
    bench.write("/a", b"new")
    bench.check({"a": b"new", "b": b"old"})


def test_files_under_swapped_directories(bench: Bench) -> None:
    for name in ("p", "q"):
        bench.mkdir(f"/{name}")
        bench.mkdir(f"/{name}/sub")
        bench.write(f"/{name}/x", name.encode())
        bench.write(f"/{name}/sub/y", name.encode() * 2)
    bench.drain()
    bench.fs.rename("/p", "/t")
    bench.fs.rename("/q", "/p")
    bench.fs.rename("/t", "/q")
    bench.check({"p/x": b"q", "p/sub/y": b"qq", "q/x": b"p", "q/sub/y": b"pp"})
    assert bench.object_keys() == {"p/", "p/sub/", "p/x", "p/sub/y", "q/", "q/sub/", "q/x", "q/sub/y"}


@pytest.mark.parametrize("is_drained", [True, False])
def test_exchanged_files_and_directories(bench: Bench, is_drained: bool) -> None:
    for name in ("p", "q"):
        bench.mkdir(f"/{name}")
        bench.write(f"/{name}/x", name.encode() * 100)
    bench.write("/f", b"file")
    bench.write("/g", b"other file")
    if is_drained:
        bench.drain()
    for old, new in (("/p/x", "/q/x"), ("/p", "/q"), ("/f", "/g"), ("/f", "/p")):
        bench.fs.rename(old, new, RENAME_EXCHANGE)
    bench.check({"f/x": b"p" * 100, "q/x": b"q" * 100, "p": b"other file", "g": b"file"})
    assert bench.object_keys() == {"f/", "f/x", "q/", "q/x", "p", "g"}


def test_a_directory_renamed_before_its_marker_but_after_its_children_went_up(bench: Bench) -> None:
    rule = bench.store.fail("put", "d/", times=FOR_GOOD)
    bench.mkdir("/d")
    bench.mkdir("/d/sub")
    bench.store.fail("put", "d/sub/", times=FOR_GOOD)
    bench.write("/d/x", b"x")
    bench.write("/d/sub/y", b"y")
    until(lambda: {"d/x", "d/sub/y"} <= bench.object_keys(), what="the children are uploaded")
    bench.fs.rename("/d", "/e")
    rule.times = 0
    bench.check({"e/x": b"x", "e/sub/y": b"y"})


def test_a_directory_moved_twice_with_its_marker_failing_in_between(bench: Bench) -> None:
    bench.mkdir("/d")
    bench.write("/d/x", b"x")
    bench.drain()
    bench.store.fail("put", "e/", times=FOR_GOOD)
    bench.fs.rename("/d", "/e")
    until(lambda: "e/x" in bench.object_keys(), what="the child has moved")
    bench.fs.rename("/e", "/f")
    bench.check({"f/x": b"x"})
    assert "e/" not in bench.object_keys()


def test_a_file_made_in_a_moved_directory_that_is_moved_back(bench: Bench) -> None:
    bench.memory.foreign_put("d/x", b"x")
    assert bench.names("/") == ["d"]
    bench.store.fail("list_page", "d/", times=FOR_GOOD)
    bench.fs.rename("/d", "/e")
    with pytest.raises(Exception, match="injected"):
        bench.names("/e")
    bench.store.heal()
    gate = bench.store.hold("list_page", "d/")
    bench.fs.rename("/e", "/d")
    gate.open()
    bench.write("/d/y", b"y")
    bench.check({"d/x": b"x", "d/y": b"y"})


def test_a_directory_moved_and_back_while_a_child_goes_up(bench: Bench) -> None:
    bench.mkdir("/d")
    bench.write("/d/x", b"x")
    bench.drain()
    gate = bench.store.hold("put", "d/y")
    bench.write("/d/y", b"y")
    gate.wait_arrived()
    bench.fs.rename("/d", "/e")
    until(lambda: "e/" in bench.object_keys())
    bench.fs.rename("/e", "/d")
    gate.open()
    bench.check({"d/x": b"x", "d/y": b"y"})


def test_a_directory_renamed_while_children_are_uploaded(bench: Bench) -> None:
    bench.mkdir("/d")
    gates = [bench.store.hold("put", f"d/{n}") for n in range(4)]
    model = {}
    for n in range(20):
        bench.write(f"/d/{n}", str(n).encode())
        model[f"e/{n}"] = str(n).encode()
    for gate in gates:
        gate.wait_arrived()
    bench.fs.rename("/d", "/e")
    for gate in gates:
        gate.open()
    bench.check(model)


def test_a_directory_moved_into_another(bench: Bench) -> None:
    bench.mkdir("/d")
    bench.mkdir("/into")
    bench.write("/d/x", b"x")
    bench.drain()
    bench.fs.rename("/d", "/into/d")
    bench.fs.rename("/into", "/onto")
    bench.check({"onto/d/x": b"x"})
    assert bench.object_keys() == {"onto/", "onto/d/", "onto/d/x"}


def test_a_directory_never_listed_with_implicit_ones_below(bench: Bench) -> None:
    for key in ("d/a", "d/s/b", "d/s/t/c"):
        bench.memory.foreign_put(key, key.encode())
    bench.fs.rename("/d", "/e")
    bench.check({"e/a": b"d/a", "e/s/b": b"d/s/b", "e/s/t/c": b"d/s/t/c"})


def test_rmdir_and_mkdir_of_the_same_name(bench: Bench) -> None:
    bench.mkdir("/d")
    bench.write("/d/x", b"x")
    bench.drain()
    bench.fs.unlink("/d/x")
    bench.fs.rmdir("/d")
    bench.mkdir("/d")
    bench.write("/d/y", b"y")
    bench.check({"d/y": b"y"})
    assert bench.object_keys() == {"d/", "d/y"}


def test_rename_while_the_bytes_for_the_upload_are_fetched(bench: Bench) -> None:
    bench.memory.foreign_put("a", b"\1" * MIB + b"\2" * 3 * MIB)
    gate = bench.store.hold("get", "a")
    bench.write("/a", b"new!", 4 * MIB - 4)
    gate.wait_arrived()
    bench.fs.rename("/a", "/b")
    gate.open()
    bench.check({"b": b"\1" * MIB + b"\2" * (3 * MIB - 4) + b"new!"})


def test_rename_while_the_put_is_in_flight(bench: Bench) -> None:
    gate = bench.store.hold("put", "a", moment=Moment.AFTER)
    bench.write("/a", b"one")
    gate.wait_arrived()
    bench.fs.rename("/a", "/b")
    bench.write("/a", b"two")
    gate.open()
    bench.check({"a": b"two", "b": b"one"})


@pytest.mark.parametrize("moment", list(Moment))
def test_a_failed_upload_then_a_rename_and_a_new_file_of_that_name(bench: Bench, moment: Moment) -> None:
    bench.store.fail("put", "a", error=Unreachable("lost"), moment=moment)
    bench.write("/a", b"one")
    until(lambda: bench.store.count("put", "a") == 1 and not bench.drive.writeback.backlog().uploading)
    bench.fs.rename("/a", "/b")
    bench.write("/a", b"two")
    bench.settle()
    bench.check({"a": b"two", "b": b"one"})


def test_rename_over_an_existing_target(bench: Bench) -> None:
    bench.write("/a", b"one")
    bench.write("/b", b"two")
    bench.drain()
    bench.fs.rename("/a", "/b")
    bench.check({"b": b"one"})


def test_a_subdirectory_moved_out_and_back_while_the_move_above_is_owed(make_bench: Make) -> None:
    """Its own marker never went up, what is in it did: the children follow all the same."""
    bench = make_bench()
    for path in ("/k", "/k/c"):
        bench.mkdir(path)
    bench.store.fail("put", "k/", times=FOR_GOOD)
    bench.store.fail("put", "k/c/", times=FOR_GOOD)
    bench.write("/k/c/f", b"content")
    until(lambda: "k/c/f" in bench.object_keys())
    with bench.index.transaction():  # all three before the write-back sees the first
        bench.fs.rename("/k", "/l")
        bench.fs.rename("/l/c", "/m")
        bench.fs.rename("/m", "/l/c")
    bench.store.heal()
    bench.check({"l/c/f": b"content"})
    assert bench.object_keys() == {"l/", "l/c/", "l/c/f"}
