"""The C side without a mount: what becomes of errors, arguments and structures."""

import ctypes
import errno
import logging
import stat
from collections.abc import Callable

import pytest

from s3mount.bindings import load_binding
from s3mount.errors import IOFailure, MountPointUnusable, NotFound
from s3mount.model import Attr, DirEntry, Ino

try:
    load_binding()
except MountPointUnusable as missing:
    pytest.skip(str(missing), allow_module_level=True)

import mfusepy

from s3mount.bindings.fuse_session import FuseSession, _options
from s3mount.bindings.stat_buffer import UTIME_NOW, UTIME_OMIT, fill_stat, read_time

ATTR = Attr(Ino(1 << 40), stat.S_IFREG | 0o4755, 1, 2**32 - 2, 7, 1025, -1, 1_700_000_000_123_456_789, -(10**18))


class Recorder:
    """Stands where FuseOperations does and keeps what it is called with."""

    def __init__(self, result: object = None) -> None:
        self.result = result
        self.calls: list[tuple[object, ...]] = []

    def __getattr__(self, name: str) -> object:
        def record(*args: object) -> object:
            self.calls.append((name, *args))
            return self.result

        return record


def session(result: object = None) -> FuseSession:
    made: FuseSession = FuseSession.__new__(FuseSession)
    made.operations = Recorder(result)
    return made


def file_info(fh: int) -> object:
    info = mfusepy.fuse_file_info()
    info.fh = fh
    return ctypes.pointer(info)


def raising(error: BaseException) -> Callable[[], int]:
    def operation() -> int:
        raise error

    return operation


def test_errors_become_errno(caplog: pytest.LogCaptureFixture) -> None:
    assert session()._wrapper(raising(NotFound("x"))) == -errno.ENOENT
    assert caplog.records == []
    assert session()._wrapper(raising(IOFailure("disk gone"))) == -errno.EIO
    assert "disk gone" in caplog.text


@pytest.mark.parametrize("error", [ValueError("bug"), OSError(errno.ENOENT, "bug"), SystemExit(1), KeyboardInterrupt()])
def test_the_unforeseen_is_eio_with_a_traceback(caplog: pytest.LogCaptureFixture, error: BaseException) -> None:
    assert session()._wrapper(raising(error)) == -errno.EIO
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert caplog.records[0].exc_info is not None


def test_rename_keeps_its_flags() -> None:
    made = session()
    made.rename_fuse_3(b"/a", b"/b\xff", 2)
    assert made.operations.calls == [("rename", "/a", "/b\udcff", 2)]


def test_handles_are_passed_on_when_there_is_no_path() -> None:
    made = session()
    made.chmod_fuse_3(None, 0o600, file_info(7))
    made.chown_fuse_3(None, 2**32 - 1, 5, file_info(7))
    made.truncate_fuse_3(None, 9, file_info(7))
    made.chmod_fuse_3(b"/f", 0o600, None)
    assert made.operations.calls == [
        ("chmod", None, 0o600, 7),
        ("chown", None, -1, 5, 7),
        ("truncate", None, 9, 7),
        ("chmod", "/f", 0o600, None),
    ]


def test_utimens_reads_omit_now_and_the_past() -> None:
    made = session()
    times = mfusepy.c_utimbuf()
    times.actime.tv_nsec = UTIME_OMIT
    times.modtime.tv_sec, times.modtime.tv_nsec = -2, 999_999_999
    made.utimens_fuse_3(None, ctypes.pointer(times), file_info(7))
    assert made.operations.calls == [("utimens", None, (None, -1_000_000_001), 7)]
    times.modtime.tv_nsec = UTIME_NOW
    assert read_time(times.modtime, 55) == 55


