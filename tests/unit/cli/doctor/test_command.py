"""`s3mount doctor` as a person calls it, on every platform; the bucket is never reached here."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from s3mount.cli.doctor import linux, macos, windows
from s3mount.cli.doctor import machine as machine_module
from s3mount.cli.doctor.diagnosis import Diagnosis, Verdict, exit_code_of, fine, wrong
from s3mount.cli.group import s3mount
from s3mount.errors import BucketUnavailable, MountError, MountPointUnusable


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(s3mount, ["doctor", *arguments])


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very secret")


def test_the_first_that_is_wrong_decides() -> None:
    first, second = wrong("a", MountPointUnusable("x")), wrong("b", BucketUnavailable("y"))
    assert exit_code_of([fine("c", ""), first, second]) == 4
    assert exit_code_of([second, first]) == 3
    assert exit_code_of([fine("c", "")]) == 0
    assert Diagnosis("d", Verdict.WRONG, "\x1b[2J").as_line() == r"wrong   d: \x1b[2J"


@pytest.mark.parametrize(
    ("platform", "module", "subject"),
    [("linux", linux, "FUSE device"), ("win32", windows, "WinFsp"), ("darwin", macos, "macFUSE")],
)
def test_each_platform_has_its_checks(
    platform: str, module: object, subject: str, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "look", lambda *_args, **_settings: iter([fine(subject, "is there")]))
    monkeypatch.setattr(machine_module, "python", lambda: fine("Python", "is there"))
    monkeypatch.setattr(sys, "platform", platform)
    result = doctor()
    assert result.exit_code == 0, result.output
    assert f"fine    {subject}: is there\n" in result.output
    assert "very secret" not in result.output


def test_json_and_an_exit_code(drive: Path, keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    (drive / "file").touch()
    monkeypatch.setattr(linux, "look", lambda **_settings: iter([]))
    arguments = ("--json",) if sys.platform == "win32" else ("--json", "--cache-dir", str(drive / "cache"))
    assert doctor(*arguments).exit_code == 0
    monkeypatch.setattr(linux, "look", lambda **_settings: iter([wrong("FUSE device", MountError("gone"))]))
    result = doctor(*arguments)
    assert result.exit_code == 1
    assert {"check": "FUSE device", "verdict": "wrong", "detail": "gone"} in json.loads(result.output)


@pytest.mark.parametrize("option", ["--region=x", "--endpoint-url=http://s3", "--try-writes"])
def test_what_goes_with_a_bucket_needs_one(option: str) -> None:
    result = doctor(option)
    assert result.exit_code == 2
    assert "goes with s3://BUCKET" in result.stderr


def test_what_is_no_bucket_is_refused() -> None:
    assert doctor("photos").exit_code == 2
