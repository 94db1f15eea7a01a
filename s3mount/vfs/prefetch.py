"""Fetches small files of a directory that is read in order before they are opened: bytes and metadata in one GET each.

Told by directories.py what is listed and by fileio.py what is opened; tours.py decides. Requests run on threads of its
own; whoever needs the same file meanwhile waits for that request and sends none. Nothing is evicted from a cache that
has no room, and a failure is nobody's: who reads the file asks again.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from s3mount.cache.filecache import FileCache
from s3mount.clock import Clock
from s3mount.ending import end_pool
from s3mount.errors import FsError, Missing, StoreError
from s3mount.index.index import Index
from s3mount.locks import InodeLocks
from s3mount.model import Ino, Inode, ObjectInfo
from s3mount.remote.attributes import AttributeReader
from s3mount.vfs.tours import Tours

log = logging.getLogger(__name__)

THREADS = 8
# No more of the cache than this share is filled with what nobody has asked for.
CACHE_SHARE = 8


class Prefetch:
    def __init__(
        self,
        index: Index,
        cache: FileCache,
        attributes: AttributeReader,
        locks: InodeLocks,
        clock: Clock,
        *,
        bytes_max: int,
    ) -> None:
        """`bytes_max`: of what is fetched and was not opened yet; 0 to fetch nothing."""
        self._index = index
        self._cache = cache
        self._attributes = attributes
        self._locks = locks
        self._clock = clock
        self._tours = Tours(min(bytes_max, cache.limit_bytes // CACHE_SHARE))
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="prefetch")

    @property
    def is_on(self) -> bool:
        return self._tours.bytes_max > 0

    @property
    def is_reading(self) -> bool:
        """Whether files were opened to be read lately."""
        return self._tours.is_open_lately(self._clock.monotonic_s())

    def listed(self, directory: Ino, files: Sequence[tuple[Ino, int]], *, is_start: bool) -> set[Ino]:
        """`directory` was listed and has these files, in this order, each with its size, or they come after those told
        before. Returns those that are being fetched now, whose metadata comes with their bytes."""
        if not self.is_on:
            return set()
        return self._begin(self._tours.listed(directory, files, self._clock.monotonic_s(), is_start=is_start))

    def opened(self, ino: Ino) -> None:
        """The file is opened to be read."""
        if not self.is_on:
            return
        place = self._index.dentries.place(ino)
        if place is not None:
            self._begin(self._tours.opened(place[0], ino, self._clock.monotonic_s()))

    def _begin(self, inos: Sequence[Ino]) -> set[Ino]:
        try:
            for ino in inos:
                self._pool.submit(self._fetch, ino)
        except RuntimeError:
            return set()  # the drive is being closed
        return set(inos)

    def _fetch(self, ino: Ino) -> None:
        try:
            inode = self._index.inodes.find(ino)
            if inode is None:
                return
            if inode.metadata_known:
                self._ask(inode)
            else:
                self._attributes.ensure(ino, self._ask)
            self._discard_if_another(ino)
        except (StoreError, FsError) as error:
            log.debug("prefetch of ino %d failed: %s", ino, error)
        except Exception:
            log.exception("prefetch of ino %d failed", ino)

    def _ask(self, inode: Inode) -> ObjectInfo | None:
        """What its object's GET says, with its bytes in the cache; None when HEAD is to say it. Raises StoreError."""
        with self._locks.of(inode.ino):
            # Under the inode lock, so that no local change comes between the look and the beginning of the request.
            now = self._index.inodes.find(inode.ino)
            if now is None or now.remote is None or now.remote != inode.remote or now.content_owed:
                return None
            if not now.is_file or now.link_of is not None:
                return None
            finish = self._cache.begin_whole(now.ino, now.remote)
        if finish is None:
            return None
        try:
            return finish()
        except Missing:
            raise
        except StoreError as error:
            if error.temporary:
                raise
            return None  # another version by now, or archived: HEAD tells more

    def _discard_if_another(self, ino: Ino) -> None:
        """Its metadata may have shown that it is one more name of another file, whose bytes are cached under that; or
        it was removed meanwhile."""
        with self._locks.of(ino):
            now = self._index.inodes.find(ino)
            if now is None or now.link_of is not None:
                self._cache.discard(ino)

    def close(self, deadline_s: float) -> bool:
        """False when requests are still under way after the deadline."""
        return end_pool(self._pool, deadline_s)
