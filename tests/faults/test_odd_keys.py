"""Every object has a name, and can be listed, read, written, renamed and removed by it; every name has a key."""

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from s3mount import names
from s3mount.errors import Exists, NotFound
from tests.faults.bench import CALLER, Bench

Make = Callable[..., Bench]

ODD_KEYS = [
    "a",
    "a/b",
    "d//x",
    "/lead",
    "//",
    "/",
    "d/",
    "own/",
    "own//",
    "own//own",
    "d/./",
    "nul\0/",
    "esc%key/",
    "d/./dot",
    "d/../up",
    "..",
    "nul\0key",
    "c\x01\x7f\n",
    "l" * 300,
    f"{'ü' * 200}/{'m' * 300}/f",
    "k" * 1024,
    "x/%key",
    "100%",
    "esc%key",
    "esc%25key%key",
    "caf%E9%name",
    "dir_$folder$",
]

parts = st.lists(
    st.sampled_from(["", "a", "b", ".", "..", "\0", "%key", "%name", "%25", "%E9", "é", "x" * 255, "\n"]), max_size=3
).map("".join)
object_keys = st.lists(parts, min_size=1, max_size=4).map("/".join).filter(lambda key: 0 < len(key.encode()) <= 1024)


def walk(bench: Bench, path: str = "") -> dict[str, str]:
    """Path by key, of every file below."""
    found: dict[str, str] = {}
    for name in bench.names(path or "/"):
        below = f"{path}/{name}"
        inode = bench.index.inodes.get(bench.fs.getattr(below).ino)
        if inode.is_dir:
            found |= walk(bench, below)
        else:
            found[bench.index.dentries.path_key(inode) or ""] = below
    return found


def body(key: str) -> bytes:
    return b"of " + key.encode()


def put_all(bench: Bench, keys: list[str]) -> None:
    for key in keys:
        bench.memory.foreign_put(key, body(key))


def files(bench: Bench) -> set[str]:
    return {key for key, item in bench.memory.objects().items() if item.body or not key.endswith("/")}


def remount_empty(make_bench: Make, bench: Bench) -> Bench:
    """Another index over the same bucket."""
    other = make_bench()
    other.memory._objects.update(bench.memory.objects())
    return other


def check_every_object(make_bench: Make, keys: list[str]) -> None:
    bench = make_bench()
    put_all(bench, keys)
    wanted = set(keys)
    found = walk(bench)
    assert set(found) == wanted
    assert len(set(found.values())) == len(found)
    for key, path in found.items():
        for name in path.split("/")[1:]:
            assert names.is_name(name)
        assert bench.read(path) == body(key)
    assert bench.is_clean()  # looking at it changes nothing

    again = remount_empty(make_bench, bench)
    assert walk(again) == found

    for path in found.values():  # written in place: under its own key
        bench.write(path, b"OF")
        bench.fs.chmod(path, 0o600)
    bench.drain()
    assert (
        {key: bench.memory.objects()[key].body for key in files(bench)}
        == {  # type: ignore[index]
            key: b"OF" + body(key)[2:] for key in wanted
        }
    )
    assert walk(bench) == found

    for number, path in enumerate(found.values()):  # renamed, there and back
        bench.fs.rename(path, f"/renamed {number}")
        if number % 2:
            bench.drain()
        bench.fs.rename(f"/renamed {number}", path)
    bench.drain()
    for number, (key, path) in enumerate(found.items()):
        assert bench.read(path) == b"OF" + body(key)[2:]
        bench.fs.rename(path, f"/renamed {number}")
    bench.drain()
    assert files(bench) == {f"renamed {number}" for number in range(len(found))}

    for path in walk(again).values():
        again.fs.unlink(path)
    again.drain()
    assert files(again) == set()


def test_odd_keys(make_bench: Make) -> None:
    check_every_object(make_bench, ODD_KEYS)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(object_keys, unique=True, max_size=8))
@example(["a/", "a/%key", "a/%25key%name", "a//", "a//b"])
@example(["a", "a/b", "a%key", "a%25key%key", "a%25key%name"])
@example(["é%name", "caf%E9%name", "caf%E9%name/x", "caf%25E9%25name%key"])
@example([f"{'x' * 255}.", names.shown("x" * 255 + ".", is_dir=False)])
def test_any_keys(make_bench: Make, keys: list[str]) -> None:
    check_every_object(make_bench, keys)


