"""What doctor says of Windows; registry, DLL and letters stand in."""

from dataclasses import replace
from pathlib import Path

import pytest

from s3mount.cli.doctor import windows
from s3mount.cli.doctor.diagnosis import Diagnosis, Verdict, exit_code_of
from s3mount.cli.doctor.windows import Version, Windows
from s3mount.errors import MountPointUnusable

FOLDER = "C:\\Program Files (x86)\\WinFsp\\"
LIBRARY = str(Path(FOLDER) / "bin" / "winfsp-x64.dll")


def read_registry(key: str, name: str) -> str | None:
    return FOLDER if (key, name) == (r"SOFTWARE\WinFsp", "InstallDir") else None


GOOD = Windows(
    read_registry=read_registry,
    dll_version=lambda library: (2, 1) if str(library) == LIBRARY else (0, 0),
    exists=lambda path: path in (LIBRARY, "C:\\", "Z:\\"),
    dll_name="winfsp-x64.dll",
)


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(windows, "library_version", lambda: "winfspy 0.8.4")
    return monkeypatch


def look(system: Windows, place: str | None = None) -> dict[str, Diagnosis]:
    return {found.subject: found for found in windows.look(place, system)}


def test_all_is_there() -> None:
    found = look(GOOD)
    assert exit_code_of(found.values()) == 0
    assert found["WinFsp"].detail.startswith("2.1 in ")
    assert found["binding"].detail == "winfspy 0.8.4"
    assert found["drive letter"].detail == "Y:\\ is free"


def test_winfsp_is_not_installed() -> None:
    winfsp = look(replace(GOOD, read_registry=lambda _key, _name: None))["WinFsp"]
    assert (winfsp.verdict, winfsp.exit_code) == (Verdict.WRONG, 4)
    assert "winget install WinFsp" in winfsp.detail


def fail(_library: Path) -> Version:
    raise OSError("no")


@pytest.mark.parametrize(
    ("system", "text"),
    [
        (replace(GOOD, exists=lambda _path: False), "winfsp-x64.dll is missing"),
        (replace(GOOD, dll_version=lambda _library: (2, 0)), "2.0 is too old"),
        (replace(GOOD, dll_version=fail), "cannot be loaded"),
        (replace(GOOD, dll_name="winfsp-a64.dll"), "winfsp-a64.dll is missing"),
    ],
)
def test_winfsp_will_not_do(system: Windows, text: str) -> None:
    winfsp = look(system)["WinFsp"]
    assert (winfsp.verdict, winfsp.exit_code) == (Verdict.WRONG, 4)
    assert text in winfsp.detail


def test_winfsp_cannot_be_reached(library: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise MountPointUnusable("no usable WinFsp")

    library.setattr(windows, "library_version", refuse)
    assert look(GOOD)["binding"].exit_code == 4


@pytest.mark.parametrize(
    ("place", "verdict", "exit_code"),
    [
        ("S:", Verdict.FINE, 0),
        ("z:", Verdict.WRONG, 4),
        (r"C:\backup", Verdict.FINE, 0),
        ("S", Verdict.WRONG, 2),
    ],
)
def test_a_place_that_was_asked_for(place: str, verdict: Verdict, exit_code: int) -> None:
    found = look(GOOD, place)["mount point"]
    assert (found.verdict, found.exit_code) == (verdict, exit_code)
