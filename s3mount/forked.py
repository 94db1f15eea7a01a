"""FLOOR 0: a copy of this process in a session of its own, as a daemon. Linux only.

Called by daemon.py, from a process with one thread: of several, a copy has the caller alone, and what the others held
stays locked for ever. The system libraries of macOS do not survive being copied.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

from s3mount.ending import end_process

assert sys.platform != "win32"

_OPEN_FILES: Final = "/proc/self/fd"
_THREADS: Final = "/proc/self/task"
_STDERR: Final = 2
_POLL_S_MIN: Final = 0.001
_POLL_S_MAX: Final = 0.05


def can_fork() -> bool:
    """Whether this process has one thread, counting those that Python knows nothing of, and files for input and output,
    whose numbers another would have else."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        return False
    try:
        return threading.active_count() == 1 and len(os.listdir(_THREADS)) == 1
    except OSError:
        return False


class Forked:
    """The copy, seen from the process that it is of. The methods are those of subprocess.Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._code is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """Its exit code, negative for a signal. Raises subprocess.TimeoutExpired after so many seconds."""
        deadline = time.monotonic() + timeout
        pause_s = _POLL_S_MIN
        while self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired([], timeout)
            else:
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _POLL_S_MAX)
        return self._code


def fork(run: Callable[[], int], *, keeps: int, log: int, closes: Sequence[int]) -> Forked:
    """Start the copy, which ends with what `run` returns: nothing of the caller's goes on there, whatever `run` raises.

    It has no terminal, no input, `log` for its output, and "/" for its folder; `keeps`, but none of `closes` nor of the
    files that this process was started with. Raises OSError.
    """
    if not can_fork():
        raise RuntimeError("a process with threads, or without files for its output, cannot be copied")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # else both would write what is left
    pid = os.fork()
    if pid == 0:
        _be_the_copy(run, keeps, log, closes)
    return Forked(pid)


def _be_the_copy(run: Callable[[], int], keeps: int, log: int, closes: Sequence[int]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        _forget_the_folder()
        _take_files(keeps, log, closes)
        code = run()
    except KeyboardInterrupt:
        pass  # it was pressed before this had a session of its own
    except BaseException:  # noqa: BLE001 - the caller's stack must not be unwound a second time
        with contextlib.suppress(OSError):
            os.write(_STDERR, traceback.format_exc().encode(errors="replace"))
    finally:
        end_process(code)


def _take_files(keeps: int, log: int, closes: Sequence[int]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, taken in enumerate((nothing, log, log)):
        os.dup2(taken, number)
    for number in (nothing, *closes):
        os.close(number)
    for name in os.listdir(_OPEN_FILES):
        number = int(name)
        # What Python has opened is not inheritable and has an owner, who closes the number when he goes, whatever
        # it stands for by then.
        with contextlib.suppress(OSError):  # the list itself was read through one
            if number > _STDERR and number != keeps and os.get_inheritable(number):
                os.close(number)


def _forget_the_folder() -> None:
    """`python -m` looks for modules in the folder that it was started in. To look for one there while the folder hangs,
    or is the mount itself, could take a daemon for ever."""
    with contextlib.suppress(OSError):
        if not sys.flags.safe_path and sys.path and Path(sys.path[0]) in (Path(), Path.cwd()):
            del sys.path[0]
    os.chdir("/")
