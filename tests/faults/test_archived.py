"""Objects that S3 keeps in an archive: reads are EIO, changes are parked, `status` says what to do, until restored."""

from collections.abc import Callable

import pytest

from s3mount.errors import Archived, IOFailure
from s3mount.writeback.writeback import Left
from tests.faults.bench import Bench

CAUSE = "restore it first"


def archive(bench: Bench, *operations: str) -> None:
    for operation in operations or ("get", "copy", "copy_part"):
        bench.store.fail(operation, error=Archived(CAUSE), times=1000)


def told(bench: Bench) -> list[tuple[str, str]]:
    errors: list[Left] = [*bench.drive.writeback.refused(), *bench.drive.archived()]
    return [(error.path, error.cause) for error in errors]


def test_a_read_is_told_until_one_works(bench: Bench) -> None:
    bench.memory.foreign_put("a", b"x" * 100)
    archive(bench)
    assert bench.fs.getattr("/a").size == 100
    assert told(bench) == []
    for _ in range(2):
        with pytest.raises(IOFailure, match=CAUSE):
            bench.read("/a")
        assert told(bench) == [("/a", CAUSE)]
    bench.store.heal()
    assert bench.read("/a") == b"x" * 100
    assert told(bench) == []


def test_a_file_that_is_removed_or_replaced_is_told_no_more(bench: Bench) -> None:
    bench.memory.foreign_put("a", b"x")
    bench.memory.foreign_put("b", b"x")
    archive(bench)
    for key in ("a", "b"):
        with pytest.raises(IOFailure):
            bench.read(f"/{key}")
    assert [path for path, _ in told(bench)] == ["/a", "/b"]
    bench.fs.unlink("/a")
    bench.memory.foreign_put("b", b"other")
    bench.refresh()
    bench.names()
    assert told(bench) == []


@pytest.mark.parametrize("change", ["rename", "chmod", "write"])
def test_a_change_is_parked(bench: Bench, change: str) -> None:
    bench.memory.foreign_put("a", b"x" * 100)
    archive(bench)
    path = "/b" if change == "rename" else "/a"
    if change == "rename":
        bench.fs.rename("/a", "/b")
    elif change == "chmod":
        bench.fs.chmod("/a", 0o600)
    else:
        bench.write("/a", b"part")
    left = bench.drive.drain(10, lambda backlog: None)
    assert [(entry.path, entry.cause) for entry in left] == [(path, CAUSE)]
    assert told(bench) == [(path, CAUSE)]
    assert bench.bucket() == {"a": b"x" * 100}
    bench.store.heal()
    bench.drain()
    assert told(bench) == []
    assert bench.bucket() == {path[1:]: b"part" + b"x" * 96 if change == "write" else b"x" * 100}


def test_written_whole_it_is_archived_no_more(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(delay_s=0.5)  # as it is nobody asks for the old bytes before they are cut
    bench.memory.foreign_put("a", b"x" * 100)
    archive(bench, "get")
    bench.fs.truncate("/a", 0)
    bench.write("/a", b"new")
    bench.check({"a": b"new"})
    assert told(bench) == []
