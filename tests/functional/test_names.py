"""Names and directories: which names can be, what is in a directory, removing."""

import errno
import os
import stat
import time
from pathlib import Path

import pytest

from tests.support.os_like import OsLike, code_of, content, put

NAMES = [
    "plain",
    ".hidden",
    "..twodots",
    "with space",
    " lead and trail ",
    "%41+#?&=;:@!$'()*,",
    "grüße",
    "日本語",
    "e\u0301 composed",
    "emoji 🐟",
    "back\\slash",
    "new\nline",
    "tab\there",
    '"quoted"',
    "~",
    "-rf",
    "x" * 255,
    "ü" * 127,
]


def test_names_of_every_kind(fs: OsLike) -> None:
    for number, name in enumerate(NAMES):
        put(fs, name, str(number).encode())
    assert sorted(fs.listdir("")) == sorted(NAMES)
    assert set(fs.scan("")) == set(NAMES)
    for number, name in enumerate(NAMES):
        assert content(fs, name) == str(number).encode()
        fs.rename(name, "moving")
        fs.mkdir(name)
        fs.rename("moving", f"{name}/inside")
    for name in NAMES:
        fs.unlink(f"{name}/inside")
        fs.rmdir(name)
    assert fs.listdir("") == []


@pytest.mark.parametrize("name", ["x" * 256, "ü" * 128, "x" * 1000])
def test_names_over_255_bytes(fs: OsLike, name: str) -> None:
    put(fs, "f", b"kept")
    assert code_of(fs.open, name, os.O_CREAT | os.O_WRONLY) == errno.ENAMETOOLONG
    assert code_of(fs.mkdir, name) == errno.ENAMETOOLONG
    assert code_of(fs.symlink, "f", name) == errno.ENAMETOOLONG
    assert code_of(fs.rename, "f", name) == errno.ENAMETOOLONG
    assert fs.listdir("") == ["f"]


def test_names_differ_by_case_and_composition(fs: OsLike) -> None:
    pair = ["Name", "name", "\u00e9", "e\u0301"]
    for name in pair:
        put(fs, name, name.encode())
    assert sorted(fs.listdir("")) == sorted(pair)
    assert [content(fs, name) for name in pair] == [name.encode() for name in pair]


def test_deep_paths(fs: OsLike) -> None:
    path = ""
    for level in range(60):
        path = f"{path}/{level}" if path else "0"
        fs.mkdir(path)
    put(fs, f"{path}/leaf", b"deep")
    assert content(fs, f"{path}/leaf") == b"deep"


def test_many_entries(fs: OsLike) -> None:
    fs.mkdir("d")
    wanted = {f"file-{number:05}-{'n' * (number % 97)}" for number in range(1100)}  # S3 lists 1000 at a time
    for name in wanted:
        put(fs, f"d/{name}", b"xy")
    names = fs.listdir("d")
    assert len(names) == len(wanted)
    assert set(names) == wanted
    found = fs.scan("d")
    assert {name for name, attr in found.items() if attr.size == 2 and stat.S_ISREG(attr.mode)} == wanted
    assert len({attr.ino for attr in found.values()}) == len(wanted)


def test_directory_entries_carry_types_and_attributes(fs: OsLike) -> None:
    put(fs, "file", b"abc", 0o640)
    fs.mkdir("dir", 0o750)
    fs.symlink("file", "link")
    found = fs.scan("")
    assert {name: fs.lstat(name) for name in found} == found
    assert {name: stat.S_IFMT(attr.mode) for name, attr in found.items()} == {
        "file": stat.S_IFREG,
        "dir": stat.S_IFDIR,
        "link": stat.S_IFLNK,
    }


def test_listing_while_the_directory_changes(fs: OsLike, mounted: Path) -> None:
    fs.mkdir("d")
    kept = {f"kept{number}" for number in range(500)}
    for name in kept:
        put(fs, f"d/{name}")
    seen: list[str] = []
    with os.scandir(mounted / "d") as entries:
        for number, entry in enumerate(entries):
            seen.append(entry.name)
            if number < 200:
                put(fs, f"d/new{number}")
    assert len(seen) == len(set(seen))
    assert kept <= set(seen)


