"""scripts/bench does all of its work on a real mount; what it measures is not judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mount_process import REPOSITORY

ROWS = {
    "small copy returns", "small copy in bucket", "find, index kept", "find, index empty", "restore to local disk",
    "rsync in bucket", "rsync again", "large copy returns", "large copy in bucket", "large read cold",
    "large read again", "edit 4 KiB in bucket", "move returns", "move in bucket", "remove returns", "remove in bucket",
}  # fmt: skip


@pytest.mark.timeout(180)
def test_quick(tmp_path: Path) -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "benchmark", "--quick", f"--folder={tmp_path}"], cwd=REPOSITORY, capture_output=True,
        text=True, timeout=170, check=False, env={**os.environ, "PYTHONPATH": f"{REPOSITORY / 'scripts'}:{REPOSITORY}"},
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    (line,) = outcome.stdout.splitlines()
    found = json.loads(line)
    assert found["failures"] == {}
    assert set(found["seconds"]) == ROWS
    assert found["numbers"]["rsync again lists"]["s3mount"] == 0
    assert found["requests"]["small"]["s3mount"]["PUT"] >= 300
    assert not any(tmp_path.iterdir()), "the benchmark left something behind"
