"""File attributes in object metadata: the round trip, what other tools wrote, and garbage."""

import stat
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount import xattr_format
from s3mount.metadata import (
    ID_MAX,
    LINK_KEY,
    OURS_BYTES_MAX,
    FileAttributes,
    decode,
    encode,
    link_of_key,
    linked_group,
)

NS = 1_000_000_000
TIMES_NS = st.integers(
    int(datetime(1901, 1, 1, tzinfo=UTC).timestamp()) * NS, int(datetime(2446, 12, 31, tzinfo=UTC).timestamp()) * NS
)
IDS = st.integers(0, ID_MAX)
PERMISSIONS = st.integers(0, 0o7777)
KINDS = [stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFBLK, stat.S_IFCHR]
WRITE_IDS = st.text("0123456789abcdef-", min_size=1, max_size=40)


@given(
    kind=st.sampled_from(KINDS),
    permissions=PERMISSIONS,
    uid=IDS,
    gid=IDS,
    mtime_ns=TIMES_NS,
    atime_ns=st.none() | TIMES_NS,
    write_id=WRITE_IDS,
)
def test_round_trip(
    kind: int, permissions: int, uid: int, gid: int, mtime_ns: int, atime_ns: int | None, write_id: str
) -> None:
    mode = kind | permissions
    metadata = encode(mode=mode, uid=uid, gid=gid, mtime_ns=mtime_ns, atime_ns=atime_ns, write_id=write_id)
    assert all(text.isascii() and text.isprintable() for text in (*metadata, *metadata.values()))
    assert sum(map(len, (*metadata, *metadata.values()))) < 500
    assert decode(metadata, is_dir_key=kind == stat.S_IFDIR) == FileAttributes(
        mode=mode, uid=uid, gid=gid, mtime_ns=mtime_ns, atime_ns=atime_ns, ctime_ns=None, write_id=write_id
    )


@given(permissions=PERMISSIONS, mtime_ns=TIMES_NS)
def test_aws_keys_alone_say_the_same(permissions: int, mtime_ns: int) -> None:
    mode = stat.S_IFREG | permissions
    metadata = encode(mode=mode, uid=1, gid=2, mtime_ns=mtime_ns, atime_ns=None, write_id="w")
    theirs = {name: value for name, value in metadata.items() if name.startswith("file-")}
    assert decode(theirs, is_dir_key=False) == FileAttributes(mode=mode, uid=1, gid=2, mtime_ns=mtime_ns)


def test_what_is_written() -> None:
    assert encode(mode=0o100644, uid=1000, gid=100, mtime_ns=5 * NS, atime_ns=6 * NS + 7, write_id="w1") == {
        "mode": "33188",
        "uid": "1000",
        "gid": "100",
        "mtime": "5",
        "atime": "6.000000007",
        "file-permissions": "0100644",
        "file-owner": "1000",
        "file-group": "100",
        "file-mtime": "5000000000ns",
        "s3mount-write": "w1",
    }
    assert encode(mode=0o40755, uid=0, gid=0, mtime_ns=0, atime_ns=None, write_id="w")["file-permissions"] == "0040755"


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("0", 0),
        ("1354040105", 1354040105 * NS),
        ("1354040105.000000005", 1354040105 * NS + 5),
        ("1354040105.5", 1354040105 * NS + 500_000_000),  # rclone leaves trailing zeros away
        ("-1", -NS),
        ("-1.750000000", -250_000_000),  # ours: counted up from the floor
        ("-0.25", -250_000_000),  # rclone: a decimal fraction
        ("2024-02-29T12:00:00.5Z", 1709208000 * NS + 500_000_000),
        ("2024-02-29T12:00:00+02:00", 1709200800 * NS),
    ],
)
def test_times(text: str, time_ns: int) -> None:
    assert decode({"mtime": text}, is_dir_key=False).mtime_ns == time_ns


@pytest.mark.parametrize(
    ("text", "is_dir_key", "mode"),
    [
        ("33188", False, 0o100644),  # s3fs
        ("16877", True, 0o40755),
        ("41471", False, 0o120777),  # s3fs symlink: five digits, the first a 4, yet decimal
        ("0100644", False, 0o100644),  # s3fs reads a leading 0 as octal
        ("100664", False, 0o100664),  # rclone writes octal without it
        ("40775", True, 0o40775),
        ("420", False, 0o644),
        ("33188", True, 0o644),  # a file's mode on a directory's key
        ("16877", False, 0o755),
    ],
)
def test_modes(text: str, is_dir_key: bool, mode: int) -> None:
    assert decode({"mode": text}, is_dir_key=is_dir_key).mode == mode


def test_aws_time_without_suffix_is_in_milliseconds() -> None:
    metadata = {"file-mtime": "1500", "file-atime": "1500ns"}
    assert decode(metadata, is_dir_key=False) == FileAttributes(mtime_ns=1_500_000_000, atime_ns=1500)


