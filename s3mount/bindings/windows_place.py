"""Where a drive of Windows goes, from what a person typed. Pure; does not know WinFsp.

Used by the command line (`absolute_place`, `same_letter`) and by winfsp_session.py (`parse_place`). The forms, and who
sees what of each: docs/windows.md.
"""

import ntpath
import re
from collections.abc import Callable
from dataclasses import dataclass

from s3mount.errors import UsageError

FORMS = r"write a letter (S:), * for the first free one, a folder that is not there yet (C:\backup), or \\s3mount\NAME"
# winfspy keeps 95 characters of a prefix.
PREFIX_CHARS_MAX = 95

_LETTER = re.compile(r"([A-Za-z]):\\?")
_GLOBAL_LETTER = re.compile(r"\\\\\.\\([A-Za-z]):\\?")
_FOLDER = re.compile(r"[A-Za-z]:\\[^\\/]+(\\[^\\/]+)*")
_SHARE = re.compile(r"\\(\\[^\\/.?][^\\/]*\\[^\\/]+)\\?")
_FROM_HERE = re.compile(r"\.\.?\\.+")
_ILLEGAL = re.compile(r'["*<>?|\x00-\x1f]|:(?!\\)')
# Win32 takes these off a name, so that the folder would be known by another one than it has.
_ENDS_IN_NOTHING = re.compile(r"[. ](?:\\|$)")


@dataclass(frozen=True, slots=True)
class WindowsPlace:
    """`mount_point`: for WinFsp; None for a share without a letter. `prefix`: of a network drive, with one leading
    backslash; "" for a disk."""

    mount_point: str | None
    prefix: str = ""


def absolute_place(text: str, is_taken: Callable[[str], bool], here: str) -> str:
    """`text` in the form by which the drive is known from now on, as Path writes it; "*" is the first free letter from
    Z down to D, of those for which `is_taken("Z:\\")` is not true; `.\\b`, which is what a shell completes a folder's
    name to, is in the folder `here`. Raises UsageError."""
    if text in ("*", "*:"):
        free = next((letter for letter in "ZYXWVUTSRQPONMLKJIHGFED" if not is_taken(f"{letter}:\\")), None)
        if free is None:
            raise UsageError("no drive letter is free: choose a folder that is not there yet, such as C:\\backup")
        return f"{free}:\\"
    from_here = text.replace("/", "\\")
    place = parse_place(ntpath.join(here, from_here) if _FROM_HERE.fullmatch(from_here) else text)
    if place.mount_point is None:
        return f"\\{place.prefix}\\"
    return f"{place.mount_point}\\" if place.mount_point.endswith(":") else place.mount_point


def same_letter(place: str) -> str | None:
    """The other form of a letter's `absolute_place`: `S:` is what a session sees of a drive made as `\\\\.\\S:` for all
    of them, and what its user calls it. None for other places."""
    try:
        mount_point = parse_place(place).mount_point or ""
    except UsageError:
        return None
    if not mount_point.endswith(":"):
        return None
    letter = mount_point[-2:]
    return f"{letter}\\" if len(mount_point) > len(letter) else f"\\\\.\\{letter}\\"


def parse_place(text: str) -> WindowsPlace:
    """Raises UsageError."""
    place = text.replace("/", "\\")
    if found := _LETTER.fullmatch(place):
        return WindowsPlace(f"{found[1].upper()}:")
    if found := _GLOBAL_LETTER.fullmatch(place):
        return WindowsPlace(f"\\\\.\\{found[1].upper()}:")
    if found := _SHARE.fullmatch(place):
        if len(found[1]) > PREFIX_CHARS_MAX or _ILLEGAL.search(place):
            raise UsageError(f'{text} is no share: at most {PREFIX_CHARS_MAX} characters, none of " * : < > ? |')
        return WindowsPlace(None, found[1])
    folder = place.rstrip("\\")
    if _FOLDER.fullmatch(folder) and not _ILLEGAL.search(folder):
        folder = ntpath.normpath(folder)
        if _FOLDER.fullmatch(folder) and not _ENDS_IN_NOTHING.search(folder):
            return WindowsPlace(folder)
    raise UsageError(f"{text} is no place for a drive: {FORMS}")
