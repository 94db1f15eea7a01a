"""A drive of Windows over the real FileSystem, the store in memory; see tests/support/winfsp_driver.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fs_factory import MEMORY, open_drive
from tests.support.winfsp_volume import LIBRARIES, WindowsDriveUnderTest, use_library


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to WinFsp: each that there is for this Python."""
    use_library(request.param, monkeypatch)


@pytest.fixture
def drive(tmp_path: Path, library: None) -> Iterator[WindowsDriveUnderTest]:
    drive = WindowsDriveUnderTest(open_drive(MEMORY, tmp_path))
    yield drive
    drive.close()
