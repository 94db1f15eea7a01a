"""Junk of Finder and Explorer with `--junk=local`: kept here, never owed (P3), and never in the way of what the bucket
has or of what a user made. Without it, as any file."""

import os
from collections.abc import Callable

import pytest

from s3mount.errors import Exists, NotEmpty, NotFound, NotPermitted
from s3mount.offline import check_folder
from s3mount.vfs.context import VfsOptions
from s3mount.vfs.namespace import RENAME_EXCHANGE
from tests.faults.bench import MIB, Bench, until
from tests.support.faulty_store import FOR_GOOD, Moment

Make = Callable[..., Bench]
KEEPS = VfsOptions(keeps_junk=True)
DS = "/.DS_Store"
PROBED = (
    "desktop.ini", "Thumbs.db", "ehthumbs.db", "autorun.inf", "folder.jpg", "AlbumArtSmall.jpg", ".DS_Store", "._x",
    ".hidden", ".localized", ".Spotlight-V100", ".Trashes", ".fseventsd", ".metadata_never_index", "Icon\r",
    "$RECYCLE.BIN", "System Volume Information",
)  # fmt: skip


@pytest.fixture
def bench(make_bench: Make) -> Bench:
    return make_bench(vfs=KEEPS)


def writes(bench: Bench) -> list[tuple[str, str]]:
    return [call[:2] for call in bench.store.calls if call[0] not in ("list_page", "head", "get")]  # type: ignore[misc]


@pytest.mark.parametrize("keeps", [True, False])
def test_looking_for_what_is_not_there_costs_no_request(keeps: bool, make_bench: Make) -> None:
    bench = make_bench(vfs=VfsOptions(keeps_junk=keeps))
    bench.memory.foreign_put("d/x", b"x")
    for _ in range(3):
        for name in PROBED:
            for folder in ("", "/d"):
                with pytest.raises(NotFound):
                    bench.fs.getattr(f"{folder}/{name}")
    assert [call[0] for call in bench.store.calls].count("list_page") <= 2, "each directory once"
    assert {call[0] for call in bench.store.calls} <= {"list_page", "head"}
    assert [call[1] for call in bench.store.calls if call[0] == "head"] in ([], ["d/"])


def test_what_the_bucket_has_is_seen_whatever_its_name(bench: Bench) -> None:
    for name in PROBED:
        bench.memory.foreign_put(f"d/{name}", name.encode())
    assert bench.tree("/d") == {f"d/{name}": name.encode() for name in PROBED}
    bench.write("/d/.DS_Store", b"CHANGED!!")
    bench.drain()
    assert bench.bucket()["d/.DS_Store"] == b"CHANGED!!"


def test_it_is_kept_here_and_owed_to_nobody(bench: Bench) -> None:
    bench.mkdir("/d")
    bench.drain()
    before = writes(bench)
    bench.write("/d/.DS_Store", b"view")
    bench.write("/d/._photo.jpg", b"a" * (9 * MIB))
    bench.fs.setxattr("/d/.DS_Store", "user.a", b"1")
    bench.fs.chmod("/d/.DS_Store", 0o600)
    bench.mkdir("/.fseventsd")
    bench.mkdir("/.fseventsd/deeper")
    bench.write("/.fseventsd/deeper/0001", b"log")
    assert bench.is_clean()
    bench.drain()
    assert writes(bench) == before, "nothing was sent, no marker of a directory either"
    files = {"d/.DS_Store": b"view", "d/._photo.jpg": b"a" * (9 * MIB), ".fseventsd/deeper/0001": b"log"}
    bench.restart()
    bench.refresh()
    bench.refresh("/d")
    assert bench.tree() == files
    assert bench.fs.getattr("/d/.DS_Store").mode == 0o100600
    bench.drain()
    assert writes(bench) == before
    bench.drive.close()
    assert check_folder(bench.memory, bench.folder, source="store", repair=True) == []
    bench.start()
    assert bench.tree() == files
    bench.start_empty()
    assert bench.tree() == {}
    assert bench.names() == ["d"]


def test_it_does_not_survive_eviction_only_to_be_lost(make_bench: Make) -> None:
    bench = make_bench(vfs=KEEPS, cache_bytes=4 * MIB)
    bench.write(DS, b"j" * MIB)
    for number in range(8):
        bench.write(f"/file{number}", bytes([number]) * MIB)
    bench.drain()
    assert bench.read(DS) == b"j" * MIB


def test_kill_and_start_again(bench: Bench, make_bench: Make) -> None:
    fh = bench.create(DS)
    bench.fs.write(fh, 0, b"closed")
    bench.close_file(fh)
    bench.drive.close()  # what the index has is what a kill leaves
    bench.start()
    assert bench.read(DS) == b"closed"
    assert bench.is_clean()


