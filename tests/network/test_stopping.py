"""The end of a mount whose S3 is unreachable: prompt, with exit code 5, and the rest is taken up by the next (P3)."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.watching import body_of, wait_until
from tests.network.conftest import Stopwatch
from tests.support.cli_mount import CliMount
from tests.support.fault_proxy import FaultProxy, Line
from tests.support.mount_process import is_mounted
from tests.support.s3_server import S3Server

PROMPT_S = 5.0
AWAY = (Line.SILENT, Line.CUT)
EXPECTED_LOG = ["cannot reach", "no answer", "failed, again in", "the index answers", "ended with [0-9]+ changes"]


def unmount_lazily(process: "subprocess.Popen[str]", drive: CliMount) -> None:
    subprocess.run(["umount", "-l", str(drive.mountpoint)], check=True, timeout=20)


def sent(number: int) -> Callable[["subprocess.Popen[str]", CliMount], None]:
    def send(process: "subprocess.Popen[str]", drive: CliMount) -> None:
        process.send_signal(number)

    return send


WAYS = {
    "SIGTERM": sent(signal.SIGTERM),
    "SIGINT": sent(signal.SIGINT),
    "SIGHUP": sent(signal.SIGHUP),
    "umount -l": unmount_lazily,
}


@pytest.mark.parametrize("line", AWAY)
@pytest.mark.parametrize("way", WAYS)
def test_told_twice_it_ends_promptly(
    seaweed: S3Server, proxy: FaultProxy, tmp_path: Path, line: Line, way: str
) -> None:
    """While sixteen uploads hang."""
    bucket = seaweed.make_bucket()
    options = ("--write-back-delay=0s", "--offline-timeout=30s")
    with CliMount(
        seaweed, bucket, tmp_path, *options, endpoint_url=proxy.endpoint_url, expected_log=EXPECTED_LOG
    ) as drive:
        process = drive.start(*drive.mount_words("--foreground"))
        wait_until(lambda: is_mounted(drive.mountpoint))
        assert not list(drive.mountpoint.iterdir())
        proxy.line = line
        for number in range(20):
            (drive.mountpoint / f"file{number}").write_text("body")
        time.sleep(1.5)
        WAYS[way](process, drive)
        wait_until(lambda: not is_mounted(drive.mountpoint), PROMPT_S)
        time.sleep(0.5)
        with Stopwatch() as watch:
            while process.poll() is None and watch_left(watch):
                process.send_signal(signal.SIGINT)
                time.sleep(0.25)
        log = process.communicate(timeout=60)[1]
        assert (process.returncode, watch.s < PROMPT_S) == (5, True), (watch.s, log)
        assert "Traceback" not in log
        assert "stumbled" not in log
        proxy.heal()
        drive.mount()
        for number in range(20):
            assert (drive.mountpoint / f"file{number}").read_text() == "body"
        drive.drain()
        assert {body_of(seaweed, bucket, f"file{number}") for number in range(20)} == {b"body"}


def watch_left(watch: Stopwatch) -> bool:
    return time.monotonic() - watch._began < PROMPT_S
