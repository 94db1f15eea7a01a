"""Files: content anywhere in them, their size, their handles."""

import errno
import mmap
import os
import stat
from pathlib import Path

import pytest

from s3mount import host
from tests.support.os_like import OsLike, code_of, content, put


def test_write_and_read_back(fs: OsLike) -> None:
    put(fs, "f", b"hello")
    assert content(fs, "f") == b"hello"
    assert fs.stat("f").size == 5
    put(fs, "f", b"bye")
    assert content(fs, "f") == b"bye"


def test_empty_file(fs: OsLike) -> None:
    put(fs, "f")
    assert content(fs, "f") == b""
    assert fs.stat("f").size == 0


def test_large_content_in_pieces(fs: OsLike) -> None:
    data = bytes(range(256)) * (3 * 4096) + b"tail"
    put(fs, "f", data)
    assert content(fs, "f") == data
    fh = fs.open("f", os.O_RDONLY)
    for offset, size in [(0, 1), (4095, 2), (1 << 20, 1 << 20), (len(data) - 3, 100), (len(data), 5), (1 << 40, 5)]:
        assert fs.pread(fh, size, offset) == data[offset : offset + size]
    fs.close(fh)


def test_write_anywhere(fs: OsLike) -> None:
    put(fs, "f", b"0123456789")
    fh = fs.open("f", os.O_RDWR)
    assert fs.pwrite(fh, b"AB", 3) == 2
    assert fs.pread(fh, 20, 0) == b"012AB56789"
    assert fs.pwrite(fh, b"XY", 9) == 2
    assert fs.fstat(fh).size == 11
    fs.close(fh)
    assert content(fs, "f") == b"012AB5678XY"


def test_gaps_read_as_zeros(fs: OsLike) -> None:
    fh = fs.open("f", os.O_CREAT | os.O_RDWR)
    fs.pwrite(fh, b"a", 0)
    fs.pwrite(fh, b"z", 3_000_001)
    assert fs.fstat(fh).size == 3_000_002
    assert fs.pread(fh, 10, 0) == b"a" + bytes(9)
    assert fs.pread(fh, 10, 3_000_000) == b"\0z"
    fs.close(fh)
    assert content(fs, "f") == b"a" + bytes(3_000_000) + b"z"


@pytest.mark.parametrize("through_handle", [False, True])
def test_truncate(fs: OsLike, through_handle: bool) -> None:
    put(fs, "f", b"0123456789")

    def resize(size: int) -> None:
        if not through_handle:
            return fs.truncate("f", size)
        fh = fs.open("f", os.O_WRONLY)
        fs.ftruncate(fh, size)
        return fs.close(fh)

    for size, expected in [(10, b"0123456789"), (4, b"0123"), (8, b"0123" + bytes(4)), (0, b""), (3, bytes(3))]:
        resize(size)
        assert content(fs, "f") == expected
        assert fs.stat("f").size == size


def test_truncate_refuses(fs: OsLike) -> None:
    put(fs, "f", b"abc")
    fs.mkdir("d")
    assert code_of(fs.truncate, "none", 0) == errno.ENOENT
    assert code_of(fs.truncate, "d", 0) == errno.EISDIR
    fh = fs.open("f", os.O_RDONLY)
    assert code_of(fs.ftruncate, fh, 0) == errno.EINVAL
    fs.close(fh)
    assert content(fs, "f") == b"abc"


def test_handles_refuse_the_other_direction(fs: OsLike) -> None:
    put(fs, "f", b"abc")
    reader, writer = fs.open("f", os.O_RDONLY), fs.open("f", os.O_WRONLY)
    assert code_of(fs.write, reader, b"x") == errno.EBADF
    assert code_of(fs.read, writer, 1) == errno.EBADF
    fs.close(reader)
    fs.close(writer)
    assert code_of(fs.close, reader) == errno.EBADF
    assert content(fs, "f") == b"abc"


def test_two_appenders_lose_nothing(fs: OsLike) -> None:
    put(fs, "f", b"start|")
    first = fs.open("f", os.O_WRONLY | os.O_APPEND)
    second = fs.open("f", os.O_RDWR | os.O_APPEND)
    for number in range(20):
        fs.write(first, f"a{number}|".encode())
        fs.write(second, f"b{number}|".encode())
    fs.close(first)
    fs.close(second)
    expected = b"start|" + b"".join(f"a{n}|b{n}|".encode() for n in range(20))
    assert content(fs, "f") == expected


