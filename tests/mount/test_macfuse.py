"""A mount by the binding for macOS, over a stand-in for macFUSE's libfuse 3 (tests/support/macfuse_stub.py) and Linux's
kernel: that its structures, callbacks and options are those of the headers."""

import ctypes
import errno
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import macfuse_stub
from tests.support.fs_factory import MEMORY
from tests.support.mount_process import MountProcess

pytestmark = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and os.access("/dev/fuse", os.R_OK | os.W_OK) and shutil.which("cc")),
    reason="no /dev/fuse that this user may open, or no C compiler",
)
DARWIN_ENOATTR = 93
TIME_NS = 1_700_000_000_123_456_789


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("macfuse")
    mountpoint, data = folder / "mnt", folder / "data"
    mountpoint.mkdir()
    data.mkdir()
    command = macfuse_stub.command(macfuse_stub.build(folder), MEMORY, data, mountpoint)
    with MountProcess(command, mountpoint, folder / "log", expected_log=["nobody has run s3mount on macOS"]):
        yield mountpoint


def test_a_file_made_written_and_read(root: Path) -> None:
    content = os.urandom(3 << 20)
    path = root / "file"
    path.write_bytes(content)
    assert path.read_bytes() == content
    os.truncate(path, 1025)
    found = path.stat()
    assert (found.st_size, stat.S_IFMT(found.st_mode), found.st_nlink) == (1025, stat.S_IFREG, 1)
    path.unlink()
    assert not path.exists()


def test_attributes_go_there_and_back(root: Path) -> None:
    path = root / "attributes"
    path.write_bytes(b"")
    path.chmod(0o6754)
    os.utime(path, ns=(TIME_NS - 1, TIME_NS))
    if os.geteuid() == 0:
        os.chown(path, 1234, 2**31 + 5)
        path.chmod(0o6754)
    found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o6754
    assert (found.st_atime_ns, found.st_mtime_ns) == (TIME_NS - 1, TIME_NS)
    if os.geteuid() == 0:
        assert (found.st_uid, found.st_gid) == (1234, 2**31 + 5)


def test_directories_and_links(root: Path) -> None:
    above = root / "above"
    above.mkdir(0o750)
    wanted = {f"name {number}" for number in range(300)}
    for name in wanted:
        (above / name).touch()
    (above / "link").symlink_to("name 1")
    os.mkfifo(above / "fifo", 0o640)
    with os.scandir(above) as entries:
        kinds = {entry.name: (entry.is_symlink(), entry.is_file(follow_symlinks=False)) for entry in entries}
    assert set(kinds) == wanted | {"link", "fifo"}
    assert (kinds["link"], kinds["fifo"], kinds["name 7"]) == ((True, False), (False, False), (False, True))
    assert os.readlink(above / "link") == "name 1"
    assert stat.S_IMODE(above.stat().st_mode) == 0o750


def test_renames_with_flags(root: Path) -> None:
    one, other = root / "one", root / "other"
    one.write_text("1")
    other.write_text("2")
    libc = ctypes.CDLL(None, use_errno=True)

    def rename(flags: int) -> int:
        done = libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), flags)
        return 0 if done == 0 else ctypes.get_errno()

    assert rename(1) == errno.EEXIST
    assert rename(2) == 0
    assert (one.read_text(), other.read_text()) == ("2", "1")


def test_extended_attributes(root: Path) -> None:
    path = root / "xattrs"
    path.touch()
    os.setxattr(path, "user.com.apple.FinderInfo", b"\0" * 32, os.XATTR_CREATE)
    assert os.getxattr(path, "user.com.apple.FinderInfo") == b"\0" * 32
    assert os.listxattr(path) == ["com.apple.FinderInfo"]
    with pytest.raises(FileExistsError):
        os.setxattr(path, "user.com.apple.FinderInfo", b"", os.XATTR_CREATE)
    with pytest.raises(OSError, match="Protocol not supported") as missing:
        os.getxattr(path, "user.missing")
    assert missing.value.errno == DARWIN_ENOATTR
    with pytest.raises(OSError, match="not supported") as fork:
        os.setxattr(path, "user.com.apple.ResourceFork", b"x")
    assert fork.value.errno == errno.ENOTSUP


def test_names_in_the_other_form(root: Path) -> None:
    (root / "\u00e9").write_text("x")
    assert (root / "e\u0301").read_text() == "x"
    assert "e\u0301" not in os.listdir(root)


def test_the_volume(root: Path) -> None:
    found = os.statvfs(root)
    assert found.f_blocks * found.f_frsize == 1 << 50
    assert found.f_files == 1 << 40


def test_spotlight_is_kept_out(root: Path) -> None:
    assert (root / ".metadata_never_index").stat().st_size == 0
    assert ".metadata_never_index" not in os.listdir(root)
    with pytest.raises(PermissionError):
        (root / ".metadata_never_index").unlink()
