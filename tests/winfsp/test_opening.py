"""Opening, creating, overwriting and deleting, with the status that a program of Windows gets for each."""

import pytest

from s3mount.bindings.error_codes import NTSTATUS, NTSTATUS_OF_CAUSE
from tests.support import winfsp_driver as nt
from tests.support.winfsp_driver import Handle, NtError, Volume
from tests.support.winfsp_volume import HAS_WINFSPY, WindowsDriveUnderTest, load


@pytest.fixture
def volume(drive: WindowsDriveUnderTest) -> Volume:
    return drive.volume


def put(volume: Volume, path: str, data: bytes = b"", attributes: int = 0) -> None:
    with volume.opened(path, nt.OVERWRITE_IF, attributes=attributes) as handle:
        if data:
            volume.write(handle, 0, data)


def content(volume: Volume, path: str) -> bytes:
    with volume.opened(path, access=nt.READ_DATA) as handle:
        size = volume.info(handle).size
        return volume.read(handle, 0, size) if size else b""


def status_of(call: object, *arguments: object, **more: object) -> int:
    with pytest.raises(NtError) as caught:
        call(*arguments, **more)  # type: ignore[operator]
    return caught.value.status


@pytest.mark.skipif(not HAS_WINFSPY, reason="winfspy has the list")
def test_every_status_is_one_of_windows() -> None:
    load()
    from winfspy.plumbing import NTSTATUS as ALL

    assert {*NTSTATUS.values(), *NTSTATUS_OF_CAUSE.values()} <= {int(status) for status in ALL}


def test_a_file_written_is_read(volume: Volume) -> None:
    with volume.opened("\\File.txt", nt.CREATE) as handle:
        assert handle.info.attributes == nt.ARCHIVE
        assert volume.write(handle, 0, b"hello") == 5
        assert volume.write(handle, None, b" world") == 6
        assert volume.read(handle, 0, 100) == b"hello world"
        assert volume.read(handle, 6, 3) == b"wor"
        assert status_of(volume.read, handle, 11, 1) == nt.END_OF_FILE
        assert handle.info.size == 11
        assert handle.info.allocated == 4096
    assert content(volume, "\\File.txt") == b"hello world"


def test_constrained_writes_never_make_a_file_larger(volume: Volume) -> None:
    put(volume, "\\f", b"0123456789")
    with volume.opened("\\f") as handle:
        assert volume.write(handle, 8, b"abcdef", is_constrained=True) == 2
        assert volume.write(handle, 10, b"x", is_constrained=True) == 0
        assert volume.write(handle, 50, b"x", is_constrained=True) == 0
    assert content(volume, "\\f") == b"01234567ab"


def test_what_is_not_there(volume: Volume) -> None:
    put(volume, "\\file")
    assert status_of(volume.create, "\\none") == nt.NAME_NOT_FOUND
    assert status_of(volume.create, "\\none\\below") == nt.PATH_NOT_FOUND
    assert status_of(volume.create, "\\file\\below") == nt.PATH_NOT_FOUND
    assert status_of(volume.create, "\\none\\new", nt.CREATE) == nt.PATH_NOT_FOUND
    assert status_of(volume.create, "\\file\\new", nt.CREATE) == nt.NOT_A_DIRECTORY
    assert status_of(volume.create, "\\none", nt.OVERWRITE) == nt.NAME_NOT_FOUND


@pytest.mark.parametrize("disposition", [nt.OPEN_IF, nt.OVERWRITE_IF, nt.SUPERSEDE, nt.CREATE])
def test_dispositions_that_make_a_file(volume: Volume, disposition: int) -> None:
    with volume.opened("\\new", disposition):
        pass
    assert volume.names("\\") == ["new"]


def test_create_only_what_is_not_there(volume: Volume) -> None:
    put(volume, "\\Name", b"kept")
    assert status_of(volume.create, "\\Name", nt.CREATE) == nt.NAME_COLLISION
    assert status_of(volume.create, "\\nAME", nt.CREATE) == nt.NAME_COLLISION
    assert status_of(volume.create, "\\Name", nt.CREATE, options=nt.DIRECTORY_FILE) == nt.NAME_COLLISION
    assert content(volume, "\\Name") == b"kept"


def test_directories_and_files_are_told_apart(volume: Volume) -> None:
    with volume.opened("\\dir", nt.CREATE, options=nt.DIRECTORY_FILE) as handle:
        assert handle.info.attributes == nt.DIRECTORY
    put(volume, "\\file")
    assert status_of(volume.create, "\\dir", options=nt.NON_DIRECTORY_FILE) == nt.IS_A_DIRECTORY
    assert status_of(volume.create, "\\file", options=nt.DIRECTORY_FILE) == nt.NOT_A_DIRECTORY
    assert status_of(volume.create, "\\dir", nt.OVERWRITE_IF) == nt.IS_A_DIRECTORY


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("a:b", nt.NAME_INVALID),
        ("a*b", nt.NAME_INVALID),
        ("a\x01", nt.NAME_INVALID),
        ("half a pair \ud800", nt.NAME_INVALID),
        ("é" * 128, 0xC0000106),
    ],
)
def test_names_that_cannot_be(volume: Volume, name: str, status: int) -> None:
    assert status_of(volume.create, f"\\{name}", nt.CREATE) == status
    assert volume.names("\\") == []


