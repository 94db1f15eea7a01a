"""Where a drive of Windows may go, from what a person types."""

from pathlib import PureWindowsPath

import pytest

from s3mount.bindings.windows_place import (
    PREFIX_CHARS_MAX,
    WindowsPlace,
    absolute_place,
    parse_place,
    same_letter,
)
from s3mount.errors import UsageError

HERE = r"C:\drives\here"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("S:", WindowsPlace("S:")),
        ("s:\\", WindowsPlace("S:")),
        ("s:/", WindowsPlace("S:")),
        (r"\\.\s:", WindowsPlace(r"\\.\S:")),
        (r"C:\backup", WindowsPlace(r"C:\backup")),
        (r"C:\drives\my bucket", WindowsPlace(r"C:\drives\my bucket")),
        ("C:/drives/bucket/", WindowsPlace(r"C:\drives\bucket")),
        (r"C:\drives\.\old\..\bucket", WindowsPlace(r"C:\drives\bucket")),
        (r"C:\.hidden\a.b", WindowsPlace(r"C:\.hidden\a.b")),
        (r"\\s3mount\bucket", WindowsPlace(None, r"\s3mount\bucket")),
        (r"\\s3mount\my bucket", WindowsPlace(None, r"\s3mount\my bucket")),
    ],
)
def test_places(text: str, place: WindowsPlace) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize(
    "text",
    [
        "", "S", "SS:", "S:folder", "1:", r"\backup", "backup", "/mnt/backup", r"C:\a\\b", r"C:\a?b", r"C:\a:b",
        r"C:\a\..", r"C:\..", r"C:\a.", r"C:\a \b", r"C:\a\b...", r".\b", "..",
        r"\\s3mount", r"\\s3mount\ ".strip(), r"\\s3mount\a\b", r"\\.\backup", r"\\?\C:\backup", r"\\s3mount\a:b",
        "\\\\s3mount\\" + "b" * PREFIX_CHARS_MAX,
    ],
)  # fmt: skip
def test_no_places(text: str) -> None:
    with pytest.raises(UsageError):
        parse_place(text)


def test_the_longest_share_is_what_winfspy_keeps() -> None:
    prefix = r"\s3mount" + "\\"
    name = "b" * (PREFIX_CHARS_MAX - len(prefix))
    assert parse_place(f"\\{prefix}{name}").prefix == prefix + name


@pytest.mark.parametrize(
    ("text", "taken", "place"),
    [
        ("s:", "", "S:\\"),
        ("*", "", "Z:\\"),
        ("*:", "ZYW", "X:\\"),
        (r"\\.\s:", "", "\\\\.\\S:\\"),
        ("C:/drives/bucket/", "", r"C:\drives\bucket"),
        (r"\\s3mount\bucket", "", "\\\\s3mount\\bucket\\"),
        (r".\bucket", "", r"C:\drives\here\bucket"),
        ("../bucket/", "", r"C:\drives\bucket"),
    ],
)
def test_a_place_is_known_by_one_name_and_leads_to_itself(text: str, taken: str, place: str) -> None:
    known = absolute_place(text, lambda root: root[0] in taken and root[1:] == ":\\", HERE)
    assert known == place
    assert PureWindowsPath(known).is_absolute()
    assert str(PureWindowsPath(known)) == known
    assert absolute_place(known, lambda root: False, HERE) == known
    assert parse_place(known) == parse_place(text if text[0] not in "*." else place)


def test_no_letter_is_free() -> None:
    with pytest.raises(UsageError, match="no drive letter is free"):
        absolute_place("*", lambda root: True, HERE)


@pytest.mark.parametrize("here", ["C:\\", r"\\server\share\folder"])
def test_no_place_from_there(here: str) -> None:
    with pytest.raises(UsageError):
        absolute_place("..\\b" if here[0] == "\\" else ".\\..\\..", lambda root: False, here)


@pytest.mark.parametrize(
    ("place", "other"),
    [
        ("S:\\", "\\\\.\\S:\\"),
        ("\\\\.\\S:\\", "S:\\"),
        (r"C:\drives\bucket", None),
        ("\\\\s3mount\\bucket\\", None),
        ("/mnt/b", None),
    ],
)
def test_a_letter_has_two_names(place: str, other: str | None) -> None:
    assert same_letter(place) == other
