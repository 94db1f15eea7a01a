"""Trees to back up: the interpreter's own standard library, and one with everything that trips mounts."""

import hashlib
import os
import random
import shutil
import stat
import struct
import sysconfig
from pathlib import Path

NAMES = [
    "plain.txt",
    "name with spaces.txt",
    " leading and trailing ",
    "naïve café.txt",
    "cafe\u0301 decomposed.txt",
    "日本語.txt",
    "emoji 🗄.bin",
    "100%.txt",
    "%2F encoded?.txt",
    "a+b=c&d.txt",
    "hash#tag.txt",
    "question?.txt",
    "star*.txt",
    "quote'\".txt",
    "back\u2216slash.txt",
    "[brackets]{braces}.txt",
    "semi;colon,comma.txt",
    "$dollar~tilde`tick.txt",
    ".hidden",
    "..two dots",
    "...",
    "-dash",
    "@at!bang",
    "<angle>|pipe.txt",
    "x" * 255,
    "ü" * 127,
]

NS_TIMES = [
    0,
    1,
    999_999_999,
    1_700_000_000_123_456_789,
    1_700_000_000_100_000_000,
    1_700_000_000_000_000_001,
    -1,
    -1_500_000_000,
    -86_400_000_000_000 * 365,
    -2_000_000_000_999_999_999,
    4_000_000_000_000_000_123,
]

MODES = [0o600, 0o4755, 0o2755, 0o644, 0o400, 0o000, 0o777, 0o111, 0o6711]


def copy_standard_library(target: Path) -> None:
    """The standard library as Debian installs it: without its own tests, compiled caches and installed packages."""
    source = sysconfig.get_paths()["stdlib"]
    skipped = shutil.ignore_patterns("__pycache__", "site-packages", "dist-packages", "test")
    shutil.copytree(source, target, symlinks=True, ignore=skipped)


def make_awkward_tree(target: Path, seed: int) -> None:
    """Odd names, modes, times, links, sizes; directories empty, deep and with odd modes and times."""
    dice = random.Random(seed)
    target.mkdir()
    for number, name in enumerate(NAMES):
        size = dice.choice([0, 1, 100, 4096, 70_000])
        _make_file(target / name, dice.randbytes(size), MODES[number % len(MODES)], NS_TIMES[number % len(NS_TIMES)])
    (target / "empty file").touch()
    (target / "nine MiB").write_bytes(dice.randbytes(9 << 20))
    for name in ("empty", "empty with spaces", ".hidden dir", "d%+#?", "x" * 250):
        (target / name).mkdir()
    deep = target / "deep"
    for number in range(20):
        deep = deep / f"level {number}"
    deep.mkdir(parents=True)
    (deep / "bottom").write_text("here")
    links = target / "links"
    links.mkdir()
    (links / "relative").symlink_to("../plain.txt")
    (links / "absolute").symlink_to("/etc/hostname")
    (links / "dangling").symlink_to("nowhere at all")
    (links / "to a directory").symlink_to("../empty")
    (links / "ünïcode").symlink_to("../日本語.txt")
    (links / "long").symlink_to("x/" * 1000 + "end")
    for number, link in enumerate(sorted(links.iterdir())):
        os.utime(link, ns=(NS_TIMES[number], NS_TIMES[number]), follow_symlinks=False)
    for number, folder in enumerate(
        sorted(path for path in target.rglob("*") if path.is_dir() and not path.is_symlink())
    ):
        folder.chmod([0o755, 0o700, 0o1777, 0o2775, 0o555][number % 5])
        os.utime(folder, ns=(0, NS_TIMES[(number + 3) % len(NS_TIMES)]))
    os.utime(target, ns=(0, 1_600_000_000_987_654_321))


def _make_file(path: Path, content: bytes, mode: int, time_ns: int) -> None:
    path.write_bytes(content)
    if os.geteuid() == 0:
        os.chown(path, 1000 + len(content) % 7, 100 + len(content) % 5)
    path.chmod(mode)
    os.utime(path, ns=(time_ns, time_ns))


def files_of(root: Path) -> dict[str, Path]:
    """Every regular file below `root` by its path relative to it."""
    return {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file() and not path.is_symlink()}


def make_special_tree(target: Path) -> None:
    """Files with several names, extended attributes and access lists, and, as root, fifos and devices."""
    target.mkdir()
    (target / "folder").mkdir()
    (target / "one").write_text("one file, three names")
    os.link(target / "one", target / "two")
    os.link(target / "one", target / "folder" / "three")
    (target / "alone").write_text("x")
    for path in (target / "one", target / "folder"):
        os.setxattr(path, "user.comment", "grüße \0 and more".encode())
        os.setxattr(path, "user.empty", b"")
    # Versions, then entries of tag, permissions and id, as acl(5) and linux/posix_acl_xattr.h have them.
    entries = [(0x01, 6, -1), (0x02, 7, 1234), (0x04, 4, -1), (0x10, 7, -1), (0x20, 0, -1)]
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(target / "alone", "system.posix_acl_access", packed)
    os.setxattr(target / "folder", "system.posix_acl_default", packed)
    os.mkfifo(target / "fifo", 0o640)
    if os.geteuid() == 0:
        os.mknod(target / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(target / "disk", stat.S_IFBLK | 0o660, os.makedev(7, 200))
        os.setxattr(target / "two", "trusted.word", b"t")
    # rsync takes two times within a second for equal.
    for number, path in enumerate(sorted(target.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, 1_500_000_000_123_456_789 + number))


def special_picture_of(root: Path) -> dict[str, tuple[object, ...]]:
    """Kind and mode, the first name of the same file, the device, and all extended attributes, by path."""
    found: dict[str, tuple[object, ...]] = {}
    names: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        state, short = path.lstat(), path.relative_to(root).as_posix()
        first = "" if path.is_dir() else names.setdefault(state.st_ino, short)
        links = 0 if path.is_dir() else state.st_nlink
        attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in sorted(os.listxattr(path))}
        found[short] = (oct(state.st_mode), first, links, state.st_rdev, state.st_mtime_ns, attributes)
    return found


def picture_of(root: Path, *, of_directories: bool = True) -> dict[str, tuple[object, ...]]:
    """What a backup must bring back, by path: kind and mode, owner, mtime, and the bytes or the target.

    Without `of_directories` they are there, their attributes are not looked at: what a store without markers'
    metadata keeps.
    """
    found: dict[str, tuple[object, ...]] = {}
    for path in [root, *root.rglob("*")]:
        state = path.lstat()
        attributes = (oct(state.st_mode), state.st_uid, state.st_gid, state.st_mtime_ns)
        if stat.S_ISDIR(state.st_mode):
            content, attributes = "", attributes if of_directories else (stat.S_IFMT(state.st_mode), 0, 0, 0)
        elif stat.S_ISLNK(state.st_mode):
            content = os.readlink(path)
        else:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found[path.relative_to(root).as_posix()] = (*attributes, content)
    return found