def test_google() -> None:
    metadata = {
        "goog-reserved-posix-mode": "100640",
        "goog-reserved-posix-uid": "5",
        "goog-reserved-posix-gid": "6",
        "goog-reserved-file-mtime": "7",
    }
    assert decode(metadata, is_dir_key=False) == FileAttributes(mode=0o100640, uid=5, gid=6, mtime_ns=7 * NS)


def test_s3cmd() -> None:
    attrs = "atime:1341974363/ctime:1341974364/gid:1001/gname:x/md5:d41d8/mode:33204/mtime:1341974365/uid:1000/uname:y"
    assert decode({"s3cmd-attrs": attrs}, is_dir_key=False) == FileAttributes(
        mode=33204,
        uid=1000,
        gid=1001,
        mtime_ns=1341974365 * NS,
        atime_ns=1341974363 * NS,
        ctime_ns=1341974364 * NS,
    )


def test_geesefs_link() -> None:
    assert decode({"--symlink-target": "../100%25 caf%E9"}, is_dir_key=False).target == "../100% caf\udce9"
    for text in ("", "a%00b"):
        assert decode({"--symlink-target": text}, is_dir_key=False).target is None


def test_the_first_source_wins() -> None:
    metadata = {"mtime": "1", "file-mtime": "2000", "goog-reserved-file-mtime": "3", "uid": "1", "file-owner": "2"}
    found = decode(metadata, is_dir_key=False)
    assert (found.mtime_ns, found.uid) == (NS, 1)


@pytest.mark.parametrize(
    "garbage",
    ["", "x", "-", ".", "1.", ".5", "1e9", "1_000", " 1", "٣", "0x10", "-1", "99999999999999999999", "9" * 9999],
)
def test_a_bad_value_is_passed_over(garbage: str) -> None:
    metadata = {"uid": garbage, "file-owner": "7", "mode": garbage, "file-permissions": "0100600"}
    assert decode(metadata, is_dir_key=False) == FileAttributes(mode=0o100600, uid=7)


def test_a_bad_time_is_passed_over() -> None:
    assert decode({"mtime": "yesterday", "file-mtime": "5ns"}, is_dir_key=False).mtime_ns == 5
    assert decode({"mtime": "9" * 30, "file-mtime": "5ns"}, is_dir_key=False).mtime_ns == 5


NAMES = ["mode", "uid", "gid", "mtime", "atime", "ctime", "file-permissions", "file-owner", "file-group", "file-mtime"]
NAMES += [
    "goog-reserved-posix-mode",
    "goog-reserved-file-mtime",
    "s3cmd-attrs",
    "s3mount-write",
    "permissions",
    "owner",
]
VALUES = st.text(max_size=80) | st.from_regex(r"-?[0-9]{0,25}(\.[0-9]{0,12})?(ns)?", fullmatch=True)


@given(metadata=st.dictionaries(st.sampled_from(NAMES), VALUES), is_dir_key=st.booleans())
def test_never_raises(metadata: dict[str, str], is_dir_key: bool) -> None:
    found = decode(metadata, is_dir_key=is_dir_key)
    if found.mode is not None and is_dir_key:
        assert stat.S_IFMT(found.mode) in (0, stat.S_IFDIR)


def test_a_device_and_its_attributes() -> None:
    xattrs = xattr_format.pack({"user.a": b"hi"})
    metadata = encode(
        mode=stat.S_IFBLK | 0o600, uid=0, gid=0, mtime_ns=0, atime_ns=None, write_id="w", rdev=2049, xattrs=xattrs
    )
    assert (metadata["mode"], metadata["rdev"]) == ("24960", "2049")
    assert metadata["xattr"] == "%7B%22user.a%22%3A%22aGk%3D%22%7D"
    found = decode(metadata, is_dir_key=False)
    assert (found.mode, found.rdev, found.xattrs) == (stat.S_IFBLK | 0o600, 2049, xattrs)


def test_ours_leave_the_room_that_is_counted_on() -> None:
    longest = encode(
        mode=0o100000 + 0o7777, uid=ID_MAX, gid=ID_MAX, mtime_ns=-(1 << 64), atime_ns=-(1 << 64) + 1,
        write_id=f"0123456789ab.{1 << 62}.{1 << 62}.{1 << 62}.01234567", rdev=(1 << 63) - 1,
        link=link_of_key(f"0123456789ab.{1 << 62}.{1 << 62}", "k"),
    )  # fmt: skip
    assert 300 < sum(len(key) + len(value) for key, value in longest.items()) <= OURS_BYTES_MAX


KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=50)


@given(KEYS, KEYS)
def test_a_link_is_one_only_at_its_own_key(key: str, other: str) -> None:
    metadata = encode(
        mode=0o100644, uid=0, gid=0, mtime_ns=0, atime_ns=None, write_id="w", link=link_of_key("u.5.7", key)
    )
    link = decode(metadata, is_dir_key=False).link
    assert link == metadata[LINK_KEY]
    assert linked_group(link, key) == "u.5.7"
    assert (linked_group(link, other) is None) == (other != key)
    for garbage in (None, "", ".", "x", "." * 80):
        assert linked_group(garbage, key) is None
