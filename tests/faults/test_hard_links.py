"""Hard links: one inode under several names, each an object of its own that follows the file (P1, P8)."""

import errno
import os
from collections.abc import Callable

import pytest

from s3mount.bindings.error_codes import errno_of
from s3mount.errors import Exists, FsError, NotPermitted, Rejected, TooManyLinks
from s3mount.metadata import LINK_KEY
from s3mount.vfs import hard_links
from s3mount.vfs.context import VfsOptions
from tests.faults.bench import CALLER, Bench, until
from tests.support.faulty_store import FOR_GOOD, Moment

Make = Callable[..., Bench]


def linked(bench: Bench, *names: str, data: bytes = b"one") -> None:
    """A file under all of these names, in the bucket."""
    bench.write(names[0], data)
    for name in names[1:]:
        bench.link(names[0], name)
    bench.drain()


def requests(bench: Bench) -> list[tuple[str, ...]]:
    calls = [call for call in bench.store.calls if call[0] not in ("list_page", "head")]
    bench.store.calls.clear()
    return calls


def check(bench: Bench, groups: list[set[str]], content: dict[str, bytes]) -> None:
    """`groups`: names that are one inode; `content`: of each name. Bucket, tree and link counts agree."""
    bench.check(content)
    assert not bench.oddities()
    for group in groups:
        inos = {bench.ino(f"/{name}") for name in group}
        assert len(inos) == 1, f"{group}: {inos}"
        assert {bench.nlink(f"/{name}") for name in group} == {len(group)}
    assert len({bench.ino(f"/{next(iter(group))}") for group in groups}) == len(groups)


def test_a_name_more_is_one_copy_inside_s3(bench: Bench) -> None:
    bench.write("/a", b"one")
    bench.drain()
    requests(bench)
    before = bench.fs.getattr("/a").ctime_ns
    bench.link("/a", "/b")
    assert bench.fs.getattr("/a").ctime_ns > before
    check(bench, [{"a", "b"}], {"a": b"one", "b": b"one"})
    assert requests(bench) == [("copy", "a"), ("copy", "b")]
    bench.link("/b", "/c")
    check(bench, [{"a", "b", "c"}], dict.fromkeys("abc", b"one"))
    assert requests(bench) == [("copy", "c")]  # who has the group already is not written again


def test_linked_before_its_first_upload(make_bench: Make) -> None:
    bench = make_bench(delay_s=0.2)
    linked(bench, "/a", "/b", "/c")
    assert sorted(requests(bench)) == [("copy", "b"), ("copy", "c"), ("put", "a")]
    check(bench, [{"a", "b", "c"}], dict.fromkeys("abc", b"one"))


@pytest.mark.parametrize("through", ["/a", "/b"])
def test_a_write_through_one_name_reaches_all(bench: Bench, through: str) -> None:
    linked(bench, "/a", "/b", "/c")
    bench.write(through, b"two!")
    assert bench.read("/a") == bench.read("/c") == b"two!"
    requests(bench)
    check(bench, [{"a", "b", "c"}], dict.fromkeys("abc", b"two!"))
    bench.fs.chmod(through, 0o600)
    bench.drain()
    modes = {key: item.metadata["mode"] for key, item in bench.memory.objects().items()}  # type: ignore[index]
    assert modes == dict.fromkeys("abc", str(0o100600))


def test_a_handle_of_one_name_writes_what_another_reads(bench: Bench) -> None:
    linked(bench, "/a", "/b")
    one, other = bench.open("/a"), bench.open("/b")
    bench.fs.write(one, 0, b"xyz")
    assert bench.fs.read(other, 0, 9) == b"xyz"
    bench.fs.unlink("/a")
    bench.fs.write(one, 3, b"!")
    assert bench.fs.read(other, 0, 9) == b"xyz!"
    bench.close_file(one)
    bench.close_file(other)
    check(bench, [{"b"}], {"b": b"xyz!"})


