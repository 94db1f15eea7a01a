"""Others' changes reach programs that the kernel would answer from its own memory (P5, P9)."""

import ctypes
import errno
import mmap
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.mount_process import MountProcess

pytestmark = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and os.access("/dev/fuse", os.R_OK | os.W_OK)),
    reason="no /dev/fuse that this user may open",
)

SIZE = 100_000
DEADLINE_S = 10.0
# Serves a drive whose kernel may keep attributes and names for an hour, and does to the bucket behind it what the names
# of files in a folder say: "put-NAME-BYTE", "remove-NAME". Each is followed by a new listing.
SERVER = f"""
import logging, sys, threading, time
from pathlib import Path
from s3mount.bindings import load_binding
from tests.support.fs_factory import MEMORY, open_drive
folder, orders = Path(sys.argv[1]), Path(sys.argv[2])
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
run = load_binding()
from s3mount.bindings import fuse, stat_buffer
stat_buffer.ATTR_TIMEOUT_S = fuse.ATTR_TIMEOUT_S = 3600.0
drive = open_drive(MEMORY, folder)
for name in "fg":
    drive.store.foreign_put(name, b"a" * {SIZE})

def obey():
    while True:
        for order in orders.iterdir():
            what, name, *byte = order.name.split("-")
            if what == "put":
                drive.store.foreign_put(name, byte[0].encode() * {SIZE}, {{"mode": str(0o100640)}})
            else:
                drive.store.foreign_delete(name)
            drive._running.lister.invalidate(1)
            drive.paths.releasedir(drive.paths.opendir("/"))
            order.unlink()
        time.sleep(0.01)

threading.Thread(target=obey, daemon=True).start()
run(drive.filesystem, sys.argv[3], source_name="s3mount#test", read_only=False, allow_other=False, extra_options=(),
    on_ready=lambda: None)
drive.close()
"""


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    (tmp_path / "orders").mkdir()
    return tmp_path / "orders"


@pytest.fixture
def root(tmp_path: Path, orders: Path) -> Iterator[Path]:
    for name in ("drive", "mnt"):
        (tmp_path / name).mkdir()
    command = [sys.executable, "-c", SERVER, str(tmp_path / "drive"), str(orders), str(tmp_path / "mnt")]
    with MountProcess(command, tmp_path / "mnt", tmp_path / "log"):
        yield tmp_path / "mnt"


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def order(orders: Path, what: str) -> None:
    (orders / what).touch()
    until(lambda: not (orders / what).exists())


def test_a_replaced_file_is_stale_for_whoever_has_it_open_and_new_for_others(root: Path, orders: Path) -> None:
    fd = os.open(root / "f", os.O_RDONLY)
    try:
        assert os.pread(fd, SIZE, 0) == b"a" * SIZE
        before = os.stat(root / "f")
        assert stat.S_IMODE(before.st_mode) != 0o640
        order(orders, "put-f-b")

        def is_stale() -> bool:
            try:
                assert set(os.pread(fd, 10, 0)) == set(b"a")
            except OSError as error:
                return error.errno == errno.ESTALE
            return False

        until(is_stale)
        assert (root / "f").read_bytes() == b"b" * SIZE
        until(lambda: stat.S_IMODE(os.stat(root / "f").st_mode) == 0o640)
        assert os.stat(root / "f").st_ino != before.st_ino, "one inode has one size and one page cache"
    finally:
        os.close(fd)


def is_with_the_kernel(path: Path) -> bool:
    """Whether the kernel has the first page, after the open that this takes: mincore(2)."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as view:
        libc = ctypes.CDLL(None)
        address = ctypes.c_void_p()
        length = ctypes.c_ssize_t()
        held = ctypes.py_object(view)
        buffer = (ctypes.c_char * 80)()
        ctypes.pythonapi.PyObject_GetBuffer(held, buffer, 0)
        address.value = ctypes.c_void_p.from_buffer(buffer).value
        length.value = 4096
        resident = (ctypes.c_ubyte * 1)()
        try:
            assert libc.mincore(address, length, resident) == 0
        finally:
            ctypes.pythonapi.PyBuffer_Release(buffer)
        return bool(resident[0] & 1)


def test_bytes_that_nobody_changed_stay_with_the_kernel(root: Path, orders: Path) -> None:
    assert not is_with_the_kernel(root / "f")
    for _ in range(2):
        assert (root / "f").read_bytes() == b"a" * SIZE
    assert is_with_the_kernel(root / "f")
    order(orders, "put-f-b")
    assert not is_with_the_kernel(root / "f")
    for _ in range(2):
        assert (root / "f").read_bytes() == b"b" * SIZE
    assert is_with_the_kernel(root / "f")
    os.utime(root / "f")
    assert not is_with_the_kernel(root / "f"), "the next read moves the access time, so it must come to the drive"


def test_a_removed_name_is_gone_and_comes_back_as_another_file(root: Path, orders: Path) -> None:
    before = os.stat(root / "g")
    order(orders, "remove-g")
    until(lambda: not os.path.exists(root / "g"))
    order(orders, "put-g-c")
    assert (root / "g").read_bytes() == b"c" * SIZE
    assert os.stat(root / "g").st_ino != before.st_ino
