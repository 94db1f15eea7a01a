"""`s3mount refresh` on a real mount, with plain boto3 as the other writer."""

import os
from pathlib import Path

import pytest

from tests.acceptance.watching import wait_until
from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server

# The kernel keeps attributes and names for a second.
SEEN_S = 3.0


@pytest.mark.parametrize("server_name", ["seaweed", "ministack"])
def test_refresh(request: pytest.FixtureRequest, tmp_path: Path, server_name: str) -> None:
    server: S3Server = request.getfixturevalue(server_name)
    bucket = server.make_bucket()

    def put(key: str, body: bytes, mode: int) -> None:
        server.client.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"mode": str(0o100000 | mode)})

    for key in ("a", "d/b", "d/e/c", "d/e/kept"):
        put(key, b"old", 0o644)
    with CliMount(server, bucket, tmp_path, "--metadata-ttl=1h") as drive:
        drive.mount()
        root = drive.mountpoint
        assert [(root / key).read_bytes() for key in ("a", "d/b", "d/e/c")] == [b"old"] * 3
        assert sorted(os.listdir(root)) == ["a", "d"]
        for key in ("a", "d/b", "d/e/c", "new"):
            put(key, b"newer", 0o600)
        put("d/b", b"old", 0o600)  # the same bytes: only its metadata is another
        server.client.delete_object(Bucket=bucket, Key="d/e/c")

        said = drive.run("refresh", str(root / "a"), str(root / "d/b"))
        assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
        wait_until(lambda: (root / "a").stat().st_size == 5, SEEN_S)
        assert (root / "a").read_bytes() == b"newer"
        wait_until(lambda: (root / "d/b").stat().st_mode == 0o100600, SEEN_S)
        assert (root / "d/e/c").read_bytes() == b"old"

        assert drive.run("refresh", str(root), "--recursive").returncode == 0
        wait_until(lambda: not (root / "d/e/c").exists(), SEEN_S)
        assert (root / "new").read_bytes() == b"newer"

        link = tmp_path / "link to the mount"
        link.symlink_to(root)
        put("new", b"newest", 0o600)
        assert drive.run("refresh", str(link / "new")).returncode == 0
        wait_until(lambda: (root / "new").stat().st_size == 6, SEEN_S)

        missing = drive.run("refresh", str(root / "nothing"))
        assert missing.returncode == 1
        assert missing.stderr == "s3mount: /nothing: no such file or directory in the bucket\n"
        outside = drive.run("refresh", str(tmp_path))
        assert outside.returncode == 4
        assert "in no mount" in outside.stderr