@pytest.mark.parametrize("gone", ["a", "b", "c"])
@pytest.mark.parametrize("is_settled", [True, False])
@pytest.mark.parametrize("is_written", [True, False])
def test_unlink_of_any_name(make_bench: Make, gone: str, is_settled: bool, is_written: bool) -> None:
    bench = make_bench()
    if is_settled:
        linked(bench, "/a", "/b", "/c")
    else:
        bench.write("/a", b"one")
        bench.drain()
        bench.store.fail("copy", times=FOR_GOOD)
        bench.link("/a", "/b")
        bench.link("/a", "/c")
    ino = bench.ino("/a")
    data = b"one"
    if is_written:
        bench.write("/b", data := b"changed")
    bench.fs.unlink(f"/{gone}")
    bench.store.heal()
    left = {"a", "b", "c"} - {gone}
    check(bench, [left], dict.fromkeys(left, data))
    assert {bench.ino(f"/{name}") for name in left} == {ino}
    for name in sorted(left):
        assert bench.nlink(f"/{name}") == len(left)
        bench.fs.unlink(f"/{name}")
        left = left - {name}
        check(bench, [left] if left else [], dict.fromkeys(left, data))


def test_a_settled_name_takes_over_without_a_copy_of_the_bytes(bench: Bench) -> None:
    linked(bench, "/a", "/b", "/c")
    requests(bench)
    bench.fs.unlink("/a")
    check(bench, [{"b", "c"}], dict.fromkeys("bc", b"one"))
    assert requests(bench) == [("delete", "a")]
    bench.fs.unlink("/b")
    check(bench, [{"c"}], {"c": b"one"})
    assert sorted(requests(bench)) == [("copy", "c"), ("delete", "b")]
    assert LINK_KEY not in bench.memory.objects()["c"].metadata  # type: ignore[operator]


def test_renames(bench: Bench) -> None:
    linked(bench, "/a", "/b", "/c")
    bench.write("/x", b"other")
    bench.fs.rename("/a", "/b")  # rename(2): both are the same file, nothing happens
    check(bench, [{"a", "b", "c"}, {"x"}], {**dict.fromkeys("abc", b"one"), "x": b"other"})
    bench.fs.rename("/b", "/d")
    bench.fs.rename("/a", "/b")
    check(bench, [{"b", "c", "d"}, {"x"}], {**dict.fromkeys("bcd", b"one"), "x": b"other"})
    bench.fs.rename("/x", "/c")
    check(bench, [{"b", "d"}, {"c"}], {**dict.fromkeys("bd", b"one"), "c": b"other"})
    bench.fs.rename("/c", "/b")
    check(bench, [{"d"}, {"b"}], {"d": b"one", "b": b"other"})


@pytest.mark.parametrize("is_written", [False, True])
@pytest.mark.parametrize(
    "steps", [("a>b",), ("a>t", "b>a", "t>b"), ("b>t", "a>b", "t>a"), ("b>c", "a>b"), ("a>c", "b>a")]
)
def test_names_that_change_places(make_bench: Make, steps: tuple[str, ...], is_written: bool) -> None:
    bench = make_bench(delay_s=0.1)
    linked(bench, "/a", "/b")
    data, names = b"one", {"a", "b"}
    if is_written:
        bench.write("/a", data := b"written")
    for step in steps:
        old, new = step.split(">")
        bench.fs.rename(f"/{old}", f"/{new}")
        names = names if steps == ("a>b",) else names - {old} | {new}
    check(bench, [names], dict.fromkeys(names, data))


def test_a_directory_with_links_moves(bench: Bench) -> None:
    bench.mkdir("/d")
    linked(bench, "/d/a", "/d/b", "/c")
    bench.fs.rename("/d", "/e")
    check(bench, [{"e/a", "e/b", "c"}], dict.fromkeys(("e/a", "e/b", "c"), b"one"))


def test_symbolic_links_and_large_files(make_bench: Make) -> None:
    bench = make_bench()
    bench.fs.symlink("target", "/l", CALLER)
    bench.link("/l", "/m")
    large = os.urandom(9 << 20)
    bench.write("/f", large)
    bench.link("/f", "/g")
    bench.drain()
    assert bench.bucket() == {"l": b"target", "m": b"target", "f": large, "g": large}
    bench.write("/g", b"x", offset=1)
    bench.drain()
    assert bench.bucket()["f"] == bench.bucket()["g"] == large[:1] + b"x" + large[2:]
    bench.start_empty()
    assert bench.fs.readlink("/m") == "target"
    assert bench.ino("/f") == bench.ino("/g")


