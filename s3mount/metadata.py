"""File attributes as user metadata of S3 objects: what s3mount writes, and what it reads of other tools. Pure.

Called by the write-back loop (encode) and by the listing code (decode), from any thread. Knows nothing of inodes.

Written, so that each reader finds its own:

    mode, uid, gid      decimal; mode is the whole st_mode. s3fs, geesefs.
    mtime, atime        seconds, "%d" or "%d.%09d": s3fs takes the digits after the point for a count of nanoseconds
                        and rclone for a decimal fraction; with exactly nine digits they agree.
    file-permissions    "%07o" of the whole st_mode. Amazon S3 Files, FSx for Lustre, DataSync.
    file-owner, -group  decimal. The same.
    file-mtime          nanoseconds, "%dns". The same.
    rdev                of devices: st_rdev, decimal. geesefs.
    xattr               extended attributes and ACLs, see xattr_format.py. s3fs.
    s3mount-write       which write made the object; only s3mount reads it.
    s3mount-link        of a file with several names: "GROUP.HASH". Objects with the same GROUP are one file; HASH is
                        of the key it was written to, so that a copy made by another tool is no name of that file.

Read besides those: what s3fs and s3sync wrote in other forms, Google's gcsfuse, s3cmd's `s3cmd-attrs`, rclone's octal
modes and RFC 3339 times, and the target of a symbolic link in a header of its own, which is geesefs' way (the others
have it in the body, as s3mount does). rclone's links are objects `name.rclonelink`: plain files here, as they are to
rclone itself without its --links.

Before 1970 the number before the point is floored and the part behind it counts upwards, as in a struct timespec:
-0.25 s is "-1.750000000". A reader that takes it for a decimal number is less than a second wrong for those times.
"""

import hashlib
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache, partial
from typing import NamedTuple, TypeVar
from urllib.parse import unquote

from s3mount import xattr_format

Value = TypeVar("Value")
Sources = tuple[tuple[str, Callable[[str], Value | None]], ...]

CONTENT_TYPE_DIR = "application/x-directory"
CONTENT_TYPE_FILE = "application/octet-stream"

WRITE_ID_KEY = "s3mount-write"
LINK_KEY = "s3mount-link"
KEY_HASH_CHARS = 12

# geesefs, whose name for it begins with dashes; non-printable characters and "%" of the target are percent-encoded.
LINK_TARGET_KEY = "--symlink-target"

NS = 1_000_000_000

ID_MAX = (1 << 32) - 2  # the highest one means "unchanged" to chown(2)
# Past every file system's last year (ext4: 2446, https://docs.kernel.org/filesystems/ext4/inodes.html).
TIME_NS_MAX = 1 << 64

FILE_TYPES = frozenset(
    (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK)
)
PERMISSION_BITS = 0o7777
# What `encode` makes at most without `xattrs`: ids of 32 bits, times and generations of 64.
OURS_BYTES_MAX = 480
OCTAL_FILE_DIGITS = 6
OCTAL_DIR_DIGITS = 5
ATTRIBUTE_CHARS_MAX = 128
DEVICE_MAX = (1 << 63) - 1
# Nearly all files of a bucket share a few modes and owners, so what these texts say is remembered.
KNOWN_MAX = 1000
# What goes before a name in `s3cmd-attrs` here; no header has such a name.
S3CMD = "s3cmd-attrs "


class FileAttributes(NamedTuple):
    """What an object's metadata says about the file; None where it says nothing that can be used.

    `mode` is a whole st_mode, or permission bits alone where the metadata has no type, or one that cannot be. `target`:
    of a symbolic link, where it is not the object's body.
    """

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    atime_ns: int | None = None
    ctime_ns: int | None = None
    write_id: str | None = None
    rdev: int | None = None
    xattrs: str | None = None  # packed, see xattr_format.py
    link: str | None = None  # see `linked_group`
    target: str | None = None


