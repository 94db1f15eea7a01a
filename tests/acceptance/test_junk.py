"""`--junk=local` on a real mount: what Finder and Explorer leave is on the drive and not in the bucket (P3)."""

from pathlib import Path

from tests.acceptance.watching import body_of, keys_of
from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server


def test_junk_stays_here_until_it_is_given_a_name(ministack: S3Server, tmp_path: Path) -> None:
    bucket = ministack.make_bucket()
    with CliMount(ministack, bucket, tmp_path, "--write-back-delay=50ms", "--junk=local") as drive:
        drive.mount()
        (drive.mountpoint / "photos").mkdir()
        (drive.mountpoint / "photos" / "one.jpg").write_bytes(b"a photo")
        (drive.mountpoint / "photos" / ".DS_Store").write_bytes(b"view")
        (drive.mountpoint / "photos" / "Thumbs.db").write_bytes(b"small photos")
        drive.drain()
        assert keys_of(ministack, bucket) == ["photos/", "photos/one.jpg"]
        assert drive.status()["dirty_files"] == 0
        assert drive.run("check", str(drive.mountpoint)).returncode == 0
        assert drive.unmount().returncode == 0

        drive.mount()
        assert (drive.mountpoint / "photos" / ".DS_Store").read_bytes() == b"view"
        (drive.mountpoint / "photos" / ".DS_Store").rename(drive.mountpoint / "settings")
        drive.drain()
        assert body_of(ministack, bucket, "settings") == b"view"
        assert drive.unmount().returncode == 0

        drive.mount("--junk=bucket")
        drive.drain()
        assert keys_of(ministack, bucket) == ["photos/", "photos/Thumbs.db", "photos/one.jpg", "settings"]
        assert drive.unmount().returncode == 0
