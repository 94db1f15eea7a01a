"""The bytes of files on the local disk: what is present, what is dirty, how it gets here and when it goes.

The one class of this folder that vfs, writeback and the composition root use, from any thread. Callers may hold an
inode lock except in `read`, `load` and `reserve`, which wait for the store or for room: those want no lock held.
Knows nothing of names, uploads or conflicts. The caller serialises changes to one file, and calls discard when the
object was replaced by someone else, before the index names the new version.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from s3mount.cache import trust
from s3mount.cache.blockfile import BlockFile
from s3mount.cache.budget import Budget, Reservation
from s3mount.cache.damage import DamageCount, check_locked, damaged_locked, drop_locked, require_whole_locked
from s3mount.cache.disk import Buffer, Disk, LocalDisk, disk_failure
from s3mount.cache.entries import CacheEntries
from s3mount.cache.evictor import Evictor
from s3mount.cache.extents import Extents
from s3mount.cache.fetcher import CLOSE_DEADLINE_S, Fetcher, Piece
from s3mount.cache.ground import Ground
from s3mount.cache.holes import Holes, SparseFiles
from s3mount.cache.open_files import OpenFiles
from s3mount.cache.table import BlockFiles
from s3mount.clock import Clock
from s3mount.errors import IOFailure, NoSpace
from s3mount.model import Ino, ObjectInfo, RemoteObject, Seek
from s3mount.store.base import ObjectStore

log = logging.getLogger(__name__)

# How long a writer waits for news before it asks again whether something became evictable.
PRESSURE_INTERVAL_S = 0.2
LOAD_BLOCKS_AT_ONCE = 4
LOAD_ATTEMPTS_MAX = 3


class FileCache:
    def __init__(
        self,
        directory: Path,
        *,
        store: ObjectStore,
        entries: CacheEntries,
        limit_bytes: int,
        clock: Clock,
        is_evictable: Callable[[Ino], bool],
        on_pressure: Callable[[], None],
        is_changing: Callable[[Ino], bool] = lambda ino: False,
        disk: Disk | None = None,
    ):
        """Use `directory`, made if need be; the caller makes sure that no other process does.

        `is_evictable` says that the bucket has everything of the inode's content (nothing of it is owed); called with
        no lock of the cache's held, but perhaps with the caller's inode lock. `on_pressure` asks for uploads, soon:
        somebody waits for room. `is_changing` says that the inode may soon be owed again. Raises IOFailure when the
        directory cannot be used.
        """
        try:
            disk = disk or LocalDisk(directory)
            tag = trust.begin(disk)
        except OSError as error:
            raise IOFailure(f"the cache directory {directory} cannot be used: {error.strerror or error}") from error
        self._disk = disk
        self._clock = clock
        self._on_pressure = on_pressure
        self._budget = Budget(limit_bytes, entries.total_bytes())
        self._ground = Ground(disk, entries, self._budget, clock, OpenFiles(), tag, SparseFiles(entries.holes()))
        self._files = BlockFiles(self._ground, is_evictable)
        self._evictor = Evictor(self._ground, self._files, is_evictable, is_changing)
        self._damage = DamageCount()
        self._fetcher = Fetcher(self._ground, store, self._evictor)

    @property
    def used_bytes(self) -> int:
        """Bytes present over all files."""
        return self._budget.used_bytes

    @property
    def limit_bytes(self) -> int:
        return self._budget.limit_bytes

    @property
    def damaged(self) -> int:
        """How many cached ranges were found damaged on disk since the start."""
        return self._damage.total

    def find_damage(self, ino: Ino) -> list[tuple[int, int, bool]]:
        """What is damaged of the inode's cached bytes, each as (start, end, is dirty). Reads all of them."""
        with self._files.locked(ino) as file:
            return damaged_locked(file)

    def drop_damage(self, ino: Ino) -> None:
        """Forget the clean bytes that are damaged; dirty ones stay. Survives kill -9 on return."""
        with self._files.locked(ino) as file:
            for start, end, is_dirty in damaged_locked(file):
                if not is_dirty:
                    drop_locked(file, start, end)

    def has_file(self, ino: Ino) -> bool:
        """Whether the inode's block file is there."""
        try:
            return self._disk.length(ino) is not None
        except OSError as error:
            raise IOFailure(f"cannot look at the cache file of inode {ino}: {error.strerror or error}") from error

    def files_without_rows(self) -> list[Ino]:
        """Block files on disk that no row speaks of, and that are not in use."""
        try:
            inos = [ino for ino in self._disk.list() if ino not in self._files]
        except OSError as error:
            raise IOFailure(f"cannot list the cache directory: {error.strerror or error}") from error
        return [ino for ino in inos if self._ground.entries.load(ino) is None and ino not in self._files]

    @property
    def tag(self) -> str:
        """Another one than the last run's when power may have been lost since: what was not synced may be gone."""
        return self._ground.tag.hex()

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self, ino: Ino, remote: RemoteObject | None, *, start: int, end: int, for_upload: bool = False) -> bytes:
        """The bytes [start, end), which lie inside the file: those missing are fetched from `remote`, and all are as
        they were at one moment within the call. Raises StoreError from the fetch (PreconditionFailed, Missing:
        `remote` is outdated), Damaged and IOFailure. Bytes that were damaged on disk are fetched again; `for_upload`
        looks for damage once more in what was checked before."""
        if start >= end:
            return b""
        file = self._files.get(ino)
        with file.lock:
            if not file.is_retired and not for_upload and self._is_here_locked(file, start, end):
                file.used_ns = self._clock.now_ns()
                ahead = file.ahead
                ahead.position = end
                if end > ahead.trigger and remote is not None:
                    self._fetcher.read_ahead_locked(file, remote)
                return file.read_locked(start, end)
        with self._files.locked(ino) as file:
            file.used_ns = self._clock.now_ns()
            check_locked(file, start, end, self._damage, again=for_upload)
            pieces = self._fetcher.gather_locked(file, remote, start, end)
            if end > file.ahead.trigger and remote is not None:
                self._fetcher.read_ahead_locked(file, remote)
        return self._fetcher.resolve(pieces)

    def _is_here_locked(self, file: BlockFile, start: int, end: int) -> bool:
        if file.seals.unverified(start, end):
            check_locked(file, start, end, self._damage)
        return file.present.covers(start, end)

    def load(self, ino: Ino, remote: RemoteObject | None, size: int) -> None:
        """Make [0, size) present, or as much of it as the file still has, out of the calling thread's reservation if it
        has one. Raises StoreError from the fetch, NoSpace when the cache cannot hold it, Damaged, IOFailure. What was
        present is checked for damage."""
        with self._files.locked(ino) as file:
            check_locked(file, 0, size, self._damage, again=True)
        room = self._budget.current()
        fetched = min(size, remote.size) if remote is not None else 0
        for _ in range(LOAD_ATTEMPTS_MAX):
            if remote is not None:
                self._load_blocks(ino, remote, fetched, room)
            with self._files.locked(ino) as file:
                file.used_ns = self._clock.now_ns()
                end = file.end_locked(size)
                if fetched < end and not file.present.covers(fetched, end):
                    log.error("inode %d: bytes of [%d, %d) are nowhere, taken as zeros", ino, fetched, end)
                    file.fill_zeros_locked(fetched, end)
                if file.present.covers(0, end):
                    return
        raise NoSpace(f"the cache has no room for the {size} bytes of inode {ino}")

    def begin_whole(self, ino: Ino, remote: RemoteObject) -> Callable[[], ObjectInfo] | None:
        """One request for all of a small object of which nothing is here, made by calling what is returned: it tells
        what the reply says of the object, raises StoreError, and must be called. None when some of it is here or on
        its way, or there is no room."""
        with self._files.locked(ino) as file:
            file.used_ns = self._clock.now_ns()
            flight = self._fetcher.begin_whole_locked(file, remote)
        return None if flight is None else lambda: self._fetcher.finish_whole(file, remote, flight)

    def _load_blocks(self, ino: Ino, remote: RemoteObject, size: int, room: Reservation | None) -> None:
        block = self._fetcher.block_bytes
        under_way: deque[list[Piece]] = deque()
        for start in range(0, size, block):
            with self._files.locked(ino) as file:
                end = file.end_locked(min(start + block, size))
                under_way.append(self._fetcher.load_locked(file, remote, start, end, room))
            if len(under_way) == LOAD_BLOCKS_AT_ONCE:
                self._fetcher.resolve(under_way.popleft())
        for pieces in under_way:
            self._fetcher.resolve(pieces)

    # -- room ----------------------------------------------------------------------------------------------------

    def reserve(self, size: int, deadline_s: float) -> Reservation:
        """Room for `size` more present bytes, for what the calling thread adds inside `with`. Evicts, then asks for
        uploads and waits as long as they free something. Raises NoSpace when nothing came free for `deadline_s`
        seconds, or at once when the whole cache is smaller."""
        reservation = self._budget.try_reserve(size)
        if reservation is not None:
            return reservation
        if size > self.limit_bytes:
            raise NoSpace(f"the cache is limited to {self.limit_bytes} bytes; {size} were asked for at once")
        waits_since = self._clock.monotonic_s()
        freed_total = self._budget.freed_total
        while True:
            seen = self._budget.news()
            self._evictor.evict(size)
            reservation = self._budget.try_reserve(size)
            if reservation is not None:
                return reservation
            now = self._clock.monotonic_s()
            if self._budget.freed_total != freed_total:
                freed_total, waits_since = self._budget.freed_total, now
            if now - waits_since >= deadline_s:
                raise NoSpace(f"the cache is full of data not yet in the bucket; no progress for {deadline_s:.0f} s")
            self._on_pressure()
            self._budget.wait(seen, min(PRESSURE_INTERVAL_S, deadline_s))

    def zeros_room(self, start: int, end: int) -> int:
        """How much room to reserve for zeros in [start, end): for what is no hole, where the disk has holes."""
        if start >= end:
            return 0
        holes = Holes()
        if self._disk.can_punch:
            holes.dig(start, end)
        return end - start - holes.total

    # -- changing ------------------------------------------------------------------------------------------------

    def write(self, ino: Ino, offset: int, data: Buffer) -> None:
        """Put `data` at `offset`: present and dirty; survives kill -9 after save, power loss after sync and save.
        Uses the calling thread's reservation. Raises NoSpace or IOFailure; bytes that were present may be partly
        overwritten then, and count as dirty."""
        if not len(data):
            return
        view = data if isinstance(data, bytes | bytearray) else memoryview(data).cast("B")
        with self._files.locked(ino) as file:
            file.used_ns = self._clock.now_ns()
            require_whole_locked(file, 0, offset)
            file.write_locked(offset, view)

    def resize(self, ino: Ino, old_size: int, new_size: int) -> None:
        """The file's size changes: a cut tail is forgotten, a new one is a hole, present and dirty. Crash order: a
        smaller size is in the index before this call, a larger one after this and save. Raises NoSpace, IOFailure."""
        if new_size == old_size:
            return
        with self._files.locked(ino) as file:
            file.used_ns = self._clock.now_ns()
            if new_size > old_size:
                require_whole_locked(file, 0, old_size)
            file.resize_locked(old_size, new_size)

    def punch(self, ino: Ino, start: int, end: int) -> None:
        """[start, end), which lies inside the file, becomes zeros: present, dirty, and without taking room where the
        disk can do that. As write in all else."""
        with self._files.locked(ino) as file:
            file.used_ns = self._clock.now_ns()
            require_whole_locked(file, 0, start)
            file.punch_locked(start, end)

    def allocate(self, ino: Ino, start: int, end: int) -> None:
        """Holes in [start, end) take their room, on disk too: out of the calling thread's reservation. Raises NoSpace,
        IOFailure."""
        with self._files.locked(ino) as file:
            file.allocate_locked(start, end)

    def hole_bytes(self, ino: Ino) -> int:
        """How much of the file is holes, known here and taking no room. Costs nothing."""
        return self._ground.sparse.hole_bytes(ino)

    def seek(self, ino: Ino, offset: int, size: int, wanted: Seek) -> int | None:
        """Holes.seek in a file of `size`; what only the bucket has is data."""
        if not self.hole_bytes(ino):
            return Holes().seek(offset, size, wanted)
        with self._files.locked(ino) as file:
            return file.holes.seek(offset, size, wanted)

    def dirty_extents(self, ino: Ino) -> Extents:
        """A copy of what local edits changed since mark_clean."""
        with self._files.locked(ino) as file:
            return file.dirty.copy()

    def mark_clean(self, ino: Ino, along: Callable[[], None] | None = None) -> None:
        """The bucket has the content as it is here. In the index this is committed before, and believed until the row
        follows here; or `along` says so to the index, in the transaction of the row."""
        with self._files.locked(ino) as file:
            file.mark_clean_locked(along)
        self._budget.tell()

    def mark_all_dirty(self, ino: Ino, size: int) -> None:
        """Nothing of [0, size) can be copied from the bucket. Survives kill -9 on return."""
        with self._files.locked(ino) as file:
            file.mark_all_dirty_locked(size)

    def sync(self, ino: Ino) -> None:
        """The file's bytes survive power loss on return; the row needs save and the index's durable commit after.
        Raises NoSpace, IOFailure."""
        with self._files.locked(ino) as file:
            names = file.lazy.unsynced_names
        try:
            # Without a file, the name that it had must not come back either, under what is written next.
            with contextlib.suppress(FileNotFoundError):
                disk_file = self._disk.open(ino, create=False)
                try:
                    disk_file.fdatasync()
                finally:
                    disk_file.close()
            if names:
                self._disk.fsync_directory(ino)
        except OSError as error:
            raise disk_failure("sync", ino, error) from error
        if names:
            with self._files.locked(ino) as file:
                file.lazy.name_synced(names)

    def save(self, ino: Ino, along: Callable[[], None] | None = None) -> None:
        """What is present and dirty survives kill -9 on return, and so does what `along` changes in the index, in the
        same transaction. Free when nothing changed since the last save."""
        with self._files.locked(ino) as file:
            file.save_locked(along)

    def discard(self, ino: Ino) -> None:
        """Forget the inode's content, present and dirty, and what is being fetched of it. Raises IOFailure."""
        self._files.discard(ino)

    def is_in_use(self, ino: Ino) -> bool:
        """Whether there is more to know of this inode's bytes than its row says."""
        return ino in self._files

    def has_any_of(self, ino: Ino) -> bool:
        """Whether any bytes of this inode are kept, or on their way."""
        return ino in self._files or self._ground.entries.load(ino) is not None

    def present_bytes(self, ino: Ino) -> int:
        with self._files.locked(ino) as file:
            return file.present.total

    # -- life ----------------------------------------------------------------------------------------------------

    def sweep(self, known: Callable[[Ino], bool]) -> int:
        """At start-up: remove the files of inodes that the index does not know, and files that no row speaks of, once
        that survives power loss: what brings back the row must find the bytes. Returns how many were removed. Raises
        NoSpace, IOFailure."""
        removed = 0
        try:
            inos = self._disk.list()
            while batch := list(islice(inos, 1024)):
                strays = [ino for ino in batch if self._is_stray(ino, known)]
                if strays:
                    self._ground.entries.commit_durably()
                for ino in strays:
                    if ino in self._files:
                        continue
                    if known(ino):
                        self._disk.unlink(ino)
                    else:
                        self._files.discard(ino)
                    removed += 1
        except OSError as error:
            raise IOFailure(f"cannot sweep the cache directory: {error.strerror or error}") from error
        return removed

    def _is_stray(self, ino: Ino, known: Callable[[Ino], bool]) -> bool:
        return ino not in self._files and (not known(ino) or self._ground.entries.load(ino) is None)

    def close(self, deadline_s: float = CLOSE_DEADLINE_S) -> bool:
        """Stop fetching and save every row. Nothing may be called after; the index is closed after this. A failure
        costs only cached bytes and is logged. False when fetches are still under way after the deadline."""
        has_ended = self._fetcher.close(deadline_s)
        is_complete = True
        for file in self._files.snapshot():
            with file.lock:
                is_complete &= file.is_retired or file.retire_locked()
        try:
            if is_complete:
                trust.end(self._disk, self._ground.tag)
        except OSError as error:
            log.warning("the cache directory could not be synced: %s", error)
        return has_ended
