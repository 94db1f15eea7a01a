"""A command's process ends at once, with what it has printed out and with the code it said."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("code", "expected", "printed"),
    [
        ("print('x', end=''); end_process(5)", 5, "x"),
        ("threading.Thread(target=lambda: time.sleep(60)).start(); end_process(0)", 0, ""),
        ("sys.stdout = open('/dev/full', 'w'); print('x'); end_process(0)", 1, ""),
        ("sys.stdout = open('/dev/full', 'w'); print('x'); end_process(4)", 4, ""),
        ("sys.stdout = None; end_process(0)", 0, ""),
    ],
    ids=["printed", "threads", "full", "full after a failure", "no stdout"],
)
def test_the_end(code: str, expected: int, printed: str) -> None:
    words = [sys.executable, "-c", f"import sys, threading, time\nfrom s3mount.ending import end_process\n{code}"]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (expected, printed, "")


def test_a_command_ends_so() -> None:
    code = "import atexit, sys; atexit.register(print, 'the usual end'); sys.argv = ['s3mount', '--version']; "
    words = [sys.executable, "-c", f"{code}from s3mount.cli import main; main()"]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout.startswith("s3mount ")
    assert "the usual end" not in ran.stdout