@pytest.mark.parametrize("name", ["x" * 255, "é漢😀", "a：b", "con．txt", "‛：", "50%name"])
def test_names_that_can_be(volume: Volume, name: str) -> None:
    put(volume, f"\\{name}", b"1")
    assert volume.names("\\") == [name]
    assert content(volume, f"\\{name}") == b"1"


def test_a_path_longer_than_a_key(volume: Volume) -> None:
    path = ""
    for _ in range(4):
        path += "\\" + "d" * 200
        with volume.opened(path, nt.CREATE, options=nt.DIRECTORY_FILE):
            pass
    assert status_of(volume.create, f"{path}\\{'f' * 250}", nt.CREATE) == 0xC0000106


def test_overwrite_cuts_and_adds_attributes_and_supersede_replaces_them(volume: Volume) -> None:
    put(volume, "\\f", b"long content", nt.HIDDEN)
    assert volume.stat("\\f").attributes == nt.HIDDEN | nt.ARCHIVE
    assert status_of(volume.create, "\\f", nt.OVERWRITE) == nt.ACCESS_DENIED
    assert content(volume, "\\f") == b"long content"
    put(volume, "\\f", b"new", nt.HIDDEN | nt.SYSTEM)
    assert volume.stat("\\f").attributes == nt.HIDDEN | nt.SYSTEM | nt.ARCHIVE
    with volume.opened("\\f", nt.SUPERSEDE, attributes=nt.HIDDEN | nt.SYSTEM) as handle:
        assert handle.info.size == 0
    with volume.opened("\\f", access=nt.WRITE_ATTRIBUTES) as handle:
        volume.set_basic(handle, attributes=nt.NORMAL)
    put(volume, "\\f", b"", nt.HIDDEN)
    with volume.opened("\\f", nt.SUPERSEDE, attributes=nt.HIDDEN):
        pass
    assert volume.stat("\\f").attributes == nt.HIDDEN | nt.ARCHIVE


def test_overwriting_keeps_the_time_of_creation(volume: Volume) -> None:
    put(volume, "\\f", b"1")
    with volume.opened("\\f", access=nt.WRITE_ATTRIBUTES) as handle:
        volume.set_basic(handle, created=130_000_000_000_000_001)
    put(volume, "\\f", b"2")
    assert volume.stat("\\f").created == 130_000_000_000_000_001


def test_delete_waits_for_the_last_handle(volume: Volume) -> None:
    put(volume, "\\f", b"content")
    first, second = volume.create("\\f"), volume.create("\\f")
    volume.set_delete(first)
    volume.close(first)
    assert status_of(volume.create, "\\f") == nt.DELETE_PENDING
    assert volume.read(second, 0, 7) == b"content"
    volume.close(second)
    assert status_of(volume.create, "\\f") == nt.NAME_NOT_FOUND


def test_a_delete_can_be_taken_back(volume: Volume) -> None:
    put(volume, "\\f")
    with volume.opened("\\f") as handle:
        volume.set_delete(handle)
        volume.set_delete(handle, False)
    assert volume.names("\\") == ["f"]


def test_delete_on_close(volume: Volume) -> None:
    with volume.opened("\\tmp", nt.CREATE, options=nt.DELETE_ON_CLOSE) as handle:
        volume.write(handle, 0, b"1")
    assert volume.names("\\") == []


def test_a_full_directory_is_not_deleted_even_on_close(volume: Volume, caplog: pytest.LogCaptureFixture) -> None:
    with volume.opened("\\d", nt.CREATE, options=nt.DIRECTORY_FILE):
        pass
    put(volume, "\\d\\f", b"1")
    assert status_of(volume.delete, "\\d") == nt.NOT_EMPTY
    with volume.opened("\\d", options=nt.DIRECTORY_FILE | nt.DELETE_ON_CLOSE):
        pass
    assert "NotEmpty" in caplog.text
    assert content(volume, "\\d\\f") == b"1"
    volume.delete("\\d\\f")
    volume.delete("\\d")
    assert volume.names("\\") == []


def test_a_root_stays(volume: Volume) -> None:
    assert status_of(volume.delete, "\\") == nt.ACCESS_DENIED


