"""Puts the floors together, bottom up, over one store and one state folder. The one place that knows all classes.

Called by mount.py with S3, by the tests with whatever store they like. Bindings and processes are not its business.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from s3mount.cache.filecache import FileCache
from s3mount.clock import Clock, SystemClock
from s3mount.config import PREFETCH_BYTES
from s3mount.errors import FsError, MountError
from s3mount.host import lock_exclusively, pread, pwrite
from s3mount.index.index import Index
from s3mount.locks import InodeLocks
from s3mount.model import Ino
from s3mount.private import check_folder, open_file
from s3mount.remote.attributes import AttributeReader
from s3mount.remote.defaults import Defaults
from s3mount.remote.guard import WriteGuard
from s3mount.remote.lister import Lister
from s3mount.store.base import ObjectStore
from s3mount.store.concurrency import Concurrency
from s3mount.vfs.archived import ArchivedFiles
from s3mount.vfs.context import VfsContext, VfsOptions
from s3mount.vfs.departed import Departed
from s3mount.vfs.discards import Discards
from s3mount.vfs.filesystem import FileSystem
from s3mount.vfs.foreign_changes import ForeignChanges
from s3mount.vfs.handles import Handles
from s3mount.vfs.late_opens import LateOpens
from s3mount.vfs.prefetch import Prefetch
from s3mount.writeback.conditions import Conditions
from s3mount.writeback.context import WriteBackContext
from s3mount.writeback.writeback import Backlog, Left, WriteBack

INDEX_NAME = "index.sqlite"
CACHE_NAME = "cache"
LOCK_NAME = "lock"
CLOSE_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveOptions:
    """What may differ from drive to drive. Sizes in bytes, durations in seconds. `source`: a word for the store; a
    state folder serves one for good. `may_probe`: the store may be tried out with a write that comes to nothing."""

    source: str = "store"
    defaults: Defaults
    cache_limit_bytes: int
    concurrency: Concurrency = field(default_factory=Concurrency)
    write_back_delay_s: float = 1.0
    may_probe: bool = False
    metadata_ttl_s: float = 60.0
    prefetch_bytes: int = PREFETCH_BYTES
    vfs: VfsOptions = field(default_factory=VfsOptions)


class StateLock:
    """One process at a time in a state folder; the kernel lets go of it when the process dies."""

    def __init__(self, state_dir: Path):
        """Raises MountError when another process has it, or another user had or has a hand in the folder."""
        check_folder(state_dir)
        self._fd = open_file(state_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT)
        if not lock_exclusively(self._fd):
            holder = pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise MountError(
                f"the cache directory {state_dir} is in use by another s3mount (process {holder or 'unknown'}): "
                "unmount that one first, wait until it has drained, or give another --cache-dir"
            )
        os.ftruncate(self._fd, 0)
        pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._fd)


class Drive:
    """A running drive. `filesystem` is what a binding serves, `writeback` what drain and status ask."""

    def __init__(self, store: ObjectStore, state_dir: Path, options: DriveOptions, *, stamps: Clock | None = None):
        """Ready at once, whatever is owed. The store stays the caller's to close. `stamps` is the clock that file
        times are taken from. Raises MountError when the state folder cannot be used."""
        clock = SystemClock()
        self.store = store
        self.concurrency = options.concurrency
        self._lock = StateLock(state_dir)
        self._closing = threading.Lock()
        self._is_closed = False
        self._has_ended = True
        try:
            self.index = self._open_index(state_dir / INDEX_NAME, options, clock)
        except BaseException:
            self._lock.release()
            raise
        defaults = options.defaults
        handles, guard, departed = Handles(), WriteGuard(), Departed()
        self.locks = locks = InodeLocks()
        self.cache = self._open_cache(state_dir / CACHE_NAME, options.cache_limit_bytes, clock, handles)
        observer = ForeignChanges(self.index, self.cache, handles, locks, defaults, clock, departed)
        self._attributes = AttributeReader(store, self.index, observer=observer)
        self.lister = Lister(store, self.index, guard, defaults, clock, ttl_s=options.metadata_ttl_s, observer=observer)
        self.writeback = WriteBack(
            WriteBackContext(
                store=store,
                index=self.index,
                cache=self.cache,
                locks=locks,
                guard=guard,
                lister=self.lister,
                attributes=self._attributes,
                observer=observer,
                clock=clock,
                conditions=Conditions(store, self.index),
                concurrency=options.concurrency,
            ),
            may_probe=options.may_probe,
            delay_s=options.write_back_delay_s,
            is_open_for_write=handles.is_open_for_write,
        )
        self._prefetch = Prefetch(
            self.index, self.cache, self._attributes, locks, clock, bytes_max=options.prefetch_bytes
        )
        self._archived, self._discards = ArchivedFiles(), Discards(self.index, self.cache)
        self._late_opens = LateOpens(handles, clock)
        self.filesystem = FileSystem(
            VfsContext(
                index=self.index,
                cache=self.cache,
                lister=self.lister,
                attributes=self._attributes,
                handles=handles,
                locks=locks,
                writeback=self.writeback,
                clock=stamps or clock,
                properties=store.properties,
                options=options.vfs,
                discards=self._discards,
                archived=self._archived,
                departed=departed,
                late_opens=self._late_opens,
                foreign=observer,
                prefetch=self._prefetch,
            )
        )
        if not options.vfs.keeps_junk:
            self.index.inodes.release_local(clock.now_ns())
        self.writeback.start()

    def _open_index(self, path: Path, options: DriveOptions, clock: Clock) -> Index:
        index, defaults = Index(path, clock), options.defaults
        index.bind(options.source)
        index.ensure_root(
            defaults.dir_mode, defaults.uid, defaults.gid, clock.now_ns(), has_key=self.store.properties.has_root_key
        )
        return index

    def _open_cache(self, folder: Path, limit_bytes: int, clock: Clock, handles: Handles) -> FileCache:
        return FileCache(
            folder,
            store=self.store,
            entries=self.index.cache_entries,
            limit_bytes=limit_bytes,
            clock=clock,
            is_evictable=self._is_evictable,
            on_pressure=lambda: self.writeback.hurry(),
            is_changing=handles.is_open_for_write,
        )

    def _is_evictable(self, ino: Ino) -> bool:
        inode = self.index.inodes.find(ino)
        return inode is None or not inode.content_owed

    def archived(self) -> list[Left]:
        """Files whose bytes S3 refuses to give until their objects are restored."""
        found: list[Left] = []
        for refused in self._archived.all():
            inode = self.index.inodes.find(refused.ino)
            key = None if inode is None else self.index.dentries.path_key(inode)
            if inode is not None and key is not None and inode.remote_etag == refused.etag:
                found.append(Left(f"/{key}", refused.cause, refused.since_ns))
        return found

    def drain(self, deadline_s: float | None, on_progress: Callable[[Backlog], None]) -> list[Left]:
        """WriteBack.drain, of what is held for late opens too."""
        self._late_opens.let_go()
        return self.writeback.drain(deadline_s, on_progress)

    def close(self, deadline_s: float = CLOSE_DEADLINE_S) -> bool:
        """Stop, with everything acknowledged on record. What is owed is taken up by the next drive over this folder.

        Requests in flight are waited for until the deadline. False: some still are, and their threads with them."""
        with self._closing:
            if self._is_closed:
                return self._has_ended
            self._is_closed = True
        deadline = time.monotonic() + deadline_s
        has_ended = self.writeback.stop(deadline_s)
        has_ended &= self._late_opens.close(deadline - time.monotonic())
        has_ended &= self.lister.close(deadline - time.monotonic())
        has_ended &= self._prefetch.close(deadline - time.monotonic())
        has_ended &= self._attributes.close(deadline - time.monotonic())
        for ino in self.index.inodes.staged():
            self.cache.save(ino, partial(self.index.inodes.flush, ino))
        # Where that fails, the next mount gives the bytes up.
        with contextlib.suppress(FsError):
            self._discards.commit()
        has_ended &= self.cache.close(deadline - time.monotonic())
        self.index.close()
        self._lock.release()
        self._has_ended = has_ended
        return has_ended
