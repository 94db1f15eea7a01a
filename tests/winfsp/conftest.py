"""A drive of Windows over the real FileSystem, the store in memory; see tests/support/winfsp_driver.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fs_factory import MEMORY, open_drive
from tests.support.winfsp_volume import WindowsDriveUnderTest


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[WindowsDriveUnderTest]:
    drive = WindowsDriveUnderTest(open_drive(MEMORY, tmp_path))
    yield drive
    drive.close()
