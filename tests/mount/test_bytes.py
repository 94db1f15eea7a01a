"""Bytes through the kernel: appending and mapping from several processes, running programs, limits, orphans."""

import errno
import mmap
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fs_factory import MEMORY
from tests.support.mount_process import MountProcess, serve_command
from tests.support.os_like import code_of

pytestmark = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and os.access("/dev/fuse", os.R_OK | os.W_OK)),
    reason="no /dev/fuse that this user may open",
)
MIB = 1 << 20
RECORDS = 400
APPEND = """
import os, sys
fh = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for number in range(int(sys.argv[3])):
    assert os.write(fh, f"{sys.argv[2]}{number:06}".encode().ljust(99, b".") + b"\\n") == 100
"""
MAP = """
import mmap, sys
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
    at = int(sys.argv[2])
    view[at:at + 100_000] = bytes([at % 251]) * 100_000
    view.flush()
"""


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountProcess]:
    folder = tmp_path_factory.mktemp("bytes")
    mountpoint = folder / "mnt"
    mountpoint.mkdir()
    with MountProcess(serve_command(MEMORY, folder, mountpoint), mountpoint, folder / "log") as mount:
        yield mount


@pytest.fixture
def folder(mount: MountProcess, request: pytest.FixtureRequest) -> Path:
    path = mount.mountpoint / request.node.name
    path.mkdir()
    return path


def run_all(*commands: list[str]) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", *command]) for command in commands]
    assert [process.wait(60) for process in processes] == [0] * len(processes)


def test_three_programs_append_to_one_file(folder: Path) -> None:
    path = folder / "log"
    path.touch()
    run_all(*([APPEND, str(path), name, str(RECORDS)] for name in "abc"))
    lines = path.read_text().splitlines()
    assert [len(line) for line in lines] == [99] * RECORDS * 3
    for name in "abc":
        assert [line[1:7] for line in lines if line[0] == name] == [f"{number:06}" for number in range(RECORDS)]


def test_two_programs_map_one_file(folder: Path) -> None:
    path = folder / "f"
    path.write_bytes(bytes(MIB))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[MIB - 5 :] = b"mine!"
        run_all([MAP, str(path), "1000"], [MAP, str(path), "500000"])
        assert view[1000:101_000] == bytes([1000 % 251]) * 100_000  # one page cache for all
        view.flush()
    expected = bytearray(MIB)
    for at in (1000, 500_000):
        expected[at : at + 100_000] = bytes([at % 251]) * 100_000
    expected[-5:] = b"mine!"
    assert path.read_bytes() == expected


def test_a_mapped_page_goes_to_its_place_in_a_file_that_appends(folder: Path) -> None:
    path = folder / "f"
    path.write_bytes(b"x" * 8192)
    fh = os.open(path, os.O_RDWR | os.O_APPEND)
    with mmap.mmap(fh, 8192) as view:
        view[0:3] = b"abc"
        view.flush()
    os.write(fh, b"end")
    os.close(fh)
    assert path.read_bytes() == b"abc" + b"x" * 8189 + b"end"


