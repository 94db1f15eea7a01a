"""Hard links while requests are under way, while somebody else writes, and when attributes went astray (P1, P6)."""

import threading
import time
from collections.abc import Callable

import pytest

from s3mount.model import ROOT_INO, Ino, Inode, ObjectKey
from tests.faults.bench import MIB, Bench, until
from tests.faults.test_hard_links import check, linked
from tests.support.faulty_store import FOR_GOOD, Moment

Make = Callable[..., Bench]


@pytest.mark.parametrize("moment", list(Moment))
@pytest.mark.parametrize("act", ["unlink b", "unlink a", "rename b", "rename a", "write", "over b", "over a", "again"])
def test_a_change_while_a_name_is_copied(bench: Bench, act: str, moment: Moment) -> None:
    bench.write("/a", b"one")
    bench.write("/x", b"other")
    bench.drain()
    gate = bench.store.hold("copy", "b", moment=moment)
    bench.link("/a", "/b")
    gate.wait_arrived()
    group, content = {"a", "b"}, {"x": b"other"}
    match act.split():
        case ["unlink", name]:
            bench.fs.unlink(f"/{name}")
            group.discard(name)
        case ["rename", name]:
            bench.fs.rename(f"/{name}", "/z")
            group = group - {name} | {"z"}
        case ["write"]:
            bench.write("/b", b"two")
        case ["over", name]:
            bench.fs.rename("/x", f"/{name}")
            group.discard(name)
            content = {name: b"other"}
        case ["again"]:
            bench.fs.unlink("/b")
            bench.link("/a", "/b")
    gate.open()
    data = b"two" if act == "write" else b"one"
    check(bench, [group], content | dict.fromkeys(group, data))


@pytest.mark.parametrize("moment", list(Moment))
@pytest.mark.parametrize("act", ["unlink", "rename", "link"])
def test_a_change_while_the_file_is_uploaded(bench: Bench, act: str, moment: Moment) -> None:
    linked(bench, "/a", "/b")
    gate = bench.store.hold("put", "a", moment=moment)
    bench.write("/b", b"two")
    gate.wait_arrived()
    group = {"a", "b"}
    if act == "unlink":
        bench.fs.unlink("/a")
        group = {"b"}
    elif act == "rename":
        bench.fs.rename("/a", "/z")
        group = {"b", "z"}
    else:
        bench.link("/b", "/c")
        group = {"a", "b", "c"}
    bench.write("/b", b"three")
    gate.open()
    check(bench, [group], dict.fromkeys(group, b"three"))


