"""The mount table and the processes behind it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from s3mount.control import mount_table
from s3mount.control.mount_table import Liveness, find_mount, parse_mountinfo, probe, resolve_mountpoint
from s3mount.control.processes import is_running, processes_using, wait_for_end
from s3mount.host import start_time

_TEXT = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:40 / /mnt/with\\040blank\\011and\\134slash rw,nosuid - fuse.s3mount s3mount rw,user_id=0
41 22 0:41 / /mnt/twice rw - tmpfs tmpfs rw
42 41 0:42 / /mnt/twice rw - fuse sshfs rw
broken line
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="needs /proc")


def test_mount_points_are_unescaped_and_the_top_one_wins() -> None:
    mounts = parse_mountinfo(_TEXT)
    assert mounts[Path("/mnt/with blank\tand\\slash")].fstype == "fuse.s3mount"
    assert mounts[Path("/mnt/twice")].fstype == "fuse"
    assert len(mounts) == 3


@pytest.mark.parametrize(
    ("fstype", "is_fuse"),
    [("fuse", True), ("fuse.s3mount", True), ("fuseblk", True), ("ext4", False), ("tmpfs", False)],
)
def test_fuse_is_known_by_its_type(fstype: str, is_fuse: bool) -> None:
    assert mount_table.MountedFilesystem(Path("/x"), fstype).is_fuse is is_fuse


@needs_proc
def test_what_is_mounted_here_is_found(tmp_path: Path) -> None:
    assert find_mount(Path("/proc")) is not None
    assert find_mount(tmp_path) is None


def test_a_mount_point_is_resolved_through_links_and_dots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real" / "drive").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "shortcut").symlink_to("real/drive")
    monkeypatch.chdir(tmp_path)
    wanted = Path(os.path.realpath(tmp_path)) / "real" / "drive"
    assert resolve_mountpoint("link/../link/drive/.") == wanted
    assert resolve_mountpoint("shortcut") == wanted


def test_a_mounted_path_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount_table, "find_mount", lambda path: path if path == Path("/mnt/twice") else None)
    monkeypatch.setattr(os.path, "realpath", lambda path: pytest.fail(f"{path} was touched"))
    assert resolve_mountpoint("/mnt/./twice/") == Path("/mnt/twice")


def test_probe_tells_dead_from_alive_and_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe(tmp_path) is Liveness.ANSWERS
    real_stat = os.stat

    def dead(path: Path, **keywords: bool) -> os.stat_result:
        if path == tmp_path:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return real_stat(path, **keywords)

    monkeypatch.setattr(os, "stat", dead)
    assert probe(tmp_path) is Liveness.DEAD
    read_end, write_end = os.pipe()
    monkeypatch.setattr(os, "stat", lambda _path, **_keywords: os.read(read_end, 1))
    assert probe(tmp_path, deadline_s=0.05) is Liveness.SILENT
    os.close(write_end)


@needs_proc
def test_a_process_is_running_until_it_ends_and_a_zombie_is_not() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = start_time(child.pid)
    assert started
    assert is_running(child.pid, started)
    assert not is_running(child.pid, started + "0")
    assert not wait_for_end(child.pid, started, 0.01)
    child.communicate(b"\n", timeout=10)
    assert wait_for_end(child.pid, started, 5)
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert start_time(zombie.pid) is None
    zombie.wait()


@needs_proc
def test_who_uses_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    command = [sys.executable, "-c", "print(flush=True); input()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=tmp_path / "inside") as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert any(f"({child.pid})" in user for user in processes_using(tmp_path))
        child.communicate(b"\n", timeout=10)
    assert processes_using(tmp_path) == []
