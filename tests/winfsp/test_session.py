"""The volume: its parameters by the kind of place, and its end, whatever way it comes."""

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from s3mount import host
from s3mount.errors import MountPointUnusable
from tests.support.winfsp_volume import IS_REAL_DLL, WindowsDriveUnderTest, start_volume, volume_count

# winfsp.dll makes a junction, which is for the kernel to follow.
NEEDS_THE_KERNEL = pytest.mark.skipif(IS_REAL_DLL, reason="a junction to a device that is not there")


@pytest.fixture
def signals() -> Iterator[None]:
    before = [signal.getsignal(number) for number in host.END_SIGNALS]
    yield
    for number, handler in zip(host.END_SIGNALS, before, strict=True):
        signal.signal(number, handler)


def run(drive: WindowsDriveUnderTest, place: str, on_ready: Any, **more: Any) -> None:
    from s3mount.bindings.winfsp_session import run_winfsp

    settings = {"source_name": "s3mount#bucket/", "read_only": False, "allow_other": False, "extra_options": ()}
    settings |= {"detaching": threading.Event()}
    run_winfsp(drive.drive.filesystem, place, on_ready=on_ready, **{**settings, **more})


@pytest.mark.parametrize("number", host.END_SIGNALS)
def test_a_signal_ends_it_and_leaves_nothing(drive: WindowsDriveUnderTest, signals: None, number: int) -> None:
    before = volume_count()
    seen: list[int] = []

    def ready() -> None:
        seen.append(volume_count())
        signal.raise_signal(number)

    run(drive, "T:\\", ready)
    assert seen == [before + 1]
    assert volume_count() == before


def test_who_is_asked_to_detach_ends_and_leaves_nothing(drive: WindowsDriveUnderTest, signals: None) -> None:
    before, detaching = volume_count(), threading.Event()
    run(drive, "T:\\", lambda: threading.Timer(0.1, detaching.set).start(), detaching=detaching)
    assert volume_count() == before


@pytest.mark.parametrize("place", ["C:\\", r"\\.\c:"])
def test_a_letter_that_is_taken(
    drive: WindowsDriveUnderTest, signals: None, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """winfsp.dll would put the drive in front of the other one."""
    if not IS_REAL_DLL:
        monkeypatch.setattr(host, "taken_letters", lambda: "ACDZ")
    before = volume_count()
    with pytest.raises(MountPointUnusable, match="C: is the letter of another drive"):
        run(drive, place, lambda: pytest.fail("it is not ready"))
    assert volume_count() == before


@pytest.mark.skipif(IS_REAL_DLL, reason="the stand-in refuses a letter; of the real ones the kernel does")
def test_a_place_that_winfsp_refuses(drive: WindowsDriveUnderTest, signals: None) -> None:
    before = volume_count()
    with pytest.raises(MountPointUnusable, match=r"WinFsp refuses C:: STATUS_OBJECT_NAME_COLLISION$"):
        run(drive, "C:\\", lambda: pytest.fail("it is not ready"))
    assert volume_count() == before


@pytest.mark.skipif(IS_REAL_DLL, reason="it makes a junction where its disk can")
def test_a_folder_on_a_disk_that_has_no_junctions(drive: WindowsDriveUnderTest, signals: None) -> None:
    before = volume_count()
    with pytest.raises(MountPointUnusable, match="NOT_SUPPORTED; a folder has to be on an NTFS disk"):
        run(drive, r"F:\drives\bucket", lambda: pytest.fail("it is not ready"))
    assert volume_count() == before


def test_options_of_fuse_mean_nothing_here(drive: WindowsDriveUnderTest, signals: None) -> None:
    with pytest.raises(MountPointUnusable, match="-o max_threads=3: WinFsp takes none"):
        run(drive, "S:\\", lambda: None, extra_options=("max_threads=3",))


@pytest.mark.parametrize(
    ("place", "device", "mount_point", "prefix"),
    [
        ("S:", "WinFsp.Disk", "S:", ""),
        pytest.param(r"C:\drives\bucket", "WinFsp.Disk", r"C:\drives\bucket", "", marks=NEEDS_THE_KERNEL),
        (r"\\s3mount\bucket", "WinFsp.Net", "", r"\s3mount\bucket"),
    ],
)
def test_kinds_of_places(drive: WindowsDriveUnderTest, place: str, device: str, mount_point: str, prefix: str) -> None:
    session, volume = start_volume(drive.drive.filesystem, place=place)
    facts = volume.facts
    assert (facts.device, facts.mount_point, facts.prefix) == (device, mount_point, prefix)
    session.stop()


def test_a_close_that_fails_is_logged_and_leaks_nothing(
    drive: WindowsDriveUnderTest, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    from s3mount.errors import NoSpace
    from tests.support import winfsp_driver as nt

    filesystem = drive.drive.filesystem

    def fails(*_: object) -> None:
        raise NoSpace("the disk is full")

    handle = drive.volume.create("\\f", nt.CREATE)
    drive.volume.write(handle, 0, b"1")
    kept = filesystem.release
    monkeypatch.setattr(filesystem, "flush", fails)
    monkeypatch.setattr(filesystem, "release", lambda fh: (kept(fh), fails()))
    drive.volume.close(handle)
    monkeypatch.undo()
    assert caplog.text.count("the disk is full") == 2
    assert capfd.readouterr().err == ""
    assert not drive.session.operations._opened_objs
