"""Modes, owners, times, link counts: what is kept, and which time moves when."""

import errno
import os
import stat
import time
from collections.abc import Callable

import pytest

from s3mount import host
from tests.support.os_like import NOW, OsLike, code_of, put

TIMES_NS = [
    0,
    1,
    999_999_999,
    1_700_000_000_123_456_789,
    -1,
    -1_000_000_000,
    -86_400_000_000_001,
    4_294_967_296_000_000_000,
    -2_147_483_647_000_000_000,  # 1901-12-13 and, a day before the last that ext4 has, 2446-05-09
    15_032_298_000_123_456_789,
]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o4755, 0o2750, 0o1777, 0o000, 0o7777])
def test_chmod(fs: OsLike, mode: int) -> None:
    put(fs, "f")
    fs.mkdir("d")
    for path, kind in [("f", stat.S_IFREG), ("d", stat.S_IFDIR)]:
        fs.chmod(path, mode)
        assert fs.stat(path).mode == kind | mode
        assert fs.scan("")[path].mode == kind | mode


def test_modes_at_creation(fs: OsLike) -> None:
    fs.close(fs.open("f", os.O_CREAT | os.O_WRONLY, 0o600))
    fs.mkdir("d", 0o700)
    assert fs.stat("f").mode == stat.S_IFREG | 0o600
    assert fs.stat("d").mode == stat.S_IFDIR | 0o700
    assert (fs.stat("f").uid, fs.stat("f").gid) == host.own_ids()
    # A handle keeps what it was opened for, whatever the new file's mode says.
    fh = fs.open("secret", os.O_CREAT | os.O_WRONLY, 0o000)
    assert fs.write(fh, b"x") == 1
    fs.close(fh)
    assert fs.stat("secret").mode == stat.S_IFREG


@pytest.mark.skipif(host.own_ids()[0] != 0, reason="only root may give files away")
def test_chown(fs: OsLike) -> None:
    put(fs, "f")
    fs.symlink("f", "link")
    fs.chown("f", 1234, 5678)
    assert (fs.stat("f").uid, fs.stat("f").gid) == (1234, 5678)
    fs.chown("f", -1, 42)
    assert (fs.stat("f").uid, fs.stat("f").gid) == (1234, 42)
    fs.chown("f", 7, -1)
    assert (fs.stat("f").uid, fs.stat("f").gid) == (7, 42)
    fs.chown("link", 8, 9)
    assert (fs.lstat("link").uid, fs.lstat("link").gid) == (8, 9)
    assert (fs.stat("f").uid, fs.stat("f").gid) == (7, 42)


@pytest.mark.skipif(host.own_ids()[0] != 0, reason="only root may give files away")
def test_setgid_directories_hand_their_group_down(fs: OsLike) -> None:
    fs.mkdir("d")
    fs.chown("d", -1, 4321)
    fs.chmod("d", 0o2775)
    put(fs, "d/f", mode=0o644)
    fs.mkdir("d/e", 0o755)
    fs.symlink("f", "d/l")
    assert {name: attr.gid for name, attr in fs.scan("d").items()} == {"f": 4321, "e": 4321, "l": 4321}
    assert fs.stat("d/e").mode == stat.S_IFDIR | 0o2755
    assert fs.stat("d/f").mode == stat.S_IFREG | 0o644


@pytest.mark.parametrize("time_ns", TIMES_NS)
def test_utimens(fs: OsLike, time_ns: int) -> None:
    put(fs, "f")
    fs.mkdir("d")
    fs.symlink("f", "link")
    for path in ("f", "d", "link"):
        fs.utime(path, time_ns + 5, time_ns)
        assert fs.lstat(path).mtime_ns == time_ns
        assert fs.lstat(path).atime_ns == time_ns + 5
        assert fs.scan("")[path].mtime_ns == time_ns


def test_utimens_now_and_omit(fs: OsLike) -> None:
    put(fs, "f")
    fs.utime("f", 1_000, 2_000)
    fs.utime("f", None, 3_000)
    assert (fs.stat("f").atime_ns, fs.stat("f").mtime_ns) == (1_000, 3_000)
    fs.utime("f", 4_000, None)
    assert (fs.stat("f").atime_ns, fs.stat("f").mtime_ns) == (4_000, 3_000)
    fs.utime("f", None, None)
    assert (fs.stat("f").atime_ns, fs.stat("f").mtime_ns) == (4_000, 3_000)
    before = time.time_ns() - 50_000_000
    fs.utime("f", 5_000, NOW)
    assert fs.stat("f").atime_ns == 5_000
    assert before <= fs.stat("f").mtime_ns <= time.time_ns()
    fs.utime("f", NOW, 6_000)
    assert before <= fs.stat("f").atime_ns <= time.time_ns()
    assert fs.stat("f").mtime_ns == 6_000
    assert code_of(fs.utime, "none", NOW, NOW) == errno.ENOENT


