"""The room that files take: holes, fallocate, lseek for data and holes, copies inside the drive."""

import errno
import os
import time
from collections.abc import Iterator

import pytest

from tests.support.os_like import OsLike, code_of, content, put

KIB = 1 << 10
MIB = 1 << 20
KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 1, 2, 8, 16, 32
DATA = bytes(range(1, 256)) * 4112 + b"\1" * 16  # 1 MiB without a zero


@pytest.fixture(autouse=True)
def _with_room(driver: str) -> None:
    if driver.endswith("-reference"):
        pytest.skip("the reference tree knows nothing of room")


@pytest.fixture
def fh(fs: OsLike) -> Iterator[int]:
    """A file of 1 MiB, open for reading and writing."""
    assert len(DATA) == MIB
    put(fs, "f", DATA)
    fh = fs.open("f", os.O_RDWR)
    yield fh
    fs.close(fh)


def sparse(fs: OsLike, name: str) -> int:
    """64 KiB of data at 1 MiB and at 3 MiB, 4 MiB in all."""
    fh = fs.open(name, os.O_CREAT | os.O_RDWR)
    fs.pwrite(fh, DATA[: 64 * KIB], MIB)
    fs.pwrite(fh, DATA[: 64 * KIB], 3 * MIB)
    fs.ftruncate(fh, 4 * MIB)
    return fh


def segments(fs: OsLike, fh: int, size: int) -> list[tuple[int, int]]:
    """The data of a file, as a program that copies sparse files finds it."""
    found, at = [], 0
    while at < size:
        if code_of(fs.seek, fh, at, os.SEEK_DATA) == errno.ENXIO:
            break
        start = fs.seek(fh, at, os.SEEK_DATA)
        at = fs.seek(fh, start, os.SEEK_HOLE)
        found.append((start, at))
    return found


def test_holes_are_found(fs: OsLike) -> None:
    fh = sparse(fs, "s")
    assert segments(fs, fh, 4 * MIB) == [(MIB, MIB + 64 * KIB), (3 * MIB, 3 * MIB + 64 * KIB)]
    assert fs.seek(fh, 100, os.SEEK_HOLE) == 100
    assert fs.seek(fh, MIB + 100, os.SEEK_DATA) == MIB + 100
    assert fs.seek(fh, 3 * MIB, os.SEEK_HOLE) == 3 * MIB + 64 * KIB
    for offset, whence in ((4 * MIB, os.SEEK_DATA), (4 * MIB, os.SEEK_HOLE), (9 * MIB, os.SEEK_HOLE)):
        assert code_of(fs.seek, fh, offset, whence) == errno.ENXIO
    assert code_of(fs.seek, fh, 3 * MIB + 64 * KIB, os.SEEK_DATA) == errno.ENXIO
    assert code_of(fs.seek, fh, -1, os.SEEK_DATA) == errno.ENXIO
    fs.close(fh)


def test_a_full_file_has_no_hole_but_its_end(fs: OsLike, fh: int) -> None:
    assert fs.seek(fh, 0, os.SEEK_HOLE) == MIB
    assert fs.seek(fh, 1000, os.SEEK_DATA) == 1000


def test_blocks_tell_of_holes(fs: OsLike) -> None:
    fh = sparse(fs, "s")
    fs.fsync(fh)
    assert fs.fstat(fh).blocks * 512 < 160 * KIB
    fs.close(fh)
    assert fs.stat("s").blocks * 512 < 160 * KIB
    assert fs.scan("")["s"].blocks * 512 < 160 * KIB
    put(fs, "f", DATA)
    assert fs.stat("f").blocks * 512 >= MIB


def test_a_tebibyte_of_zeros(fs: OsLike) -> None:
    fh = fs.open("s", os.O_CREAT | os.O_RDWR)
    fs.ftruncate(fh, 1 << 40)
    fs.pwrite(fh, b"x", 1 << 39)
    assert fs.fstat(fh).size == 1 << 40
    assert fs.pread(fh, 3, (1 << 39) - 1) == b"\0x\0"
    assert fs.pread(fh, 10, (1 << 40) - 3) == bytes(3)
    fs.ftruncate(fh, 0)
    assert fs.fstat(fh).blocks == 0
    fs.close(fh)


def test_punch(fs: OsLike, fh: int) -> None:
    fs.fallocate(fh, PUNCH_HOLE | KEEP_SIZE, 100 * KIB + 1, 200 * KIB)
    assert fs.pread(fh, MIB, 0) == DATA[: 100 * KIB + 1] + bytes(200 * KIB) + DATA[300 * KIB + 1 :]
    hole = fs.seek(fh, 0, os.SEEK_HOLE)
    assert 100 * KIB < hole <= 104 * KIB
    assert 296 * KIB <= fs.seek(fh, hole, os.SEEK_DATA) <= 300 * KIB + 1
    assert fs.fstat(fh).blocks * 512 <= MIB - 190 * KIB


def test_punch_past_the_end_keeps_the_size(fs: OsLike, fh: int) -> None:
    fs.fallocate(fh, PUNCH_HOLE | KEEP_SIZE, MIB - 10, MIB)
    fs.fallocate(fh, PUNCH_HOLE | KEEP_SIZE, 5 * MIB, MIB)
    assert fs.fstat(fh).size == MIB
    assert fs.pread(fh, 20, MIB - 20) == DATA[-20:-10] + bytes(10)


