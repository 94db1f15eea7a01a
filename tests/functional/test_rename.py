"""Rename: files and directories, over everything that can be in the way."""

import errno
import os

from tests.support.linux import RENAME_EXCHANGE, RENAME_NOREPLACE
from tests.support.os_like import OsLike, code_of, content, put


def test_file(fs: OsLike) -> None:
    put(fs, "a", b"content", 0o640)
    before = fs.stat("a")
    fs.mkdir("d")
    fs.rename("a", "d/b")
    after = fs.stat("d/b")
    assert (after.ino, after.mode, after.mtime_ns) == (before.ino, before.mode, before.mtime_ns)
    assert content(fs, "d/b") == b"content"
    assert fs.listdir("") == ["d"]


def test_over_an_existing_file(fs: OsLike) -> None:
    put(fs, "a", b"new")
    put(fs, "b", b"much longer old content")
    fs.rename("a", "b")
    assert content(fs, "b") == b"new"
    assert fs.listdir("") == ["b"]


def test_onto_itself_and_missing(fs: OsLike) -> None:
    put(fs, "a", b"x")
    fs.mkdir("d")
    fs.rename("a", "a")
    fs.rename("d", "d")
    assert content(fs, "a") == b"x"
    assert code_of(fs.rename, "none", "a") == errno.ENOENT
    assert code_of(fs.rename, "a", "none/a") == errno.ENOENT


def test_directory_with_everything_in_it(fs: OsLike) -> None:
    fs.mkdir("d")
    fs.mkdir("d/sub")
    put(fs, "d/sub/f", b"1")
    put(fs, "d/g", b"2")
    fs.symlink("g", "d/link")
    fs.mkdir("other")
    fs.rename("d", "other/e")
    assert sorted(fs.listdir("other/e")) == ["g", "link", "sub"]
    assert content(fs, "other/e/sub/f") == b"1"
    assert content(fs, "other/e/link") == b"2"
    assert code_of(fs.stat, "d/g") == errno.ENOENT
    fs.mkdir("d")
    assert fs.listdir("d") == []


def test_directory_over_directories(fs: OsLike) -> None:
    fs.mkdir("d")
    put(fs, "d/f", b"1")
    fs.mkdir("empty")
    fs.rename("d", "empty")
    assert content(fs, "empty/f") == b"1"
    fs.mkdir("full")
    put(fs, "full/g", b"2")
    assert code_of(fs.rename, "empty", "full") == errno.ENOTEMPTY
    assert content(fs, "empty/f") == b"1"
    assert content(fs, "full/g") == b"2"


def test_kinds_do_not_replace_each_other(fs: OsLike) -> None:
    fs.mkdir("d")
    put(fs, "f", b"1")
    fs.symlink("d", "link")
    assert code_of(fs.rename, "d", "f") == errno.ENOTDIR
    assert code_of(fs.rename, "d", "link") == errno.ENOTDIR
    assert code_of(fs.rename, "f", "d") == errno.EISDIR
    assert content(fs, "f") == b"1"
    fs.rename("f", "link")
    assert content(fs, "link") == b"1"
    assert sorted(fs.listdir("")) == ["d", "link"]


def test_directory_into_itself(fs: OsLike) -> None:
    fs.mkdir("d")
    fs.mkdir("d/sub")
    put(fs, "d/sub/f", b"1")
    assert code_of(fs.rename, "d", "d/x") == errno.EINVAL
    assert code_of(fs.rename, "d", "d/sub/x") == errno.EINVAL
    assert code_of(fs.rename, "d/sub", "d") == errno.ENOTEMPTY
    assert code_of(fs.rename, "d/sub/f", "d") == errno.ENOTEMPTY
    fs.mkdir("d2")
    fs.rename("d", "d2/d")
    assert content(fs, "d2/d/sub/f") == b"1"


def test_noreplace(fs: OsLike) -> None:
    put(fs, "a", b"1")
    put(fs, "b", b"2")
    fs.mkdir("d")
    assert code_of(fs.rename, "a", "b", RENAME_NOREPLACE) == errno.EEXIST
    assert code_of(fs.rename, "a", "d", RENAME_NOREPLACE) == errno.EEXIST
    assert (content(fs, "a"), content(fs, "b")) == (b"1", b"2")
    fs.rename("a", "c", RENAME_NOREPLACE)
    assert content(fs, "c") == b"1"
    assert sorted(fs.listdir("")) == ["b", "c", "d"]


def test_exchange_files(fs: OsLike) -> None:
    put(fs, "a", b"1", 0o640)
    fs.mkdir("d")
    put(fs, "d/b", b"22", 0o604)
    before = fs.stat("a"), fs.stat("d/b")
    fh = fs.open("a", os.O_RDONLY)
    fs.rename("a", "d/b", RENAME_EXCHANGE)
    assert (content(fs, "a"), content(fs, "d/b")) == (b"22", b"1")
    assert fs.pread(fh, 10, 0) == b"1"
    fs.close(fh)
    after = fs.stat("d/b"), fs.stat("a")
    assert [(attr.ino, attr.mode, attr.mtime_ns) for attr in after] == [
        (attr.ino, attr.mode, attr.mtime_ns) for attr in before
    ]
    fs.rename("a", "a", RENAME_EXCHANGE)
    assert content(fs, "a") == b"22"


def test_exchange_of_a_directory_and_another_kind(fs: OsLike) -> None:
    fs.mkdir("d")
    fs.mkdir("d/sub")
    put(fs, "d/sub/x", b"x")
    fs.mkdir("o")
    put(fs, "o/f", b"f")
    fs.symlink("f", "l")
    links = fs.stat("").nlink, fs.stat("o").nlink
    fs.rename("d", "o/f", RENAME_EXCHANGE)
    assert content(fs, "d") == b"f"
    assert content(fs, "o/f/sub/x") == b"x"
    if (links[1], fs.stat("o").nlink) != (1, 1):  # some file systems do not count
        assert (fs.stat("").nlink, fs.stat("o").nlink) == (links[0] - 1, links[1] + 1)
    fs.rename("o", "l", RENAME_EXCHANGE)
    assert fs.readlink("o") == "f"
    assert content(fs, "l/f/sub/x") == b"x"
    assert sorted(fs.listdir("")) == ["d", "l", "o"]


def test_what_exchange_refuses(fs: OsLike) -> None:
    fs.mkdir("d")
    fs.mkdir("d/sub")
    put(fs, "d/sub/x", b"x")
    put(fs, "a", b"1")
    assert code_of(fs.rename, "a", "none", RENAME_EXCHANGE) == errno.ENOENT
    assert code_of(fs.rename, "none", "a", RENAME_EXCHANGE) == errno.ENOENT
    assert code_of(fs.rename, "d", "d/sub", RENAME_EXCHANGE) == errno.EINVAL
    assert code_of(fs.rename, "d/sub/x", "d", RENAME_EXCHANGE) == errno.EINVAL
    assert code_of(fs.rename, "a", "d", RENAME_EXCHANGE | RENAME_NOREPLACE) == errno.EINVAL
    assert (content(fs, "a"), content(fs, "d/sub/x")) == (b"1", b"x")
