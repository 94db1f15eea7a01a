"""What a drive must do on Linux and macOS, check by check, in the order in which they are run."""

import errno
import os
import stat
import sys
from collections.abc import Callable
from typing import Final

from s3mount.selftest.checks import Check, Ground, Mismatch, NotHere, Outcome, expect
from s3mount.selftest.posix_api import PosixApi, PosixFile
from s3mount.selftest.random_io import exercise
from s3mount.selftest.runner import run_checks

Posix = Ground[PosixApi]
NAMES_MANY: Final = 300
TIME_NS: Final = 1_234_567_890_123_456_789
# Composed, right to left, outside the first plane, and what Windows cannot have.
ODD_NAMES: Final = ("with space ", "ümlaut", "שלום", "\U0001f600", "a:b?*|<>", "con", "x.", "-rf", "%41")
# To macOS the same name as one of those above.
DECOMPOSED: Final = "u\u0308mlaut"


def _path(ground: Posix, name: str) -> str:
    return os.path.join(ground.folder, name)


def _refused(what: str, code: int, call: Callable[[], object]) -> None:
    try:
        call()
    except OSError as error:
        found = errno.errorcode.get(error.errno or 0, str(error.errno))
        expect(f"{what} fails with", found, errno.errorcode[code])
    else:
        raise Mismatch(f"{what} succeeds, and must fail with {errno.errorcode[code]}")


def _bytes(ground: Posix) -> None:
    data = bytes(range(256)) * 1025
    path = _path(ground, "f")
    ground.api.put(path, data)
    expect("size", ground.api.stat(path).st_size, len(data))
    if ground.api.get(path) != data:
        raise Mismatch("the bytes that are read are not those that were written")
    with ground.api.opened(path, os.O_RDWR) as fd:
        ground.api.write(fd, b"middle", 4093)
        expect("bytes over a page's edge", ground.api.read(fd, 8, 4092), data[4092:4093] + b"middle" + data[4099:4100])
        expect("bytes read behind the end", ground.api.read(fd, 10, len(data) + 5), b"")


