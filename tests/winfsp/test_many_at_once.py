"""Requests of many threads at once, as WinFsp's dispatcher makes them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import winfsp_driver as nt
from tests.support.winfsp_volume import WindowsDriveUnderTest
from tests.winfsp.test_names import make_dir
from tests.winfsp.test_opening import content, put

TURNS = 4


@pytest.mark.parametrize("threads", [2, 64])
def test_each_with_files_of_its_own(drive: WindowsDriveUnderTest, threads: int) -> None:
    volume = drive.volume
    for number in range(4):
        make_dir(volume, f"\\dir{number}")

    def work(number: int) -> None:
        for turn in range(TURNS):
            path = f"\\Dir{number % 4}\\File{number}-{turn}"
            put(volume, path, path.encode())
            assert content(volume, path.upper()) == path.encode()
            volume.move(path, f"{path}.new")
            if turn % 2:
                volume.delete(f"{path}.NEW")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    volume = drive.remount(keep_index=False)
    left = sorted(name for number in range(4) for name in volume.names(f"\\dir{number}"))
    assert left == sorted(f"File{number}-{turn}.new" for number in range(threads) for turn in range(0, TURNS, 2))


def test_names_that_are_being_moved_hold_up_nobody(
    drive: WindowsDriveUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """winfsp.dll's own lock would: it is off (winfsp_session.py)."""
    volume, filesystem = drive.volume, drive.drive.filesystem
    put(volume, "\\slow")
    put(volume, "\\other", b"1")
    is_moving, may_go_on = threading.Event(), threading.Event()
    rename = filesystem.rename

    def slow(*arguments: object) -> object:
        is_moving.set()
        assert may_go_on.wait(20)
        return rename(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(filesystem, "rename", slow)
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(volume.move, "\\slow", "\\moved")
        assert is_moving.wait(20)
        assert content(volume, "\\OTHER") == b"1"
        put(volume, "\\new")
        volume.delete("\\other")
        assert not moving.done()
        may_go_on.set()
    assert moving.exception() is None
    assert volume.names("\\") == ["moved", "new"]


def test_one_of_many_makes_a_name(drive: WindowsDriveUnderTest) -> None:
    volume = drive.volume

    def work(_: int) -> int:
        try:
            with volume.opened("\\name", nt.CREATE):
                return 0
        except nt.NtError as error:
            return error.status

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(work, range(16)))
    assert sorted(statuses) == [0] + [nt.NAME_COLLISION] * 15


def test_appending_from_many_handles_loses_nothing(drive: WindowsDriveUnderTest) -> None:
    volume = drive.volume
    put(volume, "\\log")

    def work(number: int) -> None:
        with volume.opened("\\log", access=nt.APPEND_DATA) as handle:
            for turn in range(TURNS):
                volume.write(handle, None, f"{number}:{turn}|".encode())

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    lines = content(volume, "\\log").decode().split("|")[:-1]
    assert sorted(lines) == sorted(f"{number}:{turn}" for number in range(16) for turn in range(TURNS))
    assert all(lines.index(f"{n}:{t}") < lines.index(f"{n}:{t + 1}") for n in range(16) for t in range(TURNS - 1))
