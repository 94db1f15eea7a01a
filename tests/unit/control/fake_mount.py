"""A mount as the control socket sees it, with everything under the test's hand."""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from s3mount.config import MountConfig
from s3mount.control.announce import Announcement
from s3mount.control.protocol import DrainProgress, OwedFile
from s3mount.control.registry import MountEntry, Registry
from s3mount.host import start_time

FAR_PID = 2**22 + 1  # above the largest pid that Linux gives out


class FakeHandlers:
    def __init__(self) -> None:
        self.owed: list[OwedFile] = []
        self.drain_steps: list[DrainProgress] = []
        self.drains: list[float | None] = []
        self.stops: list[bool] = []
        self.detached = 0
        self.refreshes: list[tuple[str, bool]] = []
        self.status_error: Exception | None = None
        self.release_status = threading.Event()
        self.release_status.set()
        self.extra: dict[str, object] = {}

    def status(self) -> Mapping[str, object]:
        self.release_status.wait(10)
        if self.status_error is not None:
            raise self.status_error
        numbers = {"dirty_files": len(self.owed), "dirty_bytes": 2048, "uploading": 1, "oldest_dirty_age_s": 7}
        cache = {"cache_bytes": 1 << 20, "cache_limit_bytes": 10 << 30, "conflicts": 0, "errors": []}
        place = {"mountpoint": "/drive", "bucket": "fake", "prefix": "", "pid": os.getpid(), "state": "mounted"}
        return {**place, **numbers, **cache, **self.extra}

    def drain(self, deadline_s: float | None, progress: Callable[[DrainProgress], None]) -> list[OwedFile]:
        self.drains.append(deadline_s)
        for step in self.drain_steps:
            progress(step)
        return self.owed

    def check(self, repair: bool, progress: Callable[[int], None]) -> list[dict[str, str]]:
        progress(1)
        return [{"kind": "other ETag", "repair": str(repair)}]

    def refresh(self, path: str, recursive: bool, progress: Callable[[int], None]) -> int:
        progress(1)
        self.refreshes.append((path, recursive))
        return len(self.refreshes)

    def detach(self) -> None:
        self.detached += 1

    def stop(self, drain: bool) -> None:
        self.stops.append(drain)


def fake_config(folder: Path, mountpoint: Path | None = None) -> MountConfig:
    return MountConfig(
        bucket="fake",
        mountpoint=mountpoint or folder / "drive",
        state_dir=folder / "state",
        cache_limit_bytes=1 << 30,
        uid=0,
        gid=0,
    )


def fake_entry(
    mountpoint: str, *, pid: int | None = None, started: str | None = None, started_ns: int = 1
) -> MountEntry:
    own_pid = os.getpid() if pid is None else pid
    return MountEntry(
        mountpoint=mountpoint,
        bucket="fake",
        prefix="",
        pid=own_pid,
        process_started=(start_time(own_pid) or "") if started is None else started,
        started_ns=started_ns,
        socket="/nowhere/socket",
        state_dir="/nowhere/state",
    )


def announce(folder: Path, handlers: FakeHandlers, registry: Registry | None = None) -> Announcement:
    return Announcement(fake_config(folder), handlers, registry)
