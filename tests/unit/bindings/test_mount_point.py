import os
import subprocess
from pathlib import Path

import pytest

from s3mount.bindings.mount_point import StderrCapture, check_mountpoint, option_text
from s3mount.errors import MountPointUnusable


def test_an_empty_directory_is_fine(tmp_path: Path) -> None:
    check_mountpoint(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "text"),
    [("none", "does not exist"), ("file", "not a directory"), ("full", "not empty"), ("/proc", "mounted on /proc")],
)
def test_anything_else_is_refused_with_advice(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full" / "x").mkdir(parents=True)
    with pytest.raises(MountPointUnusable, match=text) as caught:
        check_mountpoint(str(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


def test_commas_and_backslashes_in_options() -> None:
    assert option_text(r"s3mount#b/a,b\c") == r"s3mount#b/a\,b\\c"


def test_stderr_of_process_and_children_is_captured(capfd: pytest.CaptureFixture[str]) -> None:
    capture = StderrCapture()
    with capture:
        os.write(2, b"fuse: one\n")
        subprocess.run(["sh", "-c", "echo two >&2"], check=True)
    os.write(2, b"after\n")
    assert capture.text() == "fuse: one; two"
    assert capfd.readouterr().err == "fuse: one\ntwo\nafter\n"


def fail_captured(capture: StderrCapture) -> None:
    with capture:
        os.write(2, b"reason\n")
        raise RuntimeError


def test_what_became_an_error_is_not_printed_twice(capfd: pytest.CaptureFixture[str]) -> None:
    capture = StderrCapture()
    with pytest.raises(RuntimeError):
        fail_captured(capture)
    assert capture.text() == "reason"
    assert capfd.readouterr().err == ""


def test_ending_early_and_twice(capfd: pytest.CaptureFixture[str]) -> None:
    capture = StderrCapture()
    with capture:
        capture.end()
        os.write(2, b"live\n")
    assert capture.text() == ""
    assert capfd.readouterr().err == "live\n"
