"""Every command and option of docs/commands.md on a real mount over a real server."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from s3mount.control.processes import start_time
from tests.acceptance.relay import Flow, Relay
from tests.support.cli_mount import CliMount
from tests.support.mount_process import is_mounted
from tests.support.s3_server import S3Server

PROMPT = "--write-back-delay=50ms"
RESTING = "--write-back-delay=1h"
POLL_S = 0.05
STATUS_FIELDS = {
    "mountpoint", "bucket", "prefix", "pid", "state", "dirty_files", "dirty_bytes", "uploading", "oldest_dirty_age_s",
    "uploaded_files_total", "uploaded_bytes_total", "requests", "cache_bytes", "cache_limit_bytes", "conflicts",
    "errors",
}  # fmt: skip
# What a mount logs while the network is cut, and when it ends with something owed.
OUTAGE_LOG = ["WARNING s3mount.writeback", "ERROR s3mount.mount: ended with"]


def keys_of(server: S3Server, bucket: str) -> list[str]:
    return sorted(found["Key"] for found in server.client.list_objects_v2(Bucket=bucket).get("Contents", []))


def body_of(server: S3Server, bucket: str, key: str) -> bytes:
    return server.client.get_object(Bucket=bucket, Key=key)["Body"].read()


def wait_until(holds: Callable[[], bool], deadline_s: float = 15.0) -> None:
    deadline = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(POLL_S)


def states_of(drive: CliMount) -> list[str]:
    return [status["state"] for status in json.loads(drive.run("status", "--json").stdout)]


def mount_options_of(drive: CliMount) -> list[str]:
    lines = [line.split(" ") for line in Path("/proc/self/mounts").read_text().splitlines()]
    return next(fields[3].split(",") for fields in lines if fields[1] == str(drive.mountpoint))


def test_from_mount_to_unmount(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path, RESTING, "--cache-size=64MiB", "--log-level=debug") as drive:
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
        assert "PutObject" not in status["requests"]
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
        assert after["requests"]["PutObject"] == 1
        assert re.search(r"mounted +0 \(0 B\)", drive.run("status", str(drive.mountpoint)).stdout)

        (drive.mountpoint / "another").write_bytes(b"y")
        unmounted = drive.unmount()
        assert (unmounted.returncode, unmounted.stdout) == (0, "")
        assert not is_mounted(drive.mountpoint)
        assert start_time(status["pid"]) is None
        assert keys_of(seaweed, bucket) == ["a file", "another"]
        assert drive.run("status").stdout == "nothing is mounted\n"
        assert seaweed.secret_key not in drive.log()


def test_a_prefix(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    seaweed.client.put_object(Bucket=bucket, Key="outside", Body=b"")
    seaweed.client.put_object(Bucket=bucket, Key="lap top/home/seen", Body=b"inside")
    with CliMount(seaweed, bucket, tmp_path, PROMPT, prefix="lap top/home") as drive:
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
    with CliMount(seaweed, bucket, tmp_path) as drive:
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


def test_owner_and_permissions_of_foreign_objects(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    seaweed.client.put_object(Bucket=bucket, Key="dir/file", Body=b"body")
    with CliMount(seaweed, bucket, tmp_path, "--uid=1234", "--gid=2345", "--umask=027") as drive:
        drive.mount()
        for path, mode in ((drive.mountpoint / "dir", 0o40750), (drive.mountpoint / "dir/file", 0o100640)):
            found = path.stat()
            assert (found.st_uid, found.st_gid, oct(found.st_mode)) == (1234, 2345, oct(mode))
        own = drive.mountpoint / "own"
        own.touch()
        assert own.stat().st_uid == os.geteuid()


def test_storage_class(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path, PROMPT) as drive:
        drive.mount("--storage-class=standard_ia")
        (drive.mountpoint / "small").write_bytes(b"x")
        (drive.mountpoint / "large").write_bytes(bytes(20 << 20))
        assert drive.unmount().returncode == 0
        drive.mount()
        (drive.mountpoint / "usual").write_bytes(b"x")
        (drive.mountpoint / "small").rename(drive.mountpoint / "moved")
        assert drive.unmount().returncode == 0
    for key, storage_class in (("large", "STANDARD_IA"), ("usual", None)):
        assert seaweed.client.head_object(Bucket=bucket, Key=key).get("StorageClass") == storage_class


def test_write_back_delay(seaweed: S3Server, tmp_path: Path) -> None:
    delay_s = 2.0
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path) as drive:
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
    with CliMount(seaweed, bucket, tmp_path, RESTING) as drive:
        drive.mount()
        for text in ("one", "two", "three"):
            (drive.mountpoint / "file").write_text(text)
        (drive.mountpoint / "gone").write_text("never uploaded")
        (drive.mountpoint / "gone").unlink()
        drive.drain()
        assert drive.status()["requests"]["PutObject"] == 1
        assert body_of(seaweed, bucket, "file") == b"three"
        assert keys_of(seaweed, bucket) == ["file"]


def test_metadata_ttl(seaweed: S3Server, tmp_path: Path) -> None:
    ttl_s = 2.0
    bucket = seaweed.make_bucket()
    seaweed.client.put_object(Bucket=bucket, Key="first", Body=b"1")
    with CliMount(seaweed, bucket, tmp_path) as drive:
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
    with CliMount(seaweed, bucket, tmp_path, RESTING) as drive:
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
        drive.expected_log.append("ERROR s3mount.mount: ended with")


def test_foreground(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path, RESTING) as drive:
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
    with CliMount(seaweed, bucket, tmp_path, PROMPT, "--cache-size=8MiB") as drive:
        drive.mount()
        for name, body in bodies.items():
            (drive.mountpoint / name).write_bytes(body)
            assert drive.status()["cache_bytes"] <= limit_bytes
        for name, body in bodies.items():
            assert (drive.mountpoint / name).read_bytes() == body
            assert drive.status()["cache_bytes"] <= limit_bytes
        on_disk = sum(path.stat().st_blocks * 512 for path in drive.cache_dir.glob("*/cache/**/*") if path.is_file())
        assert limit_bytes // 2 < on_disk <= limit_bytes
        assert drive.status()["requests"]["GetObject"] > 0
        assert drive.unmount().returncode == 0
    for name, body in bodies.items():
        assert body_of(seaweed, bucket, name) == body


def test_the_call_that_mount_8_makes(seaweed: S3Server, tmp_path: Path) -> None:
    """As for a line of type fuse.s3mount in fstab, with s3mount on the path."""
    if os.geteuid() != 0:
        pytest.skip("mount(8) is root's")
    bucket = seaweed.make_bucket()
    program = tmp_path / "bin" / "s3mount"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m s3mount "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    with CliMount(seaweed, bucket, tmp_path, environment={"PATH": path}) as drive:
        options = f"_netdev,nofail,noatime,endpoint_url={seaweed.endpoint_url},cache-dir={drive.cache_dir},uid=1234"
        command = ["mount", "-t", "fuse.s3mount", f"s3://{bucket}", str(drive.mountpoint), "-o", options]
        outcome = subprocess.run(
            command, env=drive.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")
        assert "noatime" in mount_options_of(drive)
        seaweed.client.put_object(Bucket=bucket, Key="foreign", Body=b"")
        assert (drive.mountpoint / "foreign").stat().st_uid == 1234
        assert drive.unmount().returncode == 0

        bare = drive.run(*drive.mount_words()[1:3], "-o", f"rw,{options}")
        assert (bare.returncode, bare.stdout, bare.stderr) == (0, "", "")
        assert drive.status()["state"] == "mounted"
        umount = subprocess.run(["umount", drive.mountpoint], capture_output=True, text=True, timeout=60, check=False)
        assert (umount.returncode, umount.stderr) == (0, "")
        drive.wait_for_end()


def test_unmount_of_a_mount_in_use(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path, RESTING) as drive:
        drive.mount()
        (drive.mountpoint / "file").write_text("body")
        user = subprocess.Popen(["sleep", "60"], cwd=drive.mountpoint)
        try:
            for options in ([], ["--no-drain"]):
                refused = drive.unmount(*options)
                assert refused.returncode == 4
                assert f"s3mount: {drive.mountpoint} is in use by sleep ({user.pid})" in refused.stderr.splitlines()[-1]
                assert drive.status()["state"] == "mounted"
            (drive.mountpoint / "file").write_text("goes on")
        finally:
            user.kill()
            user.wait()
        # What --no-drain asked for has not stayed behind.
        subprocess.run(["fusermount3", "-u", drive.mountpoint], check=True, timeout=60)
        drive.wait_for_end()
        assert body_of(seaweed, bucket, "file") == b"goes on"


def test_no_drain_leaves_the_work_to_the_next_mount(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    seaweed.client.put_object(Bucket=bucket, Key="old", Body=b"old")
    with CliMount(seaweed, bucket, tmp_path, RESTING, expected_log=["ERROR s3mount.mount: ended with 3"]) as drive:
        drive.mount()
        (drive.mountpoint / "file").write_text("body")
        (drive.mountpoint / "old").unlink()
        (drive.mountpoint / "dir").mkdir()
        unmounted = drive.unmount("--no-drain")
        assert (unmounted.returncode, unmounted.stdout) == (0, "")
        assert "  /file: not uploaded yet\n" in unmounted.stderr
        assert "  /old: not deleted yet\n" in unmounted.stderr
        assert "the next mount of the same bucket takes up whatever is owed" in unmounted.stderr
        assert keys_of(seaweed, bucket) == ["old"]
        drive.mount(PROMPT)
        wait_until(lambda: keys_of(seaweed, bucket) == ["dir/", "file"])
        assert body_of(seaweed, bucket, "file") == b"body"
        assert drive.unmount().stderr == ""


def test_timeout(seaweed: S3Server, relay: Relay, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path, RESTING, endpoint_url=relay.endpoint_url) as drive:
        drive.mount()
        assert os.listdir(drive.mountpoint) == []
        relay.flow = Flow.HOLD
        (drive.mountpoint / "some file").write_text("body")
        for command in ("drain", "unmount"):
            begin = time.monotonic()
            outcome = drive.run(command, str(drive.mountpoint), "--timeout=1")
            assert 1 <= time.monotonic() - begin < 5
            assert (outcome.returncode, outcome.stdout) == (5, "")
            assert "\n  /some file: " in f"\n{outcome.stderr}"
            last = outcome.stderr.splitlines()[-1]
            assert last.startswith("s3mount: 1 file")
            assert str(drive.mountpoint) in last
            assert drive.status()["state"] == "mounted"
        assert (drive.mountpoint / "some file").read_text() == "body"
        relay.flow = Flow.PASS
        assert drive.unmount("--timeout=30").returncode == 0
        assert body_of(seaweed, bucket, "some file") == b"body"


def end_by_fusermount(drive: CliMount) -> None:
    subprocess.run(["fusermount3", "-u", drive.mountpoint], check=True, timeout=60)


def end_by_signal(drive: CliMount) -> None:
    os.kill(drive.pid, signal.SIGTERM)


@pytest.mark.parametrize("end", [end_by_fusermount, end_by_signal])
@pytest.mark.parametrize("waiting", ["drain", "unmount"])
def test_it_goes_on_draining_once_detached(
    seaweed: S3Server, relay: Relay, tmp_path: Path, end: Callable[[CliMount], None], waiting: str
) -> None:
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path, RESTING, endpoint_url=relay.endpoint_url) as drive:
        process = drive.start(*drive.mount_words("--foreground"))
        wait_until(lambda: is_mounted(drive.mountpoint))
        for number in range(5):
            (drive.mountpoint / f"file{number}").write_text("body")
        relay.flow = Flow.HOLD
        end(drive)
        wait_until(lambda: not is_mounted(drive.mountpoint))
        wait_until(lambda: states_of(drive) == ["draining"])
        status = drive.status()
        assert (status["state"], status["dirty_files"], status["pid"]) == ("draining", 5, process.pid)
        assert re.search(r" draining +5 \(20 B\)", drive.run("status").stdout)
        drive.mountpoint.rename(tmp_path / "elsewhere")  # nothing of it is needed any more
        drive.mountpoint.mkdir()

        waiter = drive.start(waiting, str(drive.mountpoint))
        time.sleep(0.2)
        assert waiter.poll() is None
        relay.flow = Flow.PASS
        said = waiter.communicate(timeout=30)
        assert waiter.returncode == 0, said
        log = process.communicate(timeout=30)[1]
        assert process.returncode == 0, log
        assert keys_of(seaweed, bucket) == [f"file{number}" for number in range(5)]


def test_a_second_signal_leaves_the_rest_to_the_next_mount(seaweed: S3Server, relay: Relay, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path, RESTING, endpoint_url=relay.endpoint_url) as drive:
        process = drive.start(*drive.mount_words("--foreground"))
        wait_until(lambda: is_mounted(drive.mountpoint))
        (drive.mountpoint / "file").write_text("body")
        relay.flow = Flow.CUT
        process.terminate()
        wait_until(lambda: states_of(drive) == ["draining"])
        process.terminate()
        log = process.communicate(timeout=20)[1]
        assert process.returncode == 5, log
        assert "Traceback" not in log
        relay.flow = Flow.PASS
        assert keys_of(seaweed, bucket) == []
        drive.mount(PROMPT)
        assert (drive.mountpoint / "file").read_text() == "body"
        drive.drain()
        assert body_of(seaweed, bucket, "file") == b"body"


def test_changes_that_s3_refuses(seaweed: S3Server, tmp_path: Path) -> None:
    """Parked with path, cause and since when; nothing of them is lost, and they go up once S3 takes them (P4)."""
    bucket = seaweed.make_bucket()
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    expected_log = ["AccessDenied", "ERROR s3mount.mount: ended with 1"]
    with CliMount(seaweed, bucket, tmp_path, PROMPT, expected_log=expected_log) as drive:
        drive.mount()
        seaweed.client.put_bucket_policy(Bucket=bucket, Policy=policy)
        begin = time.time()
        (drive.mountpoint / "refused").write_text("body")
        wait_until(lambda: bool(drive.status()["errors"]))
        (error,) = drive.status()["errors"]
        assert set(error) == {"path", "cause", "since"}
        assert error["path"] == "/refused"
        assert "AccessDenied" in error["cause"]
        assert begin - 1 < error["since"] < time.time() + 1
        shown = drive.run("status").stdout
        assert "error: /refused: access denied to bucket" in shown

        with (drive.mountpoint / "refused").open("r+") as file:
            file.write("BODY")
            file.flush()
            with pytest.raises(OSError, match=r"\[Errno 5\]"):
                os.fsync(file.fileno())
            with pytest.raises(OSError, match=r"\[Errno 5\]"):
                os.close(os.dup(file.fileno()))
            end_quietly(file.fileno())
        assert (drive.mountpoint / "refused").read_text() == "BODY"

        for command in ("drain", "unmount"):
            outcome = drive.run(command, str(drive.mountpoint))
            assert outcome.returncode == 5
            assert "\n  /refused: access denied to bucket" in f"\n{outcome.stderr}"
            assert outcome.stderr.splitlines()[-1].startswith("s3mount: 1 file")
        unmounted = drive.unmount("--no-drain")
        assert unmounted.returncode == 0
        assert "  /refused: " in unmounted.stderr
        assert "AccessDenied" in unmounted.stderr

        drive.mount()
        assert (drive.mountpoint / "refused").read_text() == "BODY"
        seaweed.client.delete_bucket_policy(Bucket=bucket)
        drive.drain()
        assert drive.status()["errors"] == []
        assert body_of(seaweed, bucket, "refused") == b"BODY"


def test_status_of_several_mounts_and_of_a_dead_one(seaweed: S3Server, tmp_path: Path) -> None:
    first_bucket, second_bucket = seaweed.make_bucket(), seaweed.make_bucket()
    with CliMount(seaweed, first_bucket, tmp_path) as first, CliMount(seaweed, second_bucket, tmp_path / "2") as second:
        second.environment["XDG_STATE_HOME"] = first.environment["XDG_STATE_HOME"]
        first.mount()
        second.mount()
        first.kill()
        found = json.loads(first.run("status", "--json").stdout)
        assert [(status["bucket"], status["state"]) for status in found] == [
            (first_bucket, "dead"), (second_bucket, "mounted"),
        ]  # fmt: skip
        shown = first.run("status")
        assert f"{first.mountpoint}: the process is gone: run s3mount unmount {first.mountpoint}" in shown.stdout
        cleared = first.unmount()
        assert cleared.returncode == 0
        assert "its process was gone already" in cleared.stderr
        assert [status["bucket"] for status in json.loads(first.run("status", "--json").stdout)] == [second_bucket]
        assert second.unmount().returncode == 0


def end_quietly(fd: int) -> None:
    """Make the close that follows a refused write harmless: it reports the same error once more."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(null, fd)
    finally:
        os.close(null)
