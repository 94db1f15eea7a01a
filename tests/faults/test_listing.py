"""What others do to the bucket is seen (P9), and what is ours under way is not taken for theirs."""

import threading
import time
from collections.abc import Callable

import pytest

from s3mount.errors import NotFound, Stale
from s3mount.model import ObjectKey
from tests.faults.bench import CALLER, LONG_S, MIB, Bench

Make = Callable[..., Bench]


@pytest.fixture
def live(make_bench: Make) -> Bench:
    return make_bench(ttl_s=0.0)


def test_additions_changes_and_removals_are_seen(live: Bench) -> None:
    live.memory.foreign_put("a", b"one")
    live.memory.foreign_put("d/x", b"x")
    assert live.tree() == {"a": b"one", "d/x": b"x"}
    live.memory.foreign_put("a", b"two!")
    live.memory.foreign_delete("d/x")
    live.memory.foreign_put("e/y", b"y")
    assert live.tree() == {"a": b"two!", "e/y": b"y"}
    assert "d" not in live.names()


def test_open_handles_are_stale_after_a_foreign_change(live: Bench) -> None:
    live.memory.foreign_put("a", b"one" * MIB)
    fh = live.open("/a")
    live.fs.read(fh, 0, 3)
    live.memory.foreign_put("a", b"two" * MIB)
    assert live.read("/a") == b"two" * MIB
    with pytest.raises(Stale):
        live.fs.read(fh, 0, 3)
    with pytest.raises(Stale):
        live.fs.write(fh, 0, b"x")
    live.fs.release(fh)
    live.check({"a": b"two" * MIB})


def test_a_file_replaced_by_a_directory_and_back(live: Bench) -> None:
    live.memory.foreign_put("a", b"file")
    assert live.tree() == {"a": b"file"}
    live.memory.foreign_delete("a")
    live.memory.foreign_put("a/x", b"x")
    assert live.tree() == {"a/x": b"x"}
    live.memory.foreign_delete("a/x")
    live.memory.foreign_put("a", b"again")
    assert live.tree() == {"a": b"again"}


@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_an_object_beside_a_prefix_of_that_name(make_bench: Make, page_size: int) -> None:
    live = make_bench(ttl_s=0.0, page_size=page_size)
    for key in ("a", "a.txt", "a/x"):
        live.memory.foreign_put(key, key.encode())
    for _ in range(3):
        assert live.tree() == {"a%key": b"a", "a.txt": b"a.txt", "a/x": b"a/x"}
    assert live.bucket().keys() == {"a", "a.txt", "a/x"}


def test_local_work_below_a_removed_directory_stays(make_bench: Make) -> None:
    live = make_bench(ttl_s=0.0, delay_s=0.5)
    live.memory.foreign_put("d/x", b"x")
    live.memory.foreign_put("d/s/y", b"y")
    assert live.tree() == {"d/x": b"x", "d/s/y": b"y"}
    live.write("/d/s/new", b"new")
    live.memory.foreign_delete("d/x")
    live.memory.foreign_delete("d/s/y")
    assert live.tree() == {"d/s/new": b"new"}
    live.check({"d/s/new": b"new"})


def test_three_thousand_keys(live: Bench) -> None:
    for n in range(3000):
        live.memory.foreign_put(f"k{n:04}", b"x")
    assert len(live.names()) == 3000
    live.memory.foreign_delete("k1500")
    assert len(live.names()) == 2999


def test_our_work_between_two_pages(make_bench: Make) -> None:
    bench = make_bench(page_size=2, delay_s=0.0)
    for name in ("a", "b", "m", "n", "y", "z"):
        bench.write(f"/{name}", name.encode())
    bench.drain()
    gate = bench.store.hold("list_page", "", skip=1)
    bench.refresh()
    listing = threading.Thread(target=bench.names)
    listing.start()
    gate.wait_arrived()
    # By path the drive would wait for the listing too: the work goes on through handles and the index.
    drive = bench.drive
    fresh = drive.lister._fresh_until_s
    root = next(iter(fresh))
    fresh[root] = float("inf")
    bench.fs.unlink("/a")
    bench.fs.rename("/b", "/x")
    bench.fs.rename("/y", "/c")
    bench.write("/m", b"changed")
    bench.write("/k", b"k")
    bench.drain()
    gate.open()
    listing.join(5)
    bench.check({"x": b"b", "c": b"y", "m": b"changed", "n": b"n", "z": b"z", "k": b"k"})


def test_bytes_written_while_a_later_page_comes_are_kept(make_bench: Make) -> None:
    bench = make_bench(page_size=1, delay_s=0.5)
    bench.memory.foreign_put("a", b"one" * 100)
    bench.memory.foreign_put("b", b"b")
    assert bench.read("/a") == b"one" * 100
    bench.memory.foreign_put("a", b"two" * 100)
    gate = bench.store.hold("list_page", "", skip=1)
    bench.refresh()
    listing = threading.Thread(target=bench.names)
    listing.start()
    gate.wait_arrived()
    root = next(iter(bench.drive.lister._fresh_until_s))
    bench.drive.lister._fresh_until_s[root] = float("inf")
    assert bench.read("/a") == b"two" * 100
    bench.write("/a", b"!")
    gate.open()
    listing.join(5)
    bench.check({"a": b"!" + (b"two" * 100)[1:], "b": b"b"})


