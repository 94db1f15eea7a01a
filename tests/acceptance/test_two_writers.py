"""Another program (plain boto3) changes, removes and makes the same keys while a mount has changes of its own: nothing
of either side is lost (P6, P9)."""

import time
from pathlib import Path

import pytest

from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server

SEEN_S = 20.0
OPTIONS = ("--write-back-delay=4s", "--metadata-ttl=1s")
# Each conflict is told in the log.
EXPECTED_LOG = ["someone else"]


@pytest.mark.parametrize("server_name", ["seaweed", "ministack"])
def test_two_writers(request: pytest.FixtureRequest, tmp_path: Path, server_name: str) -> None:
    server: S3Server = request.getfixturevalue(server_name)
    bucket = server.make_bucket()
    with CliMount(server, bucket, tmp_path, *OPTIONS, expected_log=EXPECTED_LOG) as drive:
        drive.mount()
        for name in ("changed", "deleted", "removed", "replaced"):
            (drive.mountpoint / name).write_bytes(b"first")
        drive.drain()

        # Ours, waiting for four seconds; and theirs, at once.
        for name in ("changed", "deleted", "made"):
            (drive.mountpoint / name).write_bytes(b"ours " + name.encode())
        (drive.mountpoint / "removed").unlink()
        for name in ("changed", "made", "removed", "replaced"):
            server.client.put_object(Bucket=bucket, Key=name, Body=b"theirs " + name.encode())
        server.client.delete_object(Bucket=bucket, Key="deleted")
        assert drive.status()["dirty_files"] == 3, "too slow: ours were uploaded before theirs came"
        drive.drain()

        bodies = bodies_of(server, bucket)
        kept = {name.split(" (conflict ")[0]: body for name, body in bodies.items() if " (conflict " in name}
        assert kept == {"changed": b"ours changed", "made": b"ours made"}
        assert {name: body for name, body in bodies.items() if " (conflict " not in name} == {
            "changed": b"theirs changed",
            "deleted": b"ours deleted",
            "made": b"theirs made",
            "removed": b"theirs removed",
            "replaced": b"theirs replaced",
        }
        # A copy beside theirs for two of them; the third was brought back.
        assert drive.status()["conflicts"] == 3
        wait_for_tree(drive.mountpoint, bodies)
        drive.unmount()


def bodies_of(server: S3Server, bucket: str) -> dict[str, bytes]:
    listed = server.client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {item["Key"]: server.client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in listed}


def wait_for_tree(mountpoint: Path, expected: dict[str, bytes]) -> None:
    deadline = time.monotonic() + SEEN_S
    while (found := {path.name: path.read_bytes() for path in mountpoint.iterdir()}) != expected:
        assert time.monotonic() < deadline, f"not seen: {found}"
        time.sleep(0.2)