def test_a_large_file_s_name_goes_while_its_parts_are_sent(bench: Bench) -> None:
    data = bytes(range(256)) * (17 * MIB // 256)
    linked(bench, "/a", "/b", data=data)
    gate = bench.store.hold("upload_part", "a", skip=1)
    bench.write("/a", b"X", offset=0)
    bench.write("/a", b"X", offset=9 * MIB)
    gate.wait_arrived()
    bench.fs.unlink("/a")
    gate.open()
    changed = b"X" + data[1 : 9 * MIB] + b"X" + data[9 * MIB + 1 :]
    check(bench, [{"b"}], {"b": changed})


def test_someone_else_removes_the_file_before_a_new_name_is_copied(bench: Bench) -> None:
    bench.write("/a", b"one")
    bench.drain()
    gate = bench.store.hold("copy", "b", moment=Moment.BEFORE)
    bench.link("/a", "/b")
    gate.wait_arrived()
    bench.memory.foreign_delete("a")
    gate.open()
    bench.drain()
    assert bench.bucket() == {"a": b"one", "b": b"one"}  # what is here whole is uploaded again
    assert not bench.oddities()


def test_the_bytes_are_lost_with_the_object(bench: Bench) -> None:
    """Neither here nor under another name: both names are gone, as one would be."""
    bench.memory.foreign_put("a", b"one")
    bench.fs.getattr("/a")
    bench.store.fail("copy", times=FOR_GOOD)
    bench.link("/a", "/b")
    bench.memory.foreign_delete("a")
    bench.store.heal()
    bench.drain()
    bench.refresh()
    assert bench.bucket() == {}
    assert bench.names() == []
    assert not bench.oddities()


def test_someone_else_replaces_the_file_before_a_new_name_is_copied(bench: Bench) -> None:
    bench.write("/a", b"one")
    bench.drain()
    gate = bench.store.hold("copy", "b", moment=Moment.BEFORE)
    bench.link("/a", "/b")
    gate.wait_arrived()
    bench.memory.foreign_put("a", b"theirs")
    gate.open()
    bench.drain()
    bench.refresh()
    # No other name had the old bytes yet: the file is what they made of it.
    check(bench, [{"a", "b"}], dict.fromkeys("ab", b"theirs"))


@pytest.mark.parametrize("is_written", [False, True])
def test_someone_else_replaces_a_name_that_is_owed(make_bench: Make, is_written: bool) -> None:
    bench = make_bench()
    linked(bench, "/a", "/b")
    bench.store.fail("copy", "b", times=FOR_GOOD)
    if is_written:
        bench.write("/a", b"two")
    else:
        bench.fs.chmod("/a", 0o600)
    until(lambda: not bench.index.inodes.get(bench.ino("/a")).is_owed)  # type: ignore[arg-type]
    bench.memory.foreign_put("b", b"theirs")
    bench.store.heal()
    bench.drain()
    bench.refresh()
    bodies = sorted(bench.bucket().items())
    if is_written:
        # Both sides changed the bytes: both stay.
        assert [body for _, body in bodies] == [b"two", b"theirs", b"two"]
        assert bench.ino(f"/{bodies[2][0]}") == bench.ino("/a")
    else:
        assert bodies == [("a", b"one"), ("b", b"theirs")]
        assert bench.ino("/b") != bench.ino("/a")
        assert bench.nlink("/a") == 1
        assert bench.fs.getattr("/b").mode & 0o777 == 0o600  # a mere change of metadata is laid over theirs
    assert not bench.oddities()


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_attributes_that_did_not_reach_all_names(bench: Bench, order: str) -> None:
    """The machine is lost between the change of one object and that of the other: the later one counts."""
    linked(bench, "/a", "/b")
    bench.store.fail("copy", "b", times=FOR_GOOD)
    time.sleep(1.1)  # what S3 tells of an object's time is in whole seconds
    bench.fs.chmod("/a", 0o600)
    until(lambda: bench.memory.objects()[ObjectKey("a")].metadata["mode"] == str(0o100600))  # type: ignore[index]
    bench.store.heal()
    bench.start_empty()
    for name in order:
        bench.fs.getattr(f"/{name}")
    check(bench, [{"a", "b"}], dict.fromkeys("ab", b"one"))
    assert bench.fs.getattr("/a").mode & 0o777 == 0o600
    modes = {item.metadata["mode"] for item in bench.memory.objects().values()}  # type: ignore[index]
    assert modes == {str(0o100600)}


def test_content_that_did_not_reach_all_names(bench: Bench) -> None:
    linked(bench, "/a", "/b", "/c")
    bench.store.fail("copy", "c", times=FOR_GOOD)
    bench.write("/a", b"two")
    until(lambda: bench.bucket()["b"] == b"two")
    bench.start_empty()
    bench.store.heal()
    for name in "cab":
        bench.fs.getattr(f"/{name}")
    bench.drain()
    assert bench.tree() == {"a": b"two", "b": b"two", "c": b"one"}
    assert bench.ino("/a") == bench.ino("/b") != bench.ino("/c")
    assert bench.nlink("/c") == 2  # it may have names that are not met yet


def test_a_name_that_is_open_stays_its_own_file(bench: Bench) -> None:
    """Another s3mount linked two files that this one knew as two."""
    bench.write("/a", b"one")
    bench.write("/b", b"two")
    bench.drain()
    fh = bench.open("/b")
    bench.folder.with_name("other").mkdir()
    other = Bench(bench.folder.with_name("other"), is_over=bench.memory)
    try:
        other.fs.unlink("/b")
        other.link("/a", "/b")
        other.drain()
    finally:
        other.close()
    bench.refresh()
    bench.names()
    bench.fs.getattr("/a")
    attr = bench.fs.getattr("/b")
    assert attr.ino != bench.ino("/a")
    bench.close_file(fh)
    bench.check({"a": b"one", "b": b"one"})


@pytest.mark.parametrize("name", ["a", "b"])
def test_someone_else_changes_the_metadata_of_a_name(bench: Bench, name: str) -> None:
    """Same bytes, so the same version: `s3mount refresh` and a repair ask for it anew."""
    linked(bench, "/a", "/b", "/c")
    time.sleep(1.1)  # what S3 tells of an object's time is in whole seconds
    item = bench.memory.objects()[ObjectKey(name)]
    metadata = dict(item.metadata or {}) | {"mode": str(0o100600), "file-permissions": "0100600"}
    bench.memory.foreign_put(name, item.body, metadata)
    bench.drive.lister.invalidate(ROOT_INO)
    row = bench.index.dentries.lookup(ROOT_INO, name)
    assert row is not None
    with bench.index.transaction():
        bench.index.inodes.update(bench.index.inodes.get(row)._replace(metadata_known=False))
    for other in "abc":
        bench.fs.getattr(f"/{other}")
    check(bench, [{"a", "b", "c"}], dict.fromkeys("abc", b"one"))
    assert bench.fs.getattr("/a").mode & 0o777 == 0o600
    assert {found.metadata["mode"] for found in bench.memory.objects().values()} == {str(0o100600)}  # type: ignore[index]


def test_someone_else_takes_a_name_out_of_its_group(bench: Bench) -> None:
    linked(bench, "/a", "/b", "/c")
    bench.memory.foreign_put("b", b"one", {"mode": str(0o100600)})
    row = bench.index.dentries.lookup(ROOT_INO, "b")
    assert row is not None
    with bench.index.transaction():
        bench.index.inodes.update(bench.index.inodes.get(row)._replace(metadata_known=False))
    check(bench, [{"a", "c"}, {"b"}], dict.fromkeys("abc", b"one"))
    assert bench.fs.getattr("/b").mode & 0o777 == 0o600
    assert bench.fs.getattr("/a").mode & 0o777 == 0o644


def test_the_file_is_done_while_its_further_name_is_told_to_wait(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file was put off for minutes; what its name's worker read of that is old by the time it is acted on."""
    bench.write("/a", b"one")
    bench.drain()
    gate = bench.store.hold("copy", "a")
    bench.link("/a", "/b")
    gate.wait_arrived()
    ino, find = bench.ino("/a"), bench.index.inodes.find
    bench.index.inodes.set_due(Ino(ino), time.time_ns() + 300 * 10**9)
    has_read = threading.Event()

    def read_late(wanted: Ino) -> Inode | None:
        inode = find(wanted)
        if wanted == ino and threading.current_thread().name.startswith("writeback") and not has_read.is_set():
            has_read.set()
            gate.open()
            until(lambda: not bench.index.inodes.get(Ino(ino)).is_owed)
        return inode

    monkeypatch.setattr(bench.index.inodes, "find", read_late)
    assert has_read.wait(5)
    bench.settle(5)
    check(bench, [{"a", "b"}], dict.fromkeys("ab", b"one"))


def test_nobody_sees_a_time_that_a_failure_does_not_set(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    steps = bench.drive.writeback._steps
    postpone = steps.setbacks.postpone

    def look(ino: Ino, now_ns: int, next_due_ns: int | None) -> int:
        seen.append((bench.index.inodes.get(ino).due_ns - now_ns) / 1e9)
        return postpone(ino, now_ns, next_due_ns)

    monkeypatch.setattr(steps.setbacks, "postpone", look)
    bench.store.fail("put")
    bench.write("/a", b"one")
    until(lambda: seen)
    assert max(seen) <= 1
    bench.settle()
