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
        [sys.executable, "-m", "benchmark", "--quick", "--minutes=2", f"--folder={tmp_path}"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=170, check=False,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY / 'scripts'}:{REPOSITORY}"},
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    (line,) = outcome.stdout.splitlines()
    found = json.loads(line)
    assert found["failures"] == {}
    assert set(found["seconds"]) == ROWS
    assert found["numbers"]["rsync again lists"]["s3mount"] == 0
    assert found["requests"]["small"]["s3mount"]["PUT"] >= 100
    assert not any(tmp_path.iterdir()), "the benchmark left something behind"


BUSY = """
def counting():
    while True:
        sum(range(1000))
print("begun", flush=True)
counting()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="others may not be allowed to trace")
def test_a_flame_graph(tmp_path: Path) -> None:
    """What --profiles draws of each step."""
    file = tmp_path / "step.svg"
    draw = "import sys, time; from pathlib import Path; from benchmark.profiles import flame_graph\n"
    draw += "with flame_graph(int(sys.argv[1]), Path(sys.argv[2])): time.sleep(0.5)"
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as busy:
        try:
            assert busy.stdout is not None
            assert busy.stdout.readline()
            subprocess.run(
                [sys.executable, "-c", draw, str(busy.pid), str(file)],
                env={**os.environ, "PYTHONPATH": f"{REPOSITORY / 'scripts'}:{REPOSITORY}"}, timeout=60, check=True,
            )  # fmt: skip
        finally:
            busy.kill()
    assert b"counting" in file.read_bytes()


@pytest.mark.timeout(180)
def test_scale(tmp_path: Path) -> None:
    """What it measures of a small bucket; and a LIST for a thousand keys, none within the time to live."""
    report = tmp_path / "report.json"
    outcome = subprocess.run(
        [sys.executable, "-m", "benchmark", "--scale", "--counts=1100", f"--folder={tmp_path}", f"--json={report}"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=170, check=False,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY / 'scripts'}:{REPOSITORY}"},
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    found = json.loads(report.read_text())
    assert set(found["objects"]) == {"1100 objects, one directory", "1100 objects, 1000 a directory"}
    for figures in found["objects"].values():
        for find in ("first", "remount"):
            assert figures[f"{find} ListObjectsV2"] <= 3 + 4  # the pages and the root; how far a walk is ahead
        assert figures["second ListObjectsV2"] == figures["fresh ListObjectsV2"] == 0
        assert figures["attributes HeadObject"] <= 1100 + 3
        assert figures["index bytes an object"] < 500
    assert found["changes"]["move in bucket CopyObject"] == 1100
    assert found["changes"]["remove in bucket CPU s"] >= 0
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.timeout(180)
def test_many(tmp_path: Path) -> None:
    """What it measures of a small tree; and a COPY a file moved, a thousand deletes a request, no HEAD for either."""
    report = tmp_path / "report.json"
    outcome = subprocess.run(
        [sys.executable, "-m", "benchmark", "--many=300", f"--folder={tmp_path}", f"--json={report}"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=170, check=False,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY / 'scripts'}:{REPOSITORY}"},
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    (steps,) = json.loads(report.read_text()).values()
    assert list(steps) == ["find", "mv", "mv in bucket", "rm -r", "rm -r in bucket"]
    assert steps["find"]["HeadObject"] <= 300 + 4
    assert steps["mv in bucket"]["CopyObject"] == 300
    removed = [step.get(request, 0) for step in list(steps.values())[3:] for request in ("HeadObject", "DeleteObject")]
    assert sum(removed) <= 3, "of directories"
    assert all(step["CPU s"] >= 0 and step["peak MiB"] > 0 for step in steps.values())
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
