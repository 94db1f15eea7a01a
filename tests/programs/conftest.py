"""Real mounts for real programs: one on SeaweedFS for a whole file, each test in a folder of its own."""

import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server

FUSE_MISSING = not (sys.platform.startswith("linux") and os.access("/dev/fuse", os.R_OK | os.W_OK))
_numbers = itertools.count()


@pytest.fixture(autouse=True, scope="module")
def _needs_fuse() -> None:
    if FUSE_MISSING:
        pytest.skip("no /dev/fuse that this user may open")


@pytest.fixture(scope="module")
def drive(seaweed: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliMount]:
    with CliMount(seaweed, seaweed.make_bucket(), tmp_path_factory.mktemp("drive")) as drive:
        drive.mount()
        yield drive


@pytest.fixture
def folder(drive: CliMount) -> Iterator[Path]:
    """An empty directory on the mount. A warning in the log fails the test that it was logged in."""
    folder = drive.mountpoint / f"t{next(_numbers)}"
    folder.mkdir()
    yield folder
    drive.check_log()


def remount_with_an_empty_cache(drive: CliMount) -> None:
    outcome = drive.unmount()
    assert outcome.returncode == 0, outcome.stderr
    drive.check_log()
    shutil.rmtree(drive.cache_dir)
    drive.mount()
