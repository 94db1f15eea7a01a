"""copy_file_range of a whole object is one COPY inside S3, and whatever goes wrong with that, the copy has the bytes of
one version of the source and nobody's object is lost (P1, P5)."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from s3mount.errors import Archived, Denied, IOFailure, Missing, PreconditionFailed, Stale, StoreError, Unreachable
from s3mount.model import ObjectKey
from s3mount.store.base import StoreProperties
from tests.faults.bench import KIB, MIB, Bench
from tests.faults.test_crash import Death, clone, reborn
from tests.faults.test_hard_links import check, linked
from tests.support.faulty_store import FOR_GOOD, Moment

Make = Callable[..., Bench]
OLD = bytes(range(256)) * (3 * MIB // 256) + b"old"
NEW = OLD[:-3] + b"new"
EVERYTHING = 1 << 40


def with_source(bench: Bench, data: bytes = OLD) -> None:
    """A file /s that is in the bucket, and nothing of it in the cache."""
    bench.write("/s", data)
    forget(bench, "/s")


def forget(bench: Bench, path: str) -> None:
    bench.drain()
    bench.drive.cache.discard(bench.index.inodes.get(bench.fs.getattr(path).ino).ino)
    bench.store.calls.clear()


def copy(bench: Bench, source: str = "/s", target: str = "/t", flags: int = os.O_CREAT) -> int:
    """As cp does it; returns how many bytes the first call copied."""
    reader = bench.open(source, os.O_RDONLY)
    writer = bench.create(target) if flags & os.O_CREAT else bench.open(target, os.O_WRONLY | flags)
    try:
        at = first = bench.fs.copy_range(reader, 0, writer, 0, EVERYTHING)
        while step := bench.fs.copy_range(reader, at, writer, at, EVERYTHING):
            at += step
    finally:
        bench.close_file(writer)
        bench.fs.release(reader)
    return first


def requests(bench: Bench) -> list[str]:
    return [operation for operation, _ in bench.store.calls if operation not in ("head", "list_page")]


def test_no_byte_passes_through_here(bench: Bench) -> None:
    with_source(bench)
    before_ns = bench.fs.getattr("/s").mtime_ns
    assert copy(bench) == len(OLD)
    assert requests(bench) == ["copy"]
    assert bench.is_clean()
    attr = bench.fs.getattr("/t")
    assert (attr.size, attr.mtime_ns > before_ns, attr.mode & 0o777) == (len(OLD), True, 0o644)
    assert bench.drive.writeback.totals[:2] == (2, len(OLD))
    bench.check({"s": OLD, "t": OLD})
    bench.start_empty()
    found = bench.fs.getattr("/t")
    assert (found.size, found.mtime_ns, found.mode, found.uid) == (len(OLD), attr.mtime_ns, attr.mode, attr.uid)
    bench.check({"s": OLD, "t": OLD})


def test_over_a_file_that_was_truncated(bench: Bench) -> None:
    with_source(bench)
    bench.write("/t", b"there before")
    bench.drain()
    bench.store.calls.clear()
    assert copy(bench, flags=os.O_TRUNC) == len(OLD)
    assert requests(bench) == ["copy"]
    bench.check({"s": OLD, "t": OLD})


def test_over_an_empty_file_that_the_bucket_has(bench: Bench) -> None:
    with_source(bench)
    bench.write("/t", b"")
    bench.drain()
    assert copy(bench, flags=0) == len(OLD)
    assert "put" not in requests(bench)[1:]
    bench.check({"s": OLD, "t": OLD})


def test_a_copy_is_written_to_like_any_file(bench: Bench) -> None:
    with_source(bench)
    copy(bench)
    bench.write("/t", b"X", offset=5)
    bench.fs.unlink("/s")
    bench.check({"t": OLD[:5] + b"X" + OLD[6:]})


def test_the_source_goes_after_the_copy(bench: Bench) -> None:
    with_source(bench)
    copy(bench)
    bench.write("/s", b"X")
    bench.fs.rename("/t", "/u")
    bench.check({"s": b"X" + OLD[1:], "u": OLD})


# -- where the bytes are copied here -----------------------------------------------------------------------------------


def owed(bench: Bench) -> None:
    bench.write("/s", b"X", offset=9)


def cached(bench: Bench) -> None:
    bench.read("/s")


def refused(bench: Bench) -> None:
    bench.store.fail("copy", error=Denied("no"), times=FOR_GOOD)


def away(bench: Bench) -> None:
    bench.store.fail("copy", times=FOR_GOOD)


def claimed(bench: Bench) -> None:
    bench.drive.writeback._claims.claim(None, [ObjectKey("t")])


@pytest.mark.parametrize("why", [owed, cached, refused, away, claimed])
def test_what_is_in_the_way_of_a_copy_in_s3(bench: Bench, why: Callable[[Bench], None]) -> None:
    with_source(bench)
    expected = OLD[:9] + b"X" + OLD[10:] if why is owed else OLD
    why(bench)
    assert copy(bench) == len(OLD)
    if why is claimed:
        bench.drive.writeback._claims.release(None, [ObjectKey("t")])
    assert bench.read("/t") == expected
    assert ("copy" in requests(bench)) == (why in (refused, away))
    bench.store.heal()
    bench.check({"s": expected, "t": expected})


def test_a_small_file_is_copied_here(bench: Bench) -> None:
    with_source(bench, OLD[: 100 * KIB])
    copy(bench)
    assert "copy" not in requests(bench)
    bench.check({"s": OLD[: 100 * KIB], "t": OLD[: 100 * KIB]})


@pytest.mark.parametrize(("at_in", "at_out", "size"), [(0, 1, EVERYTHING), (1, 0, EVERYTHING), (0, 0, len(OLD) - 1)])
def test_a_part_is_copied_here(bench: Bench, at_in: int, at_out: int, size: int) -> None:
    with_source(bench)
    reader, writer = bench.open("/s", os.O_RDONLY), bench.create("/t")
    copied = bench.fs.copy_range(reader, at_in, writer, at_out, size)
    assert copied == min(size, len(OLD) - at_in)
    bench.close_file(writer)
    bench.fs.release(reader)
    assert "copy" not in requests(bench)
    bench.check({"s": OLD, "t": bytes(at_out) + OLD[at_in : at_in + copied]})


def test_a_target_that_has_bytes_keeps_the_rest_of_them(bench: Bench) -> None:
    with_source(bench)
    bench.write("/t", b"1" * (len(OLD) + 5))
    copy(bench, flags=0)
    assert "copy" not in requests(bench)
    bench.check({"s": OLD, "t": OLD + b"1" * 5})


def test_an_archived_source_is_refused_as_for_a_read(bench: Bench) -> None:
    with_source(bench)
    for operation in ("copy", "get"):
        bench.store.fail(operation, error=Archived("restore it first"), times=FOR_GOOD)
    with pytest.raises(IOFailure, match="restore it first"):
        copy(bench)
    bench.store.heal()
    bench.check({"s": OLD, "t": b""})


def test_a_store_that_copies_less_at_once(make_bench: Make) -> None:
    bench = make_bench()
    bench.memory._properties = StoreProperties(copy_bytes_max=2 * MIB)
    with_source(bench)
    copy(bench)
    assert "copy" not in requests(bench)
    bench.check({"s": OLD, "t": OLD})


# -- failures in the middle --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", list(Moment))
@pytest.mark.parametrize("error", [Unreachable("gone"), PreconditionFailed("other"), Missing("gone")])
def test_a_copy_that_fails_or_whose_reply_is_lost(bench: Bench, error: StoreError, moment: Moment) -> None:
    with_source(bench)
    bench.store.fail("copy", "t", error=error, moment=moment)
    copy(bench)
    assert bench.read("/t") == OLD
    bench.check({"s": OLD, "t": OLD})


def test_a_lost_reply_and_then_an_outage(bench: Bench) -> None:
    """The copy is there, and yet the call fails: the file stays empty, and that is what the bucket gets."""
    with_source(bench)
    bench.store.fail("copy", "t", moment=Moment.AFTER)
    bench.store.fail("get", times=FOR_GOOD)
    with pytest.raises(IOFailure, match="injected"):
        copy(bench)
    bench.store.heal()
    bench.check({"s": OLD, "t": b""})


def test_a_lost_reply_and_then_other_bytes(bench: Bench) -> None:
    """What the COPY left is never taken for what was written afterwards, wherever the file is by then."""
    with_source(bench)
    reader, writer = bench.open("/s", os.O_RDONLY), bench.create("/t")
    bench.store.fail("copy", "t", moment=Moment.AFTER)
    bench.store.fail("get", times=FOR_GOOD)
    with pytest.raises(IOFailure, match="injected"):
        bench.fs.copy_range(reader, 0, writer, 0, EVERYTHING)
    bench.store.heal()
    bench.fs.write(writer, 0, b"else")
    bench.close_file(writer)
    bench.fs.release(reader)
    bench.fs.rename("/t", "/u")
    bench.drain()
    bench.fs.rename("/u", "/t")
    bench.check({"s": OLD, "t": b"else"})


@pytest.mark.parametrize("moment", list(Moment))
def test_the_source_is_replaced_by_someone_else_meanwhile(bench: Bench, moment: Moment) -> None:
    """One version, never a mixture: the old one if S3 had copied it, else the call says that it changed."""
    with_source(bench)

    def replace_source(operation: str, key: str, at: Moment) -> None:
        if (operation, key, at) == ("copy", "t", moment):
            bench.memory.foreign_put(ObjectKey("s"), NEW)

    bench.store.watch = replace_source
    if moment is Moment.AFTER:
        copy(bench)
        expected = OLD
    else:
        with pytest.raises(Stale):
            copy(bench)
        expected = b""
    bench.refresh()
    bench.check({"s": NEW, "t": expected})


@pytest.mark.parametrize("is_copy_checked", [True, False])
def test_someone_else_s_object_at_the_target_key(
    bench: Bench, is_copy_checked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a store that does not look at the condition of a COPY."""
    if not is_copy_checked:
        real = bench.memory.copy
        monkeypatch.setattr(bench.memory, "copy", lambda *keys, condition, **more: real(*keys, **more))
    with_source(bench)
    bench.fs.getattr("/s")
    reader, writer = bench.open("/s", os.O_RDONLY), bench.create("/t")
    bench.memory.foreign_put(ObjectKey("t"), b"theirs")
    assert bench.fs.copy_range(reader, 0, writer, 0, EVERYTHING) == len(OLD)
    bench.close_file(writer)
    bench.fs.release(reader)
    bench.drain()
    bench.refresh()
    tree = bench.tree()
    assert tree.pop("t") == b"theirs"
    assert list(tree.values()) == [OLD, OLD]
    assert bench.bucket() == tree | {"t": b"theirs"}


