"""`s3mount mount` on Windows, as far as it gets: where the drive is to go, and what is missing, each in one line."""

import string
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from s3mount import host
from s3mount.cli import preflight
from s3mount.cli.group import s3mount
from s3mount.daemon import StartFailed, start_detached
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


@pytest.mark.skipif(sys.platform != "win32", reason="a process of Windows")
def test_a_start_in_the_background_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    words = ["mount", f"--cache-dir={tmp_path}", "--endpoint-url=http://127.0.0.1:1", "--offline-timeout=1s"]
    with pytest.raises(StartFailed, match="cannot use s3://bucket") as failed:
        start_detached([*words, "s3://bucket", "Q:"], log_path=tmp_path / "log", deadline_s=90)
    assert failed.value.exit_code == 3
