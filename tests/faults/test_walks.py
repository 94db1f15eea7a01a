"""A tree that is walked costs a request per thousand keys, and looks as if its directories had been listed (P9)."""

import threading
import time
from pathlib import Path

import pytest

from s3mount.drive import Drive
from s3mount.errors import Denied, IOFailure, Unreachable
from s3mount.model import ROOT_INO, ObjectKey
from s3mount.remote import walk, walks
from s3mount.store.base import ListPage
from tests.faults.bench import Bench, until
from tests.faults.test_listing import Make
from tests.support.entries import all_entries
from tests.support.faulty_store import FOR_GOOD, Moment
from tests.support.memory_store import MemoryStore


def fill(memory: MemoryStore, *, directories: int, files: int, above: str = "t") -> set[str]:
    keys = {f"{above}/d{d:04}/f{f:03}" for d in range(directories) for f in range(files)}
    for key in keys:
        memory.foreign_put(key, b"x")
    return keys


def paths(bench: Bench, path: str = "") -> set[str]:
    """What `find -type f` shows, asking for directories as it does."""
    fh = bench.fs.opendir(path or "/")
    try:
        entries = all_entries(bench.fs, fh)
    finally:
        bench.fs.releasedir(fh)
    found: set[str] = set()
    for entry in entries:
        below = f"{path}/{entry.name}"
        found |= paths(bench, below) if entry.attr.mode & 0o170000 == 0o040000 else {below[1:]}
    return found


def listings(bench: Bench) -> int:
    return bench.store.count("list_page") + bench.store.count("walk_page")


def has_no_walk(bench: Bench) -> None:
    until(lambda: not bench.drive.lister._walks._running, 10, "the walk ends")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "LINGER_S", 0.2)


@pytest.mark.parametrize("is_indexed", [False, True])
def test_find_costs_a_request_per_thousand_keys(bench: Bench, is_indexed: bool) -> None:
    keys = fill(bench.memory, directories=300, files=10)
    if is_indexed:
        assert paths(bench) == keys
        bench.restart()
    before = listings(bench)
    assert paths(bench) == keys
    assert listings(bench) - before <= len(keys) // 1000 + 20
    assert bench.store.count("walk_page") >= 3


def test_a_deep_tree_is_walked_from_higher_up_each_time(bench: Bench) -> None:
    keys = {f"{a}/{b}/{c}/{d}" for a in range(6) for b in range(6) for c in range(6) for d in range(6)}
    for key in keys:
        bench.memory.foreign_put(key, b"x")
    assert paths(bench) == keys
    assert listings(bench) <= 40, "of 259 directories; how far each walk gets is a matter of time"


def test_two_directories_of_many_cost_a_few_pages(bench: Bench) -> None:
    fill(bench.memory, directories=2000, files=10)
    bench.names("/t/d0500")
    bench.names("/t/d1500")
    has_no_walk(bench)
    assert bench.store.count("walk_page") <= walk.CREDIT_FIRST
    # The root, t in three pages, and the two.
    assert bench.store.count("list_page") <= 6


def test_one_that_looks_around_pays_little_for_walks(bench: Bench) -> None:
    fill(bench.memory, directories=400, files=100)
    for number in range(390, 0, -30):
        bench.names(f"/t/d{number:04}")
    has_no_walk(bench)
    assert bench.store.count("walk_page") <= walks.PAGES_FIRST + 15 * walks.PAGES_A_LISTING


def test_nobody_waits_for_what_is_far_ahead(make_bench: Make) -> None:
    bench = make_bench(page_size=10)
    fill(bench.memory, directories=30, files=1)
    big = fill(bench.memory, directories=1000, files=1, above="t/e")
    fill(bench.memory, directories=30, files=1, above="t/f")
    bench.names("/t/d0000")
    bench.names("/t/d0001")
    for number in range(2, 30):
        assert bench.names(f"/t/d{number:04}") == ["f000"]
    before = listings(bench)
    assert len(bench.names("/t/e")) == len(big)
    # It has a hundred pages itself, and what else was listed is bounded.
    assert listings(bench) - before <= 100 + walk.CREDIT_MAX + walk.CREDIT_FIRST
    has_no_walk(bench)
    assert listings(bench) - before <= 100 + walk.CREDIT_MAX + walk.CREDIT_FIRST


