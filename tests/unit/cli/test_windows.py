"""`s3mount mount` on Windows, as far as it gets: where the drive is to go, and what is missing, each in one line."""

import string
import sys
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from s3mount import host
from s3mount.cli import find, preflight
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


class KnownMounts:
    """Stands where the registry does."""

    def __init__(self, *mountpoints: str) -> None:
        self._entries = [SimpleNamespace(mountpoint=mountpoint, is_alive=True) for mountpoint in mountpoints]

    def __call__(self) -> "KnownMounts":
        return self

    def entries(self) -> list[SimpleNamespace]:
        return self._entries

    def find(self, mountpoint: Any) -> SimpleNamespace | None:
        same = (entry for entry in self._entries if PureWindowsPath(entry.mountpoint) == PureWindowsPath(mountpoint))
        return next(same, None)


@pytest.mark.parametrize(
    ("mounted", "text", "place"),
    [
        ("\\\\.\\S:\\", "s:", "\\\\.\\S:\\"),
        ("S:\\", "\\\\.\\S:", "S:\\"),
        ("S:\\", "S:", "S:\\"),
        ("T:\\", "S:", "S:\\"),
        (r"C:\drives\bucket", r"c:\drives\x\..\BUCKET", r"c:\drives\BUCKET"),
        ("\\\\s3mount\\bucket\\", "//s3mount/bucket", "\\\\s3mount\\bucket\\"),
    ],
)
def test_a_mount_is_found_by_what_its_user_calls_it(
    windows: pytest.MonkeyPatch, mounted: str, text: str, place: str
) -> None:
    windows.setattr(find, "Registry", KnownMounts(mounted))
    assert str(find.mounted_place(text)) == place
    found = find.Registry().find(find.mounted_place(text))
    assert (found is not None) == (mounted != "T:\\")


@pytest.mark.parametrize(
    ("path", "mountpoint", "inside"),
    [
        (r"S:\dir\file", "\\\\.\\S:\\", r"dir\file"),
        (r"c:\DRIVES\bucket\dir", r"C:\drives\bucket", "dir"),
        (r"C:\drives\bucket\inner\f", r"C:\drives\bucket\inner", "f"),
    ],
)
def test_the_mount_that_a_path_lies_in(windows: pytest.MonkeyPatch, path: str, mountpoint: str, inside: str) -> None:
    windows.setattr(find, "Path", PureWindowsPath)
    windows.setattr(find, "Registry", KnownMounts("\\\\.\\S:\\", r"C:\drives\bucket", r"C:\drives\bucket\inner"))
    found = find._nearest(PureWindowsPath(path))  # type: ignore[arg-type]
    assert found == (PureWindowsPath(mountpoint), PureWindowsPath(inside))
    assert find._nearest(PureWindowsPath(r"C:\drives\bucket2")) is None  # type: ignore[arg-type]


def test_a_folder_must_not_be_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "PROCESS_HOLDS_DRIVE", True)
    monkeypatch.setattr(preflight, "Registry", KnownMounts())
    place = tmp_path / "bucket"
    preflight.check_mountpoint(place)
    with pytest.raises(MountPointUnusable, match="bucket does not exist: make it"):
        preflight.check_mountpoint(place / "below")
    place.mkdir()
    with pytest.raises(MountPointUnusable, match=r"is there already: remove it if it is empty \(rmdir "):
        preflight.check_mountpoint(place)
    if sys.platform != "win32":
        # As a power cut may leave it: a link to what is no more.
        place.rmdir()
        place.symlink_to(tmp_path / "gone", target_is_directory=True)
        with pytest.raises(MountPointUnusable, match="is there already"):
            preflight.check_mountpoint(place)
    monkeypatch.setattr(preflight, "Registry", KnownMounts(str(place)))
    with pytest.raises(MountPointUnusable, match="is already mounted: unmount it"):
        preflight.check_mountpoint(place)


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
