"""A drive handled as a person would: with `s3mount` commands, each a process of its own, most of them copies of one
that has loaded what they need (loaded.py).

Used by tests/acceptance, from one thread. State, cache and home lie in the test's folder; no AWS setting and no proxy
of this account is seen. Every command has a deadline. Does not start servers. What a test only wants to know or to
wait for, status() and drain(), it asks the mount process itself, as those commands do; run() them to test them.
"""

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from s3mount.cli.log import LOG_NAME
from s3mount.control.channel import channel_at
from s3mount.control.client import ControlClient
from s3mount.control.processes import wait_for_end
from s3mount.control.protocol import ControlRefused, ControlUnreachable
from s3mount.control.registry import Registry
from s3mount.host import start_time
from s3mount.index.inodes import OWED
from tests.support.loaded import loaded
from tests.support.mount_process import REPOSITORY, MountFailed, is_mounted
from tests.support.s3_server import S3Server

COMMAND_DEADLINE_S = 60.0
END_DEADLINE_S = 30.0
SUSPECT = re.compile(r" (WARNING|ERROR|CRITICAL) |^Traceback|^[A-Za-z_.]+(Error|Exception)\b")

Completed = subprocess.CompletedProcess[str]


class CliMount:
    """One bucket (and prefix) at one mount point. Entering the context mounts nothing: call mount(). Leaving it leaves
    neither process nor mount; leaving it without an error fails on suspect log lines that no pattern of
    `expected_log` (regular expressions; append to it at any time) matches."""

    def __init__(
        self,
        server: S3Server,
        bucket: str,
        folder: Path,
        *options: str,
        prefix: str = "",
        endpoint_url: str | None = None,
        environment: Mapping[str, str] | None = None,
        expected_log: Sequence[str] = (),
        is_loaded: bool = True,
    ) -> None:
        """`options` go to every mount(). `endpoint_url`: instead of the server's own, for a proxy before it. An empty
        value in `environment` takes the variable out. Without `is_loaded`, and with an `environment`, commands are
        interpreters of their own."""
        self.bucket = bucket
        self.source = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
        self.options = options
        self.mountpoint = folder / "mountpoint"
        self.cache_dir = folder / "cache"
        self.expected_log = list(expected_log)
        self._is_loaded = is_loaded and not environment
        self._name = f"s3m-{uuid.uuid4().hex[:8]}"
        self._endpoint_url = server.endpoint_url if endpoint_url is None else endpoint_url
        self.environment = isolated_environment(server, folder, environment or {})
        self.mountpoint.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.clear()
            error.add_note(f"log of the mount:\n{self.log()}")
            return
        try:
            if is_mounted(self.mountpoint):
                self.expected_log.append("ended with [0-9]+ changes not in the bucket")
                self.unmount("--no-drain")
        finally:
            self.clear()
        self.check_log()

    def mount_words(self, *options: str) -> list[str]:
        """The arguments of s3mount that mount this drive."""
        where = [f"--endpoint-url={self._endpoint_url}", f"--cache-dir={self.cache_dir}"]
        return ["mount", self.source, str(self.mountpoint), *where, *self.options, *options]

    def mount(self, *options: str) -> None:
        """Mount in the background; returns when the mount answers. Raises MountFailed with what the command said."""
        outcome = self.run(*self.mount_words(*options))
        if outcome.returncode != 0 or outcome.stderr:
            raise MountFailed(f"exit code {outcome.returncode}: {outcome.stderr}\n{self.log()}")

    def unmount(self, *options: str, timeout_s: float = COMMAND_DEADLINE_S) -> Completed:
        return self.run("unmount", str(self.mountpoint), *options, timeout_s=timeout_s)

    def drain(self, *, timeout_s: float = COMMAND_DEADLINE_S) -> None:
        """Raises MountFailed unless the bucket holds everything in time; run("drain", …) tells how it went."""
        try:
            owed = self._client().drain(deadline_s=timeout_s)
        except (ControlUnreachable, ControlRefused) as error:
            raise MountFailed(f"no drain: {error}\n{self.log()}") from error
        if owed:
            raise MountFailed(f"drained all but {owed}\n{self.log()}")

    def status(self) -> dict[str, Any]:
        """What `status --json` prints. Raises MountFailed when nothing answers."""
        try:
            return self._client().status()
        except (ControlUnreachable, ControlRefused) as error:
            raise MountFailed(f"no status: {error}") from error

    def _client(self) -> ControlClient:
        folder = Path(self.environment["XDG_STATE_HOME"]) / "s3mount" / "mounts"
        entry = Registry(folder).find(self.mountpoint)
        if entry is None or not entry.is_alive:
            raise MountFailed(f"no process behind {self.mountpoint}: {entry}\n{self.log()}")
        return ControlClient(channel_at(Path(entry.socket)))

    def run(self, *args: str, timeout_s: float = COMMAND_DEADLINE_S) -> Completed:
        """`s3mount ARGS` as it went, whatever its exit code."""
        done = loaded().run(args, self.environment, self._name, timeout_s) if self._is_loaded else None
        if done is not None:
            return done
        return subprocess.run(
            [sys.executable, "-m", "s3mount", *args], cwd=REPOSITORY, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def start(self, *args: str) -> "subprocess.Popen[str]":
        """`s3mount ARGS` left running; the caller waits for it. clear() ends it."""
        return subprocess.Popen(
            [sys.executable, "-m", "s3mount", *args], cwd=REPOSITORY, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """The process that serves the mount, or drains after it was detached."""
        return int(self.status()["pid"])

    def kill(self, pid: int | None = None) -> None:
        """SIGKILL the mount process (`pid` when asked for before) and wait for its end; the dead mount point stays."""
        pid = pid or self.pid
        started = start_time(pid) or ""
        os.kill(pid, signal.SIGKILL)
        if not wait_for_end(pid, started, END_DEADLINE_S):
            raise MountFailed(f"process {pid} does not end")

    def owed_on_disk(self) -> int:
        """How many inodes the index of this drive owes, its process being dead."""
        (path,) = self.cache_dir.glob("*/index.sqlite")
        with contextlib.closing(sqlite3.connect(path)) as index:
            (count,) = index.execute(f"SELECT COUNT(*) FROM inode WHERE {OWED}").fetchone()
        return int(count)

    def wait_for_end(self, deadline_s: float = END_DEADLINE_S) -> None:
        """Wait until no process of this drive runs any more. Raises MountFailed."""
        deadline = time.monotonic() + deadline_s
        while pids := self.pids():
            if time.monotonic() > deadline:
                raise MountFailed(f"processes {pids} do not end:\n{self.log()}")
            time.sleep(0.05)

    def log(self) -> str:
        """What the mounts of this drive have logged, oldest first."""
        paths = sorted(self.cache_dir.glob(f"*/{LOG_NAME}*"), key=lambda path: path.name, reverse=True)
        return "".join(path.read_text(errors="replace") for path in paths)

    def check_log(self) -> None:
        """Raises MountFailed on a warning, an error or a traceback that no pattern of `expected_log` matches."""
        suspects = [line for line in self.log().splitlines() if SUSPECT.search(line)]
        unexpected = [line for line in suspects if not any(re.search(p, line) for p in self.expected_log)]
        if unexpected:
            raise MountFailed(f"unexpected in the log: {unexpected[0]}\n{self.log()}")

    def clear(self) -> None:
        """End every process of this drive at once and take the mount away, whatever state they are in."""
        deadline = time.monotonic() + END_DEADLINE_S
        while (pids := self.pids()) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        while is_mounted(self.mountpoint) and time.monotonic() < deadline:
            command = ["fusermount3", "-u", "-z", "--", str(self.mountpoint)]
            subprocess.run(command, check=False, capture_output=True, timeout=END_DEADLINE_S)

    def pids(self) -> list[int]:
        """Living processes of this drive: started with its state folder, or under its name."""
        mark = f"\0XDG_STATE_HOME={self.environment['XDG_STATE_HOME']}\0".encode()
        found: list[int] = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                is_ours = (folder / "comm").read_text().strip() == self._name
                is_ours = is_ours or mark in b"\0" + (folder / "environ").read_bytes()
                if is_ours and start_time(int(folder.name)) is not None:
                    found.append(int(folder.name))
        return found


def isolated_environment(server: S3Server, folder: Path, changes: Mapping[str, str]) -> dict[str, str]:
    """This process' variables without its AWS settings and proxies, with the server's keys and with folders that
    lie in `folder`. An empty value in `changes` takes the variable out."""
    unwanted = re.compile(r"AWS_.*|XDG_.*|FUSE_LIBRARY_.*|.*_proxy", re.IGNORECASE)
    inherited = {name: value for name, value in os.environ.items() if not unwanted.fullmatch(name)}
    folders = {
        "HOME": folder / "home",
        "XDG_STATE_HOME": folder / "state",
        "XDG_DATA_HOME": folder / "data",
        "XDG_CONFIG_HOME": folder / "config",
    }
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    own = {name: str(path) for name, path in folders.items()}
    merged = {**inherited, **server.environment(), **own, **changes}
    return {name: value for name, value in merged.items() if value}