def test_renamed_to_an_ordinary_name_it_is_owed(bench: Bench) -> None:
    bench.write(DS, b"mine")
    bench.fs.rename(DS, "/settings")
    bench.check({"settings": b"mine"})
    bench.start_empty()
    assert bench.tree() == {"settings": b"mine"}


def test_a_file_of_a_system_directory_moved_out_is_owed(bench: Bench) -> None:
    bench.mkdir("/.fseventsd")
    bench.write("/.fseventsd/x", b"x")
    bench.fs.rename("/.fseventsd/x", "/x")
    bench.drain()
    assert bench.bucket() == {"x": b"x"}
    bench.fs.rmdir("/.fseventsd")
    bench.check({"x": b"x"})


def test_what_is_not_in_the_bucket_yet_may_become_junk(make_bench: Make) -> None:
    bench = make_bench(vfs=KEEPS, delay_s=3600.0)
    bench.write("/.DS_Store.tmp", b"new")
    bench.fs.rename("/.DS_Store.tmp", DS)
    bench.drain()
    assert bench.bucket() == {}
    assert bench.read(DS) == b"new"


def test_what_is_in_the_bucket_stays_there_under_such_a_name(bench: Bench) -> None:
    bench.write("/report", b"of a user")
    bench.drain()
    bench.fs.rename("/report", DS)
    bench.check({".DS_Store": b"of a user"})
    bench.start_empty()
    assert bench.tree() == {".DS_Store": b"of a user"}


@pytest.mark.parametrize("moment", list(Moment))
def test_a_rename_while_it_is_on_its_way_to_the_bucket(moment: Moment, bench: Bench) -> None:
    gate = bench.store.hold("put", "report", moment=moment)
    bench.write("/report", b"of a user")
    gate.wait_arrived()
    bench.fs.rename("/report", DS)
    gate.open()
    bench.check({".DS_Store": b"of a user"})
    assert bench.oddities() == []


def test_parts_of_a_large_file_that_becomes_junk_are_given_up(make_bench: Make) -> None:
    bench = make_bench(vfs=KEEPS)
    bench.store.fail("upload_part", times=FOR_GOOD)
    bench.write("/large", b"l" * (20 * MIB))
    until(lambda: bench.memory.uploads())
    bench.fs.rename("/large", "/._large")
    bench.store.heal()
    bench.drain()
    until(lambda: not bench.memory.uploads())
    assert bench.tree() == {"._large": b"l" * (20 * MIB)}


def test_junk_over_an_object_goes_to_the_bucket(bench: Bench) -> None:
    bench.memory.foreign_put(".DS_Store", b"theirs")
    bench.names()
    bench.write("/._tmp", b"newer")
    bench.fs.rename("/._tmp", DS)
    bench.check({".DS_Store": b"newer"})


def test_someone_else_uploads_what_is_kept_here(bench: Bench) -> None:
    bench.write(DS, b"ours")
    fh = bench.open(DS)
    bench.memory.foreign_put(".DS_Store", b"theirs")
    bench.refresh()
    assert bench.read(DS) == b"theirs"
    bench.fs.release(fh)
    bench.check({".DS_Store": b"theirs"})


def test_someone_else_has_a_system_directory_too(bench: Bench) -> None:
    bench.mkdir("/.fseventsd")
    bench.write("/.fseventsd/mine", b"m")
    bench.memory.foreign_put(".fseventsd/theirs", b"t")
    bench.refresh()
    bench.names()
    bench.drain()
    bench.refresh("/.fseventsd")
    assert bench.tree() == {".fseventsd/mine": b"m", ".fseventsd/theirs": b"t"}
    assert bench.bucket() == {".fseventsd/theirs": b"t"}


def test_a_renamed_directory_takes_it_along(bench: Bench) -> None:
    bench.mkdir("/d")
    bench.mkdir("/d/.fseventsd")
    bench.write("/d/.fseventsd/1", b"1")
    bench.write("/d/.DS_Store", b"view")
    bench.write("/d/file", b"file")
    bench.drain()
    bench.fs.rename("/d", "/e")
    bench.drain()
    assert bench.bucket() == {"e/file": b"file"}
    assert bench.object_keys() == {"e/", "e/file"}
    bench.restart()
    assert bench.tree() == {"e/file": b"file", "e/.DS_Store": b"view", "e/.fseventsd/1": b"1"}
    assert bench.is_clean()