def test_allocate_grows_with_zeros(fs: OsLike, fh: int) -> None:
    fs.fallocate(fh, 0, MIB // 2, MIB)
    assert fs.fstat(fh).size == MIB // 2 + MIB
    assert fs.pread(fh, 2 * MIB, 0) == DATA + bytes(MIB // 2)
    assert fs.fstat(fh).blocks * 512 >= MIB // 2 + MIB
    fs.fallocate(fh, KEEP_SIZE, 0, 8 * MIB)
    assert fs.fstat(fh).size == MIB // 2 + MIB


def test_zero_range(fs: OsLike, fh: int) -> None:
    codes = [code_of(fs.fallocate, fh, mode, MIB - 10, 20) for mode in (ZERO_RANGE | KEEP_SIZE, ZERO_RANGE)]
    if codes == [errno.EOPNOTSUPP] * 2:
        pytest.skip("this file system has no FALLOC_FL_ZERO_RANGE")
    assert codes == [0, 0]
    assert fs.fstat(fh).size == MIB + 10
    assert fs.pread(fh, 40, MIB - 20) == DATA[-20:-10] + bytes(20)


@pytest.mark.parametrize("mode", [0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE])
@pytest.mark.parametrize("offset", [10, 300 * KIB])
def test_fallocate_is_a_change(fs: OsLike, mode: int, offset: int) -> None:
    """ext4 moves mtime whether or not a byte has another value."""
    put(fs, "f", bytes(100 * KIB))
    fs.utime("f", 0, 0)
    fh = fs.open("f", os.O_RDWR)
    fs.fallocate(fh, mode, offset, 50)
    fs.close(fh)
    assert fs.stat("f").mtime_ns != 0


@pytest.mark.parametrize(
    ("mode", "offset", "length", "code"),
    [
        (0, 0, 0, errno.EINVAL),
        (0, -1, 10, errno.EINVAL),
        (0, 0, -1, errno.EINVAL),
        (PUNCH_HOLE, 0, 10, errno.EOPNOTSUPP),
        (PUNCH_HOLE | ZERO_RANGE | KEEP_SIZE, 0, 10, errno.EOPNOTSUPP),
        (1 << 20, 0, 10, errno.EOPNOTSUPP),
        (0, (1 << 63) - 10, 9, errno.EFBIG),
    ],
)
def test_what_fallocate_refuses(
    fs: OsLike, driver: str, fh: int, mode: int, offset: int, length: int, code: int
) -> None:
    if driver == "local" and code == errno.EFBIG:
        pytest.skip("some local file systems promise any room")
    assert code_of(fs.fallocate, fh, mode, offset, length) == code
    assert content(fs, "f") == DATA


def test_no_bytes_are_shifted(fs: OsLike, driver: str, fh: int) -> None:
    if driver == "local":
        pytest.skip("some local file systems can")
    for mode in (COLLAPSE_RANGE, INSERT_RANGE):
        assert code_of(fs.fallocate, fh, mode, 0, 4096) == errno.EOPNOTSUPP


def test_fallocate_needs_a_file_open_for_writing(fs: OsLike) -> None:
    put(fs, "f", DATA)
    fh = fs.open("f", os.O_RDONLY)
    assert code_of(fs.fallocate, fh, 0, 0, 10) == errno.EBADF
    fs.close(fh)


def test_copy_in_the_drive(fs: OsLike, fh: int) -> None:
    out = fs.open("g", os.O_CREAT | os.O_RDWR)
    assert fs.copy_range(fh, 100, out, 5, 1000) == 1000
    assert fs.pread(out, 2000, 0) == bytes(5) + DATA[100:1100]
    assert fs.copy_range(fh, MIB - 10, out, 0, 100) == 10
    assert fs.copy_range(fh, MIB, out, 0, 100) == 0
    assert fs.copy_range(fh, 0, fh, MIB // 2, 1000) == 1000
    assert code_of(fs.copy_range, fh, 0, fh, 999, 1000) == errno.EINVAL
    fs.close(out)
    assert content(fs, "g") == DATA[-10:] + DATA[105:1100]


def test_a_copy_keeps_the_source_s_zeros(fs: OsLike) -> None:
    fh = sparse(fs, "s")
    out = fs.open("g", os.O_CREAT | os.O_RDWR)
    at = 0
    while copied := fs.copy_range(fh, at, out, at, 5 * MIB - at):
        at += copied
    assert at == 4 * MIB
    fs.close(out)
    assert content(fs, "g") == content(fs, "s")
    fs.close(fh)


def test_copies_that_are_refused(fs: OsLike, fh: int) -> None:
    reader, appender = fs.open("f", os.O_RDONLY), fs.open("g", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    writer = fs.open("h", os.O_CREAT | os.O_WRONLY)
    assert code_of(fs.copy_range, fh, 0, reader, 0, 10) == errno.EBADF
    assert code_of(fs.copy_range, writer, 0, fh, 0, 10) == errno.EBADF
    assert code_of(fs.copy_range, fh, 0, appender, 0, 10) == errno.EBADF
    for number in (reader, appender, writer):
        fs.close(number)


def test_reading_moves_atime_as_relatime_does(fs: OsLike) -> None:
    """The first read after a change does, the next does not."""
    put(fs, "f", DATA)
    old_ns = 1_000_000_000_000_000_000
    fs.utime("f", old_ns, old_ns)
    time.sleep(0.02)  # a local file system's clock ticks every few milliseconds
    content(fs, "f")
    first_ns = fs.stat("f").atime_ns
    assert first_ns > old_ns
    content(fs, "f")
    assert fs.stat("f").atime_ns == first_ns
    assert fs.stat("f").mtime_ns == old_ns
