"""All that s3mount keeps on the local disk is for its user alone, whatever umask it was called with."""

import contextlib
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3mount.cli.log import _file_handler
from s3mount.cli.preflight import prepare_state_dir
from s3mount.demo.command import DemoFolder
from s3mount.private import make_folder
from tests.security.others import run_as
from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server

EXPECTED = {"index.sqlite", "index.sqlite-wal", "lock", "s3mount.log", "cache", "trust", "mounts"}


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def check_private(*folders: Path) -> set[str]:
    """Each folder, and everything in it, is closed to others; returns the names and suffixes found."""
    found: set[str] = set()
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            info = path.lstat()
            assert not stat.S_ISLNK(info.st_mode)
            wanted = 0o700 if stat.S_ISDIR(info.st_mode) else 0o600
            assert (oct(stat.S_IMODE(info.st_mode)), info.st_uid) == (oct(wanted), os.geteuid()), path
            found |= {path.name, path.suffix}
    return found


@pytest.mark.parametrize(("mask", "place"), [(0, "state/s3mount/buckets"), (0o002, "a/b/cache")])
def test_whatever_the_umask_is(seaweed: S3Server, tmp_path: Path, mask: int, place: str) -> None:
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path, "--write-back-delay=1h") as drive:
        drive.cache_dir = tmp_path / place
        folders = [tmp_path / "state/s3mount", *([] if place.startswith("state") else [tmp_path / place])]
        with umask(mask):
            drive.mount("--log-level=debug")
            (drive.mountpoint / "file").write_bytes(b"x" * 300_000)
            (drive.mountpoint / "dir").mkdir()
            assert drive.run("status").returncode == 0
            found = check_private(*folders)
            assert found >= EXPECTED | {".json", ".sock"}
            assert any(path.is_file() for path in drive.cache_dir.glob("*/cache/??/*")), "no block file was looked at"
            for folder in folders:
                assert run_as(folder.parent, f"os.listdir({folder.name!r})") == "EACCES"
                assert run_as(folder.parent, f"open({folder.name!r} + '/x', 'w')") == "EACCES"
            drive.drain()
            assert drive.unmount().returncode == 0
            endpoint = next(word for word in drive.mount_words() if word.startswith("--endpoint-url"))
            checked = drive.run("check", drive.source, f"--cache-dir={drive.cache_dir}", endpoint)
            assert checked.returncode == 0, checked.stdout + checked.stderr
        check_private(*folders)
        if place == "a/b/cache":
            check_private(tmp_path / "a")


def test_a_log_is_private_after_it_was_begun_anew(tmp_path: Path) -> None:
    with umask(0):
        handler = _file_handler(tmp_path / "log")
        handler.maxBytes = 10
        for _ in range(3):
            handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "more than ten bytes", None, None))
        handler.close()
    assert {".1", ".2"} <= check_private(*tmp_path.glob("log*"))


def test_the_folder_of_the_demo_holds_keys(tmp_path: Path) -> None:
    with umask(0):
        DemoFolder(tmp_path / "data/demo").prepare()
    assert "credentials" in check_private(tmp_path / "data")


def test_a_relative_folder_is_made_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder(Path("a/b"))
    check_private(tmp_path / "a", tmp_path / "a/b")


def test_what_an_earlier_version_left_open_is_closed(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    (state_dir / "cache").mkdir(parents=True)
    (state_dir / "index.sqlite").touch()
    for path, mode in ((state_dir, 0o755), (state_dir / "cache", 0o755), (state_dir / "index.sqlite", 0o644)):
        path.chmod(mode)
    prepare_state_dir(state_dir)
    check_private(state_dir)
