"""A drive under test behind winfspy and the driver of winfsp_driver.py, which stands in for WinFsp."""

from typing import Any

from s3mount.bindings.served import ServedFileSystem
from s3mount.bindings.windows_place import parse_place
from tests.support.fs_factory import DriveUnderTest
from tests.support.winfsp_driver import Volume
from tests.support.winfsp_stub import load


def start_volume(filesystem: ServedFileSystem, *, read_only: bool = False, place: str = "S:") -> tuple[Any, Volume]:
    """(winfspy's FileSystem, started; what programs see of it)"""
    load()
    from s3mount.bindings.winfsp_session import make_volume

    session = make_volume(filesystem, parse_place(place), label="bucket/prefix", read_only=read_only)
    session.start()
    return session, Volume(session)


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
