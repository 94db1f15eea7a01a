"""Changes made while an upload is under way: never a mixture in the bucket, nothing lost, nothing left over (P5)."""

import threading
from collections.abc import Callable

import pytest

from s3mount.cache.filecache import FileCache
from s3mount.model import Ino, RemoteObject
from s3mount.writeback.batches import Batches
from s3mount.writeback.settle import Settlement
from tests.faults.bench import KIB, MIB, Bench, until
from tests.support.faulty_store import FOR_GOOD, Moment

Make = Callable[..., Bench]
FAR_NS = 1 << 62


@pytest.mark.parametrize("moment", list(Moment))
def test_unlink_while_the_put_is_in_flight(bench: Bench, moment: Moment) -> None:
    gate = bench.store.hold("put", "a", moment=moment)
    bench.write("/a", b"x")
    gate.wait_arrived()
    bench.fs.unlink("/a")
    gate.open()
    bench.check({})


@pytest.mark.parametrize("moment", list(Moment))
def test_unlink_and_make_anew_while_the_put_is_in_flight(bench: Bench, moment: Moment) -> None:
    gate = bench.store.hold("put", "a", moment=moment)
    bench.write("/a", b"one")
    gate.wait_arrived()
    bench.fs.unlink("/a")
    bench.write("/a", b"two")
    gate.open()
    bench.check({"a": b"two"})


def test_write_while_the_put_is_in_flight(bench: Bench) -> None:
    gate = bench.store.hold("put", "a", moment=Moment.AFTER)
    bench.write("/a", b"1" * KIB)
    gate.wait_arrived()
    bench.write("/a", b"2" * KIB)
    gate.open()
    bench.check({"a": b"2" * KIB})


@pytest.mark.parametrize("part", [0, 1, 2])
def test_write_while_parts_are_in_flight_makes_no_mixture(bench: Bench, part: int) -> None:
    seen: list[bytes] = []

    def watch(operation: str, key: str, moment: Moment) -> None:
        if operation == "complete_multipart" and moment is Moment.AFTER:
            seen.append(bench.memory.objects()[key].body)  # type: ignore[index]

    bench.store.watch = watch
    gate = bench.store.hold("upload_part", "big", skip=part)
    bench.write("/big", b"\1" * (17 * MIB))
    gate.wait_arrived()
    bench.write("/big", b"\2" * (17 * MIB))
    gate.open()
    bench.drain()
    assert all(body in (b"\1" * len(body), b"\2" * len(body)) for body in seen)
    bench.check({"big": b"\2" * (17 * MIB)})


@pytest.mark.parametrize("together", [False, True])
def test_a_file_that_is_written_while_its_metadata_is_copied_is_uploaded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    """Copied with others (batches.py) or alone."""
    bench.write("/a", b"old")
    bench.drain()
    begun_by: type[Batches | Settlement] = Batches if together else Settlement
    name = "_begin" if together else "begin"
    begin = getattr(begun_by, name)
    written = threading.Event()

    def begin_and_write(self: object, *arguments: object) -> object:
        begun = begin(self, *arguments)
        if begun and not written.is_set():
            written.set()
            bench.write("/a", b"new")
        return begun

    monkeypatch.setattr(begun_by, name, begin_and_write)
    if not together:
        monkeypatch.setattr(Batches, "takes", lambda self, inode: False)
    bench.fs.chmod("/a", 0o600)
    assert written.wait(5)
    bench.check({"a": b"new"})


@pytest.mark.parametrize("is_in_bucket", [False, True])
@pytest.mark.parametrize("change", ["unlink", "truncate"])
def test_a_file_that_is_cut_as_its_upload_begins_is_not_taken_for_a_damaged_one(
    make_bench: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, change: str, is_in_bucket: bool
) -> None:
    bench = make_bench(delay_s=0.1)
    if is_in_bucket:
        bench.memory.foreign_put("a", b"old" * KIB)
    load = FileCache.load
    is_written, is_cut = threading.Event(), threading.Event()

    def cut_and_load(self: FileCache, ino: Ino, remote: RemoteObject | None, size: int) -> None:
        if size == 8 * KIB and not is_cut.is_set():
            assert is_written.wait(5)
            is_cut.set()
            bench.fs.unlink("/a") if change == "unlink" else bench.fs.truncate("/a", 0)
            bench.fs.fsyncdir(bench.fs.opendir("/"))  # gives up what a removed file had
        load(self, ino, remote, size)

    monkeypatch.setattr(FileCache, "load", cut_and_load)
    bench.write("/a", b"new" * KIB, 5 * KIB)
    is_written.set()
    assert is_cut.wait(5)
    bench.check({} if change == "unlink" else {"a": b""})
    assert "nowhere" not in caplog.text
    assert bench.drive.cache.used_bytes == 0


