"""The callbacks without a mount: what becomes of arguments, results and errors, and one reply for each request."""

import ctypes
import errno
import logging
import os
import stat
import struct
from typing import Any

import pytest

from s3mount.bindings import load_binding
from s3mount.errors import IOFailure, MountPointUnusable, NotFound, NotSupported
from s3mount.model import Attr, AttrChange, Caller, DirEntry, Ino, Seek, VolumeInfo

try:
    load_binding()
except MountPointUnusable as missing:
    pytest.skip(str(missing), allow_module_level=True)

import mfusepy

from s3mount.bindings import darwin_abi, fuse, stat_buffer
from s3mount.bindings import lowlevel_abi as abi
from s3mount.bindings.fuse import FuseCallbacks

ATTR = Attr(Ino(1 << 40), stat.S_IFREG | 0o4755, 1, 2**32 - 2, 7, 1025, -1, 1_700_000_000_123_456_789, -(10**18), 3)
REQUEST = 99
REPLIES = (
    "reply_err", "reply_entry", "reply_create", "reply_attr", "reply_readlink", "reply_open", "reply_write",
    "reply_buf", "reply_lseek", "reply_statfs", "reply_xattr",
)  # fmt: skip


class Recorder:
    """Stands where the FileSystem does and keeps what it is called with; `result` may be an exception to raise."""

    def __init__(self, result: object = None) -> None:
        self.result = result
        self.calls: list[tuple[object, ...]] = []

    def keeps_pages(self, fh: int) -> bool:
        return fh == 8

    def __getattr__(self, name: str) -> object:
        def record(*args: object, **kwargs: object) -> object:
            copied = [bytes(arg) if isinstance(arg, memoryview) else arg for arg in args]
            self.calls.append((name, *copied, *kwargs.values()))
            if isinstance(self.result, BaseException):
                raise self.result
            return self.result

        return record