@pytest.mark.parametrize("moment", list(Moment))
@pytest.mark.parametrize("act", ["write", "truncate", "rename", "unlink", "over", "chmod", "utime", "again", "link"])
def test_a_change_of_the_target_while_it_is_copied(bench: Bench, act: str, moment: Moment) -> None:
    with_source(bench)
    bench.write("/x", b"other")
    bench.drain()
    gate = bench.store.hold("copy", "t", moment=moment)
    copier = threading.Thread(target=copy, args=[bench])
    copier.start()
    gate.wait_arrived()
    expected = {"s": OLD, "x": b"other", "t": OLD}
    match act:
        case "write":
            bench.write("/t", b"tail", offset=len(OLD))
            expected["t"] = OLD + b"tail"
        case "truncate":
            bench.fs.truncate("/t", len(OLD) + 7)
            expected["t"] = OLD + bytes(7)
        case "rename":
            bench.fs.rename("/t", "/z")
            expected["z"] = expected.pop("t")
        case "unlink":
            bench.fs.unlink("/t")
            del expected["t"]
        case "over":
            bench.fs.rename("/x", "/t")
            expected["t"] = expected.pop("x")
        case "chmod":
            bench.fs.chmod("/t", 0o600)
        case "utime":
            bench.fs.utimens("/t", 5, 7)
        case "again":
            bench.fs.unlink("/t")
            bench.write("/t", b"anew")
            expected["t"] = b"anew"
        case "link":
            bench.link("/t", "/z")
            expected["z"] = OLD
    gate.open()
    copier.join(10)
    bench.check(expected)
    assert not bench.oddities()
    if act == "utime":
        assert bench.fs.getattr("/t").mtime_ns == 7
    bench.start_empty()
    bench.check(expected)
    if act == "chmod":
        assert bench.fs.getattr("/t").mode & 0o777 == 0o600
    if act == "utime":
        assert bench.fs.getattr("/t").mtime_ns == 7