def _open_flags(ground: Posix) -> None:
    api, path = ground.api, _path(ground, "f")
    _refused("opening what is not there", errno.ENOENT, lambda: api.open(path, os.O_RDONLY))
    api.put(path, b"12345")
    _refused("O_EXCL on what is there", errno.EEXIST, lambda: api.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    with api.opened(path, os.O_WRONLY | os.O_APPEND) as fd:
        api.append(fd, b"67")
    expect("after O_APPEND", api.get(path), b"1234567")
    with api.opened(path, os.O_WRONLY | os.O_TRUNC):
        pass
    expect("after O_TRUNC", api.get(path), b"")


def _sizes(ground: Posix) -> None:
    api, path = ground.api, _path(ground, "f")
    with api.opened(path, os.O_RDWR | os.O_CREAT) as fd:
        api.write(fd, b"end", 1 << 20)
        expect("a hole", api.read(fd, 5, (1 << 20) - 2), b"\0\0end")
        api.truncate(fd, 3)
        api.truncate(fd, 6)
        api.write(fd, b"1", 0)
        expect("after cutting and lengthening", api.read(fd, 10, 0), b"1\0\0\0\0\0")
    expect("size once it is closed", api.stat(path).st_size, 6)


def _rename(ground: Posix) -> None:
    api = ground.api
    old, new, folder = _path(ground, "old"), _path(ground, "new"), _path(ground, "folder")
    api.put(old, b"new bytes")
    api.put(new, b"old")
    api.rename(old, new)
    expect("names after a rename over a file", api.listdir(ground.folder), ["new"])
    expect("its bytes", api.get(new), b"new bytes")
    api.mkdir(folder)
    api.rename(new, os.path.join(folder, "inner"))
    api.rename(folder, _path(ground, "moved"))
    expect("a file in a directory that was renamed", api.get(_path(ground, "moved/inner")), b"new bytes")
    _refused("the old path", errno.ENOENT, lambda: api.stat(os.path.join(folder, "inner")))
    api.mkdir(folder)
    _refused(
        "a rename over a full directory", errno.ENOTEMPTY, lambda: api.rename(folder, _path(ground, "moved"))
    )  # fmt: skip


def _modes(ground: Posix) -> None:
    api, path, folder = ground.api, _path(ground, "f"), _path(ground, "d")
    api.put(path, b"", 0o600)
    api.mkdir(folder, 0o700)
    expect("mode of a new file", oct(api.stat(path).st_mode), oct(stat.S_IFREG | 0o600))
    expect("mode of a new directory", oct(api.stat(folder).st_mode), oct(stat.S_IFDIR | 0o700))
    for mode in (0o444, 0o751, 0o640):
        api.chmod(path, mode)
        expect("mode after chmod", oct(stat.S_IMODE(api.stat(path).st_mode)), oct(mode))
    expect("owner", api.stat(path).st_uid, api.own_uid())


def _times(ground: Posix) -> None:
    api = ground.api
    for name, make in (("f", lambda path: api.put(path, b"1")), ("d", api.mkdir)):
        path = _path(ground, name)
        make(path)
        api.utime(path, ns=(TIME_NS + 1, TIME_NS))
        expect(f"mtime of {name}, in ns", api.stat(path).st_mtime_ns, TIME_NS)
        expect(f"atime of {name}, in ns", api.stat(path).st_atime_ns, TIME_NS + 1)
    path = _path(ground, "f")
    with api.opened(path, os.O_WRONLY) as fd:
        api.write(fd, b"2", 0)
    if api.stat(path).st_mtime_ns <= TIME_NS:
        raise Mismatch("writing does not move mtime")


def _deleting(ground: Posix) -> None:
    api, path, folder = ground.api, _path(ground, "f"), _path(ground, "d")
    api.put(path, b"kept")
    with api.opened(path, os.O_RDWR) as fd:
        api.unlink(path)
        _refused("a file that was removed", errno.ENOENT, lambda: api.stat(path))
        api.write(fd, b"5", 4)
        expect("what is removed and open", api.read(fd, 9, 0), b"kept5")
    api.mkdir(folder)
    api.put(os.path.join(folder, "f"), b"")
    _refused("removing a full directory", errno.ENOTEMPTY, lambda: api.rmdir(folder))
    api.unlink(os.path.join(folder, "f"))
    api.rmdir(folder)
    expect("names at the end", api.listdir(ground.folder), [])


def _names(ground: Posix) -> None:
    api = ground.api
    odd = {*ODD_NAMES, "n" * 255, "é" * 127} | ({DECOMPOSED} if sys.platform == "linux" else set())
    for name in odd:
        api.put(_path(ground, name), os.fsencode(name))
    expect("odd names", sorted(api.listdir(ground.folder)), sorted(odd))
    for name in odd:
        expect(f"bytes of {name!r}", api.get(_path(ground, name)), os.fsencode(name))
    _refused("a name of 256 bytes", errno.ENAMETOOLONG, lambda: api.put(_path(ground, "n" * 256), b""))


def _listing(ground: Posix) -> None:
    api = ground.api
    for number in range(NAMES_MANY):
        api.put(_path(ground, f"f{number}"), b"")
    expect("names listed", sorted(api.listdir(ground.folder)), sorted(f"f{number}" for number in range(NAMES_MANY)))


def _xattrs(ground: Posix) -> None:
    api, path = ground.api, _path(ground, "f")
    if not api.has_xattrs:
        raise NotHere("Python has no calls for extended attributes here")
    api.put(path, b"")
    try:
        api.setxattr(path, "user.one", b"\0value\xff")
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            raise NotHere("the drive has no extended attributes") from error
        raise
    api.setxattr(path, "user.two", b"")
    expect("an extended attribute", api.getxattr(path, "user.one"), b"\0value\xff")
    expect("their names", sorted(api.listxattr(path)), ["user.one", "user.two"])
    api.removexattr(path, "user.one")
    expect("names after one was removed", api.listxattr(path), ["user.two"])


def _symlinks(ground: Posix) -> None:
    api, link = ground.api, _path(ground, "link")
    api.symlink("target/of it", link)
    expect("target", api.readlink(link), "target/of it")
    expect("kind", stat.S_ISLNK(api.lstat(link).st_mode), True)
    _refused("following a link to nothing", errno.ENOENT, lambda: api.stat(link))


def _hard_links(ground: Posix) -> None:
    api, one, other = ground.api, _path(ground, "one"), _path(ground, "other")
    api.put(one, b"1")
    try:
        api.link(one, other)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP):
            raise NotHere("the drive refuses hard links (--hard-links=deny)") from error
        raise
    with api.opened(other, os.O_WRONLY) as fd:
        api.write(fd, b"22", 0)
    expect("bytes under the other name", api.get(one), b"22")
    expect("links", api.stat(one).st_nlink, 2)
    api.unlink(one)
    expect("bytes once one name is gone", api.get(other), b"22")


def _syncing(ground: Posix) -> None:
    api, path = ground.api, _path(ground, "f")
    with api.opened(path, os.O_RDWR | os.O_CREAT) as fd:
        api.write(fd, b"synced", 0)
        api.fsync(fd)
        expect("bytes after fsync", api.read(fd, 9, 0), b"synced")
    with api.opened(ground.folder, os.O_RDONLY) as fd:
        api.fsync(fd)


def _space(ground: Posix) -> None:
    volume = ground.api.statvfs(ground.folder)
    if not 0 < volume.f_bavail <= volume.f_bfree <= volume.f_blocks:
        raise Mismatch(f"{volume.f_bavail} blocks available, {volume.f_bfree} free, {volume.f_blocks} in all")
    if volume.f_namemax < 255:
        raise Mismatch(f"names of {volume.f_namemax} bytes")


def _random(ground: Posix) -> None:
    exercise(PosixFile(ground.api, _path(ground, "f")), seed=ground.seed, steps=ground.steps)


CHECKS: Final = (
    Check("bytes are read as they were written", _bytes),
    Check("open: O_EXCL, O_APPEND, O_TRUNC", _open_flags),
    Check("sizes, holes, truncating", _sizes),
    Check("renaming, also over a file and of a directory", _rename),
    Check("modes and owner", _modes),
    Check("times to the nanosecond", _times),
    Check("deleting, also of what is open", _deleting),
    Check("odd and long names", _names),
    Check("a directory lists each name once", _listing),
    Check("extended attributes", _xattrs),
    Check("symbolic links", _symlinks),
    Check("hard links", _hard_links),
    Check("fsync of a file and of a directory", _syncing),
    Check("free space", _space),
    Check("random reads, writes, truncates and mappings", _random),
)


def run(drive: str, *, seed: int, steps: int, report: Callable[[Outcome], None]) -> list[Outcome]:
    """As run_checks."""
    return run_checks(drive, PosixApi(), CHECKS, seed=seed, steps=steps, report=report)
