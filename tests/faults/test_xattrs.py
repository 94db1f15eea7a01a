"""Extended attributes from the vfs to the bucket and back, with an empty cache (P1, P8)."""

import contextlib
import stat
import struct
from urllib.parse import unquote

import pytest

from s3mount.errors import (
    AccessDenied,
    Exists,
    InvalidArgument,
    NoAttribute,
    NoSpace,
    NotSupported,
    OutOfRange,
    TooBig,
)
from s3mount.model import Ino
from s3mount.vfs.posix_acl import ACCESS, DEFAULT
from s3mount.vfs.xattrs import XATTR_CREATE, XATTR_REPLACE, Xattrs
from tests.faults.bench import CALLER, Bench

ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in [(1, 7, 2**32 - 1), (2, 6, 5), (4, 5, 2**32 - 1), (16, 7, 2**32 - 1), (32, 1, 2**32 - 1)]
)
MINIMAL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, 5, 2**32 - 1) for tag in (1, 4, 32))


def xattrs(bench: Bench) -> Xattrs:
    return Xattrs(bench.drive.filesystem._context)


def ino(bench: Bench, path: str) -> Ino:
    return Ino(bench.ino(path))


def test_they_reach_the_bucket_and_an_empty_cache(bench: Bench) -> None:
    bench.write("/f", b"x")
    bench.mkdir("/d")
    bench.drain()
    for path in ("/f", "/d"):
        xattrs(bench).set(ino(bench, path), "user.a", b"\0\xff", 0)
        xattrs(bench).set(ino(bench, path), "security.capability", b"c", 0)
    bench.drain()
    for key in ("f", "d/"):
        header = bench.memory.objects()[key].metadata["xattr"]  # type: ignore[index]
        assert unquote(header) == '{"security.capability":"Yw==","user.a":"AP8="}'
    assert [call for call in bench.store.calls if call[0] == "copy"] == [("copy", "f")]  # the two changes are one
    bench.start_empty()
    for path in ("/f", "/d"):
        assert xattrs(bench).names(ino(bench, path), CALLER) == ["security.capability", "user.a"]
        assert xattrs(bench).get(ino(bench, path), "user.a") == b"\0\xff"
    xattrs(bench).remove(ino(bench, "/f"), "security.capability")
    xattrs(bench).remove(ino(bench, "/f"), "user.a")
    bench.drain()
    assert "xattr" not in bench.memory.objects()["f"].metadata  # type: ignore[operator]


def test_what_is_refused(bench: Bench) -> None:
    bench.write("/f", b"x")
    bench.fs.symlink("t", "/l", CALLER)
    f, attributes = ino(bench, "/f"), xattrs(bench)
    for name, error in (
        ("user.none", NoAttribute),
        ("system.other", NotSupported),
        ("none", NotSupported),
        ("user." + "n" * 251, OutOfRange),
        ("user.", InvalidArgument),
    ):
        if error is NoAttribute:
            assert attributes.get(f, name) is None
        else:
            with pytest.raises(error):
                attributes.get(f, name)
        with pytest.raises(error):
            attributes.remove(f, name)
        if error is not NoAttribute:
            with pytest.raises(error):
                attributes.set(f, name, b"", 0)
    attributes.set(f, "user.a", b"1", XATTR_CREATE)
    with pytest.raises(Exists):
        attributes.set(f, "user.a", b"2", XATTR_CREATE)
    with pytest.raises(NoAttribute):
        attributes.set(f, "user.b", b"2", XATTR_REPLACE)
    attributes.set(f, "user.a", b"2", XATTR_REPLACE)
    with pytest.raises(TooBig):
        attributes.set(f, "user.a", bytes((64 << 10) + 1), 0)
    with pytest.raises(NoSpace):
        attributes.set(f, "user.a", bytes(64 << 10), 0)
    assert attributes.get(f, "user.a") == b"2"
    with pytest.raises(InvalidArgument):
        attributes.set(f, ACCESS, b"nonsense", 0)
    with pytest.raises(AccessDenied):
        attributes.set(f, DEFAULT, ACL, 0)
    with pytest.raises(NotSupported):
        attributes.set(ino(bench, "/l"), ACCESS, ACL, 0)


def test_what_fits_together_is_kept_and_what_does_not_is_refused_at_once(bench: Bench) -> None:
    bench.memory.foreign_put("f", b"x", {"theirs": "t" * 300})
    f, attributes = ino(bench, "/f"), xattrs(bench)
    kept = 0
    with contextlib.suppress(NoSpace):
        while True:
            attributes.set(f, f"user.attribute{kept}", bytes(range(16)), 0)
            kept += 1
    assert 15 < kept < 60
    bench.fs.utimens("/f", -(10**18) + 1, 10**19 + 1)
    bench.fs.chown("/f", 2**32 - 2, 2**32 - 2)
    bench.drain()
    metadata = bench.memory.objects()["f"].metadata
    assert metadata is not None
    assert metadata["theirs"] == "t" * 300
    assert len(attributes.names(f, CALLER)) == kept
    assert metadata["xattr"].count("%3A") == kept
    assert sum(len(key) + len(value) for key, value in metadata.items()) <= 2048


def test_an_access_list_and_the_mode_are_one_thing(bench: Bench) -> None:
    bench.write("/f", b"x")
    f, attributes = ino(bench, "/f"), xattrs(bench)
    before = bench.fs.getattr("/f").ctime_ns
    attributes.set(f, ACCESS, ACL, 0)
    assert bench.fs.getattr("/f").mode == stat.S_IFREG | 0o771
    assert bench.fs.getattr("/f").ctime_ns > before
    assert attributes.get(f, ACCESS) == ACL
    attributes.set(f, ACCESS, MINIMAL, 0)
    assert bench.fs.getattr("/f").mode == stat.S_IFREG | 0o555
    assert attributes.names(f, CALLER) == []