class Binding:
    """The filled table over a recorder; replies are recorded instead of sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.filesystem = Recorder()
        self.status = 0
        self.replies: list[tuple[Any, ...]] = []
        for name in REPLIES:
            monkeypatch.setattr(abi, name, self._record(name))
        monkeypatch.setattr(fuse, "_caller", lambda _request: Caller(5, 6))
        self.operations = abi.fuse_lowlevel_ops()
        FuseCallbacks(self.filesystem).fill(self.operations)  # type: ignore[arg-type]

    def _record(self, name: str) -> object:
        def reply(request: int, *args: object) -> int:
            assert request == REQUEST
            self.replies.append((name, *args))
            return self.status

        return reply

    def call(self, name: str, *args: object, result: object = None) -> tuple[Any, ...]:
        """Call through C, as libfuse does; the one reply."""
        self.filesystem.result = result
        self.replies.clear()
        getattr(self.operations, name)(REQUEST, *args)
        (reply,) = self.replies
        return reply

    @property
    def asked(self) -> tuple[object, ...]:
        return self.filesystem.calls[-1]


@pytest.fixture
def binding(monkeypatch: pytest.MonkeyPatch) -> Binding:
    return Binding(monkeypatch)


@pytest.fixture
def info() -> Any:
    info = mfusepy.fuse_file_info()
    info.fh, info.flags = 7, 2
    return info


def address(structure: Any) -> int:
    return ctypes.addressof(structure)


def test_sizes_and_offsets() -> None:
    """As fuse_lowlevel.h gives them to a C compiler on x86-64."""
    sizes = {
        abi.fuse_entry_param: 176, abi.fuse_lowlevel_ops: 352, abi.fuse_ctx: 16, abi.fuse_args: 24,
        abi.file_info: 40, abi.conn_info: 128, mfusepy.c_stat: 144, mfusepy.c_statvfs: 112,
    }  # fmt: skip
    if mfusepy.c_stat.st_nlink.size == 8:
        assert {kind: ctypes.sizeof(kind) for kind in sizes} == sizes
        assert (abi.fuse_entry_param.attr_timeout.offset, abi.fuse_entry_param.entry_timeout.offset) == (160, 168)
    assert (abi.fuse_entry_param.attr.offset, abi.file_info.fh.offset, abi.conn_info.want.offset) == (16, 16, 24)
    places = {"statfs": 192, "create": 240, "readdirplus": 328, "lseek": 344}
    assert {name: getattr(abi.fuse_lowlevel_ops, name).offset for name in places} == places


def test_errors_become_errno(binding: Binding, caplog: pytest.LogCaptureFixture) -> None:
    assert binding.call("getattr", 1, None, result=NotFound("x")) == ("reply_err", errno.ENOENT)
    assert caplog.records == []
    assert binding.call("getattr", 1, None, result=IOFailure("disk gone")) == ("reply_err", errno.EIO)
    assert "disk gone" in caplog.text


@pytest.mark.parametrize("error", [ValueError("bug"), OSError(errno.ENOENT, "bug"), SystemExit(1), KeyboardInterrupt()])
def test_the_unforeseen_is_eio_with_a_traceback(
    binding: Binding, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    assert binding.call("readlink", 1, result=error) == ("reply_err", errno.EIO)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert caplog.records[0].exc_info is not None


def test_a_result_that_has_no_form_in_c_is_eio(binding: Binding, caplog: pytest.LogCaptureFixture) -> None:
    wrong = Attr(Ino(-1), 0, 0, 0, 0, 0, 0, 0, 0)
    assert binding.call("lookup", 1, b"x", result=wrong) == ("reply_err", errno.EIO)
    assert binding.call("getattr", 1, None, result="no attributes") == ("reply_err", errno.EIO)
    assert len(caplog.records) == 2


def calls(info: Any) -> dict[str, tuple[tuple[object, ...], object, tuple[object, ...], str]]:
    """Callback: (arguments, result of the file system, what that was asked, the reply)."""
    handle, asked = address(info), mfusepy.c_stat()
    return {
        "lookup": ((3, b"n\xff"), ATTR, ("lookup", 3, "n\udcff"), "reply_entry"),
        "getattr": ((3, None), ATTR, ("getattr", 3), "reply_attr"),
        "setattr": ((3, address(asked), 0, handle), ATTR, ("setattr", 3, AttrChange(), 7), "reply_attr"),
        "readlink": ((3,), "to", ("readlink", 3), "reply_readlink"),
        "mknod": ((3, b"n", 0o100644, 9), ATTR, ("mknod", 3, "n", 0o100644, 9, Caller(5, 6)), "reply_entry"),
        "mkdir": ((3, b"n", 0o40755), ATTR, ("mkdir", 3, "n", 0o755, Caller(5, 6)), "reply_entry"),
        "unlink": ((3, b"n"), None, ("unlink", 3, "n"), "reply_err"),
        "rmdir": ((3, b"n"), None, ("rmdir", 3, "n"), "reply_err"),
        "symlink": ((b"to", 3, b"n"), ATTR, ("symlink", "to", 3, "n", Caller(5, 6)), "reply_entry"),
        "rename": ((3, b"n", 4, b"m", 2), None, ("rename", 3, "n", 4, "m", 2), "reply_err"),
        "link": ((3, 4, b"m"), ATTR, ("link", 3, 4, "m"), "reply_entry"),
        "getxattr": ((3, b"user.n\xff", 9), b"value", ("getxattr", 3, "user.n\udcff"), "reply_buf"),
        "listxattr": ((3, 0), ["user.a"], ("listxattr", 3, Caller(5, 6)), "reply_xattr"),
        "setxattr": ((3, b"user.a", address(asked), 0, 2), None, ("setxattr", 3, "user.a", b"", 2), "reply_err"),
        "removexattr": ((3, b"user.a"), None, ("removexattr", 3, "user.a"), "reply_err"),
        "create": ((3, b"n", 0o100600, handle), (ATTR, 8), ("create", 3, "n", 0o600, 2, Caller(5, 6)), "reply_create"),
        "open": ((3, handle), 8, ("open", 3, 2, Caller(5, 6)), "reply_open"),
        "read": ((3, 10, 20, handle), b"data", ("read", 7, 20, 10), "reply_buf"),
        "fallocate": ((3, 1, 20, 10, handle), None, ("allocate", 7, 1, 20, 10), "reply_err"),
        "lseek": ((3, 20, os.SEEK_HOLE, handle), 30, ("seek", 7, 20, Seek.HOLE), "reply_lseek"),
        "copy_file_range": ((3, 20, handle, 4, 30, handle, 10, 0), 10, ("copy_range", 7, 20, 7, 30, 10), "reply_write"),
        "flush": ((3, handle), None, ("flush", 7), "reply_err"),
        "release": ((3, handle), None, ("release", 7), "reply_err"),
        "fsync": ((3, 1, handle), None, ("fsync", 7, True), "reply_err"),
        "opendir": ((3, handle), 8, ("opendir", 3), "reply_open"),
        "releasedir": ((3, handle), None, ("releasedir", 7), "reply_err"),
        "fsyncdir": ((3, 0, handle), None, ("fsyncdir", 7, False), "reply_err"),
        "statfs": ((1,), VolumeInfo(4096, 9, 8, 7, 6, 255), ("statfs",), "reply_statfs"),
    }


def test_every_callback_asks_for_the_same_and_replies_once(binding: Binding, info: Any) -> None:
    table = calls(info)
    assert set(table) | {"write", "readdir", "readdirplus"} == set(fuse.TABLE)
    for name, (args, result, asked, reply) in table.items():
        info.fh = 7
        assert binding.call(name, *args, result=result)[0] == reply, name
        assert binding.asked == asked
        if reply == "reply_err":
            assert binding.replies[0][1] == 0
        if reply in ("reply_open", "reply_create"):
            assert info.fh == 8
        assert bool(info.keep_cache) == (name == "open")
        info.keep_cache = 0


def test_an_attribute_is_told_in_size_or_in_full(binding: Binding) -> None:
    assert binding.call("getxattr", 3, b"user.a", 0, result=b"value") == ("reply_xattr", 5)
    assert binding.call("getxattr", 3, b"user.a", 5, result=b"value") == ("reply_buf", b"value", 5)
    assert binding.call("getxattr", 3, b"user.a", 4, result=b"value") == ("reply_err", errno.ERANGE)
    assert binding.call("getxattr", 3, b"user.a", 4, result=None) == ("reply_err", errno.ENODATA)
    assert binding.call("listxattr", 3, 99, result=["user.a", "user.\udcff"]) == (
        "reply_buf", b"user.a\0user.\xff\0", 14,
    )  # fmt: skip
    value = ctypes.create_string_buffer(b"a\0b")
    binding.call("setxattr", 3, b"user.a", ctypes.addressof(value), 3, 1)
    assert binding.asked == ("setxattr", 3, "user.a", b"a\0b", 1)


def test_no_attribute_is_read_or_written_in_pieces(binding: Binding) -> None:
    """macOS hands over where to begin, behind Linux's arguments."""
    callbacks = FuseCallbacks(binding.filesystem)  # type: ignore[arg-type]
    binding.filesystem.result = b"value"
    assert callbacks.getxattr(REQUEST, Ino(3), b"a", 9, 0) == b"value"
    asked = len(binding.filesystem.calls)
    for call in (
        lambda: callbacks.getxattr(REQUEST, Ino(3), b"a", 9, 1),
        lambda: callbacks.setxattr(REQUEST, Ino(3), b"a", None, 0, 0, 1),
    ):
        with pytest.raises(NotSupported):
            call()
    assert len(binding.filesystem.calls) == asked


