"""The errno table of docs/semantics.md as calls that must fail: one row, one call, the errno it ends with.

test_errno_table.py makes `TREE` and runs each row; the docs hold operation, condition and errno of the same rows, in
this order. Sources: POSIX.1-2024 and the Linux man pages; where POSIX leaves a choice, what Linux answers.
"""

import enum
import mmap
import os
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.support.linux import FALLOC_PUNCH_HOLE, RENAME_EXCHANGE, RENAME_NOREPLACE
from tests.support.os_like import NOW, OsLike, put

FILE_SYSTEMS = (Path("/dev/shm"), Path(__file__).parent)
LONG = "n" * 256
SHORT = "n" * 255
DEEP = "d/" * 2048 + "f"
TOO_LARGE = (1 << 43) + 1  # over S3's 5 TiB


class Where(enum.Enum):
    ALL = "every driver"
    KERNEL = "only where there is a kernel: it answers for every file system alike"
    KEPT = "where there is a kernel, and a drive that has such things: the reference tree has not"
    DRIVE = "only on the drive, whose limits the host's folder need not have"


@dataclass(frozen=True)
class Row:
    operation: str
    condition: str
    code: str
    act: Callable[[OsLike], object]
    where: Where = Where.ALL


@dataclass(frozen=True)
class Elsewhere:
    """A row whose condition takes more than a call to bring about: the test that does."""

    operation: str
    condition: str
    code: str
    test: str


def make_tree(fs: OsLike) -> None:
    """What the rows speak of. `none` and `gone` are not there."""
    put(fs, "f", b"abc")
    put(fs, "g", b"other")
    fs.mkdir("d")
    fs.mkdir("empty")
    fs.mkdir("full")
    fs.mkdir("full/sub")
    put(fs, "full/sub/x", b"x")
    fs.symlink("f", "link")
    fs.symlink("d", "to_d")
    fs.symlink("gone", "dangling")
    fs.symlink("loop", "loop")


def at(fs: OsLike, path: str) -> str:
    assert fs.root is not None
    return f"{fs.root}/{path}"


def elsewhere(fs: OsLike) -> Path:
    """A free name on another file system, wherever the tests' own folders are."""
    assert fs.root is not None
    here = os.stat(fs.root).st_dev
    return next(folder for folder in FILE_SYSTEMS if folder.stat().st_dev != here) / "new"


def opened(fs: OsLike, path: str, flags: int, act: Callable[[int], object]) -> None:
    fh = fs.open(path, flags)
    try:
        act(fh)
    finally:
        fs.close(fh)


def closed_handle(fs: OsLike) -> int:
    fh = fs.open("f", os.O_RDONLY)
    fs.close(fh)
    return fh


def below_a_removed_directory(fs: OsLike, act: Callable[[int], object]) -> None:
    fs.mkdir("removed")
    fh = os.open(at(fs, "removed"), os.O_RDONLY)
    try:
        fs.rmdir("removed")
        act(fh)
    finally:
        os.close(fh)


def map_for_writing(fs: OsLike) -> None:
    opened(fs, "f", os.O_RDONLY, lambda fh: mmap.mmap(fh, 3, prot=mmap.PROT_WRITE).close())


def run_while_written(fs: OsLike) -> None:
    program = at(fs, "program")
    put(fs, "program", b"#!/bin/true\n", 0o755)
    fs.chmod("program", 0o755)
    fh = fs.open("program", os.O_WRONLY)
    try:
        subprocess.run([program], check=False)
    finally:
        fs.close(fh)
        fs.unlink("program")


def connect(fs: OsLike) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as line:
        below = os.open(at(fs, ""), os.O_PATH)  # the whole path would be too long for a socket's address
        try:
            line.connect(f"/proc/self/fd/{below}/f")
        finally:
            os.close(below)


A, K, X, D = Where.ALL, Where.KERNEL, Where.KEPT, Where.DRIVE
NEW = os.O_CREAT | os.O_WRONLY
EXCLUSIVE = NEW | os.O_EXCL