def test_what_is_refused(make_bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = make_bench()
    bench.mkdir("/d")
    bench.write("/a", b"x")
    with pytest.raises(NotPermitted):
        bench.link("/d", "/e")
    with pytest.raises(Exists):
        bench.link("/a", "/d")
    monkeypatch.setattr(hard_links, "LINKS_MAX", 2)
    bench.link("/a", "/b")
    with pytest.raises(TooManyLinks) as caught:
        bench.link("/a", "/c")
    assert errno_of(caught.value) == errno.EMLINK
    fh = bench.open("/a")
    ino = bench.ino("/a")
    bench.fs.unlink("/a")
    bench.fs.unlink("/b")
    with pytest.raises(FsError):
        bench.drive.filesystem.link(ino, 1, "c")  # type: ignore[arg-type]
    bench.close_file(fh)
    denied = make_bench(vfs=VfsOptions(has_hard_links=False))
    denied.write("/a", b"x")
    with pytest.raises(NotPermitted):
        denied.link("/a", "/b")


# -- an empty cache --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_a_group_is_known_again(bench: Bench, order: str) -> None:
    linked(bench, "/a", "/b", "/c")
    bench.write("/x", b"one")
    bench.drain()
    bench.start_empty()
    assert bench.nlink(f"/{order[0]}") == 2  # more than one, whatever is not met yet
    for name in order:
        bench.fs.getattr(f"/{name}")
    check(bench, [{"a", "b", "c"}, {"x"}], dict.fromkeys("abcx", b"one"))
    bench.write("/b", b"two")
    bench.fs.unlink(f"/{order[0]}")
    left = {"a", "b", "c"} - {order[0]}
    check(bench, [left], {**dict.fromkeys(left, b"two"), "x": b"one"})


def test_a_name_that_is_met_while_another_is_open_and_changed(bench: Bench) -> None:
    linked(bench, "/a", "/b", "/c")
    bench.start_empty()
    fh = bench.open("/a")
    bench.fs.write(fh, 0, b"NEW")
    assert bench.read("/b") == b"NEW"
    bench.drain()
    assert bench.bucket()["b"] == b"NEW"
    bench.close_file(fh)
    # c was not met before the group's content was another: it stays what it was, a file of its own
    assert bench.bucket()["c"] == b"one"
    assert bench.ino("/c") != bench.ino("/a")


def test_the_last_name_of_a_group_made_elsewhere(bench: Bench) -> None:
    linked(bench, "/a", "/b")
    bench.mkdir("/d")
    bench.write("/d/x", b"x")
    bench.drain()
    bench.start_empty()
    for name in ("a", "b", "d"):
        bench.fs.getattr(f"/{name}")
    bench.fs.unlink("/b")
    assert bench.nlink("/a") == 2  # d was not looked into: there may be a name in it
    bench.drain()
    bench.start_empty()
    bench.tree()
    bench.link("/a", "/c")
    bench.fs.unlink("/c")
    check(bench, [{"a"}, {"d/x"}], {"a": b"one", "d/x": b"x"})
    bench.start_empty()
    assert bench.nlink("/a") == 1


def test_a_copy_made_by_another_tool_is_no_link(bench: Bench) -> None:
    linked(bench, "/a", "/b")
    item = bench.memory.objects()["a"]
    bench.memory.foreign_put("z", item.body, dict(item.metadata or {}))
    bench.start_empty()
    check(bench, [{"a", "b"}, {"z"}], dict.fromkeys("abz", b"one"))


# -- other writers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "b"])
def test_someone_else_replaces_a_name(bench: Bench, name: str) -> None:
    linked(bench, "/a", "/b", "/c")
    ino = bench.ino("/a")
    bench.memory.foreign_put(name, b"theirs")
    bench.refresh()
    left = {"a", "b", "c"} - {name}
    check(bench, [left, {name}], {**dict.fromkeys(left, b"one"), name: b"theirs"})
    assert {bench.ino(f"/{other}") for other in left} == {ino}


@pytest.mark.parametrize("name", ["a", "b"])
def test_someone_else_removes_a_name(bench: Bench, name: str) -> None:
    linked(bench, "/a", "/b", "/c")
    ino = bench.ino("/a")
    bench.memory.foreign_delete(name)
    bench.refresh()
    left = {"a", "b", "c"} - {name}
    check(bench, [left], dict.fromkeys(left, b"one"))
    assert {bench.ino(f"/{other}") for other in left} == {ino}


def test_someone_else_removes_a_directory_of_names(bench: Bench) -> None:
    bench.mkdir("/d")
    linked(bench, "/d/a", "/d/b", "/c")
    for key in ("d/", "d/a", "d/b"):
        bench.memory.foreign_delete(key)
    bench.refresh()
    check(bench, [{"c"}], {"c": b"one"})


def test_someone_else_wrote_where_a_new_name_is_to_be(bench: Bench) -> None:
    bench.write("/a", b"one")
    bench.drain()
    bench.names()
    bench.memory.foreign_put("b", b"theirs")
    bench.link("/a", "/b")
    bench.drain()
    bench.refresh()
    bodies = sorted(bench.bucket().items())
    assert [body for _, body in bodies] == [b"one", b"theirs", b"one"]
    assert bodies[2][0].startswith("b (conflict")
    assert bench.ino("/a") == bench.ino(f"/{bodies[2][0]}")
    assert bench.nlink("/a") == 2


# -- failures --------------------------------------------------------------------------------------------------------


def test_what_s3_refuses_of_the_file_parks_its_names(bench: Bench) -> None:
    bench.store.fail("put", error=Rejected("no"), times=FOR_GOOD)
    bench.write("/a", b"one")
    bench.link("/a", "/b")
    until(lambda: len(bench.drive.writeback.refused()) == 2)
    bench.store.heal()
    check(bench, [{"a", "b"}], dict.fromkeys("ab", b"one"))


STEPS: dict[str, Callable[[Bench], object]] = {
    "link": lambda bench: bench.link("/a", "/d"),
    "write": lambda bench: bench.write("/b", b"changed"),
    "chmod": lambda bench: bench.fs.chmod("/a", 0o600),
    "unlink first": lambda bench: bench.fs.unlink("/a"),
    "unlink other": lambda bench: bench.fs.unlink("/b"),
    "rename first": lambda bench: bench.fs.rename("/a", "/e"),
    "rename other": lambda bench: bench.fs.rename("/b", "/e"),
    "rename over": lambda bench: bench.fs.rename("/x", "/a"),
    "write and unlink": lambda bench: (bench.write("/b", b"changed"), bench.fs.unlink("/a")),
}


def expected(step: str) -> tuple[set[str], dict[str, bytes]]:
    group = {"a", "b", "c"}
    group |= {"link": {"d"}, "rename first": {"e"}, "rename other": {"e"}}.get(step, set())
    group -= {
        "unlink first": {"a"}, "unlink other": {"b"}, "rename first": {"a"}, "rename other": {"b"},
        "rename over": {"a"}, "write and unlink": {"a"},
    }.get(step, set())  # fmt: skip
    content = dict.fromkeys(group, b"changed" if "write" in step else b"one")
    return group, content | ({"a": b"other"} if step == "rename over" else {"x": b"other"})


@pytest.mark.parametrize("moment", list(Moment))
@pytest.mark.parametrize("nth", range(4))
@pytest.mark.parametrize("step", STEPS)
def test_dead_at_every_request_and_up_again(make_bench: Make, step: str, nth: int, moment: Moment) -> None:
    """The n-th request fails, before or after its effect, all later ones too, and the process dies there."""
    bench = make_bench()
    linked(bench, "/a", "/b", "/c")
    bench.write("/x", b"other")
    bench.drain()
    ino = bench.ino("/a")
    rule = bench.store.fail(moment=moment, times=FOR_GOOD, skip=nth)
    STEPS[step](bench)
    until(lambda: bench.is_clean() or rule.times < FOR_GOOD, what="nothing more happens")
    bench.drive.close()
    bench.store.heal()
    bench.start()
    group, content = expected(step)
    check(bench, [group], content)
    assert {bench.ino(f"/{name}") for name in group} == {ino}
    bench.start_empty()
    for name in content:
        bench.fs.getattr(f"/{name}")
    check(bench, [group], content)