def test_two_handles_see_each_other(fs: OsLike) -> None:
    writer = fs.open("f", os.O_CREAT | os.O_WRONLY)
    reader = fs.open("f", os.O_RDONLY)
    fs.write(writer, b"one")
    assert fs.pread(reader, 10, 0) == b"one"
    fs.ftruncate(writer, 1)
    assert fs.pread(reader, 10, 0) == b"o"
    fs.close(writer)
    fs.close(reader)


def test_fsync(fs: OsLike) -> None:
    fh = fs.open("f", os.O_CREAT | os.O_WRONLY)
    fs.write(fh, b"kept")
    fs.fsync(fh)
    fs.close(fh)
    fs.mkdir("d")
    fs.fsync_dir("d")
    fs.fsync_dir("")
    assert content(fs, "f") == b"kept"


def test_unlinked_open_file_lives_on(fs: OsLike) -> None:
    put(fs, "f", b"old")
    fh = fs.open("f", os.O_RDWR)
    fs.unlink("f")
    assert fs.listdir("") == []
    assert code_of(fs.stat, "f") == errno.ENOENT
    assert fs.pread(fh, 10, 0) == b"old"
    fs.pwrite(fh, b"er", 3)
    put(fs, "f", b"another")
    assert fs.pread(fh, 10, 0) == b"older"
    fs.ftruncate(fh, 1)
    assert fs.pread(fh, 10, 0) == b"o"
    fs.fsync(fh)
    fs.close(fh)
    assert content(fs, "f") == b"another"
    assert fs.listdir("") == ["f"]


def test_attributes_of_an_unlinked_file(fs: OsLike) -> None:
    """The kernel asks for them by inode, without the handle; a second later too, when its own copy has aged."""
    put(fs, "f", b"old")
    fh = fs.open("f", os.O_RDWR)
    fs.unlink("f")
    attr = fs.fstat(fh)
    assert (attr.size, attr.nlink) == (3, 0)
    fs.fchmod(fh, 0o640)
    fs.fchown(fh, *host.own_ids())
    fs.pwrite(fh, b"longer", 2)
    fs.futime(fh, 1_000, 2_000)
    fs.ftruncate(fh, 5)
    fs.futime(fh, None, 3_000)
    attr = fs.fstat(fh)
    assert (stat.S_IMODE(attr.mode), attr.size, attr.atime_ns, attr.mtime_ns) == (0o640, 5, 1_000, 3_000)
    put(fs, "f", b"another")
    assert fs.fstat(fh).ino != fs.stat("f").ino
    assert fs.pread(fh, 10, 0) == b"ollon"
    fs.close(fh)
    assert stat.S_IMODE(fs.stat("f").mode) == 0o644


def test_replaced_open_file_lives_on(fs: OsLike) -> None:
    put(fs, "f", b"old")
    put(fs, "g", b"new")
    fh = fs.open("f", os.O_RDONLY)
    fs.rename("g", "f")
    assert fs.pread(fh, 10, 0) == b"old"
    assert content(fs, "f") == b"new"
    assert fs.listdir("") == ["f"]
    fs.close(fh)


def test_open_file_keeps_working_when_renamed(fs: OsLike) -> None:
    fh = fs.open("f", os.O_CREAT | os.O_RDWR)
    fs.write(fh, b"one")
    fs.mkdir("d")
    fs.rename("f", "d/g")
    fs.write(fh, b"two")
    fs.rename("d", "e")
    assert fs.pread(fh, 10, 0) == b"onetwo"
    assert fs.fstat(fh).size == 6
    fs.close(fh)
    assert content(fs, "e/g") == b"onetwo"


def test_mapped_read_and_shared_write(fs: OsLike, mounted: Path) -> None:
    size = 5 * mmap.PAGESIZE + 7
    put(fs, "f", b"a" * size)
    fh = os.open(mounted / "f", os.O_RDWR)
    with mmap.mmap(fh, size) as view:
        assert view[:] == b"a" * size
        view[mmap.PAGESIZE - 1 : mmap.PAGESIZE + 1] = b"XY"
        view[size - 1 :] = b"Z"
        view.flush()
    os.close(fh)
    expected = bytearray(b"a" * size)
    expected[mmap.PAGESIZE - 1 : mmap.PAGESIZE + 1] = b"XY"
    expected[-1:] = b"Z"
    assert content(fs, "f") == expected
    assert fs.stat("f").size == size
