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


LE = TIME.to_bytes(8, "little")
VERSION_3 = b"\0\0\x03\0\x03\0\0\0\x11\0\0\0\x22\0\0\0" + bytes(4) + bytes(16) + LE + bytes(8)
VERSION_5 = b"\0\0\x05\0\x05\0\0\0\x11\0\0\0\x26\0\0\0" + LE


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, WindowsAttributes()),
        (b"", WindowsAttributes()),
        (b"0x2", WindowsAttributes(H)),
        (b"0x21\0", WindowsAttributes(A | R)),
        (b"0x0", WindowsAttributes(FileAttribute(0))),
        (b"0xFFFFFFFF", WindowsAttributes(KEPT)),
        (VERSION_3, WindowsAttributes(A | H, TIME)),
        (VERSION_5, WindowsAttributes(A | H | S, TIME)),
        (VERSION_5[:-1], WindowsAttributes()),
        (b"\0\0\x09\0\x09\0\0\0\x11\0\0\0\x26\0\0\0", WindowsAttributes()),
        (b"rubbish without an end", WindowsAttributes()),
    ],
)
def test_what_others_write(value: bytes | None, expected: WindowsAttributes) -> None:
    assert decode(value) == expected


@given(st.binary(max_size=80))
def test_nothing_makes_it_fail(value: bytes) -> None:
    decode(value)


@pytest.mark.parametrize(
    ("ns", "time"),
    [(0, 116_444_736_000_000_000), (199, 116_444_736_000_000_001), (-1, 116_444_735_999_999_999), (-(1 << 64), 0)],
)
def test_times(ns: int, time: int) -> None:
    assert filetime(ns) == time


@given(st.integers(1, 1 << 62))
def test_a_time_of_windows_is_kept_to_its_last_digit(time: int) -> None:
    assert filetime(time_ns(time)) == time


def test_an_object_that_nobody_touched_is_due_for_backup() -> None:
    attr = Attr(Ino(7), 0o100644, 1, 0, 0, 4097, 30_000, 20_000, 10_000)
    assert file_info(attr, WindowsAttributes(), is_dir=False) == {
        "file_attributes": A,
        "allocation_size": 8192,
        "file_size": 4097,
        "creation_time": filetime(10_000),
        "last_access_time": filetime(30_000),
        "last_write_time": filetime(20_000),
        "change_time": filetime(10_000),
        "index_number": 7,
    }


def test_a_directory_has_no_size_and_no_archive_bit() -> None:
    info = file_info(Attr(Ino(7), 0o40755, 2, 0, 0, 4096, 0, 0, 0), WindowsAttributes(H, TIME), is_dir=True)
    assert (info["file_attributes"], info["file_size"]) == (FileAttribute.DIRECTORY | H, 0)
    assert info["creation_time"] == TIME