def test_what_others_did_is_seen_by_a_walk(make_bench: Make) -> None:
    bench = make_bench()
    keys = fill(bench.memory, directories=20, files=3)
    assert bench.tree().keys() == keys
    for key in ("t/d0010/f000", "t/d0011/f000", "t/d0011/f001", "t/d0011/f002"):
        bench.memory.foreign_delete(key)
    bench.memory.foreign_put("t/d0012/f000", b"replaced")
    bench.memory.foreign_put("t/d0013/s/new", b"new")
    bench.memory.foreign_put("t/d0014", b"beside")
    bench.restart()
    expected = {key: item.body for key, item in bench.memory.objects().items() if key != "t/d0014"}
    before = bench.store.count("list_page")
    assert bench.tree() == {**expected, "t/d0014%key": b"beside"}
    assert bench.store.count("list_page") - before <= 6


def test_work_of_ours_while_a_page_comes(make_bench: Make) -> None:
    bench = make_bench()
    keys = fill(bench.memory, directories=6, files=3)
    assert paths(bench) == keys
    bench.restart()
    gate = bench.store.hold("walk_page", "t/", moment=Moment.AFTER)
    bench.names("/t/d0000")
    bench.names("/t/d0001")
    gate.wait_arrived()
    index = bench.index
    root = index.dentries.lookup(ROOT_INO, "t")
    assert root is not None
    drive = bench.drive
    below = {n: index.dentries.lookup(root, f"d{n:04}") for n in range(6)}
    for ino in below.values():
        drive.lister.mark_fresh(ino)  # type: ignore[arg-type]
    bench.fs.unlink("/t/d0002/f000")
    bench.fs.rename("/t/d0003/f000", "/t/d0004/moved")
    bench.write("/t/d0004/new", b"new")
    bench.write("/t/d0004/f001", b"changed")
    bench.fs.rename("/t/d0005", "/t/elsewhere")
    bench.drain()
    gate.open()
    has_no_walk(bench)
    expected = {key: b"x" for key in keys if key not in ("t/d0002/f000", "t/d0003/f000") and "d0005" not in key}
    expected |= {f"t/elsewhere/f00{n}": b"x" for n in range(3)}
    expected |= {"t/d0004/moved": b"x", "t/d0004/new": b"new", "t/d0004/f001": b"changed"}
    bench.check(expected)
    assert not bench.oddities()


@pytest.mark.parametrize("page_size", [5, 1000])
def test_a_directory_moved_away_and_one_moved_in(make_bench: Make, page_size: int) -> None:
    bench = make_bench(page_size=page_size, delay_s=3600)
    keys = fill(bench.memory, directories=12, files=3)
    assert paths(bench) == keys
    bench.fs.rename("/t/d0004", "/away")
    bench.fs.rename("/t/d0008", "/t/d0004")
    bench.restart()
    moved = {key.replace("t/d0004", "away").replace("t/d0008", "t/d0004") for key in keys}
    assert paths(bench) == moved
    bench.check(dict.fromkeys(moved, b"x"))


@pytest.mark.parametrize("is_refreshed", [False, True])
def test_a_directory_listed_alone_is_not_put_back_by_a_walk(bench: Bench, is_refreshed: bool) -> None:
    fill(bench.memory, directories=6, files=3)
    gate = bench.store.hold("walk_page", "t/", moment=Moment.AFTER)
    bench.names("/t/d0000")
    bench.names("/t/d0001")
    gate.wait_arrived()
    bench.memory.foreign_put("t/d0003/later", b"later")
    bench.memory.foreign_delete("t/d0003/f000")
    directory = bench.fs.getattr("/t/d0003").ino
    if is_refreshed:
        bench.drive.lister.relist(directory, lambda: None)
    else:
        # A walk that takes that long is not waited for any longer.
        bench.drive.lister._list(directory)
    later = bench.index.dentries.lookup(directory, "later")
    assert later is not None
    gate.open()
    has_no_walk(bench)
    assert bench.index.dentries.lookup(directory, "later") == later
    assert bench.names("/t/d0003") == ["f001", "f002", "later"]


def test_what_is_spoiled_after_its_merge_is_not_fresh(bench: Bench) -> None:
    fill(bench.memory, directories=2, files=1)
    bench.names("/t/d0000")
    directory = bench.fs.getattr("/t/d0000").ino
    lister = bench.drive.lister
    old = walk.Walk(lister._walks._context, ObjectKey("t/"), ObjectKey("t/a/"), None)
    assert lister.walked(old, directory, 0.0)
    bench.memory.foreign_put("t/d0000/later", b"later")
    old.spoil(directory)
    assert not lister.walked(old, directory, 0.0)
    assert "later" in bench.names("/t/d0000")


def test_nobody_waits_for_many_pages(make_bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "CREDIT_FIRST", walk.CREDIT_MAX)
    bench = make_bench(page_size=10)
    fill(bench.memory, directories=2, files=1)
    big = fill(bench.memory, directories=200, files=1, above="t/e")
    gate = bench.store.hold("walk_page", "t/", skip=2 * walk.PAGES_WAITED_MAX)
    bench.names("/t/d0000")
    bench.names("/t/d0001")
    began_s = time.monotonic()
    assert len(bench.names("/t/e")) == len(big)
    assert time.monotonic() - began_s < walks.WAIT_S_MAX - 1
    gate.wait_arrived()
    gate.open()


