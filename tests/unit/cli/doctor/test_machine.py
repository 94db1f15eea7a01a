"""What doctor says of any computer."""

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from s3mount.cli.doctor import machine
from s3mount.cli.doctor.diagnosis import Verdict


@pytest.mark.parametrize(
    ("platform", "version", "verdict"),
    [
        ("linux", (3, 10), Verdict.WRONG),
        ("linux", (3, 11), Verdict.FINE),
        ("linux", (3, 14), Verdict.FINE),
        ("win32", (3, 11), Verdict.FINE),
        ("win32", (3, 14), Verdict.FINE),
    ],
)
def test_python(platform: str, version: tuple[int, int], verdict: Verdict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    found = machine.python(version)
    assert (found.verdict, found.exit_code) == (verdict, 1 if verdict is Verdict.WRONG else 0)


def test_the_s3_client(monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine.s3_client()
    assert (found.verdict, "awscrt" in found.detail) == (Verdict.FINE, True)

    def fail(_name: str) -> ModuleType:
        raise ImportError("libssl is missing")

    monkeypatch.setattr(importlib, "import_module", fail)
    found = machine.s3_client()
    assert (found.verdict, found.exit_code) == (Verdict.WRONG, 1)
    assert "libssl is missing" in found.detail


def test_a_cache_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    found = machine.cache_folder(tmp_path / "a" / "b")
    assert (found.verdict, "not there yet" in found.detail) == (Verdict.FINE, True)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_folder_that_others_may_write_to(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    found = machine.cache_folder(folder)
    assert (found.verdict, found.exit_code) == (Verdict.WRONG, 1)
    assert "everybody may write" in found.detail


def test_a_cache_folder_whose_place_others_may_take(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    found = machine.cache_folder(tmp_path / "open" / "cache")
    assert (found.verdict, found.exit_code) == (Verdict.WRONG, 1)
    assert list((tmp_path / "open").iterdir()) == []


def test_a_cache_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert machine.cache_folder(tmp_path / "file" / "cache").exit_code == 1
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert "--cache-dir" in machine.cache_folder(tmp_path / "cache").detail


def test_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_bytes", lambda _folder: 5 << 20)
    found = machine.cache_folder(tmp_path)
    assert (found.verdict, "5.0 MiB free" in found.detail) == (Verdict.NOTE, True)
