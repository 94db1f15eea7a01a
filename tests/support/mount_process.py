"""A drive mounted by a subprocess: started, waited for, unmounted or killed, its log read. Never in this process,
where a deadlock between a test and the FUSE threads would take the whole run with it.

As `python -m tests.support.mount_process KIND FOLDER MOUNTPOINT [allow_other] [read_only]` it is that subprocess, for
the drives of fs_factory.
"""

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from s3mount.bindings import load_binding

log = logging.getLogger(__name__)

READY_WAIT_S = 20.0
END_WAIT_S = 30.0
REPOSITORY = Path(__file__).resolve().parents[2]
SUSPECT = re.compile(r"\b(WARNING|ERROR|CRITICAL|Traceback)\b")


class MountFailed(Exception):
    """The mount did not come up, did not end, or its log holds what no test expected."""


def serve_command(kind: str, folder: Path, mountpoint: Path) -> list[str]:
    return [sys.executable, "-m", "tests.support.mount_process", kind, str(folder), str(mountpoint)]


class MountProcess:
    """`command` must stay in the foreground and serve `mountpoint`. Use it as a context: whatever happens inside,
    nothing stays mounted; leaving it without an error fails on suspect log lines not matched by `expected_log`."""

    def __init__(
        self,
        command: Sequence[str],
        mountpoint: Path,
        log_path: Path,
        *,
        environment: Mapping[str, str] | None = None,
        expected_log: Sequence[str] = (),
    ) -> None:
        self.command = list(command)
        self.mountpoint = mountpoint
        self.log_path = log_path
        self.expected_log = list(expected_log)
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.end()
        else:
            self._clear()
            error.add_note(f"log of the mount:\n{self.log()}")

    def end(self) -> None:
        """Unmount; leave nothing behind whatever happens. Raises MountFailed for what the log holds."""
        try:
            self.unmount()
        finally:
            self._clear()
        self.check_log()

    def start(self) -> None:
        """Start and return when the mount answers. Raises MountFailed with the log."""
        with self.log_path.open("ab") as log_file:
            self._process = subprocess.Popen(
                self.command, cwd=REPOSITORY, env=self._environment, stdin=subprocess.DEVNULL, stdout=log_file,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        deadline = time.monotonic() + READY_WAIT_S
        while not is_mounted(self.mountpoint):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._clear()
                raise MountFailed(f"no mount from {self.command}:\n{self.log()}")
            time.sleep(0.02)
        os.statvfs(self.mountpoint)

    @property
    def pid(self) -> int:
        if self._process is None:
            raise MountFailed("not started")
        return self._process.pid

    def unmount(self) -> int:
        """Detach the mount as umount(8) does, wait for the process, return its exit code. Raises MountFailed when
        files are open in it."""
        if self._process is None or self._process.poll() is not None:
            return 0 if self._process is None else self._process.returncode
        complaint = _detach(self.mountpoint)
        if complaint:
            raise MountFailed(f"cannot unmount: {complaint}\n{self.log()}")
        return self.wait()

    def kill(self) -> None:
        """SIGKILL, then remove the dead mount; start() may follow."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(END_WAIT_S)
        self._clear()

    def terminate(self) -> int:
        if self._process is None:
            raise MountFailed("not started")
        self._process.terminate()
        return self.wait()

    def wait(self) -> int:
        """The process's exit code. Raises MountFailed when it does not end."""
        if self._process is None:
            raise MountFailed("not started")
        try:
            return self._process.wait(END_WAIT_S)
        except subprocess.TimeoutExpired as error:
            raise MountFailed(f"does not end after the unmount:\n{self.log()}") from error

    def log(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return self.log_path.read_text(errors="replace")
        return ""

    def check_log(self) -> None:
        """Raises MountFailed on a warning, an error or a traceback that no pattern of `expected_log` matches."""
        suspects = [line for line in self.log().splitlines() if SUSPECT.search(line)]
        unexpected = [line for line in suspects if not any(re.search(p, line) for p in self.expected_log)]
        if unexpected:
            raise MountFailed(f"unexpected in the log: {unexpected[0]}\n{self.log()}")

    def _clear(self) -> None:
        """Leave neither process nor mount."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(END_WAIT_S)
        deadline = time.monotonic() + END_WAIT_S
        while is_mounted(self.mountpoint) and time.monotonic() < deadline:
            _detach(self.mountpoint, "-z")


def is_mounted(mountpoint: Path) -> bool:
    """Whether the kernel lists it; asks no file system, so a dead or hanging mount is no trap."""
    escaped = str(mountpoint).replace("\\", "\\134").replace(" ", "\\040").replace("\n", "\\012")
    table = Path("/proc/self/mounts").read_text(errors="surrogateescape")
    return any(line.split(" ")[1] == escaped for line in table.splitlines())


def _detach(mountpoint: Path, *options: str) -> str:
    """What fusermount complains of, "" when it worked."""
    command = ["fusermount3", "-u", *options, "--", str(mountpoint)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=END_WAIT_S)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


def serve(kind: str, folder: Path, mountpoint: Path, *, allow_other: bool, read_only: bool) -> None:
    from tests.support.fs_factory import open_drive

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    drive = open_drive(kind, folder)
    try:
        load_binding()(
            drive.filesystem,
            str(mountpoint),
            source_name=f"s3mount#test/{kind}",
            read_only=read_only,
            allow_other=allow_other,
            extra_options=(),
            on_ready=lambda: log.info("ready"),
        )
    finally:
        drive.close()


if __name__ == "__main__":
    wishes = sys.argv[4:]
    serve(
        sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), allow_other="allow_other" in wishes,
        read_only="read_only" in wishes,
    )  # fmt: skip
