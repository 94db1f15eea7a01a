"""Names on a drive that keeps their case and does not go by it, over keys that do."""

import os

import pytest

from s3mount.model import Caller
from tests.support import winfsp_driver as nt
from tests.support.winfsp_driver import Volume
from tests.support.winfsp_volume import WindowsDriveUnderTest
from tests.winfsp.test_opening import content, put, status_of


def put_object(drive: WindowsDriveUnderTest, path: str, data: bytes) -> None:
    """As another tool would, or a mount on Linux."""
    paths = drive.drive.paths
    fh = paths.create(path, 0o644, os.O_CREAT | os.O_WRONLY, Caller(0, 0))
    paths.write(fh, 0, data)
    paths.release(fh)


def make_dir(volume: Volume, path: str) -> None:
    with volume.opened(path, nt.CREATE, options=nt.DIRECTORY_FILE):
        pass


def test_case_is_kept_and_not_gone_by(drive: WindowsDriveUnderTest) -> None:
    volume = drive.volume
    make_dir(volume, "\\Folder")
    put(volume, "\\FOLDER\\Read Me.TXT", b"1")
    assert volume.names("\\") == ["Folder"]
    assert volume.names("\\folder") == ["Read Me.TXT"]
    assert content(volume, "\\fOLDER\\read me.txt") == b"1"
    put(volume, "\\folder\\READ ME.txt", b"2")
    assert volume.names("\\folder") == ["Read Me.TXT"]
    assert content(volume, "\\Folder\\Read Me.TXT") == b"2"
    with volume.opened("\\folder") as handle:
        assert volume.entry(handle, "read ME.txt")[0] == "Read Me.TXT"
        assert status_of(volume.entry, handle, "none") == nt.NO_SUCH_FILE
    volume.delete("\\FOLDER\\READ ME.TXT")
    volume.delete("\\FOLDER")
    assert volume.names("\\") == []


def test_names_that_differ_by_case_alone_are_all_there(drive: WindowsDriveUnderTest) -> None:
    for name in ("A.txt", "a.txt"):
        put_object(drive, f"/{name}", name.encode())
    volume = drive.volume
    assert volume.names("\\") == ["A.txt", "a.txt"]
    assert content(volume, "\\A.txt") == b"A.txt"
    assert content(volume, "\\a.txt") == b"a.txt"
    # Which one is meant cannot be known; a third one would make it worse.
    assert status_of(volume.create, "\\A.TXT") == nt.NAME_COLLISION
    assert status_of(volume.create, "\\A.TXT", nt.OVERWRITE_IF) == nt.NAME_COLLISION
    volume.delete("\\a.txt")
    assert volume.names("\\") == ["A.txt"]
    assert content(volume, "\\a.TXT") == b"A.txt"


def test_the_right_one_of_two_is_renamed_and_deleted(drive: WindowsDriveUnderTest) -> None:
    for name in ("A.txt", "a.txt", "other"):
        put_object(drive, f"/{name}", name.encode())
    volume = drive.volume
    volume.move("\\a.txt", "\\b.txt")
    assert volume.names("\\") == ["A.txt", "b.txt", "other"]
    assert content(volume, "\\b.txt") == b"a.txt"


def test_rename(drive: WindowsDriveUnderTest) -> None:
    volume = drive.volume
    make_dir(volume, "\\d")
    put(volume, "\\f", b"1")
    put(volume, "\\d\\g", b"2")
    assert status_of(volume.move, "\\f", "\\d\\g") == nt.NAME_COLLISION
    assert status_of(volume.move, "\\f", "\\D\\G") == nt.NAME_COLLISION
    assert status_of(volume.move, "\\f", "\\none\\g") == nt.PATH_NOT_FOUND
    assert status_of(volume.move, "\\f", "\\d", replaces=True) == nt.ACCESS_DENIED
    assert status_of(volume.move, "\\d", "\\f", replaces=True) == nt.ACCESS_DENIED
    assert status_of(volume.move, "\\d", "\\d\\below") == nt.INVALID_PARAMETER
    volume.move("\\f", "\\d\\g", replaces=True)
    assert volume.names("\\") == ["d"]
    assert content(volume, "\\d\\g") == b"1"
    volume.move("\\d", "\\e")
    assert content(volume, "\\e\\g") == b"1"


def test_the_new_name_wins_when_another_case_is_replaced(drive: WindowsDriveUnderTest) -> None:
    volume = drive.volume
    put(volume, "\\TARGET.txt", b"old")
    put(volume, "\\tmp", b"new")
    volume.move("\\tmp", "\\Target.TXT", replaces=True)
    assert volume.names("\\") == ["Target.TXT"]
    assert content(volume, "\\target.txt") == b"new"


@pytest.mark.parametrize("is_dir", [True, False])
def test_only_the_case_is_changed(drive: WindowsDriveUnderTest, is_dir: bool) -> None:
    volume = drive.volume
    make_dir(volume, "\\name") if is_dir else put(volume, "\\name", b"1")
    volume.move("\\name", "\\NAME")
    assert volume.names("\\") == ["NAME"]
    volume.move("\\name", "\\Name", replaces=True)
    assert volume.names("\\") == ["Name"]
    volume = drive.remount(keep_index=False)
    assert volume.names("\\") == ["Name"]