def test_a_deletion_that_begins_as_the_name_is_written_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("/a", b"one")
    bench.drain()
    tombstones = bench.index.tombstones
    due = tombstones.due
    entered, go_on = threading.Event(), threading.Event()

    def due_then_wait(now_ns: int, limit: int) -> object:
        found = due(now_ns, limit)
        if found and not entered.is_set():
            entered.set()
            go_on.wait(5)
        return found

    monkeypatch.setattr(tombstones, "due", due_then_wait)
    bench.fs.unlink("/a")
    assert entered.wait(5)
    bench.write("/a", b"two")
    until(lambda: bench.bucket().get("a") == b"two")
    until(lambda: not bench.drive.writeback.backlog().files)
    go_on.set()
    bench.check({"a": b"two"})


def test_an_attempt_at_an_old_name_is_not_deleted_when_that_name_is_anothers(make_bench: Make) -> None:
    bench = make_bench()
    rule = bench.store.fail("put", "a", times=FOR_GOOD)
    fh = bench.create("/a")
    bench.fs.write(fh, 0, b"one")
    bench.fs.flush(fh)
    bench.drive.drain(0.3, lambda backlog: None)
    assert bench.store.count("put", "a")
    rule.times = 0
    bench.fs.rename("/a", "/b")
    bench.write("/a", b"two")
    until(lambda: bench.bucket().get("a") == b"two")
    bench.close_file(fh)
    bench.check({"a": b"two", "b": b"one"})


def test_an_unlinked_open_file_and_a_new_one_of_that_name(bench: Bench) -> None:
    bench.memory.foreign_put("a", b"1" * MIB)
    fh = bench.open("/a")
    assert bench.fs.read(fh, 0, 10) == b"1" * 10
    bench.fs.unlink("/a")
    bench.write("/a", b"new")
    bench.check({"a": b"new"})
    assert bench.read_all(fh) == b"1" * MIB
    bench.close_file(fh)
    bench.check({"a": b"new"})


def test_an_unlinked_open_file_whose_object_is_gone_blocks_nobody(bench: Bench) -> None:
    bench.memory.foreign_put("a", b"1" * MIB)
    fh = bench.open("/a")
    bench.fs.unlink("/a")
    bench.memory.foreign_delete("a")
    bench.write("/a", b"new")
    bench.check({"a": b"new"})
    bench.close_file(fh)


def test_a_small_edit_of_a_large_object_sends_one_part(bench: Bench) -> None:
    data = b"".join(bytes([n]) * MIB for n in range(40))
    bench.memory.foreign_put("big", data)
    gate = bench.store.hold("complete_multipart", "big")
    bench.write("/big", b"!" * 4096, 20 * MIB)
    gate.wait_arrived()
    assert [upload.is_mostly_copied for upload in bench.memory.uploads().values()] == [True]
    gate.open()
    bench.check({"big": data[: 20 * MIB] + b"!" * 4096 + data[20 * MIB + 4096 :]})
    assert bench.store.count("upload_part", "big") == 1
    assert bench.store.count("copy_part", "big") == 4


def test_an_edit_of_most_of_a_large_object_is_checked_as_a_whole(bench: Bench) -> None:
    data = bytes(40 * MIB)
    bench.memory.foreign_put("big", data)
    gate = bench.store.hold("complete_multipart", "big")
    bench.write("/big", b"!" * (24 * MIB), 8 * MIB)
    gate.wait_arrived()
    assert [upload.is_mostly_copied for upload in bench.memory.uploads().values()] == [False]
    gate.open()
    bench.check({"big": data[: 8 * MIB] + b"!" * (24 * MIB) + data[32 * MIB :]})
    assert bench.store.count("copy_part", "big") == 2


