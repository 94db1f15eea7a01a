"""Objects "dir/" with content, of another tool, on a real mount, also through kill -9 (P1, P6)."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.watching import wait_until
from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server

NAMES = ("moved", "renamed", "removed", "stays")


def test_own_files(ministack: S3Server, tmp_path: Path) -> None:
    bucket = ministack.make_bucket()

    def content(key: str) -> bytes:
        return ministack.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    for name in NAMES:
        ministack.client.put_object(Bucket=bucket, Key=f"{name}/", Body=name.encode(), Metadata={"mode": "33184"})
        ministack.client.put_object(Bucket=bucket, Key=f"{name}/x", Body=b"x")
    with CliMount(ministack, bucket, tmp_path, "--write-back-delay=3s") as drive:
        drive.mount()
        root = drive.mountpoint
        for name in NAMES:
            assert sorted(os.listdir(root / name)) == ["%key", "x"]
            assert (root / name / "%key").read_bytes() == name.encode()
            assert (root / name / "%key").stat().st_mode == 0o100640
            (root / name).chmod(0o700)
        os.unlink(root / "removed/x")
        with pytest.raises(OSError, match="not empty") as caught:
            os.rmdir(root / "removed")
        assert caught.value.errno == errno.ENOTEMPTY
        (root / "moved").rename(root / "there")
        (root / "renamed/%key").rename(root / "renamed/y")
        (root / "removed/%key").unlink()
        (root / "stays/%key").chmod(0o600)
        drive.kill()
        assert drive.unmount().returncode == 0
        drive.mount()
        assert (root / "there/%key").read_bytes() == b"moved"
        assert (root / "there").stat().st_mode == 0o40700
        drive.drain()
        assert drive.run("check", str(root)).returncode == 0
        listed = [found["Key"] for found in ministack.client.list_objects_v2(Bucket=bucket)["Contents"]]
        assert listed == ["removed/", "renamed/", "renamed/x", "renamed/y", "stays/", "stays/x", "there/", "there/x"]
        assert [content(key) for key in ("removed/", "renamed/", "stays/", "there/")] == [b"", b"", b"stays", b"moved"]
        ministack.client.put_object(Bucket=bucket, Key="removed/", Body=b"comes later")
        assert drive.run("refresh", str(root / "removed")).returncode == 0
        wait_until(lambda: os.listdir(root / "removed") == ["%key"], 3.0)
        assert (root / "removed/%key").read_bytes() == b"comes later"
        subprocess.run(["cp", "-a", root, tmp_path / "copy"], check=True)
        assert (tmp_path / "copy/there/%key").read_bytes() == b"moved"
        subprocess.run(f"rm -rf '{root}'/*", shell=True, check=True)
        drive.drain()
        assert ministack.client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
