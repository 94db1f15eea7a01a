"""The archive bit, hidden, system, read-only and the times: on the object, through a remount with an empty cache."""

import pytest

from tests.support import winfsp_driver as nt
from tests.support.fs_factory import MemoryDrive
from tests.support.winfsp_driver import Volume
from tests.support.winfsp_volume import WindowsDriveUnderTest
from tests.winfsp.test_opening import content, put

CREATED, WRITTEN, READ = 130_000_000_000_000_001, 131_000_000_000_000_002, 132_000_000_000_000_003


def attributes(volume: Volume, path: str) -> int:
    return volume.stat(path).attributes


def set_attributes(volume: Volume, path: str, value: int) -> None:
    """What attrib and SetFileAttributes do."""
    with volume.opened(path, access=nt.READ_ATTRIBUTES | nt.WRITE_ATTRIBUTES) as handle:
        volume.set_basic(handle, attributes=value or nt.NORMAL)


def back_up(volume: Volume, path: str = "\\", *, clears: bool = True) -> list[str]:
    """One run of a backup by archive bit, and what it took. It lists, then reads each file that has the bit, and
    `clears` it by an open of its own: `rar a -ao -ac`, `xcopy /M`, `robocopy /M`; or not: `xcopy /A`, `robocopy /A`."""
    taken: list[str] = []
    with volume.opened(path, access=nt.READ_DATA, options=nt.DIRECTORY_FILE) as folder:
        entries = [entry for entry in volume.entries(folder) if entry[0] not in (".", "..")]
    for name, info in entries:
        below = f"{path.rstrip(chr(92))}\\{name}"
        if info.attributes & nt.DIRECTORY:
            taken += back_up(volume, below, clears=clears)
        elif info.attributes & nt.ARCHIVE:
            content(volume, below)
            taken.append(below)
            if clears:
                set_attributes(volume, below, info.attributes & ~nt.ARCHIVE)
    return taken


def test_a_backup_takes_what_is_new_or_changed_and_nothing_else(drive: WindowsDriveUnderTest) -> None:
    volume = drive.volume
    with volume.opened("\\d", nt.CREATE, options=nt.DIRECTORY_FILE):
        pass
    files = ["\\a", "\\b", "\\d\\c", "\\d\\e", "\\d\\f"]
    for path in files:
        put(volume, path, b"1")
    assert back_up(volume, clears=False) == files
    assert back_up(volume) == files
    assert back_up(volume) == []
    volume = drive.remount(keep_index=False)
    assert back_up(volume) == []
    with volume.opened("\\b", access=nt.WRITE_DATA) as handle:
        volume.write(handle, 1, b"2")
    put(volume, "\\d\\c", b"overwritten")
    with volume.opened("\\d\\e", access=nt.WRITE_DATA) as handle:
        volume.set_size(handle, 0)
    put(volume, "\\d\\new")
    volume = drive.remount(keep_index=False)
    assert back_up(volume, clears=False) == ["\\b", "\\d\\c", "\\d\\e", "\\d\\new"]
    assert back_up(volume) == ["\\b", "\\d\\c", "\\d\\e", "\\d\\new"]
    assert back_up(volume) == []


def copy_in(volume: Volume, path: str, data: bytes, written: int, attributes: int) -> None:
    """As robocopy and Explorer do: content first, then times, then attributes, by the handle that wrote."""
    with volume.opened(path, nt.OVERWRITE_IF, attributes=attributes) as handle:
        volume.set_size(handle, len(data))
        volume.write(handle, 0, data)
        volume.set_basic(handle, created=CREATED, written=written)
        volume.set_basic(handle, attributes=attributes)


def test_what_was_copied_here_is_the_same_to_the_next_run(drive: WindowsDriveUnderTest) -> None:
    """robocopy compares size, time to 100 ns, and attributes."""
    sources = {
        f"\\f{number}": (b"x" * number, WRITTEN + number, attributes)
        for number, attributes in enumerate([nt.ARCHIVE, nt.NORMAL, nt.HIDDEN, nt.READONLY | nt.ARCHIVE], 1)
    }
    for path, source in sources.items():
        copy_in(drive.volume, path, *source)
    volume = drive.remount(keep_index=False)
    with volume.opened("\\", options=nt.DIRECTORY_FILE) as handle:
        found = dict(volume.entries(handle))
    for path, (data, written, attributes) in sources.items():
        info = found[path[1:]]
        expected = (len(data), written, CREATED, attributes & ~nt.NORMAL)
        assert (info.size, info.written, info.created, info.attributes) == expected


