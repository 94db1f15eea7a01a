"""Every command and option of docs/commands.md on a real mount over a real server."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from s3mount.host import start_time
from tests.acceptance.watching import body_of, keys_of, wait_until
from tests.support.cli_mount import CliMount
from tests.support.mount_process import REPOSITORY, is_mounted
from tests.support.s3_server import S3Server

OwnProcesses = partial(CliMount, is_loaded=False)
PROMPT = "--write-back-delay=50ms"
RESTING = "--write-back-delay=1h"
STATUS_FIELDS = {
    "mountpoint", "bucket", "prefix", "pid", "state", "dirty_files", "dirty_bytes", "uploading", "oldest_dirty_age_s",
    "uploaded_files_total", "uploaded_bytes_total", "requests", "cache_bytes", "cache_limit_bytes", "conflicts",
    "errors",
}  # fmt: skip


def mount_options_of(drive: CliMount) -> list[str]:
    lines = [line.split(" ") for line in Path("/proc/self/mounts").read_text().splitlines()]
    return next(fields[3].split(",") for fields in lines if fields[1] == str(drive.mountpoint))


PROBE_PUTS = 1  # the one at the first mount that finds out whether conditional writes hold, and makes nothing


def puts(drive: CliMount) -> int:
    wait_until(lambda: drive.status()["conditional_writes"] == "honoured")
    return int(drive.status()["requests"]["PutObject"])


def test_from_mount_to_unmount(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with OwnProcesses(seaweed, bucket, tmp_path, RESTING, "--cache-size=64MiB", "--log-level=debug") as drive:
        assert drive.run("status").stdout == "nothing is mounted\n"
        assert drive.run("status", "--json").stdout == "[]\n"
        mounted = drive.run(*drive.mount_words())
        assert (mounted.returncode, mounted.stdout, mounted.stderr) == (0, "", "")
        (drive.mountpoint / "a file").write_bytes(b"x" * 3000)
        begin = time.monotonic()

        status = drive.status()
        assert set(status) >= STATUS_FIELDS
        assert (status["mountpoint"], status["bucket"], status["prefix"]) == (str(drive.mountpoint), bucket, "")
        assert (status["state"], status["dirty_files"], status["dirty_bytes"]) == ("mounted", 1, 3000)
        assert (status["uploading"], status["uploaded_files_total"], status["errors"]) == (0, 0, [])
        assert (status["cache_bytes"], status["cache_limit_bytes"]) == (3000, 64 << 20)
        assert puts(drive) == PROBE_PUTS
        assert status["requests"]["ListObjectsV2"] > 0
        time.sleep(0.1)
        oldest = drive.status()["oldest_dirty_age_s"]
        assert 0.1 < oldest < time.monotonic() - begin + 1
        assert start_time(status["pid"]) is not None
        assert json.loads(drive.run("status", "--json").stdout)[0]["pid"] == status["pid"]
        shown = drive.run("status").stdout
        assert re.search(rf"{drive.mountpoint} +s3://{bucket}/ +mounted +1 \(2\.9 KiB\) .* of 64\.0 MiB +0", shown)

        drained = drive.run("drain", str(drive.mountpoint))
        assert (drained.returncode, drained.stdout) == (0, "")
        assert body_of(seaweed, bucket, "a file") == b"x" * 3000
        after = drive.status()
        assert (after["dirty_files"], after["dirty_bytes"], after["oldest_dirty_age_s"]) == (0, 0, 0)
        assert (after["uploaded_files_total"], after["uploaded_bytes_total"]) == (1, 3000)
        assert puts(drive) == PROBE_PUTS + 1
        assert re.search(r"mounted +0 \(0 B\)", drive.run("status", str(drive.mountpoint)).stdout)

        (drive.mountpoint / "another").write_bytes(b"y")
        unmounted = drive.unmount()
        assert (unmounted.returncode, unmounted.stdout) == (0, "")
        assert not is_mounted(drive.mountpoint)
        assert start_time(status["pid"]) is None
        assert keys_of(seaweed, bucket) == ["a file", "another"]
        assert drive.run("status").stdout == "nothing is mounted\n"
        assert seaweed.secret_key not in drive.log()


def test_mount_points_and_folders_with_awkward_names(seaweed: S3Server, tmp_path: Path) -> None:
    """Named in every command, also by another way to the same folder; a path too long for a socket is among them."""
    bucket = seaweed.make_bucket()
    with OwnProcesses(seaweed, bucket, tmp_path / ("long " * 24), RESTING) as drive:
        drive.mountpoint = drive.mountpoint.with_name("a, b\\c é 'd'")
        drive.mountpoint.mkdir()
        drive.cache_dir = drive.cache_dir.with_name("a, cache 'dir'")
        (tmp_path / "link").symlink_to(drive.mountpoint)
        drive.mount()
        (drive.mountpoint / "file").write_text("body")
        for way in (drive.mountpoint, tmp_path / "link", Path(os.path.relpath(drive.mountpoint, REPOSITORY))):
            status = json.loads(drive.run("status", "--json", str(way)).stdout)
            assert (status["mountpoint"], status["bucket"]) == (str(drive.mountpoint), bucket)
        assert "  mounted  1 (4 B)" in drive.run("status").stdout
        assert drive.run("drain", str(tmp_path / "link")).returncode == 0
        unmounted = drive.run("unmount", str(tmp_path / "link"))
        assert (unmounted.returncode, unmounted.stderr) == (0, "")
        assert not is_mounted(drive.mountpoint)
    assert body_of(seaweed, bucket, "file") == b"body"


def test_a_prefix(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    seaweed.client.put_object(Bucket=bucket, Key="outside", Body=b"")
    seaweed.client.put_object(Bucket=bucket, Key="lap top/home/seen", Body=b"inside")
    with OwnProcesses(seaweed, bucket, tmp_path, PROMPT, prefix="lap top/home") as drive:
        drive.mount()
        assert os.listdir(drive.mountpoint) == ["seen"]
        (drive.mountpoint / "dir").mkdir()
        (drive.mountpoint / "dir/file").write_text("body")
        assert drive.status()["prefix"] == "lap top/home/"
        assert drive.unmount().returncode == 0
    keys = {key for key in keys_of(seaweed, bucket) if not key.endswith("/")}
    assert keys == {"outside", "lap top/home/seen", "lap top/home/dir/file"}


@pytest.mark.parametrize("words", [["--read-only", "--allow-other"], ["-o", "ro,allow_other,_netdev,nofail"]])
def test_read_only_and_allow_other(seaweed: S3Server, tmp_path: Path, words: list[str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may always use allow_other")
    bucket = seaweed.make_bucket()
    seaweed.client.put_object(Bucket=bucket, Key="dir/file", Body=b"body")
    with OwnProcesses(seaweed, bucket, tmp_path) as drive:
        drive.mount(*words)
        assert {"ro", "allow_other"} <= set(mount_options_of(drive))
        file = drive.mountpoint / "dir/file"
        assert file.read_bytes() == b"body"
        changes: list[Callable[[], object]] = [
            lambda: file.write_text("x"), file.unlink, lambda: file.chmod(0o600), lambda: (file.parent / "new").touch(),
            (drive.mountpoint / "new").mkdir, lambda: file.rename(file.with_name("other")), lambda: os.utime(file),
        ]  # fmt: skip
        for change in changes:
            with pytest.raises(OSError, match=r"\[Errno 30\]"):
                change()
        assert drive.unmount().returncode == 0
    assert keys_of(seaweed, bucket) == ["dir/file"]


@pytest.mark.parametrize("allowed", [True, False])
def test_what_other_users_may(seaweed: S3Server, tmp_path: Path, allowed: bool) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    bucket = seaweed.make_bucket()
    seaweed.client.put_object(Bucket=bucket, Key="file", Body=b"body")
    with tempfile.TemporaryDirectory() as open_folder, OwnProcesses(seaweed, bucket, tmp_path) as drive:
        os.chmod(open_folder, 0o755)
        drive.mountpoint = Path(open_folder) / "mountpoint"
        drive.mountpoint.mkdir()
        drive.mount(*(["--allow-other"] if allowed else []))
        command = ["cat", str(drive.mountpoint / "file")]
        seen = subprocess.run(command, user=65534, group=65534, capture_output=True, timeout=60, check=False)
        assert (seen.returncode, seen.stdout) == ((0, b"body") if allowed else (1, b""))
        assert drive.unmount().returncode == 0


def test_credentials_from_the_aws_configuration(seaweed: S3Server, tmp_path: Path) -> None:
    """A profile of ~/.aws with keys, region and endpoint, and no AWS variable at all; the mount's own requests and
    the fast transfers both find it."""
    bucket = seaweed.make_bucket()
    nothing = dict.fromkeys(seaweed.environment(), "")
    with OwnProcesses(seaweed, bucket, tmp_path, environment={**nothing, "AWS_EC2_METADATA_DISABLED": "true"}) as drive:
        aws = Path(drive.environment["HOME"]) / ".aws"
        aws.mkdir()
        keys = f"aws_access_key_id = {seaweed.access_key}\naws_secret_access_key = {seaweed.secret_key}\n"
        (aws / "credentials").write_text(f"[backup]\n{keys}")
        (aws / "config").write_text(f"[profile backup]\nregion = eu-north-1\nendpoint_url = {seaweed.endpoint_url}\n")
        words = ["mount", drive.source, str(drive.mountpoint), f"--cache-dir={drive.cache_dir}", "--profile=backup"]
        mounted = drive.run(*words, "--addressing-style=path")
        assert (mounted.returncode, mounted.stderr) == (0, "")
        body = os.urandom(20 << 20)
        (drive.mountpoint / "large").write_bytes(body)
        assert drive.unmount().returncode == 0
        assert body_of(seaweed, bucket, "large") == body


def test_owner_and_permissions_of_foreign_objects(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    seaweed.client.put_object(Bucket=bucket, Key="dir/file", Body=b"body")
    with OwnProcesses(seaweed, bucket, tmp_path, "--uid=1234", "--gid=2345", "--umask=027") as drive:
        drive.mount()
        for path, mode in ((drive.mountpoint / "dir", 0o40750), (drive.mountpoint / "dir/file", 0o100640)):
            found = path.stat()
            assert (found.st_uid, found.st_gid, oct(found.st_mode)) == (1234, 2345, oct(mode))
        own = drive.mountpoint / "own"
        own.touch()
        assert own.stat().st_uid == os.geteuid()


def test_storage_class(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with OwnProcesses(seaweed, bucket, tmp_path, PROMPT) as drive:
        drive.mount("--storage-class=standard_ia")
        (drive.mountpoint / "small").write_bytes(b"x")
        (drive.mountpoint / "large").write_bytes(bytes(20 << 20))
        assert drive.unmount().returncode == 0
        drive.mount()
        (drive.mountpoint / "usual").write_bytes(b"x")
        assert drive.unmount().returncode == 0
    for key, storage_class in (("small", "STANDARD_IA"), ("large", "STANDARD_IA"), ("usual", None)):
        assert seaweed.client.head_object(Bucket=bucket, Key=key).get("StorageClass") == storage_class


def test_write_back_delay(seaweed: S3Server, tmp_path: Path) -> None:
    delay_s = 2.0
    bucket = seaweed.make_bucket()
    with OwnProcesses(seaweed, bucket, tmp_path) as drive:
        drive.mount(f"--write-back-delay={delay_s}")
        file = drive.mountpoint / "file"
        begin = time.monotonic()
        file.write_text("one")
        status = drive.status()
        assert keys_of(seaweed, bucket) == []
        assert time.monotonic() - begin < delay_s, "too slow a machine to tell"
        assert (status["dirty_files"], status["uploading"]) == (1, 0)
        wait_until(lambda: bool(keys_of(seaweed, bucket)))
        assert delay_s - 0.1 < time.monotonic() - begin < delay_s + 5
        wait_until(lambda: drive.status()["dirty_files"] == 0)


def test_changes_within_the_delay_are_uploaded_once(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with OwnProcesses(seaweed, bucket, tmp_path, RESTING) as drive:
        drive.mount()
        for text in ("one", "two", "three"):
            (drive.mountpoint / "file").write_text(text)
        (drive.mountpoint / "gone").write_text("never uploaded")
        (drive.mountpoint / "gone").unlink()
        drive.drain()
        assert puts(drive) == PROBE_PUTS + 1
        assert body_of(seaweed, bucket, "file") == b"three"
        assert keys_of(seaweed, bucket) == ["file"]


def test_metadata_ttl(seaweed: S3Server, tmp_path: Path) -> None:
    ttl_s = 2.0
    bucket = seaweed.make_bucket()
    seaweed.client.put_object(Bucket=bucket, Key="first", Body=b"1")
    with OwnProcesses(seaweed, bucket, tmp_path) as drive:
        drive.mount(f"--metadata-ttl={ttl_s}")
        before = time.monotonic()
        assert os.listdir(drive.mountpoint) == ["first"]
        listed = time.monotonic()
        seaweed.client.put_object(Bucket=bucket, Key="second", Body=b"22")
        seen = os.listdir(drive.mountpoint)
        assert time.monotonic() - before < ttl_s, "too slow a machine to tell"
        assert seen == ["first"]
        wait_until(lambda: len(os.listdir(drive.mountpoint)) == 2)
        assert time.monotonic() - listed < ttl_s + 5
        assert (drive.mountpoint / "second").read_bytes() == b"22"


def test_fsync_remote(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with OwnProcesses(seaweed, bucket, tmp_path, RESTING) as drive:
        drive.mount("--fsync=remote")
        with (drive.mountpoint / "file").open("wb") as file:
            for body in (b"one", b"one, two"):
                file.seek(0)
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
                assert body_of(seaweed, bucket, "file") == body
        (drive.mountpoint / "other").write_text("not asked for")
        assert drive.unmount("--no-drain").returncode == 0
        assert keys_of(seaweed, bucket) == ["file"]
        drive.mount("--fsync=local")
        with (drive.mountpoint / "third").open("wb") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
        assert "third" not in keys_of(seaweed, bucket)
        drive.expected_log.append("WARNING s3mount.mount: ended with")


def test_foreground(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with OwnProcesses(seaweed, bucket, tmp_path, RESTING) as drive:
        process = drive.start(*drive.mount_words("--foreground"))
        wait_until(lambda: is_mounted(drive.mountpoint))
        (drive.mountpoint / "file").write_text("body")
        assert drive.status()["pid"] == process.pid
        assert drive.unmount().returncode == 0
        said, log = process.communicate(timeout=20)
        assert (process.returncode, said) == (0, "")
        assert f"serves s3://{bucket}/ at {drive.mountpoint}" in log
        assert "Traceback" not in log
        assert drive.log() == ""
        assert body_of(seaweed, bucket, "file") == b"body"

        process = drive.start(*drive.mount_words("--foreground"))
        wait_until(lambda: is_mounted(drive.mountpoint))
        (drive.mountpoint / "owed").write_text("body")
        unmounted = drive.unmount("--no-drain")
        assert unmounted.returncode == 0
        assert "/owed" in unmounted.stderr
        assert process.wait(20) == 5
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()


def test_more_data_than_the_cache_holds(seaweed: S3Server, tmp_path: Path) -> None:
    limit_bytes = 8 << 20
    bodies = {f"file{number}": os.urandom(3 << 20) for number in range(6)}
    bucket = seaweed.make_bucket()
    with OwnProcesses(seaweed, bucket, tmp_path, PROMPT, "--cache-size=8MiB") as drive:
        # On a busy machine: of a file half written, uploaded and shed, the rest comes while another's bytes are owed.
        drive.expected_log.append("upload of 'file[0-9]' failed in the cache: the cache has no room")
        drive.mount()
        for name, body in bodies.items():
            (drive.mountpoint / name).write_bytes(body)
            assert drive.status()["cache_bytes"] <= limit_bytes
        for name, body in bodies.items():
            assert (drive.mountpoint / name).read_bytes() == body
            assert drive.status()["cache_bytes"] <= limit_bytes
        on_disk = sum(path.stat().st_blocks * 512 for path in drive.cache_dir.glob("*/cache/**/*") if path.is_file())
        # The disk gives whole blocks.
        assert limit_bytes // 2 < on_disk <= limit_bytes + len(bodies) * 4096
        assert drive.status()["requests"]["GetObject"] > 0
        assert drive.unmount().returncode == 0
    for name, body in bodies.items():
        assert body_of(seaweed, bucket, name) == body


def test_the_call_that_mount_8_makes(seaweed: S3Server, tmp_path: Path) -> None:
    """For a line of type fuse.s3mount in fstab, mount(8) runs FUSE's helper, which runs `s3mount` with no other path
    than the shell's own; here that is one folder."""
    if os.geteuid() != 0:
        pytest.skip("mount(8) is root's")
    bucket = seaweed.make_bucket()
    program = tmp_path / "bin" / "s3mount"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m s3mount "$@"\n')
    program.chmod(0o755)
    with OwnProcesses(seaweed, bucket, tmp_path) as drive:
        options = f"noatime,endpoint_url={seaweed.endpoint_url},cache-dir={drive.cache_dir},uid=1234"
        helper = ["/sbin/mount.fuse3", drive.source, str(drive.mountpoint), "-t", "fuse.s3mount", "-o", f"rw,{options}"]
        environment = {**drive.environment, "PATH": str(program.parent)}
        outcome = subprocess.run(helper, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")
        assert "noatime" in mount_options_of(drive)
        seaweed.client.put_object(Bucket=bucket, Key="foreign", Body=b"")
        assert (drive.mountpoint / "foreign").stat().st_uid == 1234
        assert drive.unmount().returncode == 0

        bare = drive.run(*drive.mount_words()[1:3], "-o", f"_netdev,nofail,{options}")
        assert (bare.returncode, bare.stdout, bare.stderr) == (0, "", "")
        assert drive.status()["state"] == "mounted"
        umount = subprocess.run(["umount", drive.mountpoint], capture_output=True, text=True, timeout=60, check=False)
        assert (umount.returncode, umount.stderr) == (0, "")
        drive.wait_for_end()


def test_inode_numbers_and_capacity_after_a_remount(seaweed: S3Server, tmp_path: Path) -> None:
    """The numbers are the index's; what `df` shows is the option's, less the files."""
    with OwnProcesses(seaweed, seaweed.make_bucket(), tmp_path, "--capacity=10GiB") as drive:
        drive.mount()
        (drive.mountpoint / "d").mkdir()
        (drive.mountpoint / "d/f").write_bytes(bytes(1 << 20))
        os.link(drive.mountpoint / "d/f", drive.mountpoint / "linked")
        paths = [drive.mountpoint / name for name in ("d", "d/f", "linked")]
        before = [path.stat().st_ino for path in paths]
        drive.unmount()
        drive.mount()
        assert [path.stat().st_ino for path in paths] == before
        assert before[1] == before[2]
        volume = os.statvfs(drive.mountpoint)
        assert volume.f_blocks * volume.f_frsize == 10 << 30
        assert 1 << 20 <= (volume.f_blocks - volume.f_bavail) * volume.f_frsize < 3 << 20
