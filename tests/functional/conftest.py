"""The drivers of the one functional suite: every test runs on each of them.

`local` is a folder of the host and proves that the tests ask for what Linux does; `inprocess-*` is a FileSystem
without FUSE; `fuse-*` the same behind a real mount, one for the whole session, a fresh directory for each test.
"""

import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fs_factory import kinds, open_drive
from tests.support.in_process_os import InProcessOs
from tests.support.mount_process import MountProcess, serve_command
from tests.support.os_like import MountOs, OsLike

FUSE_MISSING = not (sys.platform.startswith("linux") and os.access("/dev/fuse", os.R_OK | os.W_OK))
DRIVERS = ["local", *(f"{face}-{kind}" for kind in kinds() for face in ("inprocess", "fuse"))]
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
def fs(driver: str, tmp_path: Path, mounts: Mounts) -> Iterator[OsLike]:
    if driver == "local":
        root = tmp_path / "local"
        root.mkdir()
        yield MountOs(root)
        return
    face, kind = driver.split("-", 1)
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