def encode(
    *, mode: int, uid: int, gid: int, mtime_ns: int, atime_ns: int | None, write_id: str, rdev: int = 0,
    xattrs: str | None = None, link: str | None = None,
) -> dict[str, str]:  # fmt: skip
    """The metadata of an object made by s3mount: ASCII, about 250 bytes of the 2048 that S3 allows, and with all but
    `xattrs` never more than OURS_BYTES_MAX."""
    metadata = {
        "mode": str(mode),
        "uid": str(uid),
        "gid": str(gid),
        "mtime": _encode_time(mtime_ns),
        "file-permissions": f"{mode:07o}",
        "file-owner": str(uid),
        "file-group": str(gid),
        "file-mtime": f"{mtime_ns}ns",
        WRITE_ID_KEY: write_id,
    }
    if atime_ns is not None:
        metadata["atime"] = _encode_time(atime_ns)
    if rdev:
        metadata["rdev"] = str(rdev)
    if xattrs is not None:
        metadata["xattr"] = xattr_format.to_header(xattrs)
    if link is not None:
        metadata[LINK_KEY] = link
    return metadata


def link_of_key(group: str, key: str) -> str:
    """What an object of the link group `group` carries at `key`."""
    return f"{group}.{_key_hash(key)}"


def linked_group(link: str | None, key: str) -> str | None:
    """The way back: the group of an object found at `key`; None when it was written to another key, so that it is
    somebody's copy of the object, or the object was moved by another tool."""
    group, _, key_hash = (link or "").rpartition(".")
    return group if group and key_hash == _key_hash(key) else None


def _key_hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:KEY_HASH_CHARS]


def decode(metadata: Mapping[str, str], *, is_dir_key: bool) -> FileAttributes:
    """The attributes in `metadata` (keys in lower case), whoever wrote it. Never raises: a value that makes no sense
    is passed over for the next tool's.

    `is_dir_key`: the object's key ends in "/", so it is a directory whatever its metadata says.
    """
    packed = metadata.get("s3cmd-attrs")
    if packed is not None:
        metadata = {**metadata, **{S3CMD + name: value for name, value in _split_s3cmd(packed)}}
    return FileAttributes(
        mode=_first(metadata, MODE_SOURCES[is_dir_key]),
        uid=_first(metadata, UID_SOURCES),
        gid=_first(metadata, GID_SOURCES),
        mtime_ns=_first(metadata, MTIME_SOURCES),
        atime_ns=_first(metadata, ATIME_SOURCES),
        ctime_ns=_first(metadata, CTIME_SOURCES),
        write_id=metadata.get(WRITE_ID_KEY) or None,
        rdev=_first(metadata, RDEV_SOURCES),
        xattrs=xattr_format.to_json(metadata.get("xattr")),
        link=_first(metadata, LINK_SOURCES),
        target=None if is_dir_key else _decode_target(metadata.get(LINK_TARGET_KEY)),
    )


def _first(metadata: Mapping[str, str], sources: Sources[Value]) -> Value | None:
    """The first that makes sense."""
    for name, parse in sources:
        text = metadata.get(name)
        if text is not None and len(text) <= ATTRIBUTE_CHARS_MAX and (value := parse(text)) is not None:
            return value
    return None


def _decode_target(text: str | None) -> str | None:
    target = unquote(text or "", errors="surrogateescape")
    return target if target and "\0" not in target else None


def _encode_time(time_ns: int) -> str:
    seconds, rest_ns = divmod(time_ns, NS)
    return f"{seconds}.{rest_ns:09d}" if rest_ns else str(seconds)


def _parse_int(text: str, base: int) -> int | None:
    # int() alone would take "1_000", " 7" and digits of other scripts.
    if not re.fullmatch(r"-?[0-9]+", text):
        return None
    try:
        return int(text, base)
    except ValueError:
        return None


@lru_cache(KNOWN_MAX)
def _parse_id(text: str) -> int | None:
    value = _parse_int(text, 10)
    return value if value is not None and 0 <= value <= ID_MAX else None


def _parse_device(text: str) -> int | None:
    value = _parse_int(text, 10)
    return value if value is not None and 0 < value <= DEVICE_MAX else None


@lru_cache(KNOWN_MAX)
def _parse_mode(text: str, *, is_dir_key: bool) -> int | None:
    """s3fs and geesefs write st_mode in decimal and take a leading 0 for octal; rclone writes octal without it."""
    is_octal = text.startswith("0") or (
        re.fullmatch("[0-7]+", text) is not None
        and (len(text) == OCTAL_FILE_DIGITS or (len(text) == OCTAL_DIR_DIGITS and text[0] == "4" and is_dir_key))
    )
    return _typed(_parse_int(text, 8 if is_octal else 10), is_dir_key)