@pytest.mark.parametrize("moment", list(Moment))
@pytest.mark.parametrize("act", ["write", "rename", "unlink", "over"])
def test_a_change_of_the_source_while_it_is_copied(bench: Bench, act: str, moment: Moment) -> None:
    with_source(bench)
    bench.write("/x", b"other")
    bench.drain()
    gate = bench.store.hold("copy", "t", moment=moment)
    copier = threading.Thread(target=copy, args=[bench])
    copier.start()
    gate.wait_arrived()
    expected = {"s": OLD, "x": b"other", "t": OLD}
    match act:
        case "write":
            bench.write("/s", b"X")
            expected["s"] = b"X" + OLD[1:]
        case "rename":
            bench.fs.rename("/s", "/z")
            expected["z"] = expected.pop("s")
        case "unlink":
            bench.fs.unlink("/s")
            del expected["s"]
        case "over":
            bench.fs.rename("/x", "/s")
            expected["s"] = expected.pop("x")
    gate.open()
    copier.join(10)
    bench.check(expected)


# -- names -------------------------------------------------------------------------------------------------------------


def test_a_source_and_a_target_with_several_names(bench: Bench) -> None:
    linked(bench, "/s", "/s2", data=OLD)
    linked(bench, "/t", "/t2", data=b"before")
    forget(bench, "/s")
    assert copy(bench, "/s2", "/t2", os.O_TRUNC) == len(OLD)
    assert "get" not in requests(bench)
    check(bench, [{"s", "s2"}, {"t", "t2"}], dict.fromkeys(["s", "s2", "t", "t2"], OLD))


