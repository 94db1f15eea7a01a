"""A Glacier object on a real mount. ministack refuses a GET of one as S3 does; it restores none, and copies it."""

import errno
import os
from pathlib import Path

import pytest

from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server


def test_glacier(ministack: S3Server, tmp_path: Path) -> None:
    bucket = ministack.make_bucket()
    ministack.client.put_object(Bucket=bucket, Key="d/it's cold", Body=b"frozen", StorageClass="DEEP_ARCHIVE")
    with CliMount(ministack, bucket, tmp_path, prefix="d/", expected_log=["must be restored", "^Traceback"]) as drive:
        drive.mount()
        path = drive.mountpoint / "it's cold"
        assert path.stat().st_size == 6
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            path.read_bytes()
        (error,) = drive.status()["errors"]
        assert error["path"] == "/it's cold"
        command = f"aws s3api restore-object --bucket {bucket} --key 'd/it'\"'\"'s cold' --restore-request Days=7"
        assert command in error["cause"]
        assert command in drive.run("status", str(drive.mountpoint)).stdout
        # As S3 does for a restored one: the same version can be read.
        ministack.client.put_object(Bucket=bucket, Key="d/it's cold", Body=b"frozen")
        assert path.read_bytes() == b"frozen"
        assert drive.status()["errors"] == []