@pytest.mark.parametrize("page_size", [1, 1000])
def test_a_directory_that_comes_to_be_beside_an_object(make_bench: Make, page_size: int) -> None:
    live = make_bench(ttl_s=0.0, page_size=page_size)
    live.memory.foreign_put("a", b"object")
    assert live.tree() == {"a": b"object"}
    ino = live.ino("/a")
    fh = live.open("/a", os.O_RDONLY)
    live.memory.foreign_put("a/x", b"x")
    assert live.tree() == {"a%key": b"object", "a/x": b"x"}
    assert live.ino("/a%key") == ino
    assert live.read_all(fh) == b"object"
    live.fs.release(fh)
    live.write("/a%key", b"OBJ")
    live.fs.rename("/a", "/moved")
    live.drain()
    assert live.bucket() == {"a": b"OBJect", "moved/x": b"x"}
    # The name stays what it was; a fresh mount shows "a". A second file of that key there cannot be.
    assert live.tree() == {"a%key": b"OBJect", "moved/x": b"x"}
    with pytest.raises(Exists):
        live.create("/a")
    live.fs.rename("/a%key", "/a")
    live.check({"a": b"OBJect", "moved/x": b"x"})


def test_an_object_that_comes_to_be_beside_a_directory_of_ours(make_bench: Make) -> None:
    live = make_bench(ttl_s=0.0)
    live.mkdir("/a")
    live.memory.foreign_put("a", b"object")
    assert live.names() == ["a", "a%key"]
    live.fs.unlink("/a%key")
    live.drain()
    assert live.bucket() == {}
    live.write("/a%key", b"as before")
    live.drain()
    assert live.bucket() == {"a": b"as before"}


def test_a_file_owed_keeps_its_name_until_it_is_uploaded(make_bench: Make) -> None:
    live = make_bench(ttl_s=0.0, delay_s=1.0)
    live.write("/a", b"ours")
    live.memory.foreign_put("a/x", b"x")
    assert live.tree() == {"a": b"ours"}
    live.drain()
    assert live.tree() == {"a%key": b"ours", "a/x": b"x"}


def test_a_long_key_is_kept_by_an_editors_save(bench: Bench) -> None:
    key = "n" * 400
    bench.memory.foreign_put(key, b"old")
    (name,) = bench.names()
    bench.write("/tmp", b"new")
    bench.fs.rename("/tmp", f"/{name}")
    bench.drain()
    assert bench.bucket() == {key: b"new"}
    bench.fs.unlink(f"/{name}")
    bench.write(f"/{name}", b"newer")
    bench.mkdir("/d")
    bench.fs.rename(f"/{name}", f"/d/{name}")
    bench.drain()
    assert bench.bucket() == {f"d/{key}": b"newer"}


def test_a_name_like_a_hash_made_here_comes_back(bench: Bench, make_bench: Make) -> None:
    name = names.shown("n" * 400, is_dir=False)
    bench.write(f"/{name}", b"x")
    bench.drain()
    assert remount_empty(make_bench, bench).tree() == {name: b"x"}


def test_names_that_are_no_utf8(bench: Bench, make_bench: Make) -> None:
    raw = [b"caf\xe9", b"\xff\xfe", b"\xe9" * 255, b"100%", b"a%key", b"%key", b"caf%E9%name", b"\xc3\xa9\xe9\n"]
    tree = {names.from_bytes(name): name for name in raw}
    for name, content in tree.items():
        bench.write(f"/{name}", content)
    directory = names.from_bytes(b"dir\xe9")
    bench.mkdir(f"/{directory}")
    bench.write(f"/{directory}/{directory}", b"below")
    tree |= {f"{directory}/{directory}": b"below"}
    assert bench.tree() == tree
    bench.fs.symlink(names.from_bytes(b"to\xe9"), f"/{directory}/link", CALLER)
    tree |= {f"{directory}/link": b"to\xe9"}
    bench.drain()
    assert "caf%E9%name" in bench.object_keys()
    assert "dir%E9%name/dir%E9%name" in bench.object_keys()
    bench.restart()
    assert bench.fs.readlink(f"/{directory}/link") == names.from_bytes(b"to\xe9")
    assert bench.tree() == tree
    again = remount_empty(make_bench, bench)
    assert again.tree() == tree
    assert again.fs.readlink(f"/{directory}/link") == names.from_bytes(b"to\xe9")
    for name in raw:
        again.fs.unlink(f"/{names.from_bytes(name)}")
    again.fs.rename(f"/{directory}", "/plain")
    again.drain()
    assert again.bucket() == {"plain/dir%E9%name": b"below", "plain/link": b"to\xe9"}
    with pytest.raises(NotFound):
        again.fs.getattr(f"/{directory}")
