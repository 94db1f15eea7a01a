"""A start in the background as a copy of the process: each test is a parent in an interpreter of its own, since pytest
may have threads."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there the child is a copy")

# `serve` is the copy's, `said` what the parent prints. A second interpreter would find no such command.
_PARENT = """
import json, os, signal, sys, threading, time
from pathlib import Path
from s3mount import daemon, forked
from s3mount.daemon import StartFailed, start_detached

log = Path(sys.argv[1])
said = {"unwound": 0}
def serve(ready):
BODY
def start(**how):
    return start_detached(["no-such-command"], log_path=log, serve=serve, **how)
try:
    try:
PARENT
    finally:
        said["unwound"] += 1
except StartFailed as error:
    said["failed"], said["code"] = str(error), error.exit_code
print(json.dumps(said))
"""
_START = "child = start(); said['pid'] = child.pid"


def indented(text: str, depth: int) -> str:
    return "\n".join(" " * depth + line for line in text.splitlines())


def run(tmp_path: Path, body: str, parent: str = _START, *, pass_fds: tuple[int, ...] = ()) -> dict[str, object]:
    code = _PARENT.replace("BODY", indented(body, 4)).replace("PARENT", indented(parent, 8))
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "log")], capture_output=True, text=True, timeout=30, check=False,
        stdin=subprocess.PIPE, pass_fds=pass_fds,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    (line,) = ran.stdout.splitlines()
    found: dict[str, object] = json.loads(line)
    assert found["unwound"] == 1
    return found


def gone(pid: object) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_the_copy_is_a_daemon(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    body = """
links = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if int(name) > 2]
print(json.dumps({
    "session": os.getsid(0) == os.getpid(), "folder": os.getcwd(), "path": sys.path[0], "input": sys.stdin.read(),
    "files": [str(link.readlink()) for link in links if link.is_symlink()],
}))
print("to stderr", file=sys.stderr)
ready.ready()
return 0
"""
    parent = "print('kept in a buffer', end='', file=sys.stderr)\n" + _START + "\nsaid['code'] = child.wait(10)"
    found = run(tmp_path, body, parent, pass_fds=(read_end, write_end))
    os.close(read_end)
    os.close(write_end)
    assert found["code"] == 0
    facts, complaint = (tmp_path / "log").read_text().splitlines()
    seen = json.loads(facts)
    assert [name.partition(":")[0] for name in seen["files"]] == ["pipe"]
    assert (seen["session"], seen["folder"], seen["input"]) == (True, "/", "")
    assert seen["path"] != ""
    assert complaint == "to stderr"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_what_it_says_is_taken_over(tmp_path: Path) -> None:
    found = run(tmp_path, "ready.failed('no such bucket', 3)\nreturn 3")
    assert (found["failed"], found["code"]) == ("no such bucket", 3)


@pytest.mark.parametrize(
    ("body", "words"), [("print('last words', flush=True); os._exit(9)", "last words"), ("1 / 0", "ZeroDivisionError")]
)
def test_one_that_dies_without_a_word_is_one_error_of_the_caller(tmp_path: Path, body: str, words: str) -> None:
    found = run(tmp_path, body)
    assert words in str(found["failed"])
    assert found["code"] == 1


def test_one_that_hangs_is_ended(tmp_path: Path) -> None:
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(60)"
    begin = time.monotonic()
    found = run(tmp_path, body, "daemon.STOP_DEADLINE_S = 0.1; start(deadline_s=0.5)")
    assert "did not answer" in str(found["failed"])
    assert time.monotonic() - begin < 20
    assert gone((tmp_path / "log").read_text().strip())


def test_an_interrupted_start_leaves_none(tmp_path: Path) -> None:
    parent = """
def interrupted(number, deadline_s):
    while not log.read_text():
        time.sleep(0.01)
    raise KeyboardInterrupt
daemon.wait_readable = interrupted
try:
    start()
except KeyboardInterrupt:
    said["interrupted"] = True
"""
    found = run(tmp_path, "print(os.getpid(), flush=True); time.sleep(60)", parent)
    assert found["interrupted"]
    assert gone((tmp_path / "log").read_text().strip())


@pytest.mark.parametrize(
    "parent",
    [
        "threading.Thread(target=lambda: time.sleep(1)).start(); start()",
        "start(environment=os.environ)",
    ],
    ids=["threads", "environment"],
)
def test_a_parent_with_threads_or_for_another_environment_starts_an_interpreter(tmp_path: Path, parent: str) -> None:
    found = run(tmp_path, "os._exit(9)", parent)
    assert "no-such-command" in str(found["failed"])
    assert "No such command" in (tmp_path / "log").read_text()


def test_a_process_with_threads_is_not_copied(tmp_path: Path) -> None:
    parent = """
threading.Thread(target=lambda: time.sleep(1)).start()
try:
    forked.fork(lambda: 0, keeps=0, log=1, closes=())
except RuntimeError as error:
    said["refused"] = str(error)
"""
    assert "threads" in str(run(tmp_path, "return 0", parent)["refused"])


def test_a_parent_without_files_for_output_starts_an_interpreter(tmp_path: Path) -> None:
    """The numbers of its pipe are those that the child's output has."""
    found = run(tmp_path, "os._exit(9)", "sys.stdin = None\n" + _START)
    assert "no-such-command" in str(found["failed"])
