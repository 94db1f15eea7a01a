"""The block files in memory, one per inode: loaded from their rows on demand, and let go when there are too many.

Called by FileCache, the fetcher and the evictor, from any thread. Lock order: a block file's lock, then the table's,
which is a leaf. A block file that was let go is retired; `locked` never hands one out.
"""

import heapq
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from s3mount.cache.blockfile import BlockFile
from s3mount.cache.extents import Extents
from s3mount.cache.ground import Ground
from s3mount.cache.holes import Holes
from s3mount.cache.seals import Seals
from s3mount.cache.trust import TAG_BYTES
from s3mount.errors import IOFailure
from s3mount.model import Ino

log = logging.getLogger(__name__)

FILES_MAX = 4096


class BlockFiles:
    def __init__(self, ground: Ground, is_evictable: Callable[[Ino], bool], *, files_max: int = FILES_MAX):
        self._ground = ground
        self._is_evictable = is_evictable
        self._files_max = files_max
        self._lock = threading.Lock()
        self._files: dict[Ino, BlockFile] = {}
        self._departures = 0

    def __contains__(self, ino: Ino) -> bool:
        return ino in self._files

    def snapshot(self) -> list[BlockFile]:
        with self._lock:
            return list(self._files.values())

    def get(self, ino: Ino) -> BlockFile:
        """The inode's block file, perhaps retired since: check under its lock, or use `locked`."""
        file = self._files.get(ino)
        while file is None:
            departures = self._departures
            loaded = self._load(ino)
            with self._lock:
                file = self._files.get(ino)
                # A file that left meanwhile may have saved a newer row than the one just loaded.
                if file is None and departures == self._departures:
                    file = self._files[ino] = loaded
                    self._account(loaded)
        return file

    @contextmanager
    def locked(self, ino: Ino) -> Iterator[BlockFile]:
        """The inode's block file with its lock held. Enter with no other block file's lock held."""
        if len(self._files) > self._files_max:
            self._let_go()
        while True:
            file = self.get(ino)
            with file.lock:
                if not file.is_retired:
                    yield file
                    return

    def discard(self, ino: Ino) -> None:
        """Forget the inode's content on disk and in memory."""
        with self.locked(ino) as file:
            try:
                file.discard_locked()
            finally:
                file.is_retired = True
                self._depart(file)

    def _depart(self, file: BlockFile) -> None:
        with self._lock:
            del self._files[file.ino]
            self._departures += 1

    def _let_go(self) -> None:
        """Retire an eighth of the files, the longest unused first; those in use stay."""
        for file in heapq.nsmallest(self._files_max // 8 + 1, self.snapshot(), key=lambda file: file.used_ns):
            if file.lock.acquire(blocking=False):
                try:
                    if file.retire_locked():
                        self._depart(file)
                finally:
                    file.lock.release()

    def _load(self, ino: Ino) -> BlockFile:
        row = self._ground.entries.load(ino)
        if row is None:
            return BlockFile(ino, self._ground, Extents(), Extents(), Holes(), Seals({}), is_saved=True, length=0)
        try:
            is_trusted = row.present[:TAG_BYTES] == self._ground.tag
            present, dirty = Extents.unpack(row.present[TAG_BYTES:]), Extents.unpack(row.dirty)
            holes = Holes(Holes.unpack(row.holes) if self._ground.disk.can_punch else ())
            length = self._ground.disk.length(ino) or 0
        except ValueError as error:
            raise IOFailure(f"the index row for the cached bytes of inode {ino} is damaged: {error}") from error
        except OSError as error:
            raise IOFailure(f"cannot read the cache file of inode {ino}: {error}") from error
        was_dirty, claimed = bool(dirty), present.total
        if was_dirty and self._is_evictable(ino):
            dirty.clear()  # the upload was committed, the process died before the row followed
        if not is_trusted:
            present = present.intersection(dirty)
        for start, end in present.within(length, present.end):
            for piece in dirty.missing(start, end):
                present.remove(*piece)
        for start, end in holes.copy():
            for piece in present.missing(start, end):
                holes.fill(*piece)
        is_saved = present.total == claimed and was_dirty == bool(dirty)
        if present.total != claimed:
            log.info("inode %d: %d cached bytes are fetched again when needed", ino, claimed - present.total)
        tag = self._ground.tag
        rows = self._ground.entries.load_seals(ino) if is_trusted else ()
        seals = Seals({number: packed[TAG_BYTES:] for number, packed in rows if packed[:TAG_BYTES] == tag})
        file = BlockFile(ino, self._ground, present, dirty, holes, seals, is_saved=is_saved, length=length)
        file.claimed_bytes = row.present_size
        return file

    def _account(self, file: BlockFile) -> None:
        """The budget counted what the rows claim."""
        self._ground.budget.freed(file.claimed_bytes - file.room_bytes)
        self._ground.sparse.note(file.ino, file.holes.total)
