"""Builds the drives that the functional suite and the model machine run on. Imports the floors lazily.

A kind is one word, so that it can travel to a subprocess: "reference" is the specification in memory, "memory" the
real FileSystem over the in-memory store.
"""

import contextlib
from pathlib import Path
from typing import Protocol

from s3mount import host
from s3mount.bindings.served import ServedFileSystem
from s3mount.clock import Clock, SystemClock
from s3mount.drive import Drive, DriveOptions
from s3mount.errors import NoSpace
from s3mount.remote.defaults import Defaults
from s3mount.vfs.paths import PathFileSystem
from tests.model.reference import ReferenceTree
from tests.support.memory_store import MemoryStore

REFERENCE = "reference"
MEMORY = "memory"
DRAIN_DEADLINE_S = 30.0
CACHE_LIMIT_BYTES = 64 << 20


class DriveUnderTest(Protocol):
    """`filesystem` and `paths`, the same by path, are replaced by remount: do not keep them across one."""

    @property
    def filesystem(self) -> ServedFileSystem: ...

    @property
    def paths(self) -> PathFileSystem: ...

    def drain(self) -> None:
        """Wait until the store holds everything; fail after a deadline."""

    def remount(self, *, keep_index: bool) -> None:
        """Stop and start again over the same store; without the index only after drain(). All handles are gone."""

    def evict(self) -> None:
        """Drop all clean bytes from the cache."""

    def close(self) -> None: ...


class ReferenceDrive:
    def __init__(self, clock: Clock) -> None:
        self.filesystem = ReferenceTree(clock)
        self.paths = PathFileSystem(self.filesystem)

    def drain(self) -> None: ...

    def remount(self, *, keep_index: bool) -> None:
        self.filesystem.handles.clear()

    def evict(self) -> None: ...

    def close(self) -> None: ...


class MemoryDrive:
    """The real drive over the in-memory store; the write-back runs on the system's clock, file times on `stamps`."""

    def __init__(self, folder: Path, stamps: Clock) -> None:
        self._folder = folder
        self._stamps = stamps
        self.store = MemoryStore()
        self._generation = 0
        self._running = self._start()

    @property
    def filesystem(self) -> ServedFileSystem:
        return self._running.filesystem

    @property
    def paths(self) -> PathFileSystem:
        return self._paths

    def _start(self) -> Drive:
        state_dir = self._folder / f"state{self._generation}"
        state_dir.mkdir(exist_ok=True)
        options = DriveOptions(
            defaults=Defaults(*host.own_ids(), 0o022),
            cache_limit_bytes=CACHE_LIMIT_BYTES,
            write_back_delay_s=0.05,
        )
        drive = Drive(self.store, state_dir, options, stamps=self._stamps)
        self._paths = PathFileSystem(drive.filesystem)
        return drive

    def drain(self) -> None:
        left = self._running.writeback.drain(DRAIN_DEADLINE_S, lambda _: None)
        assert not left, f"not in the store: {left}"

    def remount(self, *, keep_index: bool) -> None:
        self._running.close()
        self._generation += 0 if keep_index else 1
        self._running = self._start()

    def evict(self) -> None:
        # Asking for all there is evicts all that may go, whether or not the rest leaves enough.
        with contextlib.suppress(NoSpace), self._running.cache.reserve(CACHE_LIMIT_BYTES, 0.0):
            pass

    def close(self) -> None:
        self._running.close()


def open_drive(kind: str, folder: Path, clock: Clock | None = None) -> DriveUnderTest:
    """A new, empty drive that keeps its files below `folder`."""
    if kind == REFERENCE:
        return ReferenceDrive(clock or SystemClock())
    if kind == MEMORY:
        return MemoryDrive(folder, clock or SystemClock())
    raise LookupError(f"no drive of kind {kind!r}")


def kinds() -> list[str]:
    """The kinds that can be opened here."""
    return [REFERENCE, MEMORY]
