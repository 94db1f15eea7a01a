"""Whose read-ahead is raised, and that it is never lowered."""

import os
import sys
from pathlib import Path

import pytest

from s3mount.bindings.kernel_readahead import raise_read_ahead

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's own files")


class System:
    """A mount point, and what the kernel shows of its device."""

    def __init__(self, folder: Path, *, fstype: str = "fuse.s3mount", kib: str = "128") -> None:
        self.root = folder / "mnt"
        self.root.mkdir()
        number = self.root.stat().st_dev
        device = f"{os.major(number)}:{os.minor(number)}"
        self.devices = folder / "bdi"
        self.figure = self.devices / device / "read_ahead_kb"
        self.figure.parent.mkdir(parents=True)
        self.figure.write_text(f"{kib}\n")
        self.mounts = folder / "mountinfo"
        other = f"20 1 {device}0 / / rw - ext4 /dev/vda rw\n"
        self.mounts.write_text(f"{other}40 20 {device} / {self.root} rw,nosuid shared:9 - {fstype} s3mount#b/p rw\n")

    def raised(self) -> bool:
        return raise_read_ahead(str(self.root), devices=self.devices, mounts=self.mounts)


def test_a_mount_gets_a_mebibyte(tmp_path: Path) -> None:
    system = System(tmp_path)
    assert system.raised()
    assert system.figure.read_text() == "1024\n"


def test_more_stays(tmp_path: Path) -> None:
    system = System(tmp_path, kib="4096")
    assert system.raised()
    assert system.figure.read_text() == "4096\n"


def test_another_file_system_is_left_alone(tmp_path: Path) -> None:
    system = System(tmp_path, fstype="ext4")
    assert not system.raised()
    assert system.figure.read_text() == "128\n"


def test_a_mount_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.root.rmdir()
    assert not system.raised()


def test_a_system_that_shows_or_takes_no_figure_does_no_harm(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.figure.write_text("nonsense\n")
    assert not system.raised()
    system.figure.unlink()
    assert not system.raised()
    system.figure.mkdir()
    assert not system.raised()
