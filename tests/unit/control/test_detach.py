"""Which programs take a mount down, and in which order."""

from pathlib import Path

import pytest

from s3mount.control import detach
from s3mount.control.detach import _commands

PLACE = Path("/mnt/b")


def test_on_macos_umount_and_then_what_asks_finder_to_let_go() -> None:
    assert _commands(PLACE, lazy=False, platform="darwin") == [
        ["umount", "--", "/mnt/b"],
        ["diskutil", "unmount", "/mnt/b"],
    ]
    assert _commands(PLACE, lazy=True, platform="darwin") == [
        ["umount", "-f", "--", "/mnt/b"],
        ["diskutil", "unmount", "force", "/mnt/b"],
    ]


def test_on_linux_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detach.shutil, "which", lambda name: name)
    assert _commands(PLACE, lazy=False, platform="linux") == [
        ["fusermount3", "-u", "--", "/mnt/b"],
        ["umount", "--", "/mnt/b"],
    ]
    assert _commands(PLACE, lazy=True, platform="linux")[1] == ["umount", "-l", "--", "/mnt/b"]
