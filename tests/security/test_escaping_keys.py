"""No key and no link leads out of the mount or the cache directory, whatever somebody else put into the bucket."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3mount.errors import FsError
from s3mount.model import Caller
from s3mount.vfs.paths import PathFileSystem
from tests.acceptance.watching import keys_of, wait_until
from tests.security.others import snapshot
from tests.support.cli_mount import CliMount
from tests.support.entries import all_entries
from tests.support.fs_factory import MEMORY, MemoryDrive, open_drive
from tests.support.memory_store import MemoryStore
from tests.support.s3_server import S3Server

# Keys that are no path in the mount and are shown encoded, and keys that are one although they look odd.
ENCODED = [
    "../up",
    "../mountpoint/x",
    "/etc/x",
    "/",
    "a/../../x",
    "a/./b",
    "a//b",
    "./c",
    "a/..",
    ".",
    "..",
    "nul\0key",
]
ODD = ["line\nbreak", "tab\there", "bell\x07", "esc\x1b[2J", "del\x7f", "-rf", "...", "..x", "a\\..\\b", "~", "%2e%2e"]
HASHED = "%2E%2E%~245e5bef256910bfba18c993a86916ea%key"  # the object "..", beside a directory of that name
BLOCK_FILE = re.compile(r"cache/([0-9a-f]{2})/([0-9a-f]+)")


def check_cache_names(state_dir: Path, inos: set[int]) -> None:
    """Block files go by the numbers of their inodes, and all else in the folder by names that are always the same."""
    found = {str(path.relative_to(state_dir)) for path in state_dir.rglob("*") if not path.is_dir()}
    blocks = {name for name in found if name.startswith("cache/") and name != "cache/trust"}
    for name in blocks:
        match = BLOCK_FILE.fullmatch(name)
        assert match, name
        assert int(match[2], 16) % 256 == int(match[1], 16)
        assert int(match[2], 16) in inos
    assert blocks, "nothing was cached"
    fixed = {"index.sqlite", "index.sqlite-wal", "lock", "s3mount.log", "cache/trust"}
    assert found - blocks <= fixed


def test_objects_with_such_keys(ministack: S3Server, tmp_path: Path) -> None:
    """Listed, read, written and removed through the mount; around it nothing changes."""
    bucket, outside = ministack.make_bucket(), tmp_path / "outside"
    (outside / "etc").mkdir(parents=True)
    for key in [*ENCODED, *ODD, "a/good"]:
        ministack.client.put_object(Bucket=bucket, Key=key, Body=b"evil")
    put = set(keys_of(ministack, bucket))
    assert put >= {*ODD, "a/good", "a/../../x", "../up", "a//b"}, "the server made other keys of these"
    etc = set(os.listdir("/etc"))
    with CliMount(ministack, bucket, outside, "--write-back-delay=50ms") as drive:
        drive.mount()
        before = snapshot_around(drive, tmp_path)
        encoded = set(os.listdir(drive.mountpoint)) - {*ODD, "a"}
        assert encoded >= {"%key", "%2E%key", "%2E%2E%key", HASHED}
        shown = [path for path in drive.mountpoint.rglob("*") if path.is_file()]
        inos = {path.stat().st_ino for path in shown}
        for name in shown:
            assert (drive.mountpoint / name).read_bytes() == b"evil"
            (drive.mountpoint / name).write_bytes(b"written")
        drive.drain()
        (state_dir,) = drive.cache_dir.iterdir()
        check_cache_names(state_dir, inos)
        assert snapshot_around(drive, tmp_path) == before
        (drive.mountpoint / "a/good").rename(drive.mountpoint / "a/better")
        shown = [path for path in drive.mountpoint.rglob("*") if path.is_file()]
        for path in shown:
            path.unlink()
        drive.drain()
        assert drive.run("check", str(drive.mountpoint)).returncode in (0, 1)
        assert snapshot_around(drive, tmp_path) == before
        # A line break in a name makes no second line in the log.
        assert all(re.match(r"\d{4}-\d\d-\d\d ", line) for line in drive.log().splitlines())
        wait_until(lambda: all(key.endswith("/") for key in keys_of(ministack, bucket)))
    assert set(os.listdir("/etc")) == etc


def snapshot_around(drive: CliMount, folder: Path) -> dict[str, object]:
    """Everything below `folder` but what the mount shows, its state and its registry."""
    own = (drive.mountpoint, drive.cache_dir, Path(drive.environment["XDG_STATE_HOME"]))
    top = [path for path in folder.rglob("*") if not any(path == each or each in path.parents for each in own)]
    return {str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns) for path in top if path != drive.mountpoint}


@pytest.mark.parametrize("target", ["absolute", "upwards"])
def test_link_objects(seaweed: S3Server, tmp_path: Path, target: str) -> None:
    """The target is kept as it is and means what it means to whoever follows it. s3mount itself never does."""
    bucket, victim = seaweed.make_bucket(), tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious")
    with CliMount(seaweed, bucket, tmp_path, "--write-back-delay=50ms") as drive:
        texts = {"file": "file", "folder": "", "gone": "gone"}
        where = {"absolute": f"{victim}/", "upwards": "../" * 20 + f"{victim}/"}[target]
        metadata = {"mode": str(stat.S_IFLNK | 0o777)}
        for name, text in texts.items():
            seaweed.client.put_object(Bucket=bucket, Key=name, Body=(where + text).encode(), Metadata=metadata)
        drive.mount()
        before = snapshot(victim)
        assert {name: os.readlink(drive.mountpoint / name) for name in texts} == {
            name: where + text for name, text in texts.items()
        }
        assert (drive.mountpoint / "file").read_text() == "precious"
        assert os.listdir(drive.mountpoint / "folder") == ["file"]
        os.utime(drive.mountpoint / "file", ns=(1, 1), follow_symlinks=False)
        os.chown(drive.mountpoint / "folder", 7, 7, follow_symlinks=False)
        (drive.mountpoint / "gone").rename(drive.mountpoint / "moved")
        (drive.mountpoint / "dir").mkdir()
        (drive.mountpoint / "folder").rename(drive.mountpoint / "dir/folder")
        drive.drain()
        assert drive.run("check", str(drive.mountpoint)).returncode == 0
        for name in ("file", "moved", "dir/folder"):
            (drive.mountpoint / name).unlink()
        (drive.mountpoint / "dir").rmdir()
        drive.drain()
        assert keys_of(seaweed, bucket) == []
        assert snapshot(victim) == before


class TestPathsAsTheKernelNeverSendsThem:
    """The drive in process, over a store that takes every key: no path leads up, and NUL is in no name."""

    @pytest.fixture
    def drive(self, tmp_path: Path) -> Iterator[MemoryDrive]:
        drive = open_drive(MEMORY, tmp_path)
        assert isinstance(drive, MemoryDrive)
        yield drive
        drive.close()

    def put(self, store: MemoryStore) -> None:
        for key in ["nul\0key", "a/nul\0", "a/../b", "..", "../b", "a/good"]:
            store.foreign_put(key, b"evil")

    def names(self, tree: PathFileSystem, path: str) -> list[str]:
        fh = tree.opendir(path)
        try:
            return [entry.name for entry in all_entries(tree, fh)]
        finally:
            tree.releasedir(fh)

    def test_what_is_shown(self, drive: MemoryDrive) -> None:
        self.put(drive.store)
        assert self.names(drive.paths, "/") == ["%2E%2E%key", HASHED, "a", "nul%00key%key"]
        assert self.names(drive.paths, "/a") == ["%2E%2E%key", "good", "nul%00%key"]

    def test_what_is_refused(self, drive: MemoryDrive, tmp_path: Path) -> None:
        self.put(drive.store)
        tree, caller = drive.paths, Caller(0, 0)
        before = set(drive.store.objects())
        for path in ("/..", "/../b", "/a/../b", "/a/..", "/.", "/a/nul\0", "/nul\0key"):
            for call in (
                lambda path=path: tree.getattr(path),
                lambda path=path: tree.open(path, os.O_RDWR),
                lambda path=path: tree.unlink(path),
                lambda path=path: tree.rename(path, "/a/moved"),
                lambda path=path: tree.rename("/a/good", path),
                lambda path=path: tree.create(path, 0o600, os.O_WRONLY, caller),
                lambda path=path: tree.mkdir(path, 0o700, caller),
                lambda path=path: tree.symlink("x", path, caller),
            ):
                with pytest.raises(FsError):
                    call()
        drive.drain()
        assert set(drive.store.objects()) == before
        assert {path.name for path in tmp_path.iterdir()} == {"state0"}
