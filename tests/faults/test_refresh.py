"""remote/refresh.py: what others changed is in the index when it returns, and what is owed stays owed."""

import stat
from pathlib import Path

import pytest

from s3mount.errors import NotADirectory, NotFound, Unreachable
from s3mount.keys import split_path
from s3mount.remote import walk, walks
from s3mount.remote.refresh import Refresher
from tests.faults.bench import Bench
from tests.faults.test_listing import Make
from tests.faults.test_walks import HauntedBench, ShuffledBench, fill, has_no_walk, listings, paths
from tests.support.entries import all_entries
from tests.support.faulty_store import FOR_GOOD, Moment


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


def known(bench: Bench, **tree: int) -> set[str]:
    """A tree `t/` that the drive has seen whole, and no walk is left over from that."""
    keys = fill(bench.memory, **tree)
    assert paths(bench) == keys
    has_no_walk(bench)
    return keys


def change_all(bench: Bench, keys: set[str]) -> dict[str, int]:
    """In every directory: one file removed, one replaced, one made. Returns what the bucket holds, and how large."""
    for above in {key.rpartition("/")[0] for key in keys}:
        bench.memory.foreign_delete(f"{above}/f000")
        bench.memory.foreign_put(f"{above}/f001", b"replaced")
        bench.memory.foreign_put(f"{above}/new", b"new")
    return {key: len(body) for key, body in bench.bucket().items()}


def sizes(bench: Bench, path: str = "") -> dict[str, int]:
    """What the drive shows, without reading it."""
    fh = bench.fs.opendir(path or "/")
    entries = all_entries(bench.fs, fh)
    bench.fs.releasedir(fh)
    found: dict[str, int] = {}
    for entry in entries:
        below = f"{path}/{entry.name}"
        is_dir = stat.S_ISDIR(entry.attr.mode)
        found |= sizes(bench, below) if is_dir else {below[1:]: bench.index.inodes.get(entry.attr.ino).size}
    return found


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "LINGER_S", 0.2)


@pytest.mark.parametrize("pages_max", [walk.PAGES_MAX, 2])
def test_recursive_costs_a_request_per_page_of_keys(
    make_bench: Make, monkeypatch: pytest.MonkeyPatch, pages_max: int
) -> None:
    """A walk that ends early is followed by another, from where it came to."""
    bench = make_bench(page_size=100)
    keys = known(bench, directories=80, files=10)
    changed = change_all(bench, keys)
    monkeypatch.setattr(walk, "PAGES_MAX", pages_max)
    before = listings(bench)
    assert refresh(bench, "/t", recursive=True) == 82  # the root too
    assert listings(bench) - before <= len(keys) // 100 + 2 + 3 * 80 // 20, "what is listed between two walks"
    before = listings(bench)
    assert sizes(bench) == changed
    assert listings(bench) == before


@pytest.mark.parametrize("page_size", [3, 1000])
def test_recursive_below_each_directory_of_a_deep_tree(make_bench: Make, page_size: int) -> None:
    bench = make_bench(page_size=page_size)
    keys = {f"t/{a}/{b}/{c}/f00{d}" for a in range(4) for b in range(4) for c in range(4) for d in range(3)}
    keys |= {f"t/{a}/f00{d}" for a in range(4) for d in range(3)} | {f"t/{a}-/f00{d}" for a in range(4) for d in (0, 1)}
    keys |= {f"t/{a}/+" for a in range(4)}  # before the directory from which a walk of what follows begins
    for key in keys:
        bench.memory.foreign_put(key, b"x")
    assert paths(bench) == keys
    has_no_walk(bench)
    changed = change_all(bench, keys)
    refresh(bench, "/t", recursive=True)
    before = listings(bench)
    assert sizes(bench) == changed
    assert listings(bench) == before, "all is fresh"


def test_recursive_does_not_take_what_a_walk_of_before_has_found(bench: Bench) -> None:
    fill(bench.memory, directories=20, files=3)
    gate = bench.store.hold("walk_page", "t/", moment=Moment.AFTER)
    bench.names("/t/d0000")
    bench.names("/t/d0001")
    gate.wait_arrived()
    for number in range(2, 20):
        directory = bench.fs.getattr(f"/t/d{number:04}").ino
        bench.drive.lister._list(directory)
    changed = change_all(bench, set(bench.bucket()))
    refresh(bench, "/t", recursive=True)
    gate.open()
    has_no_walk(bench)
    before = listings(bench)
    assert sizes(bench) == changed
    assert listings(bench) == before


def test_recursive_takes_what_is_owed_along(bench: Bench) -> None:
    known(bench, directories=20, files=3)
    bench.drive.writeback._configured_delay_ns = 10**12
    bench.fs.rename("/t/d0003", "/t/moved")
    bench.fs.unlink("/t/d0004/f000")
    bench.write("/t/d0005/f000", b"OURS")
    bench.write("/t/d0006/new", b"OURS")
    bench.memory.foreign_put("t/d0007/new", b"theirs")
    seen = bench.tree() | {"t/d0007/new": b"theirs"}
    refresh(bench, "/t", recursive=True)
    assert bench.tree() == seen
    bench.drain()
    bench.check(seen)


@pytest.mark.parametrize("kind", [HauntedBench, ShuffledBench])
def test_recursive_on_a_store_that_cannot_be_walked(tmp_path: Path, kind: type[Bench]) -> None:
    bench = kind(tmp_path)
    try:
        keys = known(bench, directories=20, files=3)
        changed = change_all(bench, keys)
        assert refresh(bench, "/t", recursive=True) >= 22
        before = listings(bench)
        assert sizes(bench) == changed
        assert listings(bench) - before <= 20, "directories without objects, never listed before"
    finally:
        bench.close()


def test_recursive_while_walks_fail(bench: Bench) -> None:
    keys = known(bench, directories=20, files=3)
    changed = change_all(bench, keys)
    bench.store.fail("walk_page", times=FOR_GOOD)
    assert refresh(bench, "/t", recursive=True) == 22
    assert sizes(bench) == changed


def test_recursive_lists_little_beside_what_was_known(make_bench: Make) -> None:
    """Of a large tree of which a few directories were looked at."""
    bench = make_bench(page_size=100)
    fill(bench.memory, directories=400, files=10)
    bench.drive.lister._walks._is_possible = False
    looked_at = range(0, 400, 50)
    for number in looked_at:
        bench.names(f"/t/d{number:04}")
    bench.drive.lister._walks._is_possible = True
    before = listings(bench)
    assert refresh(bench, "/t", recursive=True) == 2 + len(looked_at)
    has_no_walk(bench)
    alone = 1 + 4 + len(looked_at)
    assert listings(bench) - before <= alone + len(looked_at) + walks.PAGES_FIRST
