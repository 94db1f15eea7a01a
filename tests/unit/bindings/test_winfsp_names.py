"""Names on Windows: nothing that Windows refuses is shown, and each name finds its way back, from both sides."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount import names
from s3mount.bindings.winfsp_names import QUOTE, fold, to_drive, to_windows
from s3mount.errors import InvalidName

REFUSED_BY_WINDOWS = re.compile(r'["*/:<>?\\|\x00-\x1f]')
DEVICES = re.compile(
    r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)( *\..*)?\Z", re.IGNORECASE | re.DOTALL
)
# Those that mean something here, and some that do not.
CHARACTERS = st.sampled_from('a.:?\\" \x01\x1f\x7f‛：␁␠．ＣＮc̣é😀\udc80\udcff\uf080\uf03aonul1')
PIECES = st.sampled_from(
    ["con", "Con", "ＣON", "nul", "Ｎul", "com1", "lpt¹", QUOTE, QUOTE * 2, ".", " ", "x", "．", ":", "：", ".txt"]
)
NAMES = st.one_of(st.text(CHARACTERS, min_size=1), st.lists(PIECES, min_size=1, max_size=6).map("".join)).filter(
    names.is_name
)


def is_legal(shown: str) -> bool:
    return not (REFUSED_BY_WINDOWS.search(shown) or shown[-1] in ". " or DEVICES.match(shown))


@given(NAMES)
def test_every_name_of_the_drive_is_shown_and_found_again(name: str) -> None:
    shown = to_windows(name)
    assert is_legal(shown)
    shown.encode("utf-16-le")
    assert to_drive(shown) == name
    assert len(shown.encode("utf-16-le")) // 2 <= len(names.to_bytes(name))


@given(NAMES.filter(lambda name: is_legal(name) and names.is_utf8(name)))
def test_every_name_made_on_windows_is_shown_as_it_was_typed(shown: str) -> None:
    assert to_windows(to_drive(shown)) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain file (1).txt", "plain file (1).txt"),
        ("é漢😀", "é漢😀"),
        ("a:b?", "a：b？"),
        ("a：b", "a‛：b"),
        ("‛:", "‛‛："),
        ("‛a", "‛a"),
        ("dot.", "dot．"),
        ("blank ", "blank␠"),
        ("..x", "..x"),
        ("con", "ｃon"),
        ("NUL.tar.gz", "ＮUL.tar.gz"),
        ("con.", "con．"),
        ("console", "console"),
        ("caf\udce9", "caf\uf0e9"),
        ("tab\there", "tab␉here"),
        ("50%key", "50%key"),
    ],
)
def test_how_it_looks(name: str, shown: str) -> None:
    assert to_windows(name) == shown
    assert to_drive(shown) == name


@pytest.mark.parametrize("shown", ["a\ud800", "\udc80"])
def test_half_a_character_is_no_name(shown: str) -> None:
    with pytest.raises(InvalidName):
        to_drive(shown)


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ("Readme.TXT", "README.txt", True),
        ("Äpfel", "äPFEL", True),
        ("σ", "ς", True),
        ("Ａ", "ａ", True),
        ("straße", "STRASSE", False),
        ("ı", "I", False),
        ("ſ", "S", False),
        ("é", "e", False),
    ],
)  # fmt: skip
def test_case(one: str, other: str, are_same: bool) -> None:
    assert (fold(one) == fold(other)) is are_same


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)
