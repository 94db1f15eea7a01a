"""Keeps directories as fresh as promised: lists one when its time to live has passed, and merges the pages.

Called by vfs before it looks into a directory, and by writeback before it moves one. Never under a lock.
"""

import logging
import threading
from collections.abc import Callable

from cachetools import LRUCache

from s3mount.clock import Clock
from s3mount.errors import StoreError
from s3mount.index.index import Index
from s3mount.model import Ino, Inode, ObjectKey
from s3mount.remote.defaults import Defaults
from s3mount.remote.flights import Flights
from s3mount.remote.followed import FollowedWalk
from s3mount.remote.guard import WriteGuard
from s3mount.remote.merge import DirectoryMerge
from s3mount.remote.observer import ForeignObserver
from s3mount.remote.walk import Walk, WalkContext
from s3mount.remote.walks import Walks
from s3mount.store.base import ObjectStore

log = logging.getLogger(__name__)

FRESH_DIRECTORIES_MAX = 100_000
# Offline, the index answers for every directory that was listed before; this often S3 is asked whether it is back.
PROBE_S = 5.0
# Of a large directory the listing takes longer than the time to live: no more than a tenth of the time is for that.
LARGE_PAGES_MIN = 30
FRESH_TIMES = 10
PAGE_S_MAX = 0.5


