"""A Python of Windows under Wine as a child of the tests, spoken with by lines of JSON.

scripts/test-windows installs both, and sets the variables that Wine and WinFsp read. A process under Wine is a process
of Linux with the same number: `kill` is `kill -9`. Used from one thread.
"""

import contextlib
import json
import os
import queue
import subprocess
import threading
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
# The one reaches WinFsp by winfspy, the other by ctypes.
PYTHONS = ("cp311", "cp313")
# Has what the commands need, and not what all tests need.
COMMANDS_ONLY = "cp312"
BYTE_CODE = CHECKOUT / ".wine" / "byte-code"
ANSWER_DEADLINE_S = 90.0
END_DEADLINE_S = 60.0


def windows_path(path: Path) -> str:
    """As Wine shows a file of Linux."""
    return "Z:" + str(path).replace("/", "\\")


def python_command(python: str, *arguments: str) -> list[str]:
    """`python`: one of PYTHONS, or COMMANDS_ONLY."""
    executable = CHECKOUT / ".wine" / "python" / python / "python.exe"
    options = ["-X", "utf8", "-X", f"pycache_prefix={windows_path(BYTE_CODE)}"]
    return ["wine", str(executable), *options, *arguments]


class Refused(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"NTSTATUS 0x{status:08X}")
        self.status = status


class WineProcess:
    """`log`: lines that are no JSON. Standard output has to be a pipe: a file is no handle to Python there."""

    def __init__(self, python: str, module: str, *arguments: str, environment: dict[str, str]) -> None:
        self.log: list[str] = []
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            python_command(python, "-m", module, *arguments), cwd=CHECKOUT, env={**os.environ, **environment},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self._answers.put(json.loads(line))
            else:
                self.log.append(line.rstrip())
        self._answers.put(None)

    def receive(self) -> Any:
        """The next answer. Raises Refused."""
        found = self._answers.get(timeout=ANSWER_DEADLINE_S)
        assert found is not None, "\n".join(["it has ended:", *self.log])
        if "status" in found:
            raise Refused(found["status"])
        return found["answer"]

    def send(self, *request: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def ask(self, *request: Any) -> Any:
        self.send(*request)
        return self.receive()

    def kill(self) -> None:
        """Also one that has ended."""
        self._process.kill()
        self._process.wait(END_DEADLINE_S)
        self._close()

    def _close(self) -> None:
        self._reader.join(END_DEADLINE_S)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def rest(self) -> int:
        """How many answers came that nobody has received, once it has ended."""
        count = 0
        while self._answers.get(timeout=ANSWER_DEADLINE_S) is not None:
            count += 1
        return count

    def wait(self) -> int:
        """Its exit code; one that does not end fails the test."""
        try:
            code = self._process.wait(END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._close()
        return code

    def end(self) -> None:
        """In good order, by the end of its input; what it said besides its answers fails the test."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert (self.wait(), self.log) == (0, [])
