"""Starting a mount in the background, and hearing whether it answers.

The parent (cli/mount.py, demo/) waits at a pipe; the child, in a session of its own, says one JSON line there. On Linux
the child of a process with one thread is its copy (forked.py), which has half of what a mount needs loaded already;
elsewhere, and for a parent with threads or for another environment, it is a second interpreter with `--foreground`. No
secret is on its command line: it finds credentials where its parent would. Does not know what a mount is.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from s3mount.errors import MountError
from s3mount.host import detached, handed_down, wait_readable
from s3mount.private import open_file

READY_DEADLINE_S: Final = 30.0
STOP_DEADLINE_S: Final = 5.0
_MESSAGE_BYTES_MAX: Final = 1 << 16


class Child(Protocol):
    """The process that was started; as subprocess.Popen."""

    @property
    def pid(self) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    def wait(self, timeout: float) -> int: ...


class StartFailed(MountError):
    """The child said why it cannot, or ended or hung without a word; `exit_code` is the one to end with."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class ReadyPipe:
    """The child's end, by the number that the parent gave for it: says once how the start went. Without a pipe (None)
    it says nothing."""

    def __init__(self, given: int | None) -> None:
        self._fd = None if given is None else handed_down(given)

    def ready(self) -> None:
        self._say({"ready": True})

    def failed(self, text: str, exit_code: int) -> None:
        self._say({"error": text, "exit_code": exit_code})

    def _say(self, message: Mapping[str, object]) -> None:
        if self._fd is None:
            return
        # The parent may be gone: Windows has other errors for that than a broken pipe.
        with contextlib.suppress(OSError):
            os.write(self._fd, json.dumps(message).encode()[: _MESSAGE_BYTES_MAX - 1] + b"\n")
        os.close(self._fd)
        self._fd = None


def start_detached(
    arguments: Sequence[str],
    *,
    log_path: Path,
    environment: Mapping[str, str] | None = None,
    serve: Callable[[ReadyPipe], int] | None = None,
    deadline_s: float = READY_DEADLINE_S,
) -> Child:
    """Run `python -m s3mount ARGUMENTS --foreground --ready-fd N` detached, or `serve`, which does the same, in a copy
    of this process where there can be one; returns once the child said that it is ready.

    Its output goes to `log_path`. Raises StartFailed, with the child gone, when it says an error, ends, or says
    nothing within `deadline_s`. Whoever is interrupted (Ctrl-C) while it waits leaves no child either.
    """
    read_end, write_end = os.pipe()
    child = None
    try:
        child = _start(arguments, (read_end, write_end), log_path, environment, serve)
        line = _read_line(read_end, deadline_s)
    except KeyboardInterrupt:
        if child is not None:  # in a session of its own, it has not heard of it
            child.terminate()
            _end(child)
        raise
    except OSError as error:
        raise StartFailed(f"cannot start in the background: {error}") from error
    finally:
        os.close(read_end)
    message = _parse(line)
    if message.get("ready") is True:
        return child
    if "error" in message:
        _end(child)
        exit_code = message.get("exit_code")
        raise StartFailed(str(message["error"]), exit_code if isinstance(exit_code, int) else 1)
    has_ended = line is not None
    _end(child)
    if has_ended:
        raise StartFailed(
            f"the mount process ended at once: {_last_line(log_path) or 'nothing in its log'} (log: {log_path})"
        )
    raise StartFailed(f"the mount did not answer within {deadline_s:.0f} s and was stopped (log: {log_path})")


def _start(
    arguments: Sequence[str],
    pipe: tuple[int, int],
    log_path: Path,
    environment: Mapping[str, str] | None,
    serve: Callable[[ReadyPipe], int] | None,
) -> Child:
    read_end, write_end = pipe
    log = None
    try:
        log = open_file(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        if serve is not None and environment is None and sys.platform == "linux":
            # Here for the sake of the other systems, where it cannot be loaded.
            from s3mount import forked

            if forked.can_fork():
                return forked.fork(
                    lambda: serve(ReadyPipe(write_end)), keeps=write_end, log=log, closes=(log, read_end)
                )
        given, how = detached(write_end)
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "s3mount", *arguments, "--foreground", f"--ready-fd={given}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=log_path.anchor,
            env=dict(os.environ if environment is None else environment),
            **how,
        )
    finally:
        os.close(write_end)
        if log is not None:
            os.close(log)


def _last_line(path: Path) -> str:
    """The last line that says something, or ""."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _read_line(read_end: int, deadline_s: float) -> bytes | None:
    """What the child said before it closed the pipe or ended its line; None when the deadline passed first."""
    deadline = time.monotonic() + deadline_s
    text = b""
    while not text.endswith(b"\n"):
        if not wait_readable(read_end, max(0.0, deadline - time.monotonic())):
            return None
        piece = os.read(read_end, _MESSAGE_BYTES_MAX)
        if not piece:
            break
        text += piece
    return text


def _parse(line: bytes | None) -> dict[str, object]:
    try:
        message = json.loads(line or b"{}")
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _end(child: Child) -> None:
    """Wait for the child, and make it end when it does not."""
    for stop in (None, child.terminate, child.kill):
        if stop is not None:
            stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(STOP_DEADLINE_S)
            return
