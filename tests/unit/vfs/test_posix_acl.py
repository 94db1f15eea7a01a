"""Access control lists: the same results as the kernel has on a local folder, for lists and modes picked at random."""

import errno
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.errors import InvalidArgument
from s3mount.vfs import posix_acl
from s3mount.vfs.posix_acl import ACCESS, DEFAULT, Acl, Entry, Tag

PERMISSIONS = st.integers(0, 7)
IDS = st.lists(st.integers(0, 2000), max_size=3, unique=True).map(sorted)
MODES = st.integers(0, 0o777)


@st.composite
def acls(draw: st.DrawFn) -> Acl:
    users = [Entry(Tag.USER, draw(PERMISSIONS), uid) for uid in draw(IDS)]
    groups = [Entry(Tag.GROUP, draw(PERMISSIONS), gid) for gid in draw(IDS)]
    has_mask = bool(users or groups) or draw(st.booleans())
    mask = [Entry(Tag.MASK, draw(PERMISSIONS))] if has_mask else []
    owner, group, other = (Entry(tag, draw(PERMISSIONS)) for tag in (Tag.USER_OBJ, Tag.GROUP_OBJ, Tag.OTHER))
    return (owner, *users, group, *groups, *mask, other)


@pytest.fixture(scope="module")
def folder() -> Path:
    """Where the kernel has access lists: nearly every local file system does, but not every temporary one."""
    for parent in (None, "/dev/shm"):
        path = Path(tempfile.mkdtemp(dir=parent))
        try:
            os.setxattr(
                path, DEFAULT, posix_acl.encode((Entry(Tag.USER_OBJ, 7), Entry(Tag.GROUP_OBJ, 5), Entry(Tag.OTHER, 5)))
            )
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
            continue
        os.removexattr(path, DEFAULT)
        return path
    pytest.fail("no local folder with access lists")


def kept(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path) if name in (ACCESS, DEFAULT)}


@settings(max_examples=150, deadline=None)
@given(acls())
def test_bytes_are_the_kernel_s(folder: Path, acl: Acl) -> None:
    path = folder / "f"
    path.touch()
    os.chmod(path, 0o4640)
    os.setxattr(path, ACCESS, posix_acl.encode(acl))
    mode = posix_acl.mode_with(acl, stat.S_IFREG | 0o4640)
    assert os.stat(path).st_mode == mode
    found = kept(path)
    assert found == ({} if posix_acl.is_minimal(acl) else {ACCESS: posix_acl.encode(acl)})
    for value in found.values():
        assert posix_acl.decode(value) == acl
    path.unlink()


@settings(max_examples=150, deadline=None)
@given(acls(), MODES)
def test_chmod_changes_the_mask_as_the_kernel_does(folder: Path, acl: Acl, mode: int) -> None:
    path = folder / "f"
    path.touch()
    os.setxattr(path, ACCESS, posix_acl.encode(acl))
    before = kept(path)
    os.chmod(path, mode)
    assert posix_acl.after_chmod(before, mode) == kept(path)
    path.unlink()


@settings(max_examples=200, deadline=None)
@given(st.none() | acls(), MODES, MODES, st.sampled_from(["file", "dir", "link", "fifo"]))
def test_what_is_created_inherits_as_the_kernel_has_it(
    folder: Path, default: Acl | None, mode: int, umask: int, kind: str
) -> None:
    parent, path = folder / "d", folder / "d" / "new"
    parent.mkdir()
    if default is not None:
        os.setxattr(parent, DEFAULT, posix_acl.encode(default))
    old = os.umask(umask)
    try:
        if kind == "file":
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, mode))
        elif kind == "dir":
            path.mkdir(mode)
        elif kind == "fifo":
            os.mkfifo(path, mode)
        else:
            mode = 0o777
            path.symlink_to("x")
    finally:
        os.umask(old)
    there = os.lstat(path).st_mode
    mine, xattrs = posix_acl.inherit(kept(parent), stat.S_IFMT(there) | mode, umask)
    assert oct(mine) == oct(there)
    assert xattrs == ({} if kind == "link" else kept(path))
    (path.rmdir if kind == "dir" else path.unlink)()
    parent.rmdir()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 2, 4, 8, 16, 32, 64]), st.integers(0, 8), st.integers(0, 3)), max_size=6))
def test_what_the_kernel_refuses_is_refused(folder: Path, entries: list[tuple[int, int, int]]) -> None:
    value = b"\x02\0\0\0" + b"".join(posix_acl._ENTRY.pack(*entry) for entry in entries)
    path = folder / "f"
    path.touch()
    try:
        os.setxattr(path, ACCESS, value)
        is_taken = True
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        is_taken = False
    try:
        posix_acl.decode(value)
    except InvalidArgument:
        assert not is_taken
    else:
        assert is_taken
    path.unlink()


@pytest.mark.parametrize("value", [b"", b"\x02\0\0", b"\x01\0\0\0", b"\x02\0\0\0\0", b"\x02\0\0\0" + bytes(7)])
def test_garbage(value: bytes) -> None:
    with pytest.raises(InvalidArgument):
        posix_acl.decode(value)