@pytest.mark.parametrize("sizes", [(MIB, 30 * MIB), (10 * MIB, 12 * MIB), (0, 20 * MIB), (30 * MIB, 3 * MIB)])
def test_truncate_of_a_partly_cached_large_object(bench: Bench, sizes: tuple[int, int]) -> None:
    data = b"".join(bytes([n + 1]) * MIB for n in range(20))
    bench.memory.foreign_put("big", data)
    fh = bench.open("/big")
    bench.fs.read(fh, 9 * MIB, 100)
    bench.fs.write(fh, 2 * MIB, b"edit")
    data = data[: 2 * MIB] + b"edit" + data[2 * MIB + 4 :]
    for size in sizes:
        bench.fs.truncate("/big", size)
        data = data[:size] + bytes(max(0, size - len(data)))
    bench.close_file(fh)
    bench.check({"big": data})


def test_a_read_while_our_own_copy_has_no_known_outcome(bench: Bench) -> None:
    content = bytes(9 * MIB)  # in parts: the copy, which is whole, has another ETag
    bench.write("/a", content)
    bench.drain()
    bench.drive.cache.discard(bench.index.inodes.get(bench.fs.getattr("/a").ino).ino)
    gate = bench.store.hold("copy", moment=Moment.AFTER)
    bench.store.fail("copy", moment=Moment.AFTER)
    bench.fs.chmod("/a", 0o600)
    gate.wait_arrived()
    threading.Timer(0.2, gate.open).start()
    assert bench.read("/a") == content
    bench.check({"a": content})


@pytest.mark.parametrize("operation", ["put", "copy", "delete", "complete_multipart"])
def test_a_lost_reply_leaves_the_right_objects_and_no_conflict(bench: Bench, operation: str) -> None:
    bench.write("/moved", b"m")
    bench.write("/gone", b"g")
    bench.drain()
    bench.store.fail(operation, moment=Moment.AFTER)
    bench.write("/big", b"b" * (9 * MIB))
    bench.write("/new", b"n")
    bench.fs.rename("/moved", "/there")
    bench.fs.unlink("/gone")
    bench.settle()
    bench.check({"big": b"b" * (9 * MIB), "new": b"n", "there": b"m"})


def test_a_multipart_upload_aborted_by_someone_else_is_no_conflict(bench: Bench) -> None:
    data = b"x" * (20 * MIB)
    bench.memory.foreign_put("big", data)
    gate = bench.store.hold("upload_part", "big")
    bench.write("/big", b"edit", MIB)
    gate.wait_arrived()
    for upload_id, upload in bench.memory.uploads().items():
        bench.memory.abort_multipart(upload.key, upload_id)
    gate.open()
    bench.check({"big": data[:MIB] + b"edit" + data[MIB + 4 :]})


def test_a_directory_moved_away_back_and_away_again_during_an_upload(make_bench: Make) -> None:
    """The upload ends under the first name while the directory believes its files are under the second."""
    bench = make_bench()
    bench.mkdir("/b")
    bench.settle()
    bench.memory.foreign_put("b/a", b"foreign content")
    bench.refresh("/b")
    gate = bench.store.hold("get", "b/a")  # the rest of it, before the upload looks at the file
    fh = bench.open("/b/a")
    bench.fs.write(fh, 0, b"changed")
    bench.close_file(fh)
    gate.wait_arrived()
    bench.fs.rename("/b", "/p")
    until(lambda: bench.index.inodes.get(bench.ino("/p")).remote_key == "p/")
    with bench.index.transaction():
        bench.fs.rename("/p", "/b")
        bench.index.inodes.set_due(bench.ino("/b"), FAR_NS)
    gate.open()
    until(lambda: not bench.index.inodes.get(bench.ino("/b/a")).content_owed)
    bench.fs.rename("/b", "/p")
    bench.check({"p/a": b"changed content"})


def test_a_marker_that_arrives_when_its_directory_has_moved_on(make_bench: Make) -> None:
    """What was written below it meanwhile follows the next move."""
    bench = make_bench()
    for path in ("/b", "/b/c"):
        bench.mkdir(path)
    bench.settle()
    gate = bench.store.hold("put", "b/c/")
    bench.fs.chmod("/b/c", 0o700)
    gate.wait_arrived()
    bench.fs.rename("/b", "/p")
    until(lambda: bench.index.inodes.get(bench.ino("/p")).remote_key == "p/")
    with bench.index.transaction():
        bench.fs.rename("/p", "/b")
        bench.index.inodes.set_due(bench.ino("/b"), FAR_NS)
    gate.open()
    until(lambda: bench.index.inodes.get(bench.ino("/b/c")).attempt_key is None)
    bench.fs.rename("/b", "/p")
    bench.write("/p/c/f", b"content")
    bench.check({"p/c/f": b"content"})
    assert bench.object_keys() == {"p/", "p/c/", "p/c/f"}
