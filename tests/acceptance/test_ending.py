"""How a mount ends: unmount, drain, plain umount, signals, with everything in the bucket or with what is left told and
kept (P3, P4)."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from s3mount.host import END_SIGNALS
from tests.acceptance.watching import body_of, keys_of, wait_until
from tests.support.cli_mount import CliMount
from tests.support.fault_proxy import FaultProxy, Line
from tests.support.mount_process import is_mounted
from tests.support.s3_server import S3Server

PROMPT = "--write-back-delay=50ms"
RESTING = "--write-back-delay=1h"


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
    with CliMount(seaweed, bucket, tmp_path, RESTING, expected_log=["WARNING s3mount.mount: ended with 3"]) as drive:
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


def test_timeout(seaweed: S3Server, network: FaultProxy, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path, RESTING, endpoint_url=network.endpoint_url) as drive:
        drive.mount()
        assert os.listdir(drive.mountpoint) == []
        network.line = Line.SILENT
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
        network.line = Line.PASS
        assert drive.unmount("--timeout=30").returncode == 0
        assert body_of(seaweed, bucket, "some file") == b"body"


def end_by_fusermount(drive: CliMount) -> None:
    subprocess.run(["fusermount3", "-u", drive.mountpoint], check=True, timeout=60)


def end_by_terminate(drive: CliMount) -> None:
    os.kill(drive.pid, signal.SIGTERM)


def end_by_ctrl_c(drive: CliMount) -> None:
    os.kill(drive.pid, signal.SIGINT)


def has_a_connection(pid: int) -> bool:
    """Whether the command has come so far as to talk to the mount; on a busy machine that takes a while."""
    with contextlib.suppress(FileNotFoundError):
        return any(os.readlink(link).startswith("socket:") for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


@pytest.mark.parametrize(
    ("end", "waiting"), [(end_by_fusermount, "unmount"), (end_by_terminate, "drain"), (end_by_ctrl_c, "unmount")]
)
def test_it_goes_on_draining_once_detached(
    seaweed: S3Server, network: FaultProxy, tmp_path: Path, end: Callable[[CliMount], None], waiting: str
) -> None:
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path, RESTING, endpoint_url=network.endpoint_url) as drive:
        process = drive.start(*drive.mount_words("--foreground"))
        wait_until(lambda: is_mounted(drive.mountpoint))
        for number in range(5):
            (drive.mountpoint / f"file{number}").write_text("body")
        network.line = Line.SILENT
        end(drive)
        wait_until(lambda: not is_mounted(drive.mountpoint))
        wait_until(lambda: drive.status()["state"] == "draining")
        status = drive.status()
        assert (status["state"], status["dirty_files"], status["pid"]) == ("draining", 5, process.pid)
        assert re.search(r" draining +5 \(20 B\)", drive.run("status").stdout)
        drive.mountpoint.rename(tmp_path / "elsewhere")  # nothing of it is needed any more
        drive.mountpoint.mkdir()

        waiter = drive.start(waiting, str(drive.mountpoint))
        wait_until(lambda: has_a_connection(waiter.pid))
        time.sleep(0.2)
        assert waiter.poll() is None
        network.line = Line.PASS
        said = waiter.communicate(timeout=30)
        assert waiter.returncode == 0, said
        log = process.communicate(timeout=30)[1]
        assert process.returncode == 0, log
        assert keys_of(seaweed, bucket) == [f"file{number}" for number in range(5)]


def test_a_timeout_while_it_drains_detached(seaweed: S3Server, network: FaultProxy, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path, RESTING, endpoint_url=network.endpoint_url) as drive:
        drive.mount()
        (drive.mountpoint / "file").write_text("body")
        network.line = Line.SILENT
        end_by_fusermount(drive)
        wait_until(lambda: drive.status()["state"] == "draining")
        for command in ("drain", "unmount"):
            begin = time.monotonic()
            outcome = drive.run(command, str(drive.mountpoint), "--timeout=1")
            assert 1 <= time.monotonic() - begin < 5
            assert outcome.returncode == 5
            assert "\n  /file: not uploaded yet\n" in f"\n{outcome.stderr}"
            assert "goes on uploading" in outcome.stderr.splitlines()[-1]
        network.line = Line.PASS
        drive.wait_for_end()
        assert body_of(seaweed, bucket, "file") == b"body"


def blocked_signals(task: Path) -> set[int]:
    (line,) = [line for line in (task / "status").read_text().splitlines() if line.startswith("SigBlk:")]
    mask = int(line.split()[1], 16)
    return {number for number in END_SIGNALS if mask >> (number - 1) & 1}


def test_a_signal_finds_the_thread_that_waits_for_it(seaweed: S3Server, tmp_path: Path) -> None:
    """Of a process told to end every thread may take the signal that does not block it. One in twenty did, on a busy
    machine, and the mount stayed until somebody used it."""
    with CliMount(seaweed, seaweed.make_bucket(), tmp_path, PROMPT) as drive:
        drive.mount()
        (drive.mountpoint / "file").write_text("body")
        drive.drain()
        pid = drive.pid
        blocked = {}
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(
                FileNotFoundError, ProcessLookupError
            ):  # libfuse ends threads that have nothing to do
                blocked[int(task.name)] = blocked_signals(task)
        assert blocked.pop(pid) == set()
        assert blocked
        assert all(numbers == set(END_SIGNALS) for numbers in blocked.values()), blocked


@pytest.mark.parametrize("is_asked_by_signal", [True, False])
def test_told_to_end_at_once_it_leaves_the_rest_to_the_next_mount(
    seaweed: S3Server, network: FaultProxy, tmp_path: Path, is_asked_by_signal: bool
) -> None:
    """By a second signal, or by unmount --no-drain, while it drains after the first."""
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path, RESTING, endpoint_url=network.endpoint_url) as drive:
        process = drive.start(*drive.mount_words("--foreground"))
        wait_until(lambda: is_mounted(drive.mountpoint))
        (drive.mountpoint / "file").write_text("body")
        network.line = Line.CUT
        process.terminate()
        wait_until(lambda: drive.status()["state"] == "draining")
        if is_asked_by_signal:
            process.terminate()
        else:
            unmounted = drive.unmount("--no-drain")
            assert unmounted.returncode == 0
            assert "  /file: not uploaded yet\n" in unmounted.stderr
        log = process.communicate(timeout=20)[1]
        assert process.returncode == 5, log
        assert "Traceback" not in log
        network.line = Line.PASS
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
    expected_log = ["AccessDenied", "WARNING s3mount.mount: ended with 1"]
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
