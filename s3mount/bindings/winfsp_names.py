"""Names as Windows shows them, and as the drive keeps them: one encoding, reversible both ways. Pure.

Used by winfsp_tree.py for every component of a path. Windows takes fewer names than S3 and Linux do
(https://learn.microsoft.com/windows/win32/fileio/naming-a-file), so what it cannot hold stands as a character that
looks alike:

    " * : < > ? \\ |      their full-width forms
    control characters    the pictures of them, U+2401 to U+241F
    bytes not UTF-8       U+F080 to U+F0FF
    a "." or " " at the end, which Win32 would cut off: "．" and "␠"
    the first letter of a device's name (CON, "nul.txt"): its full-width form

One of these characters that a name really holds is told apart by a "‛" before it. A "‛" counts only in front of one;
there those of the name itself are doubled, as backslashes are in front of a quotation mark on a command line.

Windows compares names without case by its own table, a character at a time: `fold`.
"""

import re
from collections.abc import Mapping

from s3mount.errors import InvalidName

QUOTE = "‛"
_ANYWHERE = {
    **{char: chr(ord(char) + 0xFEE0) for char in '"*:<>?\\|'},
    **{chr(code): chr(0x2400 + code) for code in range(1, 0x20)},
    **{chr(0xDC00 + byte): chr(0xF000 + byte) for byte in range(0x80, 0x100)},
}
_AT_END = {".": "．", " ": "␠"}
_ANYWHERE_BACK = {shown: char for char, shown in _ANYWHERE.items()}
_AT_END_BACK = {shown: char for char, shown in _AT_END.items()}
_TO_ASCII_FIRST = {chr(ord(letter) + 0xFEE0): letter for letter in "CPANLcpanl"}
_TO_WIDE_FIRST = {letter: wide for wide, letter in _TO_ASCII_FIRST.items()}
# COM and LPT with a superscript digit are devices too.
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³]|conin\$|conout\$)( *\..*)?\Z", re.IGNORECASE | re.DOTALL)
_PLAIN = re.compile(r"[!#-)+-\-0-9;=@-\[\]-{}~][!#-)+-\.0-9;=@-\[\]-{}~ ]*", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")


def to_windows(name: str) -> str:
    """The name that stands for `name` of the drive: no longer in UTF-16 units than `name` is in bytes."""
    if _PLAIN.fullmatch(name) and name[-1] not in _AT_END and not _DEVICE.match(name):
        return name
    return _with_device_marked(_encoded(name))


def to_drive(shown: str) -> str:
    """The way back. Raises InvalidName for half of a surrogate pair, which no name of the drive can hold."""
    if shown.isascii():
        return shown
    if _SURROGATE.search(shown):
        raise InvalidName(f"not Unicode: {shown!r}")
    return _decoded(_without_device_mark(shown))


def fold(shown: str) -> str:
    """Equal for names that Windows takes for the same."""
    return shown.upper() if shown.isascii() else "".join(map(_upper, shown))


def _upper(char: str) -> str:
    upper = char.upper()
    # Windows' table keeps to one UTF-16 unit for one, and never leads from another letter into ASCII.
    is_kept = len(upper) != 1 or char > "\uffff" or (upper <= "\x7f" < char)
    return char if is_kept else upper


def _encoded(name: str) -> str:
    out: list[str] = []
    quotes, last = 0, len(name) - 1
    for place, char in enumerate(name):
        if char == QUOTE:
            quotes += 1
            continue
        stand_in = _at(_ANYWHERE, _AT_END, char, is_last=place == last)
        if stand_in is not None:
            out.append(QUOTE * 2 * quotes + stand_in)
        elif _at(_ANYWHERE_BACK, _AT_END_BACK, char, is_last=place == last) is not None:
            out.append(QUOTE * (2 * quotes + 1) + char)
        else:
            out.append(QUOTE * quotes + char)
        quotes = 0
    return "".join(out) + QUOTE * quotes


def _decoded(shown: str) -> str:
    out: list[str] = []
    quotes, last = 0, len(shown) - 1
    for place, char in enumerate(shown):
        if char == QUOTE:
            quotes += 1
            continue
        meant = _at(_ANYWHERE_BACK, _AT_END_BACK, char, is_last=place == last)
        if meant is None:
            out.append(QUOTE * quotes + char)
        else:
            out.append(QUOTE * (quotes // 2) + (char if quotes % 2 else meant))
        quotes = 0
    return "".join(out) + QUOTE * quotes


def _at(anywhere: Mapping[str, str], at_end: Mapping[str, str], char: str, *, is_last: bool) -> str | None:
    found = anywhere.get(char)
    return at_end.get(char) if found is None and is_last else found


def _with_device_marked(shown: str) -> str:
    if _DEVICE.match(shown):
        return _TO_WIDE_FIRST[shown[0]] + shown[1:]
    return QUOTE + shown if _is_marked_device(shown.lstrip(QUOTE)) else shown


def _without_device_mark(shown: str) -> str:
    if not _is_marked_device(shown.lstrip(QUOTE)):
        return shown
    return shown[1:] if shown[0] == QUOTE else _TO_ASCII_FIRST[shown[0]] + shown[1:]


def _is_marked_device(rest: str) -> bool:
    letter = _TO_ASCII_FIRST.get(rest[:1])
    return letter is not None and _DEVICE.match(letter + rest[1:]) is not None
