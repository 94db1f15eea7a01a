"""remote/refresh.py: what others changed is in the index when it returns, and what is owed stays owed."""

import pytest

from s3mount.errors import NotADirectory, NotFound, Unreachable
from s3mount.keys import split_path
from s3mount.remote.refresh import Refresher
from tests.faults.bench import Bench
from tests.faults.test_listing import Make


def refresh(bench: Bench, path: str, *, recursive: bool = False) -> int:
    refresher = Refresher(bench.index, bench.drive.lister, on_listed=lambda count: None)
    return refresher.refresh(split_path(path), recursive=recursive)


def test_a_file(bench: Bench) -> None:
    bench.memory.foreign_put("d/a", b"old")
    bench.memory.foreign_put("d/b", b"old")
    assert bench.tree() == {"d/a": b"old", "d/b": b"old"}
    bench.memory.foreign_put("d/a", b"newer")
    assert bench.fs.getattr("/d/a").size == 3
    assert refresh(bench, "/d/a") == 1
    assert bench.fs.getattr("/d/a").size == 5
    assert bench.read("/d/a") == b"newer"


def test_metadata_alone(bench: Bench) -> None:
    """The same bytes have the same ETag."""
    bench.memory.foreign_put("d/a", b"same", {"mode": str(0o100644), "uid": "5"})
    bench.memory.foreign_put("d/", b"", {"mode": str(0o40755)})
    bench.tree()
    bench.memory.foreign_put("d/a", b"same", {"mode": str(0o100600), "uid": "6"})
    bench.memory.foreign_put("d/", b"", {"mode": str(0o40700)})
    assert bench.fs.getattr("/d/a").uid == 5
    refresh(bench, "/d")
    attr = bench.fs.getattr("/d/a")
    assert (attr.mode, attr.uid) == (0o100600, 6)
    assert bench.fs.getattr("/d").mode == 0o40700
    assert bench.is_clean()


def test_new_and_removed_names(bench: Bench) -> None:
    bench.memory.foreign_put("d/gone", b"x")
    bench.tree()
    bench.memory.foreign_delete("d/gone")
    bench.memory.foreign_put("d/new/deep", b"x")
    refresh(bench, "/d/new")
    assert bench.tree() == {"d/new/deep": b"x"}
    bench.memory.foreign_delete("d/new/deep")
    bench.memory.foreign_put("other", b"x")
    refresh(bench, "/d")
    assert bench.names() == ["other"]
    with pytest.raises(NotFound):
        refresh(bench, "/d")
    with pytest.raises(NotFound):
        refresh(bench, "/never/was")
    with pytest.raises(NotADirectory):
        refresh(bench, "/other/below")


def test_recursive(make_bench: Make) -> None:
    bench = make_bench(ttl_s=9.0)  # too short for a walk, which would list more than is asked for
    keys = ["a", "d/b", "d/e/c", "f/g/h/i"]
    for key in keys:
        bench.memory.foreign_put(key, b"old")
    bench.memory.foreign_put("unseen/below/x", b"x")
    for path in ("/", "/d", "/d/e", "/f", "/f/g", "/f/g/h", "/unseen"):
        bench.names(path)
    for key in keys:
        bench.memory.foreign_put(key, b"newer")
    refresh(bench, "/")
    assert (bench.fs.getattr("/a").size, bench.fs.getattr("/d/b").size) == (5, 3)
    assert refresh(bench, "/", recursive=True) == 7  # what was never listed is listed at its first use
    assert [bench.fs.getattr(f"/{key}").size for key in keys] == [5, 5, 5, 5]


def test_what_is_owed_stays(bench: Bench) -> None:
    bench.memory.foreign_put("a", b"old")
    bench.drive.writeback._configured_delay_ns = 10**12
    bench.write("/a", b"OURS")
    bench.fs.chmod("/a", 0o600)
    bench.memory.foreign_put("a", b"theirs")
    refresh(bench, "/a")
    assert bench.read("/a") == b"OURS"
    assert bench.fs.getattr("/a").mode == 0o100600
    bench.drain()
    assert sorted(bench.bucket().values()) == [b"OURS", b"theirs"]


def test_without_s3_it_fails(bench: Bench) -> None:
    bench.memory.foreign_put("a", b"old")
    bench.tree()
    bench.store.fail("list_page", error=Unreachable("away"))
    with pytest.raises(Unreachable):
        refresh(bench, "/a")
