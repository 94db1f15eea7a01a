"""Locks between the processes of one machine: flock(2) and fcntl(2) records, which the kernel keeps."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fs_factory import MEMORY
from tests.support.mount_process import MountProcess, serve_command

pytestmark = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and os.access("/dev/fuse", os.R_OK | os.W_OK)),
    reason="no /dev/fuse that this user may open",
)
# Takes a lock, says so, and keeps it until it is killed.
HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "r+b")
if sys.argv[2] == "flock":
    fcntl.flock(file, fcntl.LOCK_EX)
else:
    fcntl.lockf(file, fcntl.LOCK_EX, 10, 0)
print("held", flush=True)
time.sleep(100)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("locks")
    mountpoint = folder / "mnt"
    mountpoint.mkdir()
    with MountProcess(serve_command(MEMORY, folder, mountpoint), mountpoint, folder / "log"):
        yield mountpoint


@pytest.fixture(params=["flock", "lockf"])
def holder(request: pytest.FixtureRequest, root: Path) -> Iterator["subprocess.Popen[str]"]:
    (root / request.param).write_bytes(bytes(100))
    command = [sys.executable, "-c", HOLDER, str(root / request.param), request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_lock_keeps_others_out_until_its_holder_dies(
    root: Path, holder: "subprocess.Popen[str]", request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.params["holder"]
    with (root / kind).open("r+b") as file:
        if kind == "flock":
            with pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        else:
            with pytest.raises(BlockingIOError):
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 9)
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 10)  # the range next to it
        holder.kill()
        holder.wait(10)
        deadline = time.monotonic() + 10
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)
                break
            except BlockingIOError:
                assert time.monotonic() < deadline, "the lock outlived its process"
                time.sleep(0.01)


def test_a_lock_goes_by_the_file_not_by_its_name(
    root: Path, holder: "subprocess.Popen[str]", request: pytest.FixtureRequest
) -> None:
    """A hard link and a rename are the same file."""
    path = root / request.node.callspec.params["holder"]
    os.link(path, root / "other")
    try:
        os.rename(path, root / "renamed")
        for name in ("other", "renamed"):
            lock = fcntl.flock if path.name == "flock" else fcntl.lockf
            with (root / name).open("r+b") as file, pytest.raises(BlockingIOError):
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        (root / "other").unlink()
        (root / "renamed").unlink()
