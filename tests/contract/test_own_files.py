"""A drive over each store: objects "dir/" with content, of another tool, are files that can be read, renamed and
removed; the directories stay. SeaweedFS has no such objects: what is put there loses its content (semantics.md)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3mount.drive import Drive, DriveOptions
from s3mount.model import Caller
from s3mount.remote.defaults import Defaults
from s3mount.vfs.paths import PathFileSystem
from tests.contract.conftest import Subject


@pytest.fixture
def drive(subject: Subject, tmp_path: Path) -> Iterator[Drive]:
    options = DriveOptions(defaults=Defaults(0, 0, 0o022), cache_limit_bytes=1 << 24, write_back_delay_s=0.02)
    drive = Drive(subject.store, tmp_path, options)
    try:
        yield drive
    finally:
        drive.close()


def drain(drive: Drive) -> None:
    assert drive.drain(20, lambda backlog: None) == []


def read(fs: PathFileSystem, path: str) -> bytes:
    fh = fs.open(path, os.O_RDONLY)
    try:
        return fs.read(fh, 0, 1000)
    finally:
        fs.release(fh)


def names(fs: PathFileSystem, path: str) -> list[str]:
    fh = fs.opendir(path)
    try:
        return sorted(entry.name for entry in fs.readdir(fh))
    finally:
        fs.releasedir(fh)


def test_own_files(subject: Subject, drive: Drive) -> None:
    fs = PathFileSystem(drive.filesystem)
    root = f"/{subject.folder.rstrip('/')}"
    for name in ("moved", "renamed", "removed"):
        subject.foreign_put(f"{name}/", f"content of {name}".encode(), {"mode": str(0o100640)})
        subject.foreign_put(f"{name}/x", b"x")
    if subject.kind == "seaweedfs":
        assert [names(fs, f"{root}/{name}") for name in ("moved", "renamed", "removed")] == [["x"]] * 3
        return
    for name in ("moved", "renamed", "removed"):
        assert names(fs, f"{root}/{name}") == ["%key", "x"]
        assert read(fs, f"{root}/{name}/%key") == f"content of {name}".encode()
        assert fs.getattr(f"{root}/{name}/%key").mode == 0o100640
        fs.chmod(f"{root}/{name}", 0o700)
    drain(drive)
    fs.rename(f"{root}/moved", f"{root}/there")
    fs.chmod(f"{root}/there/%key", 0o600)
    fs.rename(f"{root}/renamed/%key", f"{root}/renamed/y")
    fs.unlink(f"{root}/removed/%key")
    drain(drive)
    assert subject.names(delimiter="") == [
        "removed/", "removed/x", "renamed/", "renamed/x", "renamed/y", "there/", "there/x"
    ]  # fmt: skip
    assert [subject.read(name) for name in ("there/", "renamed/y")] == [b"content of moved", b"content of renamed"]
    found = subject.store.head(subject.key("there/"))
    assert found.metadata is not None
    assert found.metadata["mode"] == str(0o100600)
    for name in ("removed/", "renamed/"):
        marker = subject.store.head(subject.key(name))
        assert (marker.size, (marker.metadata or {})["mode"]) == (0, str(0o40700))
    fs.unlink(f"{root}/there/%key")
    for name in ("removed/x", "renamed/x", "renamed/y", "there/x"):
        fs.unlink(f"{root}/{name}")
    for name in ("removed", "renamed", "there"):
        fs.rmdir(f"{root}/{name}")
    drain(drive)
    assert subject.names(delimiter="") == [""], "the folder itself, which is empty now"


def test_a_marker_and_content_that_comes_to_it(subject: Subject, drive: Drive) -> None:
    fs = PathFileSystem(drive.filesystem)
    root = f"/{subject.folder.rstrip('/')}"
    subject.foreign_put("first", b"")  # or the folder itself is not there
    names(fs, root)
    for name in ("changed", "gone", "stays"):
        fs.mkdir(f"{root}/{name}", 0o755, Caller(0, 0))
    drain(drive)
    for name in ("changed", "gone"):
        subject.foreign_put(f"{name}/", b"theirs")
    fs.chmod(f"{root}/changed", 0o700)
    fs.rmdir(f"{root}/gone")
    fs.chmod(f"{root}/stays", 0o700)
    fs.rmdir(f"{root}/stays")
    drain(drive)
    if subject.kind != "seaweedfs":
        assert [subject.read(name) for name in ("changed/", "gone/")] == [b"theirs"] * 2
        assert names(fs, f"{root}/changed") == ["%key"]
    assert "stays/" not in subject.names()
