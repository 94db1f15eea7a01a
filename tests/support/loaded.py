"""s3mount commands as copies of a process that has loaded what they need: loading is half of what a command costs.

One such process for each test process, started with the first command. A copy differs from `python -m s3mount` in what
/proc says of how it was started, and in nothing that a command looks at. As `python -m tests.support.loaded FD` it is
that process: a request is a message with two files for the output; the answers are the pid and the exit code.
"""

import atexit
import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NoReturn, TypedDict

from s3mount import garbage
from s3mount.bindings import load_binding
from s3mount.cli import main
from tests.support.mount_process import REPOSITORY

MESSAGE_BYTES_MAX = 1 << 17
END_DEADLINE_S = 10.0
NAME_FILE = Path("/proc/self/comm")
COMMANDS = ("mount", "unmount", "drain", "status", "refresh")
LOADED = (*(f"s3mount.cli.{command}" for command in COMMANDS), "s3mount.mount")


class Request(TypedDict):
    args: list[str]
    environment: dict[str, str]
    name: str


class Loaded:
    """The process, from the one that wants commands run. Any thread may call; one command at a time is a copy."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            words = [sys.executable, "-m", "tests.support.loaded", str(other.fileno())]
            self._process = subprocess.Popen(
                words, cwd=REPOSITORY, env=dict(environment), stdin=subprocess.DEVNULL, pass_fds=[other.fileno()]
            )

    def close(self) -> None:
        """What is mounted stays."""
        self._control.close()
        self._process.wait(END_DEADLINE_S)

    def run(
        self, args: Sequence[str], environment: Mapping[str, str], name: str, timeout_s: float
    ) -> subprocess.CompletedProcess[str] | None:
        """`s3mount ARGS` as it went; None when a copy is busy. It and all copies of it, a mount, are called `name`, of
        15 characters at most, in /proc/PID/comm. Raises subprocess.TimeoutExpired, the copy killed."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
                request = Request(args=[*args], environment={**environment}, name=name)
                code = self._run(request, (out.fileno(), err.fileno()), timeout_s)
                texts = []
                for file in (out, err):
                    file.seek(0)
                    texts.append(file.read().decode())
        finally:
            self._lock.release()
        return subprocess.CompletedProcess([*args], code, *texts)

    def _run(self, request: Request, files: Sequence[int], timeout_s: float) -> int:
        self._control.settimeout(timeout_s)
        socket.send_fds(self._control, [json.dumps(request).encode()], files)
        pid = int(self._control.recv(MESSAGE_BYTES_MAX))
        try:
            return int(self._control.recv(MESSAGE_BYTES_MAX))
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._control.recv(MESSAGE_BYTES_MAX)
            raise subprocess.TimeoutExpired("s3mount", timeout_s) from None


@lru_cache(maxsize=1)
def loaded() -> Loaded:
    """This process's own, until it ends."""
    own = Loaded({name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "XDG_"))})
    atexit.register(own.close)
    return own


def serve(control: socket.socket) -> None:
    """Answer requests until nobody is there to ask."""
    load()
    while True:
        message, files, _, _ = socket.recv_fds(control, MESSAGE_BYTES_MAX, 2)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            control.close()
            be_command(json.loads(message), files)
        for file in files:
            os.close(file)
        control.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        control.send(str(os.waitstatus_to_exitcode(status)).encode())


def load() -> None:
    with garbage.left_alone():
        for module in LOADED:
            importlib.import_module(module)
        load_binding()


def be_command(request: Request, files: Sequence[int]) -> NoReturn:
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
        os.close(file)
    NAME_FILE.write_text(request["name"])
    sys.argv = ["s3mount", *request["args"]]
    main()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