def test_a_name_whose_old_owner_has_not_left_yet(bench: Bench) -> None:
    """/t was renamed away and its object is still there: the copy here waits for nobody."""
    with_source(bench)
    bench.write("/t", b"moves")
    bench.drain()
    bench.store.fail("copy", "u", times=FOR_GOOD)
    bench.fs.rename("/t", "/u")
    assert copy(bench) == len(OLD)
    assert bench.store.count("copy", "t") == 0
    bench.store.heal()
    bench.check({"s": OLD, "t": OLD, "u": b"moves"})


# -- the end of the process --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_new", [True, False])
def test_a_death_at_every_call(tmp_path: Path, is_new: bool) -> None:
    """Before the call has returned: the empty file or the copy. After it: the copy, and nothing is owed."""
    (tmp_path / "alive").mkdir()
    bench = Bench(tmp_path / "alive", delay_s=0.05)
    with_source(bench)
    if not is_new:
        bench.write("/t", b"before")
        bench.drain()
    reader = bench.open("/s", os.O_RDONLY)
    writer = bench.create("/t") if is_new else bench.open("/t", os.O_WRONLY | os.O_TRUNC)
    deaths: list[Death] = []

    def die(operation: str, key: str, moment: Moment) -> None:
        with bench.index.locked():
            folder = tmp_path / f"death{len(deaths)}"
            shutil.copytree(bench.folder, folder)
            deaths.append(Death(f"{operation} {moment}", folder, clone(bench.memory), 0))

    bench.store.watch = die
    assert bench.fs.copy_range(reader, 0, writer, 0, EVERYTHING) == len(OLD)
    bench.store.watch = lambda operation, key, moment: None
    assert [death.label.split()[0] for death in deaths] == ["head", *["head"] * (not is_new), "copy", "copy"]
    die("after", "t", Moment.AFTER)
    bench.close_file(writer)
    bench.fs.release(reader)
    bench.close()
    for death in deaths[:-1]:
        with reborn(death) as after:
            after.check({"s": OLD, "t": b""})
    with reborn(deaths[-1]) as after:
        assert after.is_clean()
        after.check({"s": OLD, "t": OLD})
