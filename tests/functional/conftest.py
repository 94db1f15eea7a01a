"""The drivers of the one functional suite: every test runs on each of them.

`local` is a folder of the host and proves that the tests ask for what Linux does; `inprocess-*` is a FileSystem
without FUSE; `fuse-*` the same behind a real mount, one for the whole session, a fresh directory for each test;
`windows-memory` the same as Windows sees it (tests/support/windows_os.py), for the tests that ask for what it has too.
"""

import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fs_factory import MEMORY, kinds, open_drive
from tests.support.in_process_os import InProcessOs
from tests.support.mount_process import MountProcess, serve_command
from tests.support.os_like import MountOs, OsLike
from tests.support.windows_os import WindowsOs
from tests.support.winfsp_volume import WindowsDriveUnderTest

FUSE_MISSING = not (sys.platform.startswith("linux") and os.access("/dev/fuse", os.R_OK | os.W_OK))
WINDOWS = f"windows-{MEMORY}"
DRIVERS = ["local", *(f"{face}-{kind}" for kind in kinds() for face in ("inprocess", "fuse")), WINDOWS]
if sys.platform == "win32":
    DRIVERS = [WINDOWS]  # the others are about what POSIX has
# Where Windows differs on purpose: tests, and whole modules. What it has no call for, windows_os.py skips.
DIFFERS_ON_WINDOWS = {
    "test_errno_table": "the rows are those of Linux; Windows' statuses are in tests/winfsp",
    "test_open_flags": "the oracle is a file system of POSIX, and each target is looked at beside symbolic links",
    "test_space": "Windows has other calls for holes and copies",
    "test_modes_at_creation": "Windows has no mode bits",
    "test_unlinked_open_file_lives_on": "an open file's name stays until the last handle is closed",
    "test_attributes_of_an_unlinked_file": "an open file's name stays until the last handle is closed",
    "test_replaced_open_file_lives_on": "an open file is not replaced",
    "test_open_file_keeps_working_when_renamed": "a directory with open files in it is not renamed",
    "test_names_of_every_kind": "some are refused; those that Windows can hold are in tests/winfsp",
    "test_names_differ_by_case_and_composition": "case does not tell names apart",
    "test_directory_over_directories": "a directory replaces nothing",
    "test_directory_into_itself": "the status for it is another",
}
_numbers = itertools.count()


class Mounts:
    """The session's mounts by kind, each made when the first test asks for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mounts: dict[str, MountProcess] = {}

    def get(self, kind: str) -> MountProcess:
        if kind not in self._mounts:
            folder = self._folder / kind
            mountpoint = folder / "mnt"
            mountpoint.mkdir(parents=True)
            (folder / "data").mkdir()
            mount = MountProcess(serve_command(kind, folder / "data", mountpoint), mountpoint, folder / "log")
            mount.start()
            self._mounts[kind] = mount
        return self._mounts[kind]

    def close(self) -> None:
        for mount in self._mounts.values():
            mount.end()


@pytest.fixture(scope="session")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounts]:
    mounts = Mounts(tmp_path_factory.mktemp("mounts"))
    yield mounts
    mounts.close()


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def windows_too(request: pytest.FixtureRequest, driver: str) -> None:
    if driver == WINDOWS:
        for name in (request.module.__name__.rpartition(".")[2], request.function.__name__):
            if name in DIFFERS_ON_WINDOWS:
                pytest.skip(DIFFERS_ON_WINDOWS[name])


@pytest.fixture
def fs(driver: str, tmp_path: Path, mounts: Mounts, windows_too: None) -> Iterator[OsLike]:
    if driver == "local":
        root = tmp_path / "local"
        root.mkdir()
        yield MountOs(root)
        return
    face, kind = driver.split("-", 1)
    if driver == WINDOWS:
        windows = WindowsDriveUnderTest(open_drive(kind, tmp_path))
        yield WindowsOs(windows.volume, time.time_ns)
        windows.session.stop()
        windows.drive.close()
        return
    if face == "inprocess":
        drive = open_drive(kind, tmp_path)
        yield InProcessOs(drive.paths, time.time_ns)
        drive.close()
        return
    if FUSE_MISSING:
        pytest.skip("no /dev/fuse that this user may open")
    mount = mounts.get(kind)
    root = mount.mountpoint / f"t{next(_numbers)}"
    root.mkdir()
    yield MountOs(root)
    mount.check_log()


@pytest.fixture
def oracle(tmp_path: Path) -> OsLike:
    """The host's own file system, to ask what Linux does."""
    root = tmp_path / "oracle"
    root.mkdir()
    return MountOs(root)


@pytest.fixture
def mounted(fs: OsLike) -> Path:
    """The directory of a driver that has a real one."""
    if fs.root is None:
        pytest.skip("needs a real mount")
    return fs.root


@pytest.fixture
def fuse(driver: str, mounted: Path) -> Path:
    if not driver.startswith("fuse-"):
        pytest.skip("about the FUSE mount only")
    return mounted