def test_a_name_under_way_elsewhere_does_not_come_back(make_bench: Make) -> None:
    bench = make_bench(ttl_s=0.0)
    hold = bench.store.hold("put", "tmp")
    bench.write("/tmp", b"x")
    hold.wait_arrived()
    bench.fs.rename("/tmp", "/final")
    bench.memory.foreign_put("tmp", b"as if the request had arrived", {})
    assert bench.names() == ["final"]
    bench.memory.foreign_delete("tmp")
    hold.open()
    bench.check({"final": b"x"})


def test_one_head_per_version(make_bench: Make) -> None:
    bench = make_bench(ttl_s=LONG_S)
    for n in range(30):
        bench.memory.foreign_put(f"f{n}", b"x", {"mode": str(0o100600)})
    assert len(bench.names()) == 30
    for n in range(30):
        assert bench.fs.getattr(f"/f{n}").mode == 0o100600
        bench.fs.getattr(f"/f{n}")
    assert bench.store.count("head") == 30


def test_foreign_metadata_survives_rename_chmod_and_a_new_body(bench: Bench) -> None:
    bench.memory.foreign_put("a", b"x", {"color": "red", "mode": str(0o100644)})
    bench.fs.chmod("/a", 0o600)
    bench.drain()
    bench.fs.rename("/a", "/b")
    bench.write("/b", b"y")
    bench.drain()
    metadata = bench.memory.objects()["b"].metadata  # type: ignore[index]
    assert metadata["color"] == "red"
    assert metadata["mode"] == str(0o100600)


def test_a_symlink_made_by_another_tool(bench: Bench) -> None:
    bench.memory.foreign_put("l", "zïel".encode(), {"mode": str(0o120777)})
    assert bench.fs.readlink("/l") == "zïel"
    bench.fs.rename("/l", "/m")
    bench.drain()
    assert bench.bucket() == {"m": "zïel".encode()}
    assert bench.fs.readlink("/m") == "zïel"


def test_a_head_that_races_our_own_upload(bench: Bench) -> None:
    bench.memory.foreign_put("a", b"one")
    gate = bench.store.hold("head", "a")
    assert bench.names() == ["a"]
    gate.wait_arrived()
    bench.memory.foreign_put("a", b"two!")
    gate.open()
    assert bench.read("/a") == b"two!"
    bench.write("/a", b"X")
    bench.check({"a": b"Xwo!"})


def test_an_object_that_goes_before_its_head_is_no_file(bench: Bench) -> None:
    bench.memory.foreign_put("a", b"one")
    gate = bench.store.hold("head", "a")
    assert bench.names() == ["a"]
    gate.wait_arrived()
    bench.memory.foreign_delete("a")
    gate.open()
    with pytest.raises(NotFound):
        bench.fs.getattr("/a")
    assert bench.names() == []


def next_second() -> None:
    """The store's times have whole seconds, as S3's."""
    time.sleep(1 - time.time() % 1 + 0.01)


def test_a_change_of_metadata_alone_is_seen(live: Bench) -> None:
    """Its ETag is the same: the listing tells it by its time."""
    live.memory.foreign_put("foreign", b"x", {"mode": str(0o100600)})
    live.write("/ours", b"x")
    live.fs.mkdir("/d", 0o700, CALLER)
    live.settle()
    for path, mode in (("/foreign", 0o600), ("/ours", 0o644), ("/d", 0o700)):
        assert live.fs.getattr(path).mode & 0o777 == mode
    live.tree()
    heads = live.store.count("head")
    live.tree()
    assert live.store.count("head") == heads, "nothing has changed, so nothing is asked for"
    next_second()
    for key in ("foreign", "ours"):
        live.memory.foreign_put(key, b"x", {"mode": str(0o100640), "mtime": "7"})
    live.memory.foreign_put("d/", b"", {"mode": str(0o40750)})
    live.tree()
    for path, mode in (("/foreign", 0o640), ("/ours", 0o640), ("/d", 0o750)):
        assert live.fs.getattr(path).mode & 0o777 == mode, path
    assert live.fs.getattr("/ours").mtime_ns == 7_000_000_000
    assert live.read("/ours") == b"x"
    live.fs.chmod("/ours", 0o604)
    live.check({"foreign": b"x", "ours": b"x"})
    kept = live.memory.objects()[ObjectKey("ours")].metadata
    assert kept["mode"] == str(0o100604)


def test_a_store_that_forgets_the_metadata_of_directories_does_not_take_it_from_the_index(live: Bench) -> None:
    live.fs.mkdir("/d", 0o700, CALLER)
    live.fs.utimens("/d", 5, 5)
    live.settle()
    live.tree()
    for _ in range(2):
        next_second()
        live.memory.foreign_put("d/", b"", {})
        live.tree()
        found = live.fs.getattr("/d")
        assert (found.mode & 0o777, found.mtime_ns) == (0o700, 5)