def test_a_time_that_is_not_set_stays(fs: OsLike) -> None:
    put(fs, "f")
    fs.mkdir("d")
    for path in ("f", "d"):
        before = fs.stat(path)
        fs.utime(path, None, 3_000)
        assert (fs.stat(path).atime_ns, fs.stat(path).mtime_ns) == (before.atime_ns, 3_000)
    put(fs, "g")
    before = fs.stat("g")
    fs.utime("g", 3_000, None)
    assert (fs.stat("g").atime_ns, fs.stat("g").mtime_ns) == (3_000, before.mtime_ns)


def test_times_survive_close_after_write(fs: OsLike) -> None:
    """cp -p and rsync set the time on the open file or right after close: nothing may move it later."""
    fh = fs.open("f", os.O_CREAT | os.O_WRONLY)
    fs.write(fh, b"data")
    fs.utime("f", 1_000, 2_000)
    fs.close(fh)
    assert fs.stat("f").mtime_ns == 2_000
    fh = fs.open("f", os.O_RDONLY)
    fs.read(fh, 10)
    fs.close(fh)
    assert fs.stat("f").mtime_ns == 2_000


def write(fs: OsLike) -> None:
    fh = fs.open("d/f", os.O_WRONLY)
    fs.write(fh, b"more")
    fs.close(fh)


# (what is done, whose mtime must move, whose ctime must move besides)
CHANGES: dict[str, tuple[Callable[[OsLike], object], set[str], set[str]]] = {
    "write": (write, {"d/f"}, set()),
    "truncate": (lambda fs: fs.truncate("d/f", 1), {"d/f"}, set()),
    "open_trunc": (lambda fs: put(fs, "d/f"), {"d/f"}, set()),
    "chmod": (lambda fs: fs.chmod("d/f", 0o600), set(), {"d/f"}),
    "chown": (lambda fs: fs.chown("d/f", *host.own_ids()), set(), {"d/f"}),
    "create": (lambda fs: put(fs, "d/new"), {"d"}, set()),
    "mkdir": (lambda fs: fs.mkdir("d/new"), {"d"}, set()),
    "symlink": (lambda fs: fs.symlink("f", "d/new"), {"d"}, set()),
    "unlink": (lambda fs: fs.unlink("d/g"), {"d"}, set()),
    "rmdir": (lambda fs: fs.rmdir("d/e"), {"d"}, set()),
    "rename_out": (lambda fs: fs.rename("d/g", "o/g"), {"d", "o"}, set()),
    "rename_over": (lambda fs: fs.rename("d/f", "d/g"), {"d"}, {"d/g"}),
    "read": (lambda fs: fs.close(fs.open("d/f", os.O_RDONLY)), set(), set()),
    "lookup": (lambda fs: fs.scan("d"), set(), set()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_which_times_move(fs: OsLike, change: str) -> None:
    act, moved_mtimes, moved_ctimes = CHANGES[change]
    fs.mkdir("d")
    fs.mkdir("o")
    fs.mkdir("d/e")
    put(fs, "d/f", b"abc")
    put(fs, "d/g", b"abc")
    paths = ("d", "o", "d/f", "d/g")
    for path in paths[::-1]:
        fs.utime(path, 1_000, 2_000)
    before = {path: fs.stat(path) for path in paths}
    time.sleep(0.02)
    act(fs)
    for path in paths:
        try:
            after = fs.stat(path)
        except FileNotFoundError:
            continue
        assert (after.mtime_ns != 2_000) == (path in moved_mtimes), f"mtime of {path}"
        ctime_moved = after.ctime_ns != before[path].ctime_ns
        assert ctime_moved == (path in moved_mtimes | moved_ctimes), f"ctime of {path}"


def test_link_counts(fs: OsLike) -> None:
    put(fs, "f")
    fs.mkdir("d")
    assert fs.stat("f").nlink == 1
    assert fs.stat("d").nlink >= 1


def test_inode_numbers_are_distinct_and_stay(fs: OsLike) -> None:
    put(fs, "f")
    put(fs, "g")
    fs.mkdir("d")
    inos = {name: fs.stat(name).ino for name in ("f", "g", "d")}
    assert len(set(inos.values())) == 3
    fs.rename("f", "d/f")
    assert fs.stat("d/f").ino == inos["f"]