def test_flags_of_macos_are_refused_unless_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stat_buffer, "native", darwin_abi)
    asked = darwin_abi.c_stat(st_mode=0o755, st_flags=0x8000)
    # The bit for flags is the sign of a C int.
    with pytest.raises(NotSupported):
        stat_buffer.attr_change(address(asked), -(1 << 31), 55)
    asked.st_flags = 0
    assert stat_buffer.attr_change(address(asked), -(1 << 31) | 1, 55) == AttrChange(mode=0o755)
    # Times of creation and of backup, which nothing keeps.
    assert stat_buffer.attr_change(address(asked), 1 << 28 | 1 << 30, 55) == AttrChange()


def test_an_open_that_its_program_did_not_wait_for_is_undone(binding: Binding, info: Any) -> None:
    binding.status = -errno.ENOENT
    for name, undone in (("open", "release"), ("create", "release"), ("opendir", "releasedir")):
        args, result, _, _ = calls(info)[name]
        binding.call(name, *args, result=result)
        assert binding.asked == (undone, 8)


@pytest.mark.parametrize(
    ("to_set", "change"),
    [
        (1 << 0, AttrChange(mode=0o4755)),
        (1 << 1 | 1 << 2, AttrChange(uid=2**32 - 2, gid=7)),
        (1 << 4 | 1 << 5, AttrChange(atime_ns=-1, mtime_ns=1_700_000_000_123_456_789)),
        (1 << 4, AttrChange(atime_ns=-1)),
        (1 << 4 | 1 << 5 | 1 << 7 | 1 << 8, AttrChange(atime_ns=55, mtime_ns=55)),
        (1 << 5 | 1 << 8, AttrChange(mtime_ns=55)),
        (1 << 3 | 1 << 5 | 1 << 8, AttrChange(size=1025)),
        (1 << 3 | 1 << 5, AttrChange(size=1025, mtime_ns=1_700_000_000_123_456_789)),
    ],
)
def test_setattr_reads_what_is_asked_and_no_more(to_set: int, change: AttrChange) -> None:
    asked = mfusepy.c_stat.from_buffer_copy(stat_buffer.stat_bytes(ATTR))
    assert stat_buffer.attr_change(address(asked), to_set, 55) == change


