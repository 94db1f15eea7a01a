"""Each kind of difference is made by hand and found, told apart from what is owed, and mended where that is safe."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from s3mount.check.findings import Finding, Kind, Weight
from s3mount.errors import MountError
from s3mount.index.multiparts import RecordedUpload
from s3mount.model import Ino, ObjectKey
from s3mount.offline import check_folder
from tests.faults.bench import LONG_S, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.mkdir("/d")
    bench.write("/d/a", b"a" * 1000)
    bench.write("/b", b"b" * 1000)
    bench.drain()
    bench.refresh("/")
    bench.names("/")
    bench.names("/d")
    yield bench
    bench.close()


def run(bench: Bench, *, repair: bool = False) -> list[Finding]:
    bench.drive.close()
    return check_folder(bench.memory, bench.folder, source="store", repair=repair)


def kinds(found: list[Finding]) -> list[tuple[Kind, str]]:
    return sorted(((finding.kind, finding.place) for finding in found), key=str)


def block_file(bench: Bench, ino: int) -> Path:
    return bench.folder / "cache" / f"{ino % 256:02x}" / f"{ino:x}"


def test_nothing_is_found_where_nothing_is_wrong(bench: Bench) -> None:
    assert run(bench) == []


def test_a_directorys_own_file_is_an_object_like_others(bench: Bench) -> None:
    bench.memory.foreign_put("d/", b"content")
    bench.memory.foreign_put("e/", b"content")
    bench.memory.foreign_put("e/x", b"x")
    assert kinds(run(bench, repair=True)) == [(Kind.EXTRA_OBJECT, "/e/"), (Kind.OTHER_ETAG, "/d/")]
    bench.start()
    files = {"b": b"b" * 1000, "d/%key": b"content", "d/a": b"a" * 1000, "e/%key": b"content", "e/x": b"x"}
    assert bench.tree() == files
    assert run(bench) == []
    bench.start()
    bench.memory.foreign_put("d/", b"other")
    bench.memory.foreign_put("e/", b"")
    assert kinds(run(bench, repair=True)) == [(Kind.OTHER_ETAG, "/d/"), (Kind.OTHER_ETAG, "/e/")]
    bench.start()
    assert bench.tree() == {
        key: b"other" if key == "d/%key" else body for key, body in files.items() if key != "e/%key"
    }
    assert run(bench) == []


def test_names_of_one_file_are_objects_like_others(bench: Bench) -> None:
    bench.fs.link("/b", "/d/other")
    bench.fs.link("/b", "/more")
    bench.drain()
    assert run(bench) == []
    bench.memory.foreign_delete("more")
    bench.memory.foreign_put("d/other", b"another")
    assert kinds(run(bench, repair=True)) == [(Kind.OBJECT_MISSING, "/more"), (Kind.OTHER_ETAG, "/d/other")]
    bench.start()
    assert bench.tree() == {"b": b"b" * 1000, "d/a": b"a" * 1000, "d/other": b"another"}
    assert bench.nlink("/b") == 1
    bench.drain()
    assert run(bench) == []


def test_what_others_did_to_the_bucket(bench: Bench) -> None:
    bench.memory.foreign_delete("d/a")
    bench.memory.foreign_put("b", b"another")
    bench.memory.foreign_put("d/new", b"new")
    found = run(bench)
    expected = [(Kind.OBJECT_MISSING, "/d/a"), (Kind.OTHER_ETAG, "/b"), (Kind.EXTRA_OBJECT, "/d/new")]
    assert kinds(found) == sorted(expected, key=str)
    assert all(finding.weight is Weight.DIFFERENCE and not finding.repair for finding in found)
    assert all(finding.repair for finding in run(bench, repair=True))
    bench.start()
    assert bench.tree() == {"b": b"another", "d/new": b"new"}
    assert run(bench) == []


def test_metadata(bench: Bench) -> None:
    info = bench.memory.head(ObjectKey("b"))
    metadata = {**(info.metadata or {}), "mode": "33188", "uid": "77"}
    bench.memory.foreign_put("b", b"b" * 1000, metadata)
    (finding,) = run(bench)
    assert (finding.kind, finding.place) == (Kind.OTHER_METADATA, "/b")
    assert "uid 77 instead of 1000" in finding.detail


@pytest.mark.parametrize("repair", [False, True])
def test_the_cache_directory(bench: Bench, *, repair: bool) -> None:
    damaged, lost = bench.ino("/b"), bench.ino("/d/a")
    bench.drive.close()
    with block_file(bench, damaged).open("r+b") as file:
        file.write(b"x")
    block_file(bench, lost).unlink()
    block_file(bench, 4711).parent.mkdir()
    block_file(bench, 4711).write_bytes(b"stray")
    found = run(bench, repair=repair)
    expected = [(Kind.DAMAGED_CLEAN, "/b"), (Kind.LOST_FILE, "/d/a"), (Kind.STRAY_FILE, "inode 4711")]
    assert kinds(found) == sorted(expected, key=str)
    assert all(bool(finding.repair) is repair for finding in found)
    assert (run(bench) == []) is repair
    bench.start()
    assert bench.tree() == {"b": b"b" * 1000, "d/a": b"a" * 1000}


def test_what_is_owed_is_no_difference(bench: Bench) -> None:
    bench.delay_s = LONG_S
    bench.restart()
    bench.write("/b", b"edited")
    bench.write("/new", b"new")
    bench.fs.unlink("/d/a")
    upload_id = bench.memory.create_multipart(ObjectKey("c"), metadata={}, content_type="text/plain")
    upload = RecordedUpload(upload_id, ObjectKey("c"), Ino(99), 8 << 20, None, None, "", "", "")
    bench.index.multiparts.add(upload)
    found = [finding for finding in run(bench) if finding.place != "/d/"]
    expected = [
        (Kind.NOT_UPLOADED, "/b"), (Kind.NOT_UPLOADED, "/new"), (Kind.NOT_DELETED, "/d/a"),
        (Kind.UNFINISHED_UPLOAD, "/c"),
    ]  # fmt: skip
    assert kinds(found) == sorted(expected, key=str)
    assert {finding.weight for finding in found} == {Weight.OWED}
    run(bench, repair=True)
    assert not bench.memory.uploads()
    bench.delay_s = 0
    bench.start()
    bench.drain()
    assert bench.bucket() == {"b": b"edited" + b"b" * 994, "new": b"new"}


def test_damaged_dirty_bytes_are_told_and_kept(bench: Bench) -> None:
    bench.delay_s = LONG_S
    bench.restart()
    bench.write("/b", b"edited")
    ino = bench.ino("/b")
    bench.drive.close()
    with block_file(bench, ino).open("r+b") as file:
        file.write(b"x")
    for _ in range(2):
        assert (Kind.DAMAGED_DIRTY, "/b") in kinds(run(bench, repair=True))
    assert block_file(bench, ino).exists()


def test_a_folder_in_use_or_empty_is_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(MountError, match="in use"):
        check_folder(bench.memory, bench.folder, source="store", repair=False)
    with pytest.raises(MountError, match="no index"):
        check_folder(bench.memory, tmp_path / "nothing", source="store", repair=False)