def test_rewinding_shows_what_is_there_now(mounted: Path) -> None:
    """rewinddir(3): as if the directory were opened anew (POSIX)."""
    (mounted / "a").touch()
    fd = os.open(mounted, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert os.listdir(fd) == ["a"]
        (mounted / "b").touch()
        (mounted / "a").unlink()
        assert os.listdir(fd) == ["b"]
    finally:
        os.close(fd)


def test_an_open_directory_that_was_removed(mounted: Path) -> None:
    (mounted / "d").mkdir()
    fd = os.open(mounted / "d", os.O_RDONLY | os.O_DIRECTORY)
    path_only = os.open(mounted / "d", os.O_PATH)
    try:
        (mounted / "d").rmdir()
        for one in (fd, path_only):
            assert os.fstat(one).st_nlink == 0
            assert stat.S_ISDIR(os.fstat(one).st_mode)
        os.fchmod(fd, 0o700)
        assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o700
        assert os.listdir(fd) == []
        for make in (os.mkdir, os.mknod):
            with pytest.raises(FileNotFoundError):
                make("x", dir_fd=fd)
        with pytest.raises(FileNotFoundError):
            os.stat("x", dir_fd=fd)
    finally:
        os.close(fd)
        os.close(path_only)


def test_a_removed_file_that_is_known_by_number_only(mounted: Path) -> None:
    (mounted / "f").write_bytes(b"abc")
    fd = os.open(mounted / "f", os.O_PATH)
    try:
        (mounted / "f").unlink()
        time.sleep(1.1)  # the kernel's own copy of the attributes is old by then
        assert (os.fstat(fd).st_nlink, os.fstat(fd).st_size) == (0, 3)
    finally:
        os.close(fd)


def test_listing_refuses(fs: OsLike) -> None:
    put(fs, "f")
    assert code_of(fs.listdir, "f") == errno.ENOTDIR
    assert code_of(fs.listdir, "none") == errno.ENOENT


def test_missing_names(fs: OsLike) -> None:
    put(fs, "f")
    for path, code in [("none", errno.ENOENT), ("none/x", errno.ENOENT), ("f/x", errno.ENOTDIR)]:
        assert code_of(fs.lstat, path) == code
        assert code_of(fs.unlink, path) == code
        assert code_of(fs.rmdir, path) == code
        assert code_of(fs.readlink, path) == code
        assert code_of(fs.chmod, path, 0o600) == code
        assert code_of(fs.mkdir, f"{path}/y") == code
        assert code_of(fs.rename, path, "other") == code
        assert code_of(fs.rename, "f", f"{path}/y") == code


def test_mkdir_and_rmdir(fs: OsLike) -> None:
    fs.mkdir("d")
    assert fs.listdir("") == ["d"]
    assert fs.listdir("d") == []
    assert stat.S_ISDIR(fs.stat("d").mode)
    assert code_of(fs.mkdir, "d") == errno.EEXIST
    put(fs, "d/f")
    assert code_of(fs.mkdir, "d/f") == errno.EEXIST
    assert code_of(fs.rmdir, "d") == errno.ENOTEMPTY
    assert code_of(fs.rmdir, "d/f") == errno.ENOTDIR
    # Linux says EISDIR where POSIX allows EPERM.
    assert code_of(fs.unlink, "d") == errno.EISDIR
    fs.unlink("d/f")
    fs.rmdir("d")
    assert fs.listdir("") == []
    assert code_of(fs.stat, "d") == errno.ENOENT


def test_a_name_can_change_its_kind(fs: OsLike) -> None:
    put(fs, "x", b"file")
    fs.unlink("x")
    fs.mkdir("x")
    put(fs, "x/y")
    fs.unlink("x/y")
    fs.rmdir("x")
    fs.symlink("somewhere", "x")
    assert fs.readlink("x") == "somewhere"
    fs.unlink("x")
    put(fs, "x", b"again")
    assert content(fs, "x") == b"again"


@pytest.mark.parametrize("target", ["f", "d/../f", "none", "/absolute/none", "é %+#?", "t" * 4000, "d"])
def test_symlinks(fs: OsLike, target: str) -> None:
    put(fs, "f", b"content")
    fs.mkdir("d")
    fs.symlink(target, "link")
    assert fs.readlink("link") == target
    attr = fs.lstat("link")
    assert stat.S_ISLNK(attr.mode)
    assert attr.size == len(target.encode())
    assert code_of(fs.symlink, target, "link") == errno.EEXIST
    if target in ("f", "d/../f"):
        assert content(fs, "link") == b"content"
        assert fs.stat("link").ino == fs.stat("f").ino
    fs.rename("link", "moved")
    assert fs.readlink("moved") == target
    fs.unlink("moved")
    assert content(fs, "f") == b"content"


def test_symlinks_to_directories_and_loops(fs: OsLike) -> None:
    fs.mkdir("d")
    put(fs, "d/f", b"x")
    fs.symlink("d", "to_d")
    assert content(fs, "to_d/f") == b"x"
    assert fs.listdir("to_d") == ["f"]
    assert code_of(fs.rmdir, "to_d") == errno.ENOTDIR
    fs.symlink("loop", "loop")
    assert code_of(fs.stat, "loop") == errno.ELOOP
    assert code_of(fs.readlink, "d/f") == errno.EINVAL


def test_mknod_of_a_regular_file(fs: OsLike, mounted: Path) -> None:
    os.mknod(mounted / "regular", 0o600)
    assert fs.stat("regular").mode == stat.S_IFREG | 0o600
    assert code_of(os.mknod, mounted / "regular") == errno.EEXIST


def test_statfs(fs: OsLike) -> None:
    volume = fs.statvfs()
    assert volume.name_bytes_max == 255
    assert volume.block_size >= 512
    assert volume.blocks >= volume.blocks_free > 0
