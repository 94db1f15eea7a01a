"""cp and shutil on a file that is in the bucket: one CopyObject and no byte through this machine, on real servers, and
the copy is there after `kill -9` and with an empty cache (P1); temporary files without a name."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server

MIB = 1 << 20
SIZE = 20 * MIB
BY_PYTHON = """
import os, sys
with open(sys.argv[1], "rb") as source, open(sys.argv[2], "wb") as target:
    while os.copy_file_range(source.fileno(), target.fileno(), 1 << 30):
        pass
"""
COPIERS = {"cp": ["cp"], "python": [sys.executable, "-c", BY_PYTHON]}


@pytest.fixture(params=["seaweed", "ministack"])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


def sha(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remount(drive: CliMount) -> None:
    """With an empty cache; whatever runs is killed."""
    drive.kill()
    assert drive.unmount().returncode == 0
    shutil.rmtree(drive.cache_dir)
    drive.mount()


@pytest.mark.parametrize("copier", COPIERS)
def test_a_copy_of_what_is_not_cached(server: S3Server, tmp_path: Path, copier: str) -> None:
    body = random.Random(4).randbytes(SIZE)
    with CliMount(server, server.make_bucket(), tmp_path) as drive:
        drive.mount()
        folder = drive.mountpoint
        (folder / "source").write_bytes(body)
        drive.drain()
        remount(drive)
        os.stat(folder / "source")
        before = Counter(drive.status()["requests"])
        subprocess.run([*COPIERS[copier], folder / "source", folder / "copy"], check=True, timeout=60)
        sent = Counter(drive.status()["requests"]) - before
        assert sent["CopyObject"] == 1
        expected = hashlib.sha256(body).hexdigest()
        assert not {"GetObject", "PutObject", "UploadPart", "CreateMultipartUpload"} & set(sent), sent
        assert sha(folder / "copy") == expected
        remount(drive)
        assert (folder / "copy").stat().st_size == SIZE
        assert sha(folder / "copy") == sha(folder / "source") == expected


def test_files_without_a_name(seaweed: S3Server, tmp_path: Path) -> None:
    """O_TMPFILE is refused in the way that makes programs take a file with a name, which they then remove."""
    with CliMount(seaweed, seaweed.make_bucket(), tmp_path) as drive:
        drive.mount()
        with pytest.raises(OSError, match="not supported"):
            os.open(drive.mountpoint, os.O_TMPFILE | os.O_RDWR)
        with tempfile.TemporaryFile(dir=drive.mountpoint) as file:
            file.write(b"x" * MIB)
            file.seek(0)
            assert file.read() == b"x" * MIB
            assert os.fstat(file.fileno()).st_nlink == 0
        script = "sort --temporary-directory=. --buffer-size=1M numbers | sort --check --numeric-sort"
        (drive.mountpoint / "numbers").write_text("\n".join(f"{n:08}" for n in range(400_000, 0, -1)))
        subprocess.run(["sh", "-c", script], cwd=drive.mountpoint, check=True, timeout=60)
        assert os.listdir(drive.mountpoint) == ["numbers"]
        drive.drain()