def test_stat_is_filled_whole() -> None:
    filled = mfusepy.c_stat()
    ctypes.memset(ctypes.pointer(filled), 0xFF, ctypes.sizeof(filled))
    fill_stat(filled, ATTR)
    assert (filled.st_ino, filled.st_mode, filled.st_nlink) == (1 << 40, stat.S_IFREG | 0o4755, 1)
    assert (filled.st_uid, filled.st_gid, filled.st_size, filled.st_blocks) == (2**32 - 2, 7, 1025, 3)
    assert (filled.st_atimespec.tv_sec, filled.st_atimespec.tv_nsec) == (-1, 999_999_999)
    assert (filled.st_mtimespec.tv_sec, filled.st_mtimespec.tv_nsec) == (1_700_000_000, 123_456_789)
    assert (filled.st_ctimespec.tv_sec, filled.st_ctimespec.tv_nsec) == (-(10**9), 0)
    assert (filled.st_dev, filled.st_rdev) == (0, 0)


class Reply:
    """The kernel's buffer: takes `room` entries."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.entries: list[tuple[bytes, int, int, int, int]] = []

    def fill(self, buf: object, name: bytes, entry: object, offset: int, flags: int) -> int:
        if len(self.entries) == self.room:
            return 1
        self.entries.append((name, entry.st_ino, entry.st_mode, offset, flags))  # type: ignore[attr-defined]
        return 0


def test_directories_are_paged_by_offset() -> None:
    names = [f"n{number}" for number in range(10)]
    made = session([DirEntry(name, ATTR) for name in names])
    seen: list[bytes] = []
    offset = 0
    while True:
        reply = Reply(3)
        made.readdir_fuse_3(None, None, reply.fill, offset, file_info(1), 0)
        if not reply.entries:
            break
        seen += [entry[0] for entry in reply.entries]
        offset = reply.entries[-1][3]
    assert seen == [b".", b"..", *(name.encode() for name in names)]


@pytest.mark.parametrize("asked", [0, 1])
def test_attributes_go_along_when_asked_for_and_known(asked: int) -> None:
    unknown = Attr(Ino(9), 0, 0, 0, 0, 0, 0, 0, 0)
    made = session([DirEntry("known", ATTR), DirEntry("listed", unknown, is_complete=False)])
    reply = Reply(9)
    made.readdir_fuse_3(None, None, reply.fill, 0, file_info(1), asked)
    known, listed = reply.entries[2:]
    assert known == (b"known", ATTR.ino, ATTR.mode if asked else stat.S_IFREG, 3, 2 if asked else 0)
    assert listed == (b"listed", 9, 0, 4, 0)


def test_a_read_longer_than_asked_for_never_reaches_the_buffer() -> None:
    buffer = ctypes.create_string_buffer(4)
    with pytest.raises(ValueError, match="5 bytes for a read of 4"):
        session(b"12345").read(None, buffer, 4, 0, file_info(1))
    assert buffer.raw == bytes(4)
    assert session(b"123").read(None, buffer, 4, 0, file_info(1)) == 3
    assert buffer.raw == b"123\0"


def test_write_hands_over_the_bytes() -> None:
    made = session(5)
    memory = (ctypes.c_byte * 5)(*b"hello")
    made.write(None, ctypes.cast(memory, ctypes.POINTER(ctypes.c_byte)), 5, 40, file_info(3))
    name, path, data, offset, fh, is_page = made.operations.calls[0]
    assert (name, path, bytes(data), offset, fh, is_page) == ("write", None, b"hello", 40, 3, False)


def test_a_page_of_a_mapping_is_said_to_be_one() -> None:
    made = session(5)
    memory = (ctypes.c_byte * 5)(*b"hello")
    handle = file_info(3)
    handle.contents.writepage = 1
    made.write(None, ctypes.cast(memory, ctypes.POINTER(ctypes.c_byte)), 5, 40, handle)
    assert made.operations.calls[0][5] is True


def test_options() -> None:
    options = _options("s3mount#b/p,q", True, False, ("noatime", "max_threads=4"))
    assert options["fsname"] == r"s3mount#b/p\,q"
    assert (options["ro"], options["allow_other"], options["default_permissions"]) == (True, False, True)
    assert (options["noatime"], options["max_threads"]) == (True, "4")
