"""Commands that only ask a mount something start without what a mount needs: scripts run them all day."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

# What S3, the index and the drive need, and what only some output needs.
HEAVY = re.compile(
    r"(boto3|botocore|awscrt|s3transfer|urllib3|sqlite3|mfusepy|cachetools|rich|logging|ctypes|hashlib"
    r"|s3mount\.(config|model|metadata|store|index|cache|remote|writeback|vfs|bindings|check|demo|selftest|mount))(\.|$)"
)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        *((["--version"], 0), (["status"], 0), (["status", "--json"], 0)),
        *(([word, "/nowhere"], 4) for word in ("status", "unmount", "drain", "refresh")),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="a place of Windows is understood by the binding")
def test_a_light_command_loads_nothing_heavy(words: list[str], code: int, tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "s3mount", *words], env=environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == code, ran.stderr
    loaded = set(re.findall(r"^import time: .*\| +(\S+)$", ran.stderr, re.MULTILINE))
    assert "s3mount.cli.group" in loaded
    assert not sorted(filter(HEAVY.match, loaded))


def test_the_person_s_end_of_a_mount_loads_nothing_of_s3(tmp_path: Path) -> None:
    code = "import sys, s3mount.cli.mount; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"boto3", "botocore", "awscrt", "sqlite3", "mfusepy"} & set(loaded.stdout.split())
