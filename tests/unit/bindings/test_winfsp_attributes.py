"""Windows' attributes as Samba keeps them, and its times."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.bindings.winfsp_attributes import (
    KEPT,
    FileAttribute,
    WindowsAttributes,
    decode,
    encode,
    file_info,
    filetime,
    time_ns,
)
from s3mount.model import Attr, Ino

A, H, R, S = FileAttribute.ARCHIVE, FileAttribute.HIDDEN, FileAttribute.READONLY, FileAttribute.SYSTEM
TIME = 132_514_002_261_563_100
TIMES = st.one_of(st.none(), st.integers(1, 1 << 62))
BITS = st.one_of(st.none(), st.integers(0, 0xFFFF).map(lambda bits: FileAttribute(bits & KEPT)))


@given(st.builds(WindowsAttributes, BITS, TIMES, TIMES))
def test_what_is_written_is_read(attributes: WindowsAttributes) -> None:
    assert decode(encode(attributes)) == attributes


def test_the_form_is_samba_s() -> None:
    """As `getfattr -n user.DOSATTRIB` shows it on a share of Samba 4.11 or newer."""
    found = decode(base64.b64decode("AAAEAAQAAABRAAAAIAAAAGSL0ZzCPdUBZIvRnMI91QE="))
    assert found == WindowsAttributes(A, 0x01D53DC29CD18B64, 0x01D53DC29CD18B64)
    assert encode(found) == base64.b64decode("AAAEAAQAAABRAAAAIAAAAGSL0ZzCPdUBZIvRnMI91QE=")


VERSION_3 = (
    b"\0\0\x03\0\x03\0\0\0\x11\0\0\0\x22\0\0\0" + bytes(4) + bytes(16) + TIME.to_bytes(8, "little") + bytes(8)
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, WindowsAttributes()),
        (b"", WindowsAttributes()),
        (b"0x2", WindowsAttributes(H)),
        (b"0x21\0", WindowsAttributes(A | R)),
        (b"0x0", WindowsAttributes(FileAttribute(0))),
        (b"0xFFFFFFFF", WindowsAttributes(KEPT)),
        (VERSION_3, None),
        (b"\0\0\x05\0\x05\0\x11\0\0\0\x26\0\0\0" + TIME.to_bytes(8, "little"), None),
        (b"\0\0\x09\0\x09\0\0\0\x11\0\0\0\x26\0\0\0", WindowsAttributes()),
        (b"rubbish without an end", WindowsAttributes()),
    ],
)
def test_what_others_write(value: bytes | None, expected: WindowsAttributes | None) -> None:
    assert decode(value) == expected


@given(st.binary(max_size=80))
def test_nothing_makes_it_fail(value: bytes) -> None:
    decode(value)