def test_read_only_files_are_neither_written_nor_deleted(volume: Volume) -> None:
    put(volume, "\\f", b"kept", nt.READONLY)
    assert status_of(volume.create, "\\f", access=nt.WRITE_DATA) == nt.ACCESS_DENIED
    assert status_of(volume.create, "\\f", nt.OVERWRITE_IF) == nt.ACCESS_DENIED
    assert status_of(volume.delete, "\\f") == nt.CANNOT_DELETE
    put(volume, "\\g", b"new")
    assert status_of(volume.move, "\\g", "\\f", replaces=True) == nt.CANNOT_DELETE
    assert content(volume, "\\f") == b"kept"


def test_a_read_only_file_is_not_superseded_by_one_who_does_not_ask_to_write(volume: Volume) -> None:
    """winfsp.dll then looks for the right to delete alone, and lets it through."""
    put(volume, "\\f", b"kept", nt.READONLY)
    assert status_of(volume.create, "\\f", nt.SUPERSEDE, nt.READ_DATA) == nt.ACCESS_DENIED
    assert content(volume, "\\f") == b"kept"
    assert volume.stat("\\f").attributes == nt.READONLY | nt.ARCHIVE


def test_a_read_only_directory_takes_new_files(volume: Volume) -> None:
    """As on NTFS, where the bit on a directory keeps it from being removed and is a mark of Explorer's."""
    with volume.opened("\\d", nt.CREATE, options=nt.DIRECTORY_FILE, attributes=nt.READONLY):
        pass
    assert volume.stat("\\d").attributes == nt.DIRECTORY | nt.READONLY
    put(volume, "\\d\\f", b"1")
    put(volume, "\\g", b"2")
    volume.move("\\g", "\\d\\g")
    assert volume.names("\\d") == ["f", "g"]
    for path in ("\\d\\f", "\\d\\g"):
        volume.delete(path)
    assert status_of(volume.delete, "\\d") == nt.CANNOT_DELETE


def test_sharing(volume: Volume) -> None:
    put(volume, "\\f", b"1")
    with volume.opened("\\f", share=nt.SHARE_READ):
        assert status_of(volume.create, "\\F", access=nt.WRITE_DATA) == nt.SHARING_VIOLATION
        with volume.opened("\\f", access=nt.READ_DATA, share=nt.SHARE_ALL):
            pass


def test_a_read_only_drive(drive: WindowsDriveUnderTest) -> None:
    put(drive.volume, "\\f", b"kept")
    volume = drive.remount(keep_index=True, read_only=True)
    assert content(volume, "\\f") == b"kept"
    assert status_of(volume.create, "\\new", nt.CREATE) == nt.WRITE_PROTECTED
    assert status_of(volume.create, "\\f", nt.OVERWRITE_IF) == nt.WRITE_PROTECTED
    assert status_of(volume.create, "\\f", options=nt.DELETE_ON_CLOSE) == nt.WRITE_PROTECTED
    handle: Handle
    with volume.opened("\\f") as handle:  # as MAXIMUM_ALLOWED is granted
        assert status_of(volume.write, handle, 0, b"x") == nt.WRITE_PROTECTED
        assert status_of(volume.set_basic, handle, attributes=nt.HIDDEN) == nt.WRITE_PROTECTED
        assert status_of(volume.set_size, handle, 0) == nt.WRITE_PROTECTED
        assert status_of(volume.rename, handle, "\\g") == nt.WRITE_PROTECTED
        assert status_of(volume.set_delete, handle) == nt.WRITE_PROTECTED
    assert content(volume, "\\f") == b"kept"


def test_room_set_aside_is_no_size(volume: Volume) -> None:
    put(volume, "\\f", b"0123456789")
    with volume.opened("\\f") as handle:
        assert volume.set_size(handle, 1 << 20, is_allocation=True).size == 10
        assert volume.set_size(handle, 4, is_allocation=True).size == 4
        assert volume.set_size(handle, 6).size == 6
    assert content(volume, "\\f") == b"0123\0\0"


def test_the_volume(volume: Volume) -> None:
    total, free, label = volume.volume()
    assert label == "bucket/prefix"
    assert total >= free > 1 << 40
    assert status_of(volume.set_label, "other") == nt.ACCESS_DENIED
    facts = volume.facts
    assert facts.name == "S3MOUNT"
    assert (facts.is_case_sensitive, facts.keeps_case, facts.has_context_per_open) == (False, True, True)
    assert volume.threads() == 32


def test_security(volume: Volume) -> None:
    put(volume, "\\f")
    with volume.opened("\\f") as handle:
        volume.set_security(handle)
        assert volume.security(handle).startswith("O:BAG:BAD:P")


def test_flushing_a_file_and_the_volume(volume: Volume) -> None:
    with volume.opened("\\f", nt.CREATE) as handle:
        volume.write(handle, 0, b"1")
        volume.flush(handle)
        volume.flush(None)
