"""Where a drive of Windows goes, from what a person typed. Pure; does not know WinFsp.

Used by the command line and by winfsp_session.py. The forms, and who sees what of each: docs/windows.md.
"""

import re
from dataclasses import dataclass

from s3mount.errors import UsageError

FORMS = r"write a letter (S:), * for the first free one, a folder that is not there yet (C:\backup), or \\s3mount\NAME"
# winfspy keeps 95 characters of a prefix.
PREFIX_CHARS_MAX = 95

_LETTER = re.compile(r"([A-Za-z]):\\?")
_GLOBAL_LETTER = re.compile(r"\\\\\.\\([A-Za-z]):")
_FOLDER = re.compile(r"[A-Za-z]:\\[^\\/]+(\\[^\\/]+)*")
_SHARE = re.compile(r"\\\\([^\\/.?][^\\/]*)\\([^\\/]+)")
_ILLEGAL = re.compile(r'["*<>?|\x00-\x1f]|:(?!\\)')


@dataclass(frozen=True, slots=True)
class WindowsPlace:
    """`mount_point`: for WinFsp, "*:" for the first free letter from Z down; None for a share without a letter.
    `prefix`: of a network drive, with one leading backslash; "" for a disk."""

    mount_point: str | None
    prefix: str = ""


def parse_place(text: str) -> WindowsPlace:
    """Raises UsageError."""
    text = text.replace("/", "\\") if not text.startswith("\\\\") else text
    if text in ("*", "*:"):
        return WindowsPlace("*:")
    if found := _LETTER.fullmatch(text):
        return WindowsPlace(f"{found[1].upper()}:")
    if found := _GLOBAL_LETTER.fullmatch(text):
        return WindowsPlace(f"\\\\.\\{found[1].upper()}:")
    if found := _SHARE.fullmatch(text):
        if len(text) - 1 > PREFIX_CHARS_MAX or _ILLEGAL.search(text):
            raise UsageError(f'{text!r} is no share: at most {PREFIX_CHARS_MAX} characters, none of " * : < > ? |')
        return WindowsPlace(None, text[1:])
    folder = text.rstrip("\\")
    if _FOLDER.fullmatch(folder) and not _ILLEGAL.search(folder):
        return WindowsPlace(folder)
    raise UsageError(f"{text!r} is no place for a drive: {FORMS}")