@pytest.mark.parametrize(("directories", "files"), [(60, 10), (8, 45)])
def test_nobody_waits_for_a_walk_that_may_not_come_that_far(
    make_bench: Make, monkeypatch: pytest.MonkeyPatch, directories: int, files: int
) -> None:
    """What is some pages ahead, or has more pages than the walk may list for one that asks."""
    monkeypatch.setattr(walk, "LINGER_S", 30.0)
    bench = make_bench(page_size=10)
    fill(bench.memory, directories=directories, files=files)
    began_s = time.monotonic()
    for number in (0, 1, *range(2, directories, directories // 4)):
        assert len(bench.names(f"/t/d{number:04}")) == files
    assert time.monotonic() - began_s < walks.WAIT_S_MAX - 1
    pages = bench.store.count("walk_page")
    assert pages <= (walks.PAGES_FIRST + 1) * 2, "two each for what was saved up, and one for each that asked in vain"


def test_an_invalidation_while_a_page_comes_is_kept(bench: Bench) -> None:
    fill(bench.memory, directories=6, files=3)
    gate = bench.store.hold("walk_page", "t/", moment=Moment.AFTER)
    bench.names("/t/d0000")
    bench.names("/t/d0001")
    gate.wait_arrived()
    bench.memory.foreign_put("t/d0004/later", b"later")
    bench.drive.lister.invalidate(bench.fs.getattr("/t/d0004").ino)
    gate.open()
    has_no_walk(bench)
    assert "later" in bench.names("/t/d0004")


@pytest.mark.parametrize(("error", "walks_again"), [(Unreachable("away"), True), (Denied("no"), False)])
def test_a_walk_that_fails_leaves_all_to_listings(bench: Bench, error: Exception, walks_again: bool) -> None:
    keys = fill(bench.memory, directories=30, files=3)
    bench.store.fail("walk_page", error=error, times=1)  # type: ignore[arg-type]
    assert paths(bench) == keys
    assert (bench.store.count("walk_page") > 1) == walks_again


def test_away_in_the_middle_of_a_walk(make_bench: Make) -> None:
    bench = make_bench(page_size=10)
    keys = fill(bench.memory, directories=30, files=3)
    assert paths(bench) == keys
    bench.restart()
    bench.names("/t/d0000")
    bench.store.fail("list_page", times=FOR_GOOD)
    bench.store.fail("walk_page", times=FOR_GOOD, skip=1)
    assert paths(bench) == keys


def test_away_before_a_directory_was_ever_listed(bench: Bench) -> None:
    fill(bench.memory, directories=5, files=3)
    bench.names("/t/d0000")
    bench.store.fail("walk_page", times=FOR_GOOD)
    bench.store.fail("list_page", "t/d0002/", times=FOR_GOOD)
    bench.names("/t/d0001")
    with pytest.raises(IOFailure):
        bench.names("/t/d0002")
    assert len(bench.names("/t/d0003")) == 3


class ShuffledStore(MemoryStore):
    """Its pages come in an order of their own, as those of S3's directory buckets do."""

    def list_page(
        self, prefix: ObjectKey, *, delimiter: str = "/", token: str | None = None, after: ObjectKey | None = None
    ) -> ListPage:
        page = super().list_page(prefix, delimiter=delimiter, token=token, after=after)
        if delimiter:
            return page
        return ListPage(sorted(page.objects, key=lambda info: info.key[::-1]), page.prefixes, page.next_token)


class ShuffledBench(Bench):
    def make_store(self) -> MemoryStore:
        return ShuffledStore(page_size=self.page_size)


def test_a_store_with_an_order_of_its_own_is_not_walked(tmp_path: Path) -> None:
    bench = ShuffledBench(tmp_path)
    try:
        keys = fill(bench.memory, directories=30, files=3)
        assert paths(bench) == keys
        has_no_walk(bench)
        tried = bench.store.count("walk_page")
        assert 1 <= tried <= walks.WALKS_MAX
        bench.refresh("/t")
        for number in range(30):
            bench.refresh(f"/t/d{number:04}")
        assert bench.tree().keys() == keys
        assert bench.store.count("walk_page") == tried
    finally:
        bench.close()


class HauntedStore(MemoryStore):
    """Directories without objects stay, and only a listing with delimiter shows them: SeaweedFS."""

    def list_page(
        self, prefix: ObjectKey, *, delimiter: str = "/", token: str | None = None, after: ObjectKey | None = None
    ) -> ListPage:
        page = super().list_page(prefix, delimiter=delimiter, token=token, after=after)
        if not delimiter or not prefix.startswith("t/d") or prefix.count("/") != 2:
            return page
        return ListPage(page.objects, [*page.prefixes, ObjectKey(f"{prefix}ghost/")], page.next_token)


class HauntedBench(Bench):
    def make_store(self) -> MemoryStore:
        return HauntedStore(page_size=self.page_size)


def test_a_directory_that_only_its_parents_listing_shows_stays(tmp_path: Path) -> None:
    bench = HauntedBench(tmp_path)
    try:
        fill(bench.memory, directories=8, files=3)
        for number in range(8):
            bench.names(f"/t/d{number:04}")
            bench.refresh(f"/t/d{number:04}")
            assert "ghost" in bench.names(f"/t/d{number:04}")
        inos = [bench.ino(f"/t/d{number:04}/ghost") for number in range(8)]
        bench.restart()
        paths(bench)
        assert [bench.ino(f"/t/d{number:04}/ghost") for number in range(8)] == inos
    finally:
        bench.close()


def test_several_that_walk_at_once(bench: Bench) -> None:
    keys = {above: fill(bench.memory, directories=100, files=5, above=f"t/{above}") for above in "abcd"}
    found: dict[str, set[str]] = {}

    def walk_one(above: str) -> None:
        found[above] = paths(bench, f"/t/{above}")

    threads = [threading.Thread(target=walk_one, args=(above,)) for above in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == keys
    assert listings(bench) <= 60


def test_the_drive_closes_while_a_page_is_asked_for(bench: Bench) -> None:
    fill(bench.memory, directories=6, files=3)
    gate = bench.store.hold("walk_page")
    bench.names("/t/d0000")
    bench.names("/t/d0001")
    gate.wait_arrived()
    drive: Drive = bench.drive
    assert not drive.close(0.2)
    gate.open()
    has_no_walk(bench)


def test_nothing_is_listed_ahead_that_would_not_stay_fresh(make_bench: Make) -> None:
    bench = make_bench(ttl_s=5.0)
    keys = fill(bench.memory, directories=10, files=3)
    assert paths(bench) == keys
    assert not bench.store.count("walk_page")


def test_what_a_walk_found_is_fresh_for_no_longer_than_promised(
    make_bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walks, "HABIT_S", 0.5)
    bench = make_bench(ttl_s=1.0)
    keys = fill(bench.memory, directories=10, files=3)
    assert paths(bench) == keys
    bench.memory.foreign_put("t/d0007/new", b"new")
    until(lambda: "new" in bench.names("/t/d0007"), 3)


def test_a_moved_tree_is_listed_ahead(make_bench: Make) -> None:
    """Each directory must be known before it hands its move down."""
    bench = make_bench(page_size=300)
    keys = fill(bench.memory, directories=100, files=5)
    bench.fs.rename("/t", "/u")
    bench.drain()
    assert bench.bucket() == {key.replace("t/", "u/"): b"x" for key in keys}
    assert listings(bench) <= 8, "the root, t, and two pages of what is below; a page more where one comes too late"
    assert paths(bench) == {key.replace("t/", "u/") for key in keys}


def test_a_moved_tree_that_nobody_can_walk_is_listed_directory_by_directory(make_bench: Make) -> None:
    bench = make_bench(ttl_s=0.0)
    keys = fill(bench.memory, directories=30, files=5)
    bench.fs.rename("/t", "/u")
    bench.drain()
    assert bench.bucket() == {key.replace("t/", "u/"): b"x" for key in keys}
    assert bench.store.count("walk_page") == 0


def test_a_moved_tree_whose_walk_fails_is_listed_directory_by_directory(bench: Bench) -> None:
    keys = fill(bench.memory, directories=30, files=5)
    bench.store.fail("walk_page", times=FOR_GOOD)
    bench.fs.rename("/t", "/u")
    bench.drain()
    assert bench.bucket() == {key.replace("t/", "u/"): b"x" for key in keys}


def test_a_foreign_file_in_a_moved_tree_moves_along_while_it_is_listed(bench: Bench) -> None:
    keys = fill(bench.memory, directories=20, files=5)

    def put(operation: str, _: str, moment: Moment) -> None:
        if (operation, moment) == ("walk_page", Moment.BEFORE):
            bench.memory.foreign_put("t/d0019/z", b"x")

    bench.store.watch = put
    bench.fs.rename("/t", "/u")
    bench.drain()
    assert bench.bucket() == {key.replace("t/", "u/"): b"x" for key in keys | {"t/d0019/z"}}
