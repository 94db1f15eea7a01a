"""What doctor says of Linux; who asks, and some of the files, stand in."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from s3mount.cli import preflight
from s3mount.cli.doctor import linux
from s3mount.cli.doctor.diagnosis import Diagnosis, Verdict, exit_code_of
from s3mount.errors import MountPointUnusable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="devices and extended attributes are Linux' own")

Look = Callable[..., dict[str, Diagnosis]]


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Of a machine on which a user who is not root may mount; its files are in the test's folder."""
    (tmp_path / "fuse").touch()
    (tmp_path / "fuse.conf").write_text("user_allow_other\n")
    program = tmp_path / "fusermount3"
    program.touch()
    program.chmod(0o4755)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(preflight.shutil, "which", lambda _name: str(program) if program.exists() else None)
    monkeypatch.setattr(linux, "library_version", lambda: "libfuse 3.14")

    def found(*, allow_other: bool = False) -> dict[str, Diagnosis]:
        looked = linux.look(allow_other=allow_other, device=tmp_path / "fuse", conf=tmp_path / "fuse.conf")
        return {diagnosis.subject: diagnosis for diagnosis in looked}

    return found


def test_all_is_there(look: Look) -> None:
    found = look(allow_other=True)
    assert exit_code_of(found.values()) == 0
    assert {diagnosis.verdict for diagnosis in found.values()} == {Verdict.FINE}
    assert found["FUSE library"].detail == "libfuse 3.14"
    assert found["fusermount3"].detail.endswith(", setuid")


def test_no_device(look: Look, tmp_path: Path) -> None:
    (tmp_path / "fuse").unlink()
    found = look()["FUSE device"]
    assert (found.exit_code, "modprobe fuse" in found.detail) == (4, True)


def test_no_fusermount_and_one_without_rights(look: Look, tmp_path: Path) -> None:
    (tmp_path / "fusermount3").chmod(0o755)
    found = look()["fusermount3"]
    assert (found.exit_code, "chmod u+s" in found.detail) == (4, True)
    (tmp_path / "fusermount3").unlink()
    found = look()["fusermount3"]
    assert (found.exit_code, "apt install fuse3" in found.detail) == (4, True)


def test_root_needs_neither(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fusermount3").unlink()
    (tmp_path / "fuse.conf").unlink()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert exit_code_of(look(allow_other=True).values()) == 0


def test_no_library(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise MountPointUnusable("no usable FUSE library")

    monkeypatch.setattr(linux, "library_version", refuse)
    assert look()["FUSE library"].exit_code == 4


def test_no_leave_for_other_users_matters_to_who_asks_for_them(look: Look, tmp_path: Path) -> None:
    (tmp_path / "fuse.conf").write_text("#user_allow_other\n")
    assert look()["other users"].verdict is Verdict.NOTE
    assert look(allow_other=True)["other users"].exit_code == 4


def test_the_real_one() -> None:
    assert next(found.subject for found in linux.look(allow_other=False)) == "FUSE device"
