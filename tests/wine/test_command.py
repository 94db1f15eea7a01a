"""The commands as a person types them on Windows, each a process under Wine, over a real bucket."""

import json
from collections.abc import Callable

import pytest

from tests.support.s3_server import S3Server
from tests.support.wine_process import COMMANDS_ONLY, PYTHONS, WineProcess
from tests.wine.conftest import S3mount, keys


def dirty_files(s3mount: S3mount) -> int:
    told = s3mount("status", "--json", "S:")
    assert told.returncode == 0, told.stderr
    status = json.loads(told.stdout)
    assert (status["mountpoint"], status["state"]) == ("S:\\", "mounted")
    return int(status["dirty_files"])


@pytest.mark.parametrize("python", [*PYTHONS, COMMANDS_ONLY])
def test_a_drive_is_mounted_followed_drained_and_unmounted(
    mount: Callable[[str], WineProcess], s3mount: S3mount, seaweed: S3Server
) -> None:
    bucket = seaweed.make_bucket()
    process = mount(bucket)
    process.ask("put", "\\a.txt", "first", 1)
    assert process.ask("content", "\\A.TXT") == "first"
    assert dirty_files(s3mount) == 1
    assert keys(seaweed, bucket) == []
    drained = s3mount("drain", "S:")
    assert drained.returncode == 0, drained.stderr
    assert keys(seaweed, bucket) == ["a.txt"]
    process.ask("put", "\\b.txt", "second", 1)
    unmounted = s3mount("unmount", "S:")
    assert unmounted.returncode == 0, unmounted.stderr
    assert process.wait() == 0
    assert keys(seaweed, bucket) == ["a.txt", "b.txt"]
    assert s3mount("status", "S:").returncode != 0


def test_a_network_drive_without_a_letter_is_found_by_its_name(
    mount: Callable[..., WineProcess], s3mount: S3mount, seaweed: S3Server
) -> None:
    bucket = seaweed.make_bucket()
    process = mount(bucket, r"\\s3mount\bucket")
    process.ask("put", "\\a.txt", "first", 1)
    told = s3mount("status", "--json", "//S3MOUNT/bucket/")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["mountpoint"] == "\\\\s3mount\\bucket\\"
    unmounted = s3mount("unmount", r"\\s3mount\Bucket")
    assert unmounted.returncode == 0, unmounted.stderr
    assert process.wait() == 0
    assert keys(seaweed, bucket) == ["a.txt"]


def test_an_asterisk_is_a_letter_that_status_tells(
    mount: Callable[..., WineProcess], s3mount: S3mount, seaweed: S3Server
) -> None:
    """The last in the alphabet that is free: Z: is Wine's own, the folders of Linux."""
    bucket = seaweed.make_bucket()
    process = mount(bucket, "*")
    process.ask("put", "\\a.txt", "first", 1)
    told = s3mount("status", "--json")
    assert told.returncode == 0, told.stderr
    (status,) = json.loads(told.stdout)
    assert (status["mountpoint"], status["bucket"]) == ("Y:\\", bucket)
    unmounted = s3mount("unmount", "Y:")
    assert unmounted.returncode == 0, unmounted.stderr
    assert process.wait() == 0
    assert keys(seaweed, bucket) == ["a.txt"]


def test_a_mount_after_a_kill_takes_up_what_is_owed(
    mount: Callable[[str], WineProcess], s3mount: S3mount, seaweed: S3Server
) -> None:
    bucket = seaweed.make_bucket()
    process = mount(bucket)
    process.ask("put", "\\a.txt", "first", 1)
    process.kill()
    process = mount(bucket)
    assert process.ask("content", "\\a.txt") == "first"
    unmounted = s3mount("unmount", "S:")
    assert unmounted.returncode == 0, unmounted.stderr
    assert process.wait() == 0
    assert keys(seaweed, bucket) == ["a.txt"]
