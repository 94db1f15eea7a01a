"""An object "dir/" with content is a file in the directory (P6): it is never written over by the directory's marker,
moves with the directory, and can be renamed and removed. The directory outlives it."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from s3mount.errors import NotEmpty, NotFound
from s3mount.model import ETag
from s3mount.vfs.namespace import RENAME_EXCHANGE
from tests.faults.bench import MIB, Bench, until
from tests.support.faulty_store import FOR_GOOD, Moment

Make = Callable[..., Bench]
OWN = "/d/%key"
MIB_9 = b"9" * (9 * MIB)


@pytest.fixture
def own(bench: Bench) -> Bench:
    """With a directory /d that has an own file and another one."""
    bench.memory.foreign_put("d/", b"of another tool", {"mode": str(0o100640), "color": "red"})
    bench.memory.foreign_put("d/x", b"x")
    assert bench.tree() == {"d/%key": b"of another tool", "d/x": b"x"}
    return bench


def put_markers(bench: Bench) -> set[str]:
    return {key for operation, key in bench.store.calls if operation == "put" and key.endswith("/")}


def metadata(bench: Bench, key: str) -> dict[str, str]:
    return dict(bench.memory.objects()[key].metadata)  # type: ignore[index]


def settled(bench: Bench, files: dict[str, bytes], markers: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """All is in the bucket, which has these files and markers; so it is for whoever has nothing but the bucket."""
    bench.check(files)
    assert {key for key, item in bench.memory.objects().items() if key.endswith("/") and not item.body} == markers
    assert bench.oddities() == []
    bench.start_empty()
    assert bench.tree() == files


def test_looking_at_it_changes_nothing(own: Bench) -> None:
    attr = own.fs.getattr(OWN)
    assert (attr.mode, attr.size, attr.nlink) == (0o100640, 15, 1)
    assert own.fs.getattr("/d").mode == 0o40755
    assert own.fs.getattr("/d").ino != attr.ino
    assert own.is_clean()
    own.restart()
    assert own.tree() == {"d/%key": b"of another tool", "d/x": b"x"}
    assert not [call for call in own.store.calls if call[0] not in ("list_page", "head", "get")]


def test_the_directory_changes_and_writes_nothing_over_it(own: Bench) -> None:
    own.fs.chmod("/d", 0o700)
    own.write("/d/y", b"y")
    own.drain()
    own.fs.utimens("/d", 1, 2)
    own.drain()
    assert not put_markers(own)
    assert metadata(own, "d/")["mode"] == str(0o100640)
    own.restart()
    own.refresh("/d")
    assert own.fs.getattr("/d").mode == 0o40700  # in this index
    settled(own, {"d/%key": b"of another tool", "d/x": b"x", "d/y": b"y"})


def test_its_own_attributes_and_bytes_are_changed_in_place(own: Bench) -> None:
    own.fs.chmod(OWN, 0o600)
    own.drain()
    assert metadata(own, "d/") | {"mode": str(0o100600), "color": "red"} == metadata(own, "d/")
    own.write(OWN, b"OF")
    own.fs.chmod("/d", 0o700)
    settled(own, {"d/%key": b"OF another tool", "d/x": b"x"})


def test_a_large_one(own: Bench) -> None:
    own.write(OWN, MIB_9)
    own.drain()
    own.write(OWN, b"8", 100)
    settled(own, {"d/%key": MIB_9[:100] + b"8" + MIB_9[101:], "d/x": b"x"})


@pytest.mark.parametrize("is_drained", [True, False])
def test_the_directory_is_renamed_and_it_moves_along(own: Bench, is_drained: bool) -> None:
    own.fs.rename("/d", "/e")
    if is_drained:
        own.drain()
    own.fs.rename("/e", "/f")
    own.fs.chmod("/f", 0o700)
    settled(own, {"f/%key": b"of another tool", "f/x": b"x"})


def test_the_directory_is_renamed_over_another(own: Bench) -> None:
    own.mkdir("/e")
    own.drain()
    own.fs.rename("/d", "/e")
    own.mkdir("/d")
    settled(own, {"e/%key": b"of another tool", "e/x": b"x"}, {"d/"})


@pytest.mark.parametrize("other", ["own", "marker", "implicit"])
def test_directories_swapped(own: Bench, other: str) -> None:
    own.memory.foreign_put("e/y", b"y")
    if other != "implicit":
        own.memory.foreign_put("e/", b"the other's" if other == "own" else b"")
    own.refresh()
    own.names("/e")
    own.fs.rename("/d", "/e", RENAME_EXCHANGE)
    files = {"e/%key": b"of another tool", "e/x": b"x", "d/y": b"y"}
    settled(own, files | ({"d/%key": b"the other's"} if other == "own" else {}), set() if other == "own" else {"d/"})


def test_the_directory_goes_only_after_it(own: Bench) -> None:
    own.fs.unlink("/d/x")
    with pytest.raises(NotEmpty):
        own.fs.rmdir("/d")
    own.drain()
    assert not put_markers(own)
    own.fs.unlink(OWN)
    own.fs.rmdir("/d")
    settled(own, {})


@pytest.mark.parametrize("is_drained", [True, False])
def test_it_is_removed_and_the_directory_keeps_a_marker(own: Bench, is_drained: bool) -> None:
    own.fs.chmod("/d", 0o700)
    if is_drained:
        own.drain()
    own.fs.unlink(OWN)
    with pytest.raises(NotFound):
        own.fs.getattr(OWN)
    own.drain()
    assert own.store.count("delete") == 0
    assert metadata(own, "d/")["mode"] == str(0o40700)
    settled(own, {"d/x": b"x"}, {"d/"})
    assert own.fs.getattr("/d").mode == 0o40700


def test_it_is_removed_while_it_is_open(own: Bench) -> None:
    fh = own.open(OWN, os.O_RDONLY)
    own.fs.unlink(OWN)
    own.fs.unlink("/d/x")  # now the directory must have a marker
    own.drain()
    assert own.read_all(fh) == b"of another tool"
    own.fs.release(fh)
    settled(own, {}, {"d/"})


@pytest.mark.parametrize("target", ["/y", "/d/y", "/e/y"])
def test_it_is_renamed(own: Bench, target: str) -> None:
    own.mkdir("/e")
    own.fs.rename(OWN, target)
    own.drain()
    assert metadata(own, target[1:])["color"] == "red"
    settled(own, {target[1:]: b"of another tool", "d/x": b"x"}, {"d/", "e/"})


def test_it_is_renamed_and_the_directory_too(own: Bench) -> None:
    own.fs.rename(OWN, "/d/y")
    own.fs.rename("/d", "/e")
    settled(own, {"e/y": b"of another tool", "e/x": b"x"}, {"e/"})


def test_it_is_renamed_to_another_directory_that_goes_up_late(own: Bench) -> None:
    own.store.fail("copy", "e/y")
    own.mkdir("/e")
    own.fs.rename(OWN, "/e/y")
    own.fs.unlink("/d/x")
    own.fs.rmdir("/d")
    own.mkdir("/d")
    settled(own, {"e/y": b"of another tool"}, {"d/", "e/"})


def test_a_file_takes_its_name_and_gets_a_key_of_that_name(own: Bench) -> None:
    own.write("/d/tmp", b"saved")
    own.fs.rename("/d/tmp", OWN)
    own.drain()
    assert own.bucket() == {"d/%25key%name": b"saved", "d/x": b"x"}
    own.start_empty()
    assert own.tree() == {"d/%key": b"saved", "d/x": b"x"}


def test_it_is_emptied_and_gets_a_key_of_its_name(own: Bench) -> None:
    ino = own.ino(OWN)
    own.fs.truncate(OWN, 0)
    own.drain()
    assert own.object_keys() == {"d/", "d/x", "d/%25key%name"}
    assert own.ino(OWN) == ino
    own.write(OWN, b"filled")
    own.drain()
    assert own.bucket() == {"d/%25key%name": b"filled", "d/x": b"x"}
    own.start_empty()
    assert own.tree() == {"d/%key": b"filled", "d/x": b"x"}


def test_a_new_file_of_the_name_is_a_file_like_any_other(make_bench: Make) -> None:
    live = make_bench(ttl_s=0.0)
    live.mkdir("/d")
    live.write(OWN, b"made here")
    live.drain()
    assert live.object_keys() == {"d/", "d/%25key%name"}
    live.memory.foreign_put("d/", b"theirs")
    *_, theirs = sorted(live.names("/d"), key=len)
    assert live.tree() == {"d/%key": b"made here", f"d/{theirs}": b"theirs"}
    live.fs.unlink(f"/d/{theirs}")
    live.drain()
    assert live.bucket() == {"d/%25key%name": b"made here"}


def test_with_another_name_by_a_hard_link(own: Bench) -> None:
    own.link(OWN, "/linked")
    own.write("/linked", b"OF")
    own.drain()
    assert own.bucket() == {"d/%key": b"OF another tool", "linked": b"OF another tool", "d/x": b"x"}
    own.start_empty()
    own.tree()
    assert own.nlink(OWN) == own.nlink("/linked") == 2
    own.fs.unlink(OWN)
    settled(own, {"linked": b"OF another tool", "d/x": b"x"}, {"d/"})


def test_linked_and_emptied(own: Bench) -> None:
    own.link(OWN, "/linked")
    own.drain()
    own.fs.unlink(OWN)
    own.link("/linked", OWN)
    own.drain()
    own.fs.truncate("/linked", 0)
    own.drain()
    assert own.tree() == {"d/%key": b"", "linked": b"", "d/x": b"x"}


# -- others ----------------------------------------------------------------------------------------------------------


def test_a_marker_gets_content_later_and_loses_it_again(make_bench: Make) -> None:
    live = make_bench(ttl_s=0.0)
    live.mkdir("/d")
    live.mkdir("/d/s")
    live.drain()
    live.memory.foreign_put("d/", b"content")
    assert live.tree() == {"d/%key": b"content"}
    live.memory.foreign_put("d/", b"other content")
    assert live.tree() == {"d/%key": b"other content"}
    live.memory.foreign_put("d/", b"", {"mode": str(0o40711)})
    assert live.tree() == {}
    assert live.fs.getattr("/d").mode == 0o40711
    assert live.fs.getattr("/d").nlink == 3
    live.memory.foreign_put("d/", b"content again")
    assert live.tree() == {"d/%key": b"content again"}
    live.memory.foreign_delete("d/")
    assert live.tree() == {}
    assert live.is_clean()
    assert live.object_keys() == {"d/s/"}


@pytest.mark.parametrize("was_there", [True, False])
def test_a_marker_meets_content_that_was_not_seen(bench: Bench, was_there: bool) -> None:
    if was_there:
        bench.mkdir("/d")
        bench.drain()
    gate = bench.store.hold("put", "d/")
    if was_there:
        bench.fs.chmod("/d", 0o700)
    else:
        bench.mkdir("/d")
    gate.wait_arrived()
    bench.memory.foreign_put("d/", b"theirs")
    gate.open()
    bench.drain()
    assert bench.tree() == {"d/%key": b"theirs"}
    settled(bench, {"d/%key": b"theirs"})


@pytest.mark.parametrize("way", ["rmdir", "rename"])
def test_content_comes_to_a_directory_that_goes(bench: Bench, way: str) -> None:
    bench.mkdir("/d")
    bench.drain()
    gate = bench.store.hold("delete", "d/")
    if way == "rmdir":
        bench.fs.rmdir("/d")
    else:
        bench.fs.rename("/d", "/e")
    gate.wait_arrived()
    bench.memory.foreign_put("d/", b"theirs")
    gate.open()
    bench.drain()
    settled(bench, {"d/%key": b"theirs"}, set() if way == "rmdir" else {"e/"})


def test_a_marker_that_someone_else_has_written_anew_is_ours_to_replace_and_to_delete(bench: Bench) -> None:
    bench.mkdir("/d")
    bench.mkdir("/e")
    bench.drain()
    for key in ("d/", "e/"):  # as with a key of KMS, where equal content has unequal ETags
        item = bench.memory.objects()[key]  # type: ignore[index]
        bench.memory._objects[key] = type(item)(b"", ETag("unequal"), {}, "", item.last_modified_ns)  # type: ignore[index]
    bench.fs.chmod("/d", 0o700)
    bench.fs.rmdir("/e")
    settled(bench, {}, {"d/"})
    assert metadata(bench, "d/")["mode"] == str(0o40700)


def test_both_change_the_content(own: Bench) -> None:
    own.read(OWN)
    gate = own.store.hold("put", "d/")
    own.write(OWN, b"OURS")
    gate.wait_arrived()
    own.memory.foreign_put("d/", b"theirs")
    gate.open()
    own.drain()
    tree = own.tree()
    assert tree.pop("d/%key") == b"theirs"
    assert tree.pop("d/x") == b"x"
    ((name, ours),) = tree.items()
    assert name.startswith("d/%key (conflict")
    assert ours == b"OURSnother tool"


def test_they_empty_it_while_it_is_changed_here(own: Bench) -> None:
    own.read(OWN)
    gate = own.store.hold("put", "d/")
    own.write(OWN, b"OURS")
    gate.wait_arrived()
    own.memory.foreign_put("d/", b"")
    gate.open()
    own.drain()
    assert sorted(own.tree().values()) == [b"OURSnother tool", b"x"]
    assert own.bucket() == own.tree()


def test_they_empty_it_while_its_mode_is_changed_here(own: Bench) -> None:
    gate = own.store.hold("copy", "d/")
    own.fs.chmod(OWN, 0o600)
    gate.wait_arrived()
    own.memory.foreign_put("d/", b"", {"mode": str(0o40711)})
    gate.open()
    own.drain()
    own.refresh("/d")
    assert own.tree() == own.bucket()
    assert own.fs.getattr("/d").mode == 0o40711


ACTS: dict[str, tuple[Callable[[Bench], None], dict[str, bytes], set[str]]] = {
    "unlink": (lambda bench: bench.fs.unlink(OWN), {"d/x": b"x"}, {"d/"}),
    "rename": (lambda bench: bench.fs.rename(OWN, "/d/y"), {"d/x": b"x", "d/y": b"of another tool"}, {"d/"}),
    "chmod": (lambda bench: bench.fs.chmod(OWN, 0o600), {"d/x": b"x", "d/%key": b"of another tool"}, set()),
    "write": (lambda bench: bench.write(OWN, b"OF"), {"d/x": b"x", "d/%key": b"OF another tool"}, set()),
    "move": (lambda bench: bench.fs.rename("/d", "/e"), {"e/x": b"x", "e/%key": b"of another tool"}, set()),
}


@pytest.mark.parametrize("moment", list(Moment))
def test_the_nth_call_fails(tmp_path: Path, moment: Moment) -> None:
    def try_out(act: str, nth: int) -> int:
        """Returns how many calls it was."""
        folder = tmp_path / f"{act}{nth}"
        folder.mkdir()
        bench = Bench(folder)
        bench.memory.foreign_put("d/", b"of another tool")
        bench.memory.foreign_put("d/x", b"x")
        bench.tree()
        bench.fs.chmod("/d", 0o700)
        bench.drain()
        bench.store.calls.clear()
        bench.store.fail(moment=moment, skip=nth, times=int(nth >= 0))
        do, files, markers = ACTS[act]
        do(bench)
        bench.drain()
        count = bench.store.count()
        bench.store.heal()
        settled(bench, files, markers)
        bench.close()
        return count

    calls = [(act, nth) for act in ACTS for nth in range(try_out(act, -1))]
    assert len(calls) >= 8
    with ThreadPoolExecutor(8) as pool:  # they wait more than they work
        list(pool.map(try_out, *zip(*calls, strict=True)))


def test_a_move_under_way_while_the_bucket_is_listed(own: Bench) -> None:
    """The prefix is still there, and what is left of it is not shown again."""
    rule = own.store.fail("copy", "e/", times=FOR_GOOD)
    own.fs.rename("/d", "/e")
    until(lambda: "e/x" in own.object_keys() and "d/x" not in own.object_keys(), what="the other file has moved")
    for _ in range(3):
        own.refresh()
        assert own.names() == ["e"]
        until(lambda: own.store.count("copy", "e/") >= 1)
    rule.times = 0
    settled(own, {"e/%key": b"of another tool", "e/x": b"x"})


def test_of_the_mounted_prefix(make_bench: Make) -> None:
    bench = make_bench()
    bench.memory._properties = type(bench.memory.properties)(has_root_key=True)
    bench.memory.foreign_put("", b"of another tool")
    bench.memory.foreign_put("x", b"x")
    assert bench.tree() == {"%key": b"of another tool", "x": b"x"}
    bench.fs.chmod("/", 0o700)
    bench.check({"%key": b"of another tool", "x": b"x"})
    bench.fs.rename("/%key", "/y")
    bench.check({"y": b"of another tool", "x": b"x"})
    assert metadata(bench, "")["mode"] == str(0o40700)
