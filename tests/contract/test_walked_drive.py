"""A drive over each store: a tree that is walked costs a request per thousand keys, and shows what is there (P9)."""

import stat
from pathlib import Path

from s3mount.drive import Drive, DriveOptions
from s3mount.model import Caller
from s3mount.remote.defaults import Defaults
from s3mount.vfs.paths import PathFileSystem
from tests.contract.conftest import Subject
from tests.support.entries import all_entries

DIRECTORIES = 120
FILES = 3
SOME = 7


def open_drive(subject: Subject, folder: Path) -> Drive:
    return Drive(subject.store, folder, DriveOptions(defaults=Defaults(0, 0, 0o022), cache_limit_bytes=1 << 24))


def find(fs: PathFileSystem, path: str) -> set[str]:
    fh = fs.opendir(path)
    entries = all_entries(fs, fh)
    fs.releasedir(fh)
    found: set[str] = set()
    for entry in entries:
        below = f"{path}/{entry.name}"
        found |= {f"{below}/", *find(fs, below)} if stat.S_ISDIR(entry.attr.mode) else {below}
    return found


def listings(subject: Subject) -> int:
    return subject.store.request_counts().get("ListObjectsV2", 0)


def test_find(subject: Subject, tmp_path: Path) -> None:
    names = {f"d{d % SOME}/e{d}/f{f}" for d in range(DIRECTORIES) for f in range(FILES)}
    for name in names:
        subject.put(name, b"x")
    root = f"/{subject.folder.rstrip('/')}"
    drive = open_drive(subject, tmp_path)
    try:
        fs = PathFileSystem(drive.filesystem)
        fs.mkdir(f"{root}/empty", 0o755, Caller(0, 0))
        fs.mkdir(f"{root}/d1/empty", 0o755, Caller(0, 0))
        drive.drain(20, lambda backlog: None)
    finally:
        drive.close()
    directories = {name[: name.rfind("/") + 1] for name in names} | {f"d{n}/" for n in range(SOME)}
    expected = {f"{root}/{name}" for name in (names | directories | {"empty/", "d1/empty/"})}
    for _ in ("index not complete", "index complete"):
        before = listings(subject)
        drive = open_drive(subject, tmp_path)
        try:
            assert find(PathFileSystem(drive.filesystem), root) == expected
        finally:
            drive.close()
        assert listings(subject) - before <= len(expected) // 1000 + 20
