"""A drive in a folder of Windows: winfsp.dll makes the folder, and it goes with the process, whatever way that ends.

The junction alone is a stand-in (tests/support/winfsp_folder.py), so that it is read and not followed.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.s3_server import S3Server
from tests.support.wine_process import WineProcess, windows_path
from tests.wine.conftest import S3mount, keys

GONE_DEADLINE_S = 10.0
MOUNT_POINT_UNUSABLE = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Drives").mkdir()
    return tmp_path / "Drives" / "My backup"


def wait_gone(folder: Path) -> None:
    """Wine's server closes what a killed process had open a moment later."""
    deadline = time.monotonic() + GONE_DEADLINE_S
    while folder.exists():
        assert time.monotonic() < deadline, f"{folder} is still there"
        time.sleep(0.05)


def test_a_folder_leads_to_the_drive_and_goes_with_it(
    mount: Callable[..., WineProcess], s3mount: S3mount, seaweed: S3Server, folder: Path
) -> None:
    bucket, place = seaweed.make_bucket(), windows_path(folder)
    process = mount(bucket, f"{place}\\")
    assert process.ask("mount_point") == place
    assert folder.is_dir()
    process.ask("put", "\\a.txt", "first", 1)
    assert process.ask("names", "\\") == ["a.txt"]
    told = s3mount("status", "--json", f"{place.upper()}\\")
    assert told.returncode == 0, told.stderr
    status = json.loads(told.stdout)
    assert (status["mountpoint"], status["state"], status["dirty_files"]) == (place, "mounted", 1)
    unmounted = s3mount("unmount", place.replace("\\", "/"))
    assert unmounted.returncode == 0, unmounted.stderr
    assert process.wait() == 0
    assert not folder.exists()
    assert folder.parent.is_dir()
    assert keys(seaweed, bucket) == ["a.txt"]


def test_a_folder_goes_with_a_killed_process_and_can_be_mounted_again(
    mount: Callable[..., WineProcess], s3mount: S3mount, seaweed: S3Server, folder: Path
) -> None:
    bucket, place = seaweed.make_bucket(), windows_path(folder)
    process = mount(bucket, place)
    process.ask("put", "\\a.txt", "first", 1)
    process.kill()
    wait_gone(folder)
    # What a power cut leaves is in the way until somebody has looked at it.
    folder.mkdir()
    refused = s3mount("mount", "--foreground", f"s3://{bucket}", place)
    assert refused.returncode == MOUNT_POINT_UNUSABLE, refused.stderr
    assert f'rmdir "{place}"' in " ".join(refused.stderr.split())
    folder.rmdir()
    process = mount(bucket, place)
    assert (process.ask("mount_point"), process.ask("content", "\\a.txt")) == (place, "first")
    unmounted = s3mount("unmount", place)
    assert unmounted.returncode == 0, unmounted.stderr
    assert process.wait() == 0
    assert not folder.exists()
    assert keys(seaweed, bucket) == ["a.txt"]