def test_reading_opening_and_renaming_leave_the_bit_alone(drive: WindowsDriveUnderTest) -> None:
    """NTFS is said to set it on rename; WinFsp's own memory file system keeps it, and so do we."""
    volume = drive.volume
    put(volume, "\\f", b"1")
    set_attributes(volume, "\\f", 0)
    content(volume, "\\f")
    volume.move("\\f", "\\g")
    assert attributes(volume, "\\g") == 0


def test_attributes_set_by_the_handle_that_wrote_stay_as_set(drive: WindowsDriveUnderTest) -> None:
    volume = drive.volume
    with volume.opened("\\f", nt.CREATE) as handle:
        volume.write(handle, 0, b"1")
        volume.set_basic(handle, attributes=nt.HIDDEN)
    assert attributes(volume, "\\f") == nt.HIDDEN
    with volume.opened("\\f") as handle:
        volume.write(handle, 0, b"2")
    assert attributes(volume, "\\f") == nt.HIDDEN | nt.ARCHIVE


def test_everything_is_on_the_object(drive: WindowsDriveUnderTest) -> None:
    volume = drive.volume
    with volume.opened("\\f", nt.CREATE, attributes=nt.SYSTEM) as handle:
        volume.write(handle, 0, b"1")
        volume.set_basic(
            handle, attributes=nt.READONLY | nt.HIDDEN, created=CREATED, accessed=READ, written=WRITTEN
        )  # fmt: skip
    with volume.opened("\\d", nt.CREATE, options=nt.DIRECTORY_FILE) as handle:
        volume.set_basic(handle, attributes=nt.HIDDEN | nt.SYSTEM, created=CREATED)
    volume = drive.remount(keep_index=False)
    info = volume.stat("\\f")
    assert info.attributes == nt.READONLY | nt.HIDDEN
    assert (info.created, info.accessed, info.written) == (CREATED, READ, WRITTEN)
    info = volume.stat("\\d")
    assert (info.attributes, info.created) == (nt.DIRECTORY | nt.HIDDEN | nt.SYSTEM, CREATED)


def test_a_new_file_keeps_the_time_it_was_made(drive: WindowsDriveUnderTest) -> None:
    with drive.volume.opened("\\f", nt.CREATE) as handle:
        created = handle.info.created
    for _ in range(2):
        put(drive.volume, "\\f", b"more")
    volume = drive.remount(keep_index=False)
    info = volume.stat("\\f")
    assert info.created == created < info.written


@pytest.mark.parametrize("sets_time", [True, False])
def test_a_time_set_by_the_handle_that_writes_outlives_the_writing(
    drive: WindowsDriveUnderTest, sets_time: bool
) -> None:
    volume = drive.volume
    with volume.opened("\\f", nt.CREATE) as handle:
        volume.write(handle, 0, b"1")
        if sets_time:
            volume.set_basic(handle, written=WRITTEN)
        volume.write(handle, 1, b"2")
    assert (volume.stat("\\f").written == WRITTEN) is sets_time


def test_clearing_the_bit_is_one_request_and_no_upload(drive: WindowsDriveUnderTest) -> None:
    memory = drive.drive
    assert isinstance(memory, MemoryDrive)
    volume = drive.volume
    put(volume, "\\f", b"content")
    memory.drain()
    before = dict(memory.store.request_counts())
    set_attributes(volume, "\\f", 0)
    set_attributes(volume, "\\f", nt.HIDDEN)
    with volume.opened("\\f", access=nt.WRITE_ATTRIBUTES) as handle:
        volume.set_basic(handle, created=CREATED, written=WRITTEN)
    memory.drain()
    made = {kind: count - before.get(kind, 0) for kind, count in memory.store.request_counts().items()}
    assert {kind: count for kind, count in made.items() if count} == {"CopyObject": 1}