class Lister:
    def __init__(
        self,
        store: ObjectStore,
        index: Index,
        guard: WriteGuard,
        defaults: Defaults,
        clock: Clock,
        *,
        ttl_s: float,
        observer: ForeignObserver,
    ):
        self._store = store
        self._index = index
        self._guard = guard
        self._defaults = defaults
        self._clock = clock
        self._ttl_s = ttl_s
        self._observer = observer
        self._flights = Flights()
        self._walks = Walks(WalkContext(store, index, guard, defaults, clock, observer, self), ttl_s=ttl_s)
        self._lock = threading.Lock()
        self._fresh_until_s: LRUCache[Ino, float] = LRUCache(FRESH_DIRECTORIES_MAX)
        self._is_offline = False
        self._probe_at_s = 0.0

    def mark_fresh(self, ino: Ino) -> None:
        """The index knows all of this directory (it was just made here)."""
        self._set_fresh(ino, self._ttl_s)

    def invalidate(self, ino: Ino) -> None:
        self._walks.spoil(ino)
        self._set_fresh(ino, 0.0)

    def _set_fresh(self, ino: Ino, for_s: float) -> None:
        with self._lock:
            self._fresh_until_s[ino] = self._clock.monotonic_s() + for_s

    def ensure_fresh(self, ino: Ino) -> None:
        """Return when the index is not older than the time to live for this directory's names.

        A store that cannot be reached is no error for a directory that was listed before: the index answers, at once
        when it is known that S3 is away.
        Raises StoreError otherwise."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            is_fresh = self._fresh_until_s.get(ino, 0.0) > now_s
            is_offline = self._is_offline
        if is_fresh:
            self._walks.asked_again(ino)
            return
        directory = self._index.inodes.find(ino)
        if directory is None:
            return
        if not directory.is_listed:
            self._refresh(directory)
        elif is_offline:
            self._probe(ino)
        else:
            try:
                self._refresh(directory)
            except TimeoutError:
                log.warning("listing of ino %d takes long, the index answers", ino)

    def _refresh(self, directory: Inode) -> None:
        if not self._walks.serve(directory):
            self._flights.run(directory.ino, lambda: self._list(directory.ino))

    def _probe(self, ino: Ino) -> None:
        """List it in the background, if nobody did so a moment ago."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            if self._probe_at_s > now_s:
                return
            self._probe_at_s = now_s + PROBE_S
        threading.Thread(target=self._list_quietly, args=(ino,), name="offline-probe", daemon=True).start()

    def _list_quietly(self, ino: Ino) -> None:
        try:
            self._flights.run(ino, lambda: self._list(ino))
        except Exception as error:  # noqa: BLE001 - nobody waits for it, and the drive may be closed by now
            log.debug("the probe of ino %d failed: %s", ino, error)

    def ensure_listed(self, ino: Ino) -> None:
        """Return when every child the bucket has is in the index, however long ago that was learnt. Whoever asks goes
        on to the directories below: what is not known of them is listed ahead."""
        directory = self._index.inodes.find(ino)
        if directory is not None and not directory.is_listed:
            self._refresh(directory)
            self._walks.begin_below(directory)

    def relist(self, ino: Ino, on_page: Callable[[], None]) -> None:
        """Return when the index has what the bucket had at some moment after the call. `on_page` is called after each
        page, and may end it by raising. Raises StoreError."""
        self.invalidate(ino)
        while not self._flights.run(ino, lambda: self._list(ino, on_page, may_be_offline=False)):
            pass

    def followed(self, root: Inode) -> FollowedWalk:
        """For one who relists everything below `root`; to be ended."""
        return FollowedWalk(self._walks, root.remote_key)

    def _list(self, ino: Ino, on_page: Callable[[], None] = lambda: None, *, may_be_offline: bool = True) -> None:
        directory = self._index.inodes.find(ino)
        if directory is None or directory.remote_key is None:
            return
        self._walks.spoil(ino)
        with self._lock:
            fresh_until_s = self._fresh_until_s.get(ino)
        pages, begun_s = 0, self._clock.monotonic_s()
        with self._guard.listing() as began:
            merge = DirectoryMerge(
                self._index, self._guard, self._defaults, self._clock,
                dir_ino=ino, dir_key=directory.remote_key, began=began,
            )  # fmt: skip
            try:
                token = None
                while True:
                    page = self._store.list_page(directory.remote_key, token=token)
                    pages += 1
                    merge.page(page)
                    merge.result.tell(self._observer)
                    on_page()
                    token = page.next_token
                    if token is None:
                        break
            except StoreError as error:
                if not (may_be_offline and error.temporary and directory.is_listed):
                    raise
                self._note_offline(directory.remote_key, error)
                return
            is_swept = False
            while not is_swept:
                is_swept = not merge.sweep()
                merge.result.tell(self._observer)
        self._is_offline = False
        fresh_s = self._ttl_s
        if pages >= LARGE_PAGES_MIN:
            took_s = min(self._clock.monotonic_s() - begun_s, pages * PAGE_S_MAX)
            fresh_s = max(fresh_s, took_s * FRESH_TIMES)
        with self._lock:
            if self._fresh_until_s.get(ino) != fresh_until_s:
                return  # invalidated since it was asked for: the next use lists again
        self._set_fresh(ino, fresh_s)

    # -- for walks -----------------------------------------------------------------------------------------------

    def is_being_listed(self, ino: Ino) -> bool:
        return self._flights.is_running(ino)

    def claimed(self, walk: Walk, ino: Ino) -> None:
        self._walks.spoil(ino, but=walk)

    def walked(self, walk: Walk, ino: Ino, asked_s: float) -> bool:
        with self._lock:
            self._fresh_until_s[ino] = max(self._fresh_until_s.get(ino, 0.0), asked_s + self._ttl_s)
        if walk.is_spoiled(ino):
            # Perhaps between the merge and now, when what it said of freshness came first.
            self._set_fresh(ino, 0.0)
            return False
        self._walks.walked(walk, ino)
        return True

    def close(self, deadline_s: float) -> bool:
        """False when a request is still under way after the deadline."""
        return self._walks.close(deadline_s)

    def _note_offline(self, key: ObjectKey, error: StoreError) -> None:
        log.warning("listing of %r failed, the index answers: %s", key, error)
        with self._lock:
            self._is_offline = True
            self._probe_at_s = self._clock.monotonic_s() + PROBE_S