ROWS = [
    # -- finding a name --
    Row("any", "a name on the way is missing", "ENOENT", lambda fs: fs.stat("none/x")),
    Row("any", "the last name is missing", "ENOENT", lambda fs: fs.stat("none")),
    Row("any", "the empty path", "ENOENT", lambda fs: os.stat(""), K),
    Row("any", "a file on the way", "ENOTDIR", lambda fs: fs.stat("f/x")),
    Row("any", "a file, then `/`", "ENOTDIR", lambda fs: os.stat(at(fs, "f/")), K),
    Row("any", "a file, then `/.`", "ENOTDIR", lambda fs: os.stat(at(fs, "f/.")), K),
    Row("any", "a file, then `/..`", "ENOTDIR", lambda fs: os.stat(at(fs, "f/../f")), K),
    Row("any", "a symlink to a file, then `/`", "ENOTDIR", lambda fs: os.lstat(at(fs, "link/")), K),
    Row("any", "a name over 255 bytes", "ENAMETOOLONG", lambda fs: fs.stat(LONG)),
    Row("any", "a name over 255 bytes on the way", "ENAMETOOLONG", lambda fs: fs.stat(f"{LONG}/x")),
    Row("any", "a path of 4096 bytes", "ENAMETOOLONG", lambda fs: os.stat(at(fs, DEEP)), K),
    Row("any", "symlinks in a circle", "ELOOP", lambda fs: fs.stat("loop")),
    Row("any", "symlinks in a circle on the way", "ELOOP", lambda fs: fs.stat("loop/x")),
    Row("any", "a dangling symlink, followed", "ENOENT", lambda fs: fs.stat("dangling")),
    # -- open --
    Row("open", "missing, no O_CREAT", "ENOENT", lambda fs: fs.open("none", os.O_RDONLY)),
    Row("open", "O_CREAT in a missing directory", "ENOENT", lambda fs: fs.open("none/x", NEW)),
    Row("open", "O_CREAT below a file", "ENOTDIR", lambda fs: fs.open("f/x", NEW)),
    Row("open", "O_CREAT, O_EXCL, the name is taken", "EEXIST", lambda fs: fs.open("f", EXCLUSIVE)),
    Row("open", "O_CREAT, O_EXCL, by a directory", "EEXIST", lambda fs: fs.open("d", EXCLUSIVE)),
    Row("open", "O_CREAT, O_EXCL, by a dangling symlink", "EEXIST", lambda fs: fs.open("dangling", EXCLUSIVE)),
    Row("open", "O_CREAT, a name over 255 bytes", "ENAMETOOLONG", lambda fs: fs.open(LONG, NEW)),
    Row("open", "O_CREAT, a name that ends in `/`", "EISDIR", lambda fs: os.open(at(fs, "none/"), NEW), K),
    Row("open", "O_CREAT in a directory that was removed", "ENOENT",
        lambda fs: below_a_removed_directory(fs, lambda fh: os.open("x", NEW, dir_fd=fh)), K),
    Row("open", "a directory to write", "EISDIR", lambda fs: fs.open("d", os.O_WRONLY)),
    Row("open", "a directory, O_RDWR", "EISDIR", lambda fs: fs.open("d", os.O_RDWR)),
    Row("open", "a directory, O_CREAT", "EISDIR", lambda fs: fs.open("d", os.O_RDONLY | os.O_CREAT)),
    Row("open", "a directory, O_TRUNC", "EISDIR", lambda fs: fs.open("d", os.O_RDONLY | os.O_TRUNC)),
    Row("open", "a file, O_DIRECTORY", "ENOTDIR", lambda fs: fs.open("f", os.O_RDONLY | os.O_DIRECTORY)),
    Row("open", "a symlink, O_NOFOLLOW", "ELOOP", lambda fs: fs.open("link", os.O_RDONLY | os.O_NOFOLLOW)),
    Row("open", "a symlink, O_NOFOLLOW, O_DIRECTORY", "ENOTDIR",
        lambda fs: fs.open("to_d", os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)),
    Row("execve", "the file is open for writing", "ETXTBSY", run_while_written, K),
    Row("execve", "no mode lets anybody execute it", "EACCES",
        lambda fs: subprocess.run([at(fs, "f")], check=False), K),
    Row("connect", "not a socket", "ECONNREFUSED", connect, K),
    # -- bytes --
    Row("read", "a directory", "EISDIR", lambda fs: opened(fs, "d", os.O_RDONLY, lambda fh: fs.read(fh, 1))),
    Row("read", "open for writing only", "EBADF", lambda fs: opened(fs, "f", os.O_WRONLY, lambda fh: fs.read(fh, 1))),
    Row("read", "a closed handle", "EBADF", lambda fs: fs.read(closed_handle(fs), 1)),
    Row("pread", "a negative offset", "EINVAL",
        lambda fs: opened(fs, "f", os.O_RDONLY, lambda fh: fs.pread(fh, 1, -1)), K),
    Row("write", "open for reading only", "EBADF",
        lambda fs: opened(fs, "f", os.O_RDONLY, lambda fh: fs.write(fh, b"x"))),
    Row("write", "ends beyond the largest object (5 TiB)", "EFBIG",
        lambda fs: opened(fs, "f", os.O_WRONLY, lambda fh: fs.pwrite(fh, b"x", TOO_LARGE)), D),
    Row("pwrite", "a negative offset", "EINVAL",
        lambda fs: opened(fs, "f", os.O_WRONLY, lambda fh: fs.pwrite(fh, b"x", -1)), K),
    Row("lseek", "to before the start", "EINVAL",
        lambda fs: opened(fs, "f", os.O_RDONLY, lambda fh: os.lseek(fh, -1, os.SEEK_SET)), K),
    Row("lseek", "SEEK_DATA at the end", "ENXIO",
        lambda fs: opened(fs, "f", os.O_RDONLY, lambda fh: os.lseek(fh, 3, os.SEEK_DATA)), K),
    Row("lseek", "SEEK_HOLE beyond the end", "ENXIO",
        lambda fs: opened(fs, "f", os.O_RDONLY, lambda fh: os.lseek(fh, 4, os.SEEK_HOLE)), K),
    Row("truncate", "a directory", "EISDIR", lambda fs: fs.truncate("d", 0)),
    Row("truncate", "missing", "ENOENT", lambda fs: fs.truncate("none", 0)),
    Row("truncate", "a negative length", "EINVAL", lambda fs: fs.truncate("f", -1), K),
    Row("truncate", "beyond the largest object (5 TiB)", "EFBIG", lambda fs: fs.truncate("f", TOO_LARGE), D),
    Row("ftruncate", "open for reading only", "EINVAL",
        lambda fs: opened(fs, "f", os.O_RDONLY, lambda fh: fs.ftruncate(fh, 0))),
    Row("posix_fallocate", "no length", "EINVAL",
        lambda fs: opened(fs, "f", os.O_WRONLY, lambda fh: os.posix_fallocate(fh, 0, 0)), K),
    Row("posix_fallocate", "open for reading only", "EBADF",
        lambda fs: opened(fs, "f", os.O_RDONLY, lambda fh: os.posix_fallocate(fh, 0, 1)), K),
    Row("fallocate", "to punch a hole without FALLOC_FL_KEEP_SIZE", "EOPNOTSUPP",
        lambda fs: opened(fs, "f", os.O_WRONLY, lambda fh: fs.fallocate(fh, FALLOC_PUNCH_HOLE, 0, 1)), K),
    Row("fallocate", "ends beyond the largest object (5 TiB)", "EFBIG",
        lambda fs: opened(fs, "f", os.O_WRONLY, lambda fh: fs.fallocate(fh, 0, TOO_LARGE, 1)), D),
    Row("copy_file_range", "onto itself, overlapping", "EINVAL",
        lambda fs: opened(fs, "f", os.O_RDWR, lambda fh: os.copy_file_range(fh, fh, 2, 0, 1)), K),
    Row("mmap", "to write, open for reading only", "EACCES", map_for_writing, K),
    # -- directories --
    Row("opendir", "a file", "ENOTDIR", lambda fs: fs.listdir("f")),
    Row("opendir", "missing", "ENOENT", lambda fs: fs.listdir("none")),
    Row("mkdir", "the name is taken by a file", "EEXIST", lambda fs: fs.mkdir("f")),
    Row("mkdir", "by a directory", "EEXIST", lambda fs: fs.mkdir("d")),
    Row("mkdir", "by a dangling symlink", "EEXIST", lambda fs: fs.mkdir("dangling")),
    Row("mkdir", "by a file, a name that ends in `/`", "EEXIST", lambda fs: os.mkdir(at(fs, "f/")), K),
    Row("mkdir", "`.`", "EEXIST", lambda fs: os.mkdir(at(fs, "d/.")), K),
    Row("mkdir", "the directory is missing", "ENOENT", lambda fs: fs.mkdir("none/x")),
    Row("mkdir", "below a file", "ENOTDIR", lambda fs: fs.mkdir("f/x")),
    Row("mkdir", "a name over 255 bytes", "ENAMETOOLONG", lambda fs: fs.mkdir(LONG)),
    Row("mkdir", "in a directory that was removed", "ENOENT",
        lambda fs: below_a_removed_directory(fs, lambda fh: os.mkdir("x", dir_fd=fh)), K),
    Row("rmdir", "not empty", "ENOTEMPTY", lambda fs: fs.rmdir("full")),
    Row("rmdir", "a file", "ENOTDIR", lambda fs: fs.rmdir("f")),
    Row("rmdir", "a symlink to a directory", "ENOTDIR", lambda fs: fs.rmdir("to_d")),
    Row("rmdir", "the same, then `/`", "ENOTDIR", lambda fs: os.rmdir(at(fs, "to_d/")), K),
    Row("rmdir", "missing", "ENOENT", lambda fs: fs.rmdir("none")),
    Row("rmdir", "below a file", "ENOTDIR", lambda fs: fs.rmdir("f/x")),
    Row("rmdir", "`d/.`", "EINVAL", lambda fs: os.rmdir(at(fs, "d/.")), K),
    Row("rmdir", "`d/..`", "ENOTEMPTY", lambda fs: os.rmdir(at(fs, "d/..")), K),
    # -- removing and linking --
    Row("unlink", "a directory", "EISDIR", lambda fs: fs.unlink("d")),
    Row("unlink", "a directory, then `/`", "EISDIR", lambda fs: os.unlink(at(fs, "d/")), K),
    Row("unlink", "a file, then `/`", "ENOTDIR", lambda fs: os.unlink(at(fs, "f/")), K),
    Row("unlink", "missing, then `/`", "ENOENT", lambda fs: os.unlink(at(fs, "none/")), K),
    Row("unlink", "missing", "ENOENT", lambda fs: fs.unlink("none")),
    Row("unlink", "below a file", "ENOTDIR", lambda fs: fs.unlink("f/x")),
    Row("unlink", "a name over 255 bytes", "ENAMETOOLONG", lambda fs: fs.unlink(LONG)),
    Row("symlink", "the name is taken", "EEXIST", lambda fs: fs.symlink("x", "f")),
    Row("symlink", "by a dangling symlink", "EEXIST", lambda fs: fs.symlink("x", "dangling")),
    Row("symlink", "the directory is missing", "ENOENT", lambda fs: fs.symlink("x", "none/x")),
    Row("symlink", "below a file", "ENOTDIR", lambda fs: fs.symlink("x", "f/x")),
    Row("symlink", "a name over 255 bytes", "ENAMETOOLONG", lambda fs: fs.symlink("x", LONG)),
    Row("symlink", "a target over 4095 bytes", "ENAMETOOLONG", lambda fs: fs.symlink("t" * 4096, "new")),
    Row("symlink", "an empty target", "ENOENT", lambda fs: fs.symlink("", "new"), K),
    Row("symlink", "a name that ends in `/`", "ENOENT", lambda fs: os.symlink("x", at(fs, "none/")), K),
    Row("readlink", "a file", "EINVAL", lambda fs: fs.readlink("f")),
    Row("readlink", "a directory", "EINVAL", lambda fs: fs.readlink("d")),
    Row("readlink", "missing", "ENOENT", lambda fs: fs.readlink("none")),
    Row("link", "a directory", "EPERM", lambda fs: os.link(at(fs, "d"), at(fs, "new")), K),
    Row("link", "the name is taken", "EEXIST", lambda fs: os.link(at(fs, "f"), at(fs, "g")), K),
    Row("link", "missing", "ENOENT", lambda fs: os.link(at(fs, "none"), at(fs, "new")), K),
    Row("link", "into a missing directory", "ENOENT", lambda fs: os.link(at(fs, "f"), at(fs, "none/x")), K),
    Row("link", "to another file system", "EXDEV", lambda fs: os.link(at(fs, "f"), elsewhere(fs)), K),
    Row("link", "a name over 255 bytes", "ENAMETOOLONG", lambda fs: os.link(at(fs, "f"), at(fs, LONG)), K),
    Row("mknod", "the name is taken", "EEXIST", lambda fs: os.mkfifo(at(fs, "f")), K),
    Row("mknod", "the directory is missing", "ENOENT", lambda fs: os.mkfifo(at(fs, "none/x")), K),
    # -- rename --
    Row("rename", "missing", "ENOENT", lambda fs: fs.rename("none", "new")),
    Row("rename", "into a missing directory", "ENOENT", lambda fs: fs.rename("f", "none/x")),
    Row("rename", "from below a file", "ENOTDIR", lambda fs: fs.rename("f/x", "new")),
    Row("rename", "to below a file", "ENOTDIR", lambda fs: fs.rename("g", "f/x")),
    Row("rename", "a file over a directory", "EISDIR", lambda fs: fs.rename("f", "d")),
    Row("rename", "a symlink over a directory", "EISDIR", lambda fs: fs.rename("link", "d")),
    Row("rename", "a directory over a file", "ENOTDIR", lambda fs: fs.rename("d", "f")),
    Row("rename", "a directory over a symlink to one", "ENOTDIR", lambda fs: fs.rename("empty", "to_d")),
    Row("rename", "a directory over one that is not empty", "ENOTEMPTY", lambda fs: fs.rename("d", "full")),
    Row("rename", "a file over one that is not empty", "EISDIR", lambda fs: fs.rename("f", "full")),
    Row("rename", "a directory into itself", "EINVAL", lambda fs: fs.rename("d", "d/x")),
    Row("rename", "a directory far below itself", "EINVAL", lambda fs: fs.rename("full", "full/sub/y")),
    Row("rename", "a directory over the one it is in", "ENOTEMPTY", lambda fs: fs.rename("full/sub", "full")),
    Row("rename", "a file over the directory it is in", "ENOTEMPTY", lambda fs: fs.rename("full/sub/x", "full/sub")),
    Row("rename", "a name over 255 bytes", "ENAMETOOLONG", lambda fs: fs.rename("f", LONG)),
    Row("rename", "a file, then `/`", "ENOTDIR", lambda fs: os.rename(at(fs, "f/"), at(fs, "new")), K),
    Row("rename", "a file to a name that ends in `/`", "ENOTDIR", lambda fs: os.rename(at(fs, "f"), at(fs, "n/")), K),
    Row("rename", "`.` or `..`", "EBUSY", lambda fs: os.rename(at(fs, "d/."), at(fs, "new")), K),
    Row("rename", "to another file system", "EXDEV", lambda fs: os.rename(at(fs, "f"), elsewhere(fs)), K),
    Row("rename", "into a directory that was removed", "ENOENT",
        lambda fs: below_a_removed_directory(fs, lambda fh: os.rename(at(fs, "f"), "x", dst_dir_fd=fh)), K),
    Row("renameat2", "NOREPLACE, the name is taken", "EEXIST", lambda fs: fs.rename("f", "g", RENAME_NOREPLACE)),
    Row("renameat2", "NOREPLACE, onto itself", "EEXIST", lambda fs: fs.rename("f", "f", RENAME_NOREPLACE)),
    Row("renameat2", "NOREPLACE and EXCHANGE", "EINVAL",
        lambda fs: fs.rename("f", "g", RENAME_NOREPLACE | RENAME_EXCHANGE)),
    Row("renameat2", "EXCHANGE with a missing name", "ENOENT", lambda fs: fs.rename("f", "none", RENAME_EXCHANGE), K),
    Row("renameat2", "EXCHANGE with what is inside", "EINVAL",
        lambda fs: fs.rename("full", "full/sub", RENAME_EXCHANGE), K),
    # -- attributes --
    Row("chmod", "missing", "ENOENT", lambda fs: fs.chmod("none", 0o600)),
    Row("chmod", "below a file", "ENOTDIR", lambda fs: fs.chmod("f/x", 0o600)),
    Row("chmod", "symlinks in a circle", "ELOOP", lambda fs: fs.chmod("loop", 0o600)),
    Row("chown", "missing", "ENOENT", lambda fs: fs.chown("none", -1, -1)),
    Row("chown", "below a file", "ENOTDIR", lambda fs: fs.chown("f/x", -1, -1)),
    Row("utimensat", "missing", "ENOENT", lambda fs: fs.utime("none", NOW, NOW)),
    Row("utimensat", "below a file", "ENOTDIR", lambda fs: fs.utime("f/x", NOW, NOW)),
    # -- extended attributes --
    Row("setxattr", "XATTR_CREATE, it is there", "EEXIST",
        lambda fs: os.setxattr(at(fs, "g"), "user.a", b"2", os.XATTR_CREATE), X),
    Row("setxattr", "XATTR_REPLACE, it is not there", "ENODATA",
        lambda fs: os.setxattr(at(fs, "f"), "user.a", b"2", os.XATTR_REPLACE), X),
    Row("setxattr", "a name over 255 bytes", "ERANGE", lambda fs: os.setxattr(at(fs, "f"), f"user.{LONG}", b""), K),
    Row("setxattr", "a value over 64 KiB", "E2BIG", lambda fs: os.setxattr(at(fs, "f"), "user.a", bytes(65_537)), K),
    Row("setxattr", "`user.` of a symlink", "EPERM",
        lambda fs: os.setxattr(at(fs, "link"), "user.a", b"1", follow_symlinks=False), K),
    Row("setxattr", "no known namespace", "EOPNOTSUPP", lambda fs: os.setxattr(at(fs, "f"), "other.a", b"1"), X),
    Row("setxattr", "missing", "ENOENT", lambda fs: os.setxattr(at(fs, "none"), "user.a", b"1"), K),
    Row("getxattr", "it is not there", "ENODATA", lambda fs: os.getxattr(at(fs, "f"), "user.a"), X),
    Row("getxattr", "no known namespace", "EOPNOTSUPP", lambda fs: os.getxattr(at(fs, "f"), "other.a"), X),
    Row("removexattr", "it is not there", "ENODATA", lambda fs: os.removexattr(at(fs, "f"), "user.a"), X),
]  # fmt: skip

