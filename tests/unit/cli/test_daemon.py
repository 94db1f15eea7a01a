"""Starting in the background: the child's interpreter is real, its mount is a few lines put in its way."""

import os
import time
from pathlib import Path

import pytest

from s3mount import daemon
from s3mount.daemon import ReadyPipe, StartFailed, start_detached

# Python runs this before `-m s3mount`; the arguments are there already.
_PRELUDE = """
import json, os, sys, time
if any(word.startswith("--ready-fd=") for word in sys.orig_argv):
    fd = int(sys.orig_argv[-1].removeprefix("--ready-fd="))
    {body}
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def child_does(tmp_path: Path, body: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(_PRELUDE.format(body=body))


def test_it_returns_once_the_child_is_ready(tmp_path: Path, environment: dict[str, str]) -> None:
    child_does(tmp_path, """print(os.getcwd(), flush=True); os.write(fd, b'{"ready": true}\\n'); time.sleep(60)""")
    child = start_detached(["mount"], log_path=tmp_path / "log", environment=environment)
    try:
        assert child.poll() is None
        assert os.getsid(child.pid) == child.pid
        assert (tmp_path / "log").read_text() == "/\n"
    finally:
        child.kill()
        child.wait(10)


def test_the_error_and_exit_code_of_the_child_are_taken_over(tmp_path: Path, environment: dict[str, str]) -> None:
    child_does(tmp_path, """os.write(fd, b'{"error": "no such bucket", "exit_code": 3}\\n'); os._exit(3)""")
    with pytest.raises(StartFailed, match="no such bucket") as caught:
        start_detached(["mount"], log_path=tmp_path / "log", environment=environment)
    assert caught.value.exit_code == 3


def test_a_child_that_dies_without_a_word_is_exit_code_1_with_its_last_log_line(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    child_does(tmp_path, """print("first"); print("the last words\\n", flush=True); os._exit(9)""")
    with pytest.raises(StartFailed, match="the last words") as caught:
        start_detached(["mount"], log_path=tmp_path / "log", environment=environment)
    assert caught.value.exit_code == 1


def test_a_child_that_hangs_is_ended(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "STOP_DEADLINE_S", 0.1)
    child_does(tmp_path, f"""open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid())); time.sleep(60)""")
    start = time.monotonic()
    with pytest.raises(StartFailed, match="did not answer within 1 s"):
        start_detached(["mount"], log_path=tmp_path / "log", environment=environment, deadline_s=1.0)
    assert time.monotonic() - start < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_an_interrupted_start_leaves_no_child_that_mounts_later(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_path = tmp_path / "pid"
    child_does(tmp_path, f"""open({str(pid_path)!r}, "w").write(str(os.getpid())); time.sleep(60)""")

    def interrupted(_fd: int, _timeout_s: float) -> bool:
        while not (pid_path.exists() and pid_path.read_text()):
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(daemon, "wait_readable", interrupted)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        start_detached(["mount"], log_path=tmp_path / "log", environment=environment)
    assert time.monotonic() - start < daemon.STOP_DEADLINE_S  # not waited for: it is told to end
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_path.read_text()), 0)


def test_a_log_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="background"):
        start_detached(["mount"], log_path=tmp_path / "missing" / "log")


def test_the_pipe_speaks_once_and_closes() -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    pipe = ReadyPipe(write_end)
    assert not os.get_inheritable(write_end)
    pipe.ready()
    pipe.failed("later", 1)
    with os.fdopen(read_end, "rb") as said:
        assert said.read() == b'{"ready": true}\n'


def test_without_a_pipe_nothing_is_said() -> None:
    ReadyPipe(None).ready()
