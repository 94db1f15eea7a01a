"""`s3mount check` on a real mount and on the folder it leaves, with a bucket that somebody else writes to."""

import json
from pathlib import Path

from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server


def test_check_live_and_offline(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path, "--write-back-delay=1h", "--metadata-ttl=1h") as drive:
        where = [drive.source, f"--endpoint-url={seaweed.endpoint_url}", f"--cache-dir={drive.cache_dir}"]
        assert "nothing was mounted" in drive.run("check", *where).stderr
        drive.mount()
        (drive.mountpoint / "a").write_bytes(b"a" * 300_000)
        (drive.mountpoint / "b").write_bytes(b"b" * 10)
        owed = drive.run("check", str(drive.mountpoint))
        assert (owed.returncode, sorted(owed.stdout.splitlines())) == (
            5,
            ["not uploaded yet: /a", "not uploaded yet: /b"],
        )
        drive.drain()
        clean = drive.run("check", str(drive.mountpoint))
        assert (clean.returncode, clean.stdout, clean.stderr) == (0, "index, cache and bucket agree\n", "")

        seaweed.client.put_object(Bucket=bucket, Key="b", Body=b"someone else's")
        found = drive.run("check", str(drive.mountpoint), "--json", "--repair")
        (difference,) = json.loads(found.stdout)
        assert found.returncode == 1
        assert (difference["kind"], difference["place"]) == ("other ETag", "/b")
        assert difference["repair"]
        assert (drive.mountpoint / "b").read_bytes() == b"someone else's"
        assert drive.run("check", *where).returncode == 1  # in use
        assert drive.unmount().returncode == 0

        (file,) = [path for path in drive.cache_dir.rglob("cache/??/*") if path.stat().st_size == 300_000]
        with file.open("r+b") as damaged:
            damaged.write(b"X")
        found = drive.run("check", *where, "--repair")
        assert (found.returncode, found.stdout) == (
            1,
            "cached block damaged: /a (bytes 0 to 131072): dropped, fetched again when needed\n",
        )
        clean = drive.run("check", *where)
        assert (clean.returncode, clean.stdout, clean.stderr) == (0, "index, cache and bucket agree\n", "")
        drive.mount()
        assert (drive.mountpoint / "a").read_bytes() == b"a" * 300_000
        assert drive.status()["cache_damaged"] == 0
