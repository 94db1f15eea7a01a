"""The tests that scripts/test-windows runs load where what POSIX alone has is missing: under Wine they run by hand."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What Python has of them on Windows: https://docs.python.org/3/library/signal.html
COLLECT = """
import os, signal, sys
import s3mount.host  # which takes the half that goes with this system
for name in {name for name in vars(signal) if name.startswith("SIG") and "_" not in name}:
    if name not in ("SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM"):
        delattr(signal, name)
import pytest
del os.O_DIRECTORY, os.O_NOFOLLOW
sys.exit(pytest.main(["--collect-only", "-qq", "--assert=plain", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def test_they_load_without_what_posix_alone_has() -> None:
    script = (ROOT / "scripts" / "test-windows").read_text(encoding="utf-8")
    paths = [path for path in re.findall(r"\btests/[\w/.]+", script) if not path.startswith("tests/wine")]
    assert "tests/winfsp" in paths
    assert all((ROOT / path).exists() for path in paths)
    ran = subprocess.run(
        [sys.executable, "-c", COLLECT, *paths], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