def test_direct_io(folder: Path) -> None:
    path = folder / "f"
    fh = os.open(path, os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    with mmap.mmap(-1, 64 << 10) as aligned:
        aligned.write(os.urandom(64 << 10))
        assert os.pwrite(fh, aligned, 4096) == 64 << 10
        with mmap.mmap(-1, 64 << 10) as again:
            assert os.preadv(fh, [again], 4096) == 64 << 10
            assert again[:] == aligned[:]
        assert path.read_bytes() == bytes(4096) + aligned[:]
    os.close(fh)


def test_truncating_open_is_seen_by_who_has_it_open(folder: Path) -> None:
    path = folder / "f"
    path.write_bytes(b"x" * 100_000)
    with path.open("rb") as reader:
        assert len(reader.read(10)) == 10
        os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
        assert os.fstat(reader.fileno()).st_size == 0
        assert reader.raw.read(10) == b""  # type: ignore[union-attr]


def test_a_running_program_is_not_written_to(folder: Path) -> None:
    program = folder / "sleep"
    shutil.copy("/bin/sleep", program)
    process = subprocess.Popen([program, "60"])
    try:
        assert code_of(os.open, program, os.O_WRONLY) == errno.ETXTBSY
        assert code_of(os.truncate, program, 0) == errno.ETXTBSY
    finally:
        process.kill()
        process.wait()
    fh = os.open(program, os.O_WRONLY)
    assert code_of(subprocess.run, [program, "0"]) == errno.ETXTBSY
    os.close(fh)
    assert subprocess.run([program, "0"], check=False).returncode == 0


def test_the_limit_of_a_process(folder: Path) -> None:
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    fh = os.open(folder / "f", os.O_CREAT | os.O_RDWR)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        assert os.pwrite(fh, bytes(20_000), 90_000) == 10_000
        assert code_of(os.pwrite, fh, b"x", 100_000) == errno.EFBIG
        assert code_of(os.ftruncate, fh, 100_001) == errno.EFBIG
        assert code_of(os.posix_fallocate, fh, 0, 100_001) == errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
        os.close(fh)


def test_the_limit_of_the_store(folder: Path) -> None:
    """5 TiB."""
    fh = os.open(folder / "f", os.O_CREAT | os.O_RDWR)
    os.ftruncate(fh, 5 << 40)
    assert os.fstat(fh).st_size == 5 << 40
    assert code_of(os.ftruncate, fh, (5 << 40) + 1) == errno.EFBIG
    assert code_of(os.pwrite, fh, b"x", 5 << 40) == errno.EFBIG
    assert code_of(os.posix_fallocate, fh, 5 << 40, 1) == errno.EFBIG
    os.ftruncate(fh, 0)
    os.close(fh)


def test_sparse_files_are_copied_as_such(folder: Path) -> None:
    """By the programs that people use: cp, tar -S, and du as the witness."""
    fh = os.open(folder / "s", os.O_CREAT | os.O_RDWR)
    os.pwrite(fh, b"x" * MIB, 40 * MIB)
    os.ftruncate(fh, 100 * MIB)
    os.close(fh)
    subprocess.run(["cp", "--sparse=auto", "s", "copy"], cwd=folder, check=True)
    subprocess.run(["tar", "-Scf", "a.tar", "s"], cwd=folder, check=True)
    assert (folder / "a.tar").stat().st_size < 2 * MIB
    (folder / "out").mkdir()
    subprocess.run(["tar", "-Sxf", "../a.tar"], cwd=folder / "out", check=True)
    body = (folder / "s").read_bytes()
    for path in (folder / "copy", folder / "out" / "s"):
        assert path.read_bytes() == body
        used = subprocess.run(["du", "-k", path], check=True, capture_output=True, text=True).stdout
        assert int(used.split()[0]) <= 2048, path


def test_an_orphan_lives_through_renames_and_dies_with_its_last_handle(folder: Path) -> None:
    fh = os.open(folder / "a", os.O_CREAT | os.O_RDWR)
    os.write(fh, b"first")
    (folder / "b").write_bytes(b"second")
    os.rename(folder / "a", folder / "c")
    os.rename(folder / "b", folder / "c")
    assert os.fstat(fh).st_nlink == 0
    os.pwrite(fh, b"still", 10)
    assert os.pread(fh, 100, 0) == b"first" + bytes(5) + b"still"
    os.ftruncate(fh, 3)
    assert os.pread(fh, 100, 0) == b"fir"
    assert (folder / "c").read_bytes() == b"second"
    os.close(fh)
    assert os.listdir(folder) == ["c"]


def test_readdir_while_names_come_and_go(folder: Path) -> None:
    """Each name that is there all the while is shown once."""
    kept = {f"kept {number:05}" for number in range(3000)}
    for name in kept:
        (folder / name).touch()
    seen: list[str] = []
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            seen.append(entry.name)
            if number % 10 == 0:
                (folder / f"new {number}").touch()
                if number % 20 == 0:
                    os.unlink(folder / f"new {number}")
    assert len(seen) == len(set(seen))
    assert kept <= set(seen)


def test_write_back_of_a_mapping_that_nobody_flushes(folder: Path) -> None:
    path = folder / "f"
    path.write_bytes(bytes(MIB))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[4096:8192] = b"m" * 4096
    deadline = time.monotonic() + 5
    with path.open("rb") as file:
        while os.pread(file.fileno(), 4096, 4096) != b"m" * 4096:
            assert time.monotonic() < deadline


def test_the_kernel_reads_a_mebibyte_ahead(mount: MountProcess) -> None:
    number = mount.mountpoint.stat().st_dev
    figure = Path(f"/sys/class/bdi/{os.major(number)}:{os.minor(number)}/read_ahead_kb")
    if not os.access(figure, os.W_OK):
        pytest.skip("only root may change it, and not everywhere")
    deadline = time.monotonic() + 10
    while figure.read_text() != "1024\n" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert figure.read_text() == "1024\n"