def _parse_octal_mode(text: str, *, is_dir_key: bool) -> int | None:
    return _typed(_parse_int(text, 8), is_dir_key)


def _typed(mode: int | None, is_dir_key: bool) -> int | None:
    kind = 0 if mode is None else mode & ~PERMISSION_BITS
    if mode is None or kind not in FILE_TYPES:
        return None
    is_possible = kind == stat.S_IFDIR if is_dir_key else kind not in (0, stat.S_IFDIR)
    return mode if is_possible else mode & PERMISSION_BITS


def _in_range(time_ns: int) -> int | None:
    return time_ns if abs(time_ns) <= TIME_NS_MAX else None


def _parse_seconds(text: str) -> int | None:
    """Seconds with up to nine digits behind the point. Nine digits are ours or s3fs': counted up from the floor, also
    before 1970. Fewer are rclone's: a decimal fraction that takes the number's sign, trailing zeros left away."""
    match = re.fullmatch(r"(-?)([0-9]+)(?:\.([0-9]{1,9})[0-9]*)?", text)
    if match is None:
        return None
    sign, seconds, digits = match.groups()
    whole_ns = int(seconds) * NS * (-1 if sign else 1)
    fraction_ns = int((digits or "0").ljust(9, "0"))
    is_decimal = sign and digits is not None and len(digits) < 9
    return _in_range(whole_ns - fraction_ns if is_decimal else whole_ns + fraction_ns)


def _parse_aws_time(text: str) -> int | None:
    """https://docs.aws.amazon.com/fsx/latest/LustreGuide/posix-metadata-support.html"""
    if text.endswith("ns"):
        value = _parse_int(text[:-2], 10)
        return None if value is None else _in_range(value)
    value = _parse_int(text, 10)
    return None if value is None else _in_range(value * 1_000_000)


def _parse_rfc3339(text: str) -> int | None:
    match = re.fullmatch(r"([^.]+?)(?:\.([0-9]{1,9}))?(Z|[+-][0-9:]+)", text)
    if match is None:
        return None
    moment, digits, zone = match.groups()
    try:
        seconds = int(datetime.fromisoformat(moment + zone).timestamp())
    except (ValueError, OverflowError):
        return None
    return _in_range(seconds * NS + int((digits or "0").ljust(9, "0")))


def _split_s3cmd(text: str) -> Iterator[tuple[str, str]]:
    """ "k:v" pairs joined by "/"."""
    for pair in text.split("/"):
        name, separator, value = pair.partition(":")
        if separator:
            yield name, value


# -- whose word counts first -------------------------------------------------------------------------------------------


def _mode_sources(*, is_dir_key: bool) -> Sources[int]:
    parse = partial(_parse_mode, is_dir_key=is_dir_key)
    parse_octal = partial(_parse_octal_mode, is_dir_key=is_dir_key)
    return (
        ("mode", parse),
        ("file-permissions", parse_octal),
        ("goog-reserved-posix-mode", parse_octal),
        (S3CMD + "mode", parse),
        ("permissions", parse),
    )


def _id_sources(short: str, long: str) -> Sources[int]:
    names = (short, f"file-{long}", f"goog-reserved-posix-{short}", S3CMD + short, long)
    return tuple((name, _parse_id) for name in names)


def _time_sources(name: str) -> Sources[int]:
    return (
        (name, _parse_seconds),
        (f"file-{name}", _parse_aws_time),
        (f"goog-reserved-file-{name}", _parse_seconds),
        (S3CMD + name, _parse_seconds),
        # rclone copies these of a local file's metadata in RFC 3339.
        (name, _parse_rfc3339),
    )


MODE_SOURCES = {is_dir_key: _mode_sources(is_dir_key=is_dir_key) for is_dir_key in (False, True)}
UID_SOURCES = _id_sources("uid", "owner")
GID_SOURCES = _id_sources("gid", "group")
MTIME_SOURCES = _time_sources("mtime")
ATIME_SOURCES = _time_sources("atime")
CTIME_SOURCES = _time_sources("ctime")
RDEV_SOURCES: Sources[int] = (("rdev", _parse_device),)
LINK_SOURCES: Sources[str] = ((LINK_KEY, lambda text: text or None),)
