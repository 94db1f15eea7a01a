"""A drive under test behind winfspy or ctypes, and the driver of winfsp_driver.py, which stands in for WinFsp's.

Below them is winfsp.dll itself where Python is one of Windows, else the stand-in of winfsp_stub.py.
"""

import importlib.util
import sys
from typing import Any

import pytest

from s3mount.bindings.served import ServedFileSystem
from s3mount.bindings.windows_place import parse_place
from tests.support.fs_factory import DriveUnderTest
from tests.support.winfsp_driver import Dll, Volume

IS_REAL_DLL = sys.platform == "win32"
# On Windows, where a test takes seconds, the one that a mount by this Python takes: winfspy has no wheel for each.
HAS_WINFSPY = not IS_REAL_DLL or importlib.util.find_spec("winfspy") is not None
LIBRARIES = ("winfspy",) * HAS_WINFSPY + ("ctypes",) * (not (IS_REAL_DLL and HAS_WINFSPY))


def load() -> None:
    """WinFsp can be reached from then on, by winfspy too where there is one."""
    if IS_REAL_DLL:
        from s3mount.bindings.winfsp_library import choose
        from tests.support.winfsp_device import the_device

        choose()  # which loads the DLL
        the_device()
    else:
        from tests.support import winfsp_stub

        winfsp_stub.load()


def use_library(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load()
    from s3mount.bindings import winfsp_library

    monkeypatch.setattr(winfsp_library, "choose", getattr(winfsp_library, f"by_{name}"))


def volume_count() -> int:
    """How many there are now, started or not."""
    load()
    if IS_REAL_DLL:
        from tests.support.winfsp_device import the_device

        return len(the_device().volumes)
    from tests.support.winfsp_stub import build

    return int(build().lib.Volumes)


def start_volume(filesystem: ServedFileSystem, *, read_only: bool = False, place: str = "S:") -> tuple[Any, Volume]:
    """(the Volume, started; what programs see of it)"""
    load()
    from s3mount.bindings.winfsp_session import make_volume

    session = make_volume(filesystem, parse_place(place), label="bucket/prefix", read_only=read_only)
    dll = _dll_of(session)
    session.start()
    return session, Volume(dll)


def _dll_of(session: Any) -> Dll:
    """Of the volume that was made last."""
    if not IS_REAL_DLL:
        from tests.support.winfsp_stub_dll import StubDll

        return StubDll(session.address)
    from tests.support.winfsp_device import the_device
    from tests.support.winfsp_real_dll import RealDll

    return RealDll(list(the_device().volumes.values())[-1])


class WindowsDriveUnderTest:
    """`volume` is replaced by remount. Every open is closed by then, or leaked."""

    def __init__(self, drive: DriveUnderTest) -> None:
        self.drive = drive
        self.session, self.volume = start_volume(drive.filesystem)

    def _stop(self) -> None:
        self.session.stop()
        opened = self.session.operations.opens()
        assert not opened, f"opens that were never closed: {[entry.path for entry in opened]}"

    def remount(self, *, keep_index: bool, read_only: bool = False) -> Volume:
        """Without the index, everything that is shown comes from the bucket."""
        self._stop()
        self.drive.drain()
        self.drive.remount(keep_index=keep_index)
        self.session, self.volume = start_volume(self.drive.filesystem, read_only=read_only)
        return self.volume

    def close(self) -> None:
        try:
            self._stop()
        finally:
            self.drive.close()
