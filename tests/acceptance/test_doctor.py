"""`s3mount doctor` for real: this Linux, a real server, a bucket that is not there."""

import json
from pathlib import Path

from tests.acceptance.watching import keys_of
from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server


def verdicts(output: str) -> dict[str, str]:
    return {entry["check"]: entry["verdict"] for entry in json.loads(output)}


def test_before_and_beside_a_mount(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path) as drive:
        where = [f"--endpoint-url={seaweed.endpoint_url}", f"--cache-dir={drive.cache_dir}", "--json"]
        found = drive.run("doctor", drive.source, str(drive.mountpoint), *where, "--try-writes")
        assert found.returncode == 0, found.stdout
        before = verdicts(found.stdout)
        assert set(before.values()) == {"fine"}
        assert {"FUSE device", "FUSE library", "mount point", "bucket", "clock", "conditional writes"} <= set(before)
        assert keys_of(seaweed, bucket) == []
        assert not drive.cache_dir.exists(), "nothing is made"

        drive.mount()
        beside = drive.run("doctor", drive.source, str(drive.mountpoint), *where)
        assert beside.returncode == 4
        assert verdicts(beside.stdout) == before | {"mount point": "wrong", "conditional writes": "skipped"}
        assert drive.unmount().returncode == 0


def test_a_bucket_that_is_not_there(seaweed: S3Server, tmp_path: Path) -> None:
    with CliMount(seaweed, "no-such-bucket", tmp_path) as drive:
        found = drive.run("doctor", drive.source, f"--endpoint-url={seaweed.endpoint_url}")
        assert found.returncode == 3
        (line,) = [line for line in found.stdout.splitlines() if line.startswith("wrong")]
        assert "there is no bucket 'no-such-bucket'" in line
        assert "--endpoint-url" in line
        assert seaweed.secret_key not in found.stdout + found.stderr
