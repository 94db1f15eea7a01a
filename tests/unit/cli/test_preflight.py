"""What is refused before a mount starts, and what to do about it."""

import errno
import importlib
import os
import stat
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

from s3mount import bindings
from s3mount.cli import preflight
from s3mount.cli.preflight import check_fuse, check_mountpoint, check_s3_client, free_bytes, prepare_state_dir
from s3mount.control.mount_table import Liveness, MountedFilesystem
from s3mount.errors import MountError, MountPointUnusable

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the device is Linux' own")


def test_an_empty_directory_will_do(drive: Path) -> None:
    check_mountpoint(drive)


def test_what_is_no_empty_directory_will_not(tmp_path: Path, drive: Path) -> None:
    with pytest.raises(MountPointUnusable, match="does not exist: make it"):
        check_mountpoint(tmp_path / "missing")
    (drive / "file").touch()
    with pytest.raises(MountPointUnusable, match="not empty"):
        check_mountpoint(drive)
    with pytest.raises(MountPointUnusable, match="not a directory"):
        check_mountpoint(drive / "file")


def test_a_directory_that_cannot_be_read_will_not(drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(MountPointUnusable, match="Permission denied"):
        check_mountpoint(drive)


@pytest.mark.parametrize(
    ("liveness", "text"),
    [
        (Liveness.ANSWERS, "already mounted"),
        (Liveness.DEAD, "run s3mount unmount"),
        (Liveness.SILENT, "run s3mount unmount"),
    ],
)
def test_a_mounted_directory_will_not(
    liveness: Liveness, text: str, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "find_mount", lambda path: MountedFilesystem(path, "fuse.s3mount"))
    monkeypatch.setattr(preflight, "probe", lambda _path: liveness)
    with pytest.raises(MountPointUnusable, match=text):
        check_mountpoint(drive)


@linux_only
def test_a_missing_or_closed_fuse_device_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MountPointUnusable, match="modprobe fuse"):
        check_fuse(allow_other=False, device=tmp_path / "missing")

    def refuse(path: Path, _flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(MountPointUnusable, match="may not be opened"):
        check_fuse(allow_other=False, device=tmp_path / "closed")


@linux_only
def test_a_user_needs_fusermount_and_leave_for_allow_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device, conf = tmp_path / "device", tmp_path / "fuse.conf"
    device.touch()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(preflight, "load_binding", lambda: None)
    monkeypatch.setattr(preflight.shutil, "which", lambda name: f"/bin/{name}")
    check_fuse(allow_other=False, device=device, conf=conf)
    with pytest.raises(MountPointUnusable, match="user_allow_other"):
        check_fuse(allow_other=True, device=device, conf=conf)
    conf.write_text("# a comment\nuser_allow_other\n")
    check_fuse(allow_other=True, device=device, conf=conf)
    monkeypatch.setattr(preflight.shutil, "which", lambda _name: None)
    with pytest.raises(MountPointUnusable, match="apt install fuse3"):
        check_fuse(allow_other=False, device=device, conf=conf)


@linux_only
@pytest.mark.parametrize("error", [OSError("Unable to find libfuse"), ImportError("No module named mfusepy")])
def test_a_library_that_does_not_load_is_told(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_name: str) -> None:
        raise error

    (tmp_path / "device").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(bindings.importlib, "import_module", fail)
    with pytest.raises(MountPointUnusable, match=r"no usable FUSE library.*apt install fuse3"):
        check_fuse(allow_other=True, device=tmp_path / "device")


def test_the_state_folder_is_made_private(tmp_path: Path) -> None:
    state_dir = tmp_path / "a" / "b"
    prepare_state_dir(state_dir)
    prepare_state_dir(state_dir)
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    assert list(state_dir.iterdir()) == []


def test_a_state_folder_that_cannot_be_written_is_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MountError, match="--cache-dir") as caught:
        prepare_state_dir(tmp_path / "file" / "state")
    assert caught.value.exit_code == 1


def test_free_space_is_that_of_the_nearest_folder_there_is(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet" / "there") > 0


def test_the_s3_client_on_windows_for_arm64(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_name: str) -> ModuleType:
        raise ImportError("No module named '_awscrt'")

    monkeypatch.setattr(importlib, "import_module", fail)
    monkeypatch.setattr(sysconfig, "get_platform", lambda: "win-arm64")
    with pytest.raises(MountError, match=r"No module named '_awscrt'\): .* install Python for x64"):
        check_s3_client()