def test_stat_is_filled_whole() -> None:
    entry = abi.fuse_entry_param.from_buffer_copy(stat_buffer.entry_bytes(ATTR))
    assert (entry.ino, entry.generation, entry.attr_timeout, entry.entry_timeout) == (1 << 40, 0, 1.0, 1.0)
    assert bytes(entry.attr) == stat_buffer.stat_bytes(ATTR)
    filled = entry.attr
    assert (filled.st_ino, filled.st_mode, filled.st_nlink) == (1 << 40, stat.S_IFREG | 0o4755, 1)
    assert (filled.st_uid, filled.st_gid, filled.st_size, filled.st_blocks) == (2**32 - 2, 7, 1025, 3)
    assert (filled.st_atimespec.tv_sec, filled.st_atimespec.tv_nsec) == (-1, 999_999_999)
    assert (filled.st_mtimespec.tv_sec, filled.st_mtimespec.tv_nsec) == (1_700_000_000, 123_456_789)
    assert (filled.st_ctimespec.tv_sec, filled.st_ctimespec.tv_nsec) == (-(10**9), 0)
    assert (filled.st_dev, filled.st_rdev) == (0, 0)


def listed(data: Any, used: int, *, plus: bool) -> list[tuple[bytes, int, int, int, int, int]]:
    """(name, ino, type, offset, ino that the kernel is to remember, mode with it) as linux/fuse.h lays them out."""
    found, at, head = [], 0, 128 if plus else 0
    while at < used:
        remembered, mode = struct.unpack_from("=Q92xI", data, at) if plus else (0, 0)
        ino, offset, size, kind = struct.unpack_from("=QQII", data, at + head)
        name = bytes(data[at + head + 24 : at + head + 24 + size])
        found.append((name, ino, kind, offset, remembered, mode))
        at += (head + 24 + size + 7) // 8 * 8
    return found


@pytest.mark.parametrize("plus", [False, True])
def test_directories_are_paged_by_offset(binding: Binding, info: Any, plus: bool) -> None:
    names = [f"n{number}" for number in range(40)]
    entries = [DirEntry(name, ATTR, next_place=place) for place, name in enumerate(names, 1)]
    seen: list[bytes] = []
    offset, pages = 0, 0
    while True:
        callback = "readdirplus" if plus else "readdir"
        start = max(offset - 2, 0)
        name, data, used = binding.call(callback, 3, 1000, offset, address(info), result=entries[start:])
        assert name == "reply_buf"
        assert binding.asked == ("readdir", 7, start)
        page = listed(data, used, plus=plus)
        if not page:
            break
        assert used <= 1000
        seen += [entry[0] for entry in page]
        offset, pages = page[-1][3], pages + 1
    assert seen == [b".", b"..", *(name.encode() for name in names)]
    assert pages > 1


@pytest.mark.parametrize("plus", [False, True])
def test_attributes_go_along_when_asked_for_and_known(binding: Binding, info: Any, plus: bool) -> None:
    unknown = Attr(Ino(9), 0, 0, 0, 0, 0, 0, 0, 0)
    entries = [
        DirEntry("known", ATTR, next_place=1),
        DirEntry("listed", unknown, is_complete=False, next_place=2),
    ]
    _, data, used = binding.call("readdirplus" if plus else "readdir", 3, 4096, 0, address(info), result=entries)
    dot, above, known, incomplete = listed(data, used, plus=plus)
    directory, file = stat.S_IFDIR >> 12, stat.S_IFREG >> 12
    assert (dot[0], dot[1], dot[2], dot[4]) == (b".", 3, directory, 0)
    assert (above[0], above[2], above[4]) == (b"..", directory, 0)
    assert known == (b"known", ATTR.ino, file, 3, *((ATTR.ino, ATTR.mode) if plus else (0, 0)))
    assert incomplete[:5] == (b"listed", 9, 0, 4, 0)


def test_a_read_longer_than_asked_for_never_reaches_the_kernel(binding: Binding, info: Any) -> None:
    assert binding.call("read", 3, 4, 0, address(info), result=b"12345") == ("reply_err", errno.EIO)
    assert binding.call("read", 3, 4, 0, address(info), result=b"123") == ("reply_buf", b"123", 3)
    large = bytes(1 << 20)
    name, data, size = binding.call("read", 3, 1 << 20, 0, address(info), result=large)
    assert (name, data is large, size) == ("reply_buf", True, 1 << 20)


@pytest.mark.parametrize("is_page", [False, True])
def test_write_hands_over_the_bytes(binding: Binding, info: Any, is_page: bool) -> None:
    memory = ctypes.create_string_buffer(b"he\0llo", 6)
    info.writepage = is_page
    assert binding.call("write", 3, address(memory), 6, 40, address(info), result=6) == ("reply_write", 6)
    assert binding.asked == ("write", 7, 40, b"he\0llo", is_page)
