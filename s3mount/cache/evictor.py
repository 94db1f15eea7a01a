"""Makes room: drops clean bytes of the files that were used longest ago.

Called by FileCache.reserve and by the fetcher's threads, with no lock held. One thread evicts at a time; the others
wait for it, because they need what it frees. Never touches a dirty byte, a file that is_evictable refuses, or, of a
file with requests under way, anything but what lies behind its reader.

Order per batch (blockfile.py has the crash table): rows without the bytes, the index made durable, then the holes.
The middle step is for power loss: an older row that calls those bytes dirty must not outlive them.
"""

import heapq
import logging
import threading
from collections.abc import Callable, Iterator

from s3mount.cache.ground import Ground
from s3mount.cache.shedding import give_back_locked, shrink_locked
from s3mount.cache.table import BlockFiles
from s3mount.errors import S3mountError
from s3mount.model import Ino

log = logging.getLogger(__name__)

BATCH_BYTES_MAX = 64 << 20
BATCH_SHARE = 32
ROWS_AT_ONCE = 256


class Evictor:
    def __init__(
        self,
        ground: Ground,
        files: BlockFiles,
        is_evictable: Callable[[Ino], bool],
        is_changing: Callable[[Ino], bool],
    ):
        self._ground = ground
        self._files = files
        self._is_evictable = is_evictable
        self._is_changing = is_changing
        self._turn = threading.Lock()
        self._barren_at: int | None = None

    def evict(self, wanted: int) -> int:
        """Free at least the bytes that `wanted` more would lack, or as many as there are; returns how many this call
        freed. Raises nothing but what the index raises."""
        budget = self._ground.budget
        with self._turn:
            shortage = budget.shortage(wanted)
            if shortage == 0:
                return 0
            batch = max(shortage, min(budget.limit_bytes // BATCH_SHARE, BATCH_BYTES_MAX))
            clean_news = budget.clean_news
            freed = self._evict_batch(batch)
            self._barren_at = None if freed else clean_news
            return freed

    @property
    def is_barren(self) -> bool:
        """The last search found nothing, and nothing became clean since: not worth another for a mere fetch."""
        return self._barren_at == self._ground.budget.clean_news

    def _evict_batch(self, wanted: int) -> int:
        taken: list[tuple[Ino, list[tuple[int, int]]]] = []
        left = wanted
        for ino in self._candidates():
            if left <= 0:
                break
            if not self._is_evictable(ino):
                continue
            try:
                with self._files.locked(ino) as file:
                    # With its next change nothing of it can be evicted until all of it was uploaded once more: each
                    # time a copy of the whole object, so not for the room of a few writes.
                    extents = shrink_locked(file, file.room_bytes if self._is_changing(ino) else left)
            except S3mountError as error:
                log.warning("cannot evict inode %d: %s", ino, error)
                continue
            if extents:
                taken.append((ino, extents))
                left -= sum(end - start for start, end in extents)
        if taken:
            self._ground.entries.commit_durably()
        for ino, extents in taken:
            self._give_back(ino, extents)
        return wanted - left

    def _give_back(self, ino: Ino, extents: list[tuple[int, int]]) -> None:
        try:
            with self._files.locked(ino) as file:
                give_back_locked(file, extents)
        except FileNotFoundError:
            pass  # another change removed the whole file: the space is free already
        except (OSError, S3mountError) as error:
            log.warning("cannot free the space of evicted bytes of inode %d: %s", ino, error)
        self._ground.budget.freed(sum(end - start for start, end in extents))

    def _candidates(self) -> Iterator[Ino]:
        """Longest unused first, files without requests under way before those with. Files are let go of memory in
        order of use, so one that only has a row was used before those in memory."""
        files = self._files.snapshot()
        in_memory = {file.ino for file in files}
        for ino in self._ground.entries.least_recently_used(len(in_memory) + ROWS_AT_ONCE):
            if ino not in in_memory:
                yield ino
        heap = [(bool(file.flights), file.used_ns, file.ino) for file in files if file.room_bytes]
        heapq.heapify(heap)
        while heap:
            yield heapq.heappop(heap)[2]