OTHERS = "tests/security/test_other_users.py"
READ_ONLY = "tests/functional/test_errno_table.py::test_a_read_only_mount"
ON_THE_MOUNT = "tests/mount/test_links_and_attributes.py"
LINKS = "tests/faults/test_hard_links.py::test_what_is_refused"
ELSEWHERE = [
    Elsewhere("link", "the file has 65 000 names", "EMLINK", LINKS),
    Elsewhere("link", "the mount has `--hard-links=deny`", "EPERM", LINKS),
    Elsewhere("setxattr", "an object's 2 KB of metadata do not hold it", "ENOSPC", f"{ON_THE_MOUNT}::test_xattrs"),
    Elsewhere("setxattr", "a default access list of a file", "EACCES",
              f"{ON_THE_MOUNT}::test_access_lists_are_enforced"),
    Elsewhere("any change", "the mount is read-only", "EROFS", READ_ONLY),
    Elsewhere("rmdir, rename", "the root of the mount", "EBUSY",
              "tests/functional/test_errno_table.py::test_the_root_is_busy"),
    Elsewhere("open, truncate", "the mode does not let the caller", "EACCES",
              f"{OTHERS}::test_a_private_file_is_its_owners"),
    Elsewhere("any change of names", "the directory's mode does not let the caller", "EACCES",
              f"{OTHERS}::test_a_directorys_bits"),
    Elsewhere("chmod, utimensat with times", "not the caller's file", "EPERM",
              f"{OTHERS}::test_a_private_file_is_its_owners"),
    Elsewhere("chown", "the caller is not root", "EPERM", f"{OTHERS}::test_only_root_gives_files_away"),
    Elsewhere("unlink, rename", "another's file in a sticky directory", "EPERM", f"{OTHERS}::test_a_sticky_directory"),
    Elsewhere("write and all changes", "no room: local disk full, or the cache is full and nothing goes up", "ENOSPC",
              "tests/faults/test_full_disk.py::test_a_file_call_fails"),
    Elsewhere("any", "S3 or the local disk fails (P4)", "EIO",
              "tests/network/test_offline.py::test_every_operation_returns_in_time"),
    Elsewhere("read, write", "the object was replaced by someone else since the open (P5)", "ESTALE",
              "tests/faults/test_conflicts.py::test_open_handles_are_stale_once_a_foreign_version_is_taken_over"),
]  # fmt: skip