def test_an_open_file_is_renamed_and_goes_on(drive: WindowsDriveUnderTest) -> None:
    volume = drive.volume
    with volume.opened("\\f", nt.CREATE) as handle:
        volume.write(handle, 0, b"1")
        volume.rename(handle, "\\g")
        volume.write(handle, 1, b"2")
        volume.set_delete(handle)
    assert volume.names("\\") == []
    put(volume, "\\f", b"new")
    assert volume.names("\\") == ["f"]


def test_save_by_way_of_a_temporary_file(drive: WindowsDriveUnderTest) -> None:
    """What Office does: the old one aside, the new one into its place, the old one gone."""
    volume = drive.volume
    put(volume, "\\Report.docx", b"old")
    put(volume, "\\~tmp1", b"new")
    volume.move("\\report.docx", "\\~tmp2")
    volume.move("\\~tmp1", "\\Report.docx")
    volume.delete("\\~tmp2")
    assert volume.names("\\") == ["Report.docx"]
    assert content(volume, "\\Report.docx") == b"new"


STRANGE = ["a:b", "a?b", "con", "dot.", "blank ", "caf\udce9", "a\\b", "‛：", "tab\there"]


def test_names_that_windows_cannot_hold_can_be_used_all_the_same(drive: WindowsDriveUnderTest) -> None:
    for name in STRANGE:
        put_object(drive, f"/{name}", name.encode("utf-8", "surrogateescape"))
    volume = drive.volume
    shown = volume.names("\\")
    assert len(shown) == len(STRANGE)
    found = {content(volume, f"\\{name}") for name in shown}
    assert found == {name.encode("utf-8", "surrogateescape") for name in STRANGE}
    for name in shown:
        volume.move(f"\\{name}", f"\\{name}x")
    for name in shown:
        volume.delete(f"\\{name}x")
    assert volume.names("\\") == []


def test_links_of_linux_are_shown_as_text(drive: WindowsDriveUnderTest) -> None:
    drive.drive.paths.symlink("../target", "/link", Caller(0, 0))
    volume = drive.volume
    assert content(volume, "\\link") == b"../target"
    assert status_of(volume.create, "\\link", access=nt.WRITE_DATA) == nt.ACCESS_DENIED
    volume.move("\\link", "\\moved")
    volume.delete("\\moved")
    assert volume.names("\\") == []


# -- listings --


@pytest.mark.parametrize("size", [256, 1000, 4096, 1 << 16])
def test_a_listing_in_pieces_has_every_name_once(drive: WindowsDriveUnderTest, size: int) -> None:
    volume = drive.volume
    make_dir(volume, "\\d")
    names = sorted([f"{number:x}" * (1 + number % 5) for number in range(150)])
    for name in set(names):
        put(volume, f"\\d\\{name}")
    with volume.opened("\\d", options=nt.DIRECTORY_FILE) as handle:
        found = [name for name, _ in volume.entries(handle, size)]
        again = [name for name, _ in volume.entries(handle, size)]
    assert found == again == [".", "..", *sorted(set(names))]


def test_the_root_has_no_dots(drive: WindowsDriveUnderTest) -> None:
    put(drive.volume, "\\f")
    with drive.volume.opened("\\", options=nt.DIRECTORY_FILE) as handle:
        assert [name for name, _ in drive.volume.entries(handle)] == ["f"]


def test_a_listing_goes_on_where_it_was_while_names_come_and_go(drive: WindowsDriveUnderTest) -> None:
    """What was there all the time is listed exactly once, also after a name that is gone."""
    volume = drive.volume
    make_dir(volume, "\\d")
    for number in range(100):
        put(volume, f"\\d\\f{number:03}")
    with volume.opened("\\d", options=nt.DIRECTORY_FILE) as handle:
        found: list[str] = []
        for place, (name, _) in enumerate(volume.entries(handle, 512)):
            found.append(name)
            if place >= 10 and name[0] == "f" and int(name[1:]) % 3 == 0:
                volume.delete(f"\\d\\{name}")
                put(volume, f"\\d\\a{name}")
    kept = [f"f{number:03}" for number in range(100)]
    assert [name for name in found if name in kept] == kept
    assert len(found) == len(set(found))


def test_a_listing_shows_attributes_and_sizes(drive: WindowsDriveUnderTest) -> None:
    volume = drive.volume
    put(volume, "\\f", b"12345", nt.HIDDEN)
    make_dir(volume, "\\d")
    volume = drive.remount(keep_index=False)
    with volume.opened("\\", options=nt.DIRECTORY_FILE) as handle:
        found = dict(volume.entries(handle))
    assert found["f"] == volume.stat("\\f")
    assert (found["f"].attributes, found["f"].size) == (nt.HIDDEN | nt.ARCHIVE, 5)
    assert found["d"].attributes == nt.DIRECTORY
    assert found["d"].index != found["f"].index
