"""`--bandwidth-limit`: the bytes of objects that go through a real mount in a second, and what makes no sense."""

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server

RATE = 1 << 20
FILES = 16
FILE_BYTES = 256 << 10
TOTAL = FILES * FILE_BYTES
# The last request, and what was saved before the first, wait for nobody.
SHORTEST_S = 0.75 * TOTAL / RATE
# What this machine does on top of waiting is its own business; a limit that is much too low is ours.
LONGEST_S = 10 * TOTAL / RATE


def test_measured_rates_stay_within_the_limits(seaweed: S3Server, tmp_path: Path) -> None:
    limit = f"--bandwidth-limit={RATE >> 10}K:{2 * RATE >> 10}K"
    with CliMount(seaweed, seaweed.make_bucket(), tmp_path, limit, "--write-back-delay=1h") as mount:
        mount.mount()
        assert mount.status()["bandwidth_limit"] == {"up": RATE, "down": 2 * RATE}
        bodies = {f"f{number}": os.urandom(FILE_BYTES) for number in range(FILES)}
        for name, body in bodies.items():
            (mount.mountpoint / name).write_bytes(body)
        started = time.monotonic()
        mount.drain()
        assert SHORTEST_S <= time.monotonic() - started <= LONGEST_S
        mount.unmount()
        shutil.rmtree(mount.cache_dir)
        mount.mount()
        started = time.monotonic()
        assert {path.name: path.read_bytes() for path in mount.mountpoint.iterdir()} == bodies
        assert SHORTEST_S / 2 <= time.monotonic() - started <= LONGEST_S
        mount.unmount()


@pytest.mark.parametrize("text", ["fast", "10M:1:2", "1M@25:00,off"])
def test_a_limit_that_makes_no_sense_is_a_usage_error(seaweed: S3Server, tmp_path: Path, text: str) -> None:
    with CliMount(seaweed, "never-asked-for", tmp_path) as mount:
        outcome = mount.run(*mount.mount_words(f"--bandwidth-limit={text}"))
        assert outcome.returncode == 2
        assert "--bandwidth-limit: " in outcome.stderr
        assert outcome.stderr.count("\n") == 1
