"""A drive under test behind winfspy, and the driver of winfsp_driver.py, which stands in for WinFsp's.

Below winfspy is winfsp.dll itself where Python is one of Windows, else the stand-in of winfsp_stub.py.
"""

import sys
from typing import Any

from s3mount.bindings.served import ServedFileSystem
from s3mount.bindings.windows_place import parse_place
from tests.support.fs_factory import DriveUnderTest
from tests.support.winfsp_driver import Dll, Volume

IS_REAL_DLL = sys.platform == "win32"


def load() -> None:
    """winfspy can be imported from then on."""
    if IS_REAL_DLL:
        import winfspy  # noqa: F401  # which loads the DLL

        from tests.support.winfsp_device import the_device

        the_device()
    else:
        from tests.support import winfsp_stub

        winfsp_stub.load()


def volume_count() -> int:
    """How many there are now, started or not."""
    load()
    if IS_REAL_DLL:
        from tests.support.winfsp_device import the_device

        return len(the_device().volumes)
    from winfspy.plumbing import lib

    return int(lib.Volumes)


def start_volume(filesystem: ServedFileSystem, *, read_only: bool = False, place: str = "S:") -> tuple[Any, Volume]:
    """(winfspy's FileSystem, started; what programs see of it)"""
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

        return StubDll(session)
    from tests.support.winfsp_device import the_device
    from tests.support.winfsp_real_dll import RealDll

    return RealDll(list(the_device().volumes.values())[-1])


class WindowsDriveUnderTest:
    """`volume` is replaced by remount. Every open is closed by then, or leaked."""

    def __init__(self, drive: DriveUnderTest) -> None:
        self.drive = drive
        self.session, self.volume = start_volume(drive.filesystem)

    def _stop(self) -> None:
        opened = self.session.operations._opened_objs
        self.session.stop()
        assert not opened, f"opens that were never closed: {[entry.path for entry in opened.values()]}"

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
