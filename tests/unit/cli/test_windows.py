"""`s3mount mount` on Windows, as far as it gets: where the drive is to go, and what is missing, each in one line."""

import string
import sys

import pytest
from click.testing import CliRunner, Result

from s3mount import host
from s3mount.cli import preflight
from s3mount.cli.group import s3mount
from s3mount.errors import MountPointUnusable


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(sys, "platform", "win32")
    return monkeypatch


def mount(*arguments: str) -> Result:
    return CliRunner().invoke(s3mount, ["mount", "s3://bucket", *arguments])


@pytest.mark.parametrize("place", ["S", "S:folder", "/mnt/backup", r"\\s3mount", r"C:\a?b"])
def test_what_is_no_place_is_refused_before_anything_else(windows: pytest.MonkeyPatch, place: str) -> None:
    result = mount(place)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"s3mount: {place} is no place for a drive: write a letter (S:)")
    assert result.stderr.count("\n") == 1


def test_no_letter_left(windows: pytest.MonkeyPatch) -> None:
    windows.setattr(host, "taken_letters", lambda: string.ascii_uppercase)
    result = mount("*")
    assert result.exit_code == 2
    assert "no drive letter is free" in result.stderr


@pytest.mark.skipif(sys.platform != "win32", reason="only there such a place is an absolute path")
@pytest.mark.parametrize("place", ["S:", "*", r"C:\backup", r"\\s3mount\bucket"])
def test_a_missing_winfsp_is_named(windows: pytest.MonkeyPatch, place: str) -> None:
    def load() -> None:
        raise MountPointUnusable("no usable WinFsp (not found); install WinFsp")

    windows.setattr(preflight, "load_binding", load)
    result = mount(place)
    assert result.exit_code == 4
    assert result.stderr == "s3mount: no usable WinFsp (not found); install WinFsp\n"
