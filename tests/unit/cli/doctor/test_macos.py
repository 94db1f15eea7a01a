"""What doctor says of macOS; a folder stands in for its file system."""

import plistlib
from pathlib import Path

import pytest

from s3mount.cli.doctor import macos
from s3mount.cli.doctor.diagnosis import Diagnosis, Verdict, exit_code_of


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(macos, "library_version", lambda: "libfuse 3.17")


def look(root: Path) -> dict[str, Diagnosis]:
    return {found.subject: found for found in macos.look(root)}


def install(root: Path, version: str) -> None:
    information = root / macos.MACFUSE
    information.parent.mkdir(parents=True)
    information.write_bytes(plistlib.dumps({"CFBundleShortVersionString": version}))


def test_all_is_there(tmp_path: Path) -> None:
    install(tmp_path, "5.1.3")
    library = tmp_path / "usr/local/lib/libfuse3.4.dylib"
    library.parent.mkdir(parents=True)
    library.touch()
    found = look(tmp_path)
    assert exit_code_of(found.values()) == 0
    assert (found["macFUSE"].detail, found["libfuse 3"].detail) == ("5.1.3", str(library))
    assert "FUSE-T" not in found


def test_nothing_is_there(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert (found["macFUSE"].exit_code, found["libfuse 3"].exit_code) == (4, 4)
    assert "macfuse.github.io" in found["macFUSE"].detail


@pytest.mark.parametrize("version", ["4.8.3", "odd"])
def test_one_that_is_too_old(tmp_path: Path, version: str) -> None:
    install(tmp_path, version)
    assert "has no libfuse 3" in look(tmp_path)["macFUSE"].detail


def test_one_that_loses_names(tmp_path: Path) -> None:
    install(tmp_path, "5.1.2")
    found = look(tmp_path)["macFUSE"]
    assert (found.verdict, found.exit_code) == (Verdict.NOTE, 0)


def test_one_that_cannot_be_read(tmp_path: Path) -> None:
    install(tmp_path, "5.1.3")
    (tmp_path / macos.MACFUSE).write_text("no list")
    assert "install it again" in look(tmp_path)["macFUSE"].detail


def test_fuse_t_will_not_do(tmp_path: Path) -> None:
    (tmp_path / macos.FUSE_T).mkdir(parents=True)
    found = look(tmp_path)["FUSE-T"]
    assert found.verdict is Verdict.NOTE
    assert "no binding" in found.detail
