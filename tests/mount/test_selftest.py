"""`s3mount selftest` on a real mount: what it says of a drive as it should be, and of broken ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fs_factory import MEMORY
from tests.support.mount_process import MountProcess, serve_command

pytestmark = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and os.access("/dev/fuse", os.R_OK | os.W_OK)),
    reason="no /dev/fuse that this user may open",
)

# Each word after the mount point is a way in which the drive is broken.
BROKEN = """
import sys
from s3mount.bindings import load_binding
from tests.model.reference import ReferenceTree

class Broken(ReferenceTree):
    def setattr(self, ino, change, fh=None):
        if "times" in sys.argv and change.mtime_ns is not None:
            change = change._replace(mtime_ns=change.mtime_ns // 10**9 * 10**9)
        if "modes" in sys.argv:
            change = change._replace(mode=None)
        return super().setattr(ino, change, fh)

    def write(self, fh, offset, data, *, is_page=False):
        kept = data[:-1] if "writes" in sys.argv and len(data) > 4096 else data
        super().write(fh, offset, kept, is_page=is_page)
        return len(data)

load_binding()(Broken(), sys.argv[1], source_name="broken", read_only="ro" in sys.argv, allow_other=False,
               extra_options=(), on_ready=lambda: None)
"""


def selftest(drive: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "s3mount", "selftest", "--drive", str(drive), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110.0)


@pytest.fixture
def mountpoint(tmp_path: Path) -> Path:
    path = tmp_path / "mnt with space"
    path.mkdir()
    return path


def test_a_drive_as_it_should_be(tmp_path: Path, mountpoint: Path) -> None:
    with MountProcess(serve_command(MEMORY, tmp_path, mountpoint), mountpoint, tmp_path / "log"):
        done = selftest(mountpoint, "--seed", "7", "--steps", "200")
        assert (done.returncode, done.stderr) == (0, "")
        head, *lines = done.stdout.splitlines()
        assert head == f"selftest of {mountpoint}/, seed 7, 200 steps"
        assert len(lines) == 16
        assert {line.split()[0] for line in lines} == {"passed"}
        assert os.listdir(mountpoint) == []


def test_each_fault_is_named(tmp_path: Path, mountpoint: Path) -> None:
    command = [sys.executable, "-c", BROKEN, str(mountpoint), "times", "modes", "writes"]
    with MountProcess(command, mountpoint, tmp_path / "log"):
        done = selftest(mountpoint, "--json", "--steps", "50")
        assert done.returncode == 1
        told = json.loads(done.stdout)
        failed = {check["name"]: check["detail"] for check in told["checks"] if check["verdict"] == "failed"}
        assert set(failed) == {
            "bytes are read as they were written",
            "modes and owner",
            "times to the nanosecond",
            "random reads, writes, truncates and mappings",
        }
        assert failed["times to the nanosecond"] == "mtime of f, in ns: 1234567890000000000, not 1234567890123456789"
        assert f"seed {told['seed']}" in failed["random reads, writes, truncates and mappings"]
        assert os.listdir(mountpoint) == []


def test_a_drive_that_takes_nothing(tmp_path: Path, mountpoint: Path) -> None:
    with MountProcess([sys.executable, "-c", BROKEN, str(mountpoint), "ro"], mountpoint, tmp_path / "log"):
        done = selftest(mountpoint)
    assert done.returncode == 4
    assert done.stderr == f"s3mount: no folder can be made in {mountpoint}/: Read-only file system\n"