def test_a_directory_with_nothing_else_is_not_empty_and_stays_in_the_bucket(bench: Bench) -> None:
    bench.memory.foreign_put("d/file", b"x")  # lives by its child alone
    bench.write("/d/.DS_Store", b"view")
    with pytest.raises(NotEmpty):
        bench.fs.rmdir("/d")
    bench.fs.unlink("/d/file")
    bench.drain()
    assert bench.object_keys() == {"d/"}
    bench.refresh()
    assert bench.names() == ["d"]
    with pytest.raises(NotEmpty):
        bench.fs.rmdir("/d")
    bench.fs.unlink("/d/.DS_Store")
    bench.fs.rmdir("/d")
    bench.check({})
    assert bench.object_keys() == set()


def test_it_does_not_keep_a_directory_that_someone_else_removed(bench: Bench) -> None:
    bench.memory.foreign_put("d/e/file", b"x")
    bench.write("/d/e/.DS_Store", b"view")
    bench.drain()
    bench.memory.foreign_delete("d/e/file")
    bench.refresh()
    assert bench.names() == []
    assert bench.index._database.row("SELECT COUNT(*) FROM inode WHERE is_local") == (0,)
    until(lambda: bench.drive.cache.used_bytes == 0)


def test_links_and_moves_that_are_refused(bench: Bench) -> None:
    bench.write(DS, b"view")
    bench.mkdir("/.fseventsd")
    bench.mkdir("/d")
    for change in (
        lambda: bench.link(DS, "/link"),
        lambda: bench.fs.rename("/.fseventsd", "/plain"),
        lambda: bench.fs.rename("/.fseventsd", "/d", RENAME_EXCHANGE),
    ):
        with pytest.raises(NotPermitted):
            change()
    with pytest.raises(Exists):
        bench.mkdir(DS)


def test_another_name_of_a_users_file_is_no_junk(bench: Bench) -> None:
    bench.write("/a", b"a")
    bench.link("/a", "/._a")
    bench.check({"a": b"a", "._a": b"a"})
    bench.fs.rename("/._a", "/._b")
    bench.check({"a": b"a", "._b": b"a"})


def test_swapped_with_a_users_file(bench: Bench) -> None:
    bench.write(DS, b"view")
    bench.write("/file", b"file")
    bench.drain()
    bench.fs.rename(DS, "/file", RENAME_EXCHANGE)
    bench.check({"file": b"view", ".DS_Store": b"file"})


def test_objects_of_such_names_swapped(bench: Bench) -> None:
    bench.memory.foreign_put("._a", b"a")
    bench.memory.foreign_put("._b", b"b")
    bench.names()
    bench.fs.rename("/._a", "/._b", RENAME_EXCHANGE)  # one of them is in the cache alone for a moment
    bench.check({"._a": b"b", "._b": b"a"})


def test_removed_and_made_again_while_the_old_object_goes(bench: Bench) -> None:
    bench.memory.foreign_put(".DS_Store", b"theirs")
    bench.memory.foreign_put(".fseventsd/", b"")
    bench.names()
    bench.store.fail("delete", times=2)
    bench.fs.unlink(DS)
    bench.fs.rmdir("/.fseventsd")
    bench.write(DS, b"ours")
    bench.mkdir("/.fseventsd")
    bench.drain()
    assert bench.object_keys() == set()
    bench.refresh()
    assert sorted(bench.names()) == [".DS_Store", ".fseventsd"]
    assert bench.is_clean()


def test_a_copy_inside_s3_is_not_made_of_it(bench: Bench) -> None:
    bench.memory.foreign_put("large", b"l" * (2 * MIB))
    source, target = bench.open("/large", os.O_RDONLY), bench.create("/._large")
    done = 0
    while step := bench.fs.copy_range(source, done, target, done, 2 * MIB - done):
        done += step
    bench.close_file(target)
    bench.fs.release(source)
    bench.drain()
    assert bench.object_keys() == {"large"}
    assert bench.read("/._large") == b"l" * (2 * MIB)


def test_with_the_bucket_as_its_place_it_goes_up(bench: Bench, make_bench: Make) -> None:
    bench.write(DS, b"view")
    bench.mkdir("/.fseventsd")
    bench.write("/.fseventsd/1", b"1")
    assert bench.is_clean()
    bench.vfs = VfsOptions()
    bench.restart()
    bench.check({".DS_Store": b"view", ".fseventsd/1": b"1"})
    bench.vfs = KEEPS
    bench.restart()
    bench.write(DS, b"VIEW")
    bench.check({".DS_Store": b"VIEW", ".fseventsd/1": b"1"})


def test_by_default_it_is_a_file_like_any(make_bench: Make) -> None:
    bench = make_bench()
    bench.write(DS, b"view")
    bench.link(DS, "/._link")
    bench.check({".DS_Store": b"view", "._link": b"view"})
