"""Which DLL is loaded; the registry stands in."""

import ctypes
import sysconfig
from pathlib import Path

import pytest

from s3mount.bindings import winfsp_dll
from s3mount.bindings.winfsp_dll import DLL_NAMES, FUNCTIONS


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(sysconfig, "get_platform", lambda: "win-arm64")
    monkeypatch.delenv("WINFSP_LIBRARY_PATH", raising=False)
    return monkeypatch


def registry(folder: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(key: str, name: str) -> str | None:
        assert (key, name) == (r"SOFTWARE\WinFsp", "InstallDir")
        return folder

    monkeypatch.setattr(winfsp_dll, "read_registry", read)


def test_it_is_where_the_registry_says(loads: pytest.MonkeyPatch, tmp_path: Path) -> None:
    registry(str(tmp_path), loads)
    assert winfsp_dll.find_dll() == tmp_path / "bin" / "winfsp-a64.dll"


def test_the_variable_wins(loads: pytest.MonkeyPatch, tmp_path: Path) -> None:
    registry("elsewhere", loads)
    loads.setenv("WINFSP_LIBRARY_PATH", str(tmp_path))
    loads.setattr(sysconfig, "get_platform", lambda: "win-amd64")
    assert winfsp_dll.find_dll() == tmp_path / "bin" / "winfsp-x64.dll"


def test_it_is_not_installed(loads: pytest.MonkeyPatch) -> None:
    registry(None, loads)
    with pytest.raises(FileNotFoundError, match="not installed"):
        winfsp_dll.find_dll()


def test_a_processor_that_winfsp_has_nothing_for(loads: pytest.MonkeyPatch) -> None:
    registry("somewhere", loads)
    loads.setattr(sysconfig, "get_platform", lambda: "win-arm32")
    with pytest.raises(FileNotFoundError, match="nothing for win-arm32"):
        winfsp_dll.find_dll()


def test_each_processor_has_its_own() -> None:
    assert len(set(DLL_NAMES.values())) == len(DLL_NAMES) == 3


def test_a_version_without_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winfsp_dll, "load_dll", lambda: ctypes.CDLL(None))
    for name in FUNCTIONS:
        with pytest.raises(AttributeError):
            winfsp_dll.function(name)
