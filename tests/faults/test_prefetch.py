"""Files of a directory that is read in order are fetched ahead: one GET each, nothing kept that is not right."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3mount import metadata
from s3mount.errors import Archived, Denied
from s3mount.model import ObjectKey
from s3mount.vfs.tours import STREAK_MIN
from tests.faults.bench import KIB, MIB, Bench, until
from tests.support.faulty_store import Moment

FIRST, SECOND = 8, 6


def bodies() -> dict[str, bytes]:
    names = [f"a/{n}" for n in range(FIRST)] + [f"b/{n}" for n in range(SECOND)]
    return {name: f"body of {name}".encode() * KIB for name in names}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Bench]:
    """Two directories in the bucket, of which nothing is known here."""
    bench = Bench(tmp_path)
    for key, body in bodies().items():
        bench.memory.foreign_put(key, body, {"mode": "33152"})
    yield bench
    bench.close()


def read_in_order(bench: Bench, directory: str, count: int) -> None:
    for name in list(itertools.islice(bench.names(directory), count)):
        path = f"{directory}/{name}"
        assert bench.read(path) == bodies()[path.strip("/")]


def gets(bench: Bench, key: str) -> int:
    return bench.store.count("get", key)


def requests(bench: Bench, key: str) -> int:
    return gets(bench, key) + bench.store.count("head", key)


def test_next_directory_takes_one_get_a_file(tree: Bench) -> None:
    read_in_order(tree, "/a", FIRST)
    tree.names("/b")
    keys = [key for key in bodies() if key.startswith("b/")]
    until(lambda: all(gets(tree, key) == 1 for key in keys), what="fetched before it is read")
    read_in_order(tree, "/b", SECOND)
    assert [requests(tree, key) for key in keys] == [1] * SECOND
    assert all(tree.fs.getattr(f"/{key}").mode == 0o100600 for key in keys)


def test_not_for_who_only_looks(tree: Bench) -> None:
    for directory in ("/a", "/b"):
        for name in tree.names(directory):
            tree.fs.getattr(f"{directory}/{name}")
    assert tree.store.count("get") == 0


def test_one_get_for_reader_and_prefetch(tree: Bench) -> None:
    read_in_order(tree, "/a", STREAK_MIN - 1)
    ahead = f"a/{STREAK_MIN}"
    gate = tree.store.hold("get", ahead)
    read_in_order(tree, "/a", STREAK_MIN)
    gate.wait_arrived()
    gate.open()
    assert tree.read(f"/{ahead}") == bodies()[ahead]
    assert gets(tree, ahead) == 1


def test_failure_is_not_the_reader_s(tree: Bench) -> None:
    read_in_order(tree, "/a", STREAK_MIN - 1)
    ahead = f"a/{STREAK_MIN}"
    tree.store.fail("get", ahead, error=Denied("not now"))
    read_in_order(tree, "/a", STREAK_MIN)
    until(lambda: gets(tree, ahead) == 1)
    assert tree.read(f"/{ahead}") == bodies()[ahead]


def test_archived_objects_show_their_attributes(tree: Bench) -> None:
    read_in_order(tree, "/a", FIRST)
    tree.store.fail("get", "b/0", error=Archived("restore it first"))
    tree.names("/b")
    until(lambda: gets(tree, "b/0") == 1)
    assert tree.fs.getattr("/b/0").mode == 0o100600


def test_replaced_after_the_listing(tree: Bench) -> None:
    read_in_order(tree, "/a", FIRST)
    gate = tree.store.hold("get", "b/0")
    tree.names("/b")
    gate.wait_arrived()
    tree.memory.foreign_put("b/0", b"new", {"mode": "33188"})
    gate.open()
    assert tree.fs.getattr("/b/0").mode == 0o100644
    assert tree.read("/b/0") == b"new"


@pytest.mark.parametrize("moment", list(Moment))
def test_written_here_meanwhile(tree: Bench, moment: Moment) -> None:
    """What is fetched must not come over what was written, nor show after what was cut."""
    read_in_order(tree, "/a", STREAK_MIN - 1)
    ahead = f"a/{STREAK_MIN}"
    gate = tree.store.hold("get", ahead, moment=moment)
    read_in_order(tree, "/a", STREAK_MIN)
    gate.wait_arrived()
    tree.fs.truncate(f"/{ahead}", 3)
    tree.write(f"/{ahead}", b"local", 1 * KIB)
    gate.open()
    expected = bodies()[ahead][:3].ljust(KIB, b"\0") + b"local"
    assert tree.read(f"/{ahead}") == expected
    tree.drain()
    assert tree.memory.objects()[ObjectKey(ahead)].body == expected


def test_removed_here_meanwhile(tree: Bench) -> None:
    read_in_order(tree, "/a", STREAK_MIN - 1)
    ahead = f"a/{STREAK_MIN}"
    ino = tree.ino(f"/{ahead}")
    gate = tree.store.hold("get", ahead)
    read_in_order(tree, "/a", STREAK_MIN)
    gate.wait_arrived()
    tree.fs.unlink(f"/{ahead}")
    gate.open()
    tree.drive._prefetch.close(5)
    assert not tree.drive.cache.has_file(ino)
    assert tree.index.cache_entries.load(ino) is None


def test_one_more_name_of_a_file_keeps_no_bytes_of_its_own(tree: Bench) -> None:
    body = bodies()["b/0"]
    tree.write("/first", body)
    tree.link("/first", "/b/0x")
    tree.drain()
    link = tree.memory.objects()[ObjectKey("b/0x")].metadata
    assert metadata.decode(link, is_dir_key=False).link
    tree.start_empty()
    tree.fs.getattr("/first")
    read_in_order(tree, "/a", FIRST)
    tree.names("/b")
    until(lambda: gets(tree, "b/0x") == 1)
    tree.drive._prefetch.close(5)
    shadow = tree.index.dentries.lookup(tree.ino("/b"), "0x")
    assert shadow is not None
    row = tree.index.inodes.get(shadow)
    assert row.link_of is not None
    assert not tree.drive.cache.has_file(shadow)
    assert tree.read("/b/0x") == body


def test_off(tmp_path: Path) -> None:
    bench = Bench(tmp_path, prefetch_bytes=0)
    try:
        for key, body in bodies().items():
            bench.memory.foreign_put(key, body)
        read_in_order(bench, "/a", FIRST)
        read_in_order(bench, "/b", SECOND - 1)
        assert gets(bench, f"b/{SECOND - 1}") == 0
    finally:
        bench.close()


def test_a_cache_without_room_stays_as_it_is(tmp_path: Path) -> None:
    """Full of what the bucket does not have: nothing is fetched but what is read."""
    bench = Bench(tmp_path, cache_bytes=1 * MIB, delay_s=3600.0)
    try:
        for key, body in bodies().items():
            bench.memory.foreign_put(key, body)
        bench.write("/owed", b"x" * (1 * MIB - 1 * KIB))
        read_in_order(bench, "/a", FIRST)
        read_in_order(bench, "/b", SECOND - 1)
        assert gets(bench, f"b/{SECOND - 1}") <= 1
        assert bench.drive.cache.used_bytes <= 1 * MIB
        assert bench.read("/owed") == b"x" * (1 * MIB - 1 * KIB)
    finally:
        bench.store.heal()
        bench.drive.close()
