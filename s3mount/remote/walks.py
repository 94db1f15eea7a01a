"""Whether a tree is being walked, and how far ahead of that a walk may list (walk.py).

Called by lister.py for each directory that is asked for, and by followed.py, from any thread, under no lock. What it
costs is bounded: pages that nobody follows are no more than PAGES_FIRST, one for each eight directories listed by
themselves, and what one walk may be ahead.
"""

import logging
import threading
import time
from concurrent.futures import Future

from cachetools import LRUCache

from s3mount.clock import Clock
from s3mount.errors import StoreError
from s3mount.index.index import Index
from s3mount.model import Ino, Inode, ObjectKey
from s3mount.remote.walk import CREDIT_FIRST, OutOfOrder, Walk, WalkContext
from s3mount.store import patience

log = logging.getLogger(__name__)

WALKS_MAX = 4
# Two directories beside each other, asked for within this time, are a walk. What it finds must stay fresh longer.
HABIT_S = 10.0
PARENTS_MAX = 1000
WALKED_MAX = 100_000
# A page takes longer than that when S3 does: the caller's own listing knows what to do then.
WAIT_S_MAX = 5.0
PAGES_FIRST = 4.0
PAGES_SAVED_MAX = 8.0
PAGES_A_LISTING = 0.125


class Walks:
    def __init__(self, context: WalkContext, *, ttl_s: float):
        self._context = context
        self._index: Index = context.index
        self._clock: Clock = context.clock
        self._lock = threading.Lock()
        self._is_possible = ttl_s > HABIT_S
        self._saved = PAGES_FIRST
        self._running: dict[Walk, threading.Thread] = {}
        self._lately: LRUCache[Ino, tuple[Ino, float]] = LRUCache(PARENTS_MAX)
        self._walked: LRUCache[Ino, Walk] = LRUCache(WALKED_MAX)

    def serve(self, directory: Inode) -> bool:
        """Whether a walk has brought it up to date. If not, list it; a walk of what is beside it may have begun."""
        for walk in self._walks():
            is_served = walk.asks(directory)
            if is_served is not None and is_served_soon(is_served):
                with self._lock:
                    self._walked.pop(directory.ino, None)
                    self._note_use(walk)
                return True
        self._begin_beside(directory)
        return False

    def asked_again(self, ino: Ino) -> None:
        """A directory was asked for that is fresh."""
        with self._lock:
            walk = self._walked.pop(ino, None)
            if walk is None:
                return
            self._note_use(walk)
        walk.used()

    def _note_use(self, walk: Walk) -> None:
        """Under the lock. A walk that is followed costs nothing, and goes for a use of its root."""
        if walk.uses < CREDIT_FIRST:
            walk.uses += 1
            self._saved = min(PAGES_SAVED_MAX, self._saved + 1)
        if walk.above is not None:
            root, above = walk.above
            self._lately[above] = (root, self._clock.monotonic_s())

    def walked(self, walk: Walk, ino: Ino) -> None:
        """It is fresh by this walk, and nobody has asked for it yet."""
        with self._lock:
            self._walked[ino] = walk

    def spoil(self, ino: Ino, but: Walk | None = None) -> None:
        """What walks have found of this directory by now is too old, or that of all `but` one."""
        for walk in self._walks():
            if walk is not but:
                walk.spoil(ino)

    def _walks(self) -> list[Walk]:
        with self._lock:
            return list(self._running)

    def _begin_beside(self, directory: Inode) -> None:
        """The directory is listed by itself. List what follows beside and below it too, if that will be asked for."""
        place = self._index.dentries.place(directory.ino) if self._is_possible else None
        if place is None or directory.remote_key is None or not self._is_habit(place[0], directory.ino):
            return
        parent = self._index.inodes.find(place[0])
        if parent is None or parent.remote_key is None or not directory.remote_key.startswith(parent.remote_key):
            return
        above = self._index.dentries.place(parent.ino)
        walk = Walk(
            self._context, parent.remote_key, directory.remote_key, None if above is None else (parent.ino, above[0])
        )
        self._begin(walk)

    def begin_below(self, directory: Inode) -> None:
        """All directories below this one, which was just listed, will be asked for: list them, if there are any of
        which not all is known and no walk comes by."""
        if directory.remote_key is None:
            return
        if all(child.is_listed for child in self._index.inodes.directories_in(directory.ino)):
            return
        if not any(walk.covers(directory.remote_key) for walk in self._walks()):
            self._begin(Walk(self._context, directory.remote_key, directory.remote_key, None))

    def begin_after(self, root: ObjectKey, after: ObjectKey) -> Walk | None:
        """For one who has listed the directory `after` by itself, and goes on through what is below `root`; None when
        too many walks run, or were in vain."""
        with self._lock:
            self._save_for_listing()
        walk = Walk(self._context, root, after, None)
        return walk if self._begin(walk) else None

    def take(self, walk: Walk, ino: Ino) -> bool:
        """Whether this walk was the last to bring the directory up to date, and nobody has asked for it since."""
        with self._lock:
            if self._walked.get(ino) is not walk or walk.is_spoiled(ino):
                return False
            del self._walked[ino]
            self._note_use(walk)
            return True

    def _begin(self, walk: Walk) -> bool:
        thread = threading.Thread(target=self._run, args=(walk,), name="walk", daemon=True)
        with self._lock:
            if not self._is_possible or self._saved < CREDIT_FIRST or len(self._running) >= WALKS_MAX:
                return False
            self._saved -= CREDIT_FIRST
            self._running[walk] = thread
        thread.start()
        return True

    def _save_for_listing(self) -> None:
        """Under the lock. A directory was listed by itself."""
        self._saved = min(PAGES_SAVED_MAX, self._saved + PAGES_A_LISTING)

    def _is_habit(self, parent: Ino, ino: Ino) -> bool:
        now_s = self._clock.monotonic_s()
        with self._lock:
            self._save_for_listing()
            lately = self._lately.get(parent)
            self._lately[parent] = (ino, now_s)
        return lately is not None and lately[0] != ino and lately[1] + HABIT_S > now_s

    def _run(self, walk: Walk) -> None:
        is_possible = True
        try:
            walk.run()
        except OutOfOrder as error:
            log.warning("this store does not list directory by directory: %s", error)
            is_possible = False
        except StoreError as error:
            log.info("a walk ended early: %s", error)
            is_possible = error.temporary
        except Exception as error:  # noqa: BLE001 - nobody waits for it, and the drive may be closed by now
            log.info("a walk ended early: %s: %s", type(error).__name__, error)
        with self._lock:
            self._is_possible &= is_possible
            del self._running[walk]
            if is_possible:
                return
            walked = [ino for ino, by in self._walked.items() if by is walk]
        for ino in walked:
            self._context.directories.invalidate(ino)

    def close(self, deadline_s: float) -> bool:
        """False when a request is still under way after the deadline."""
        with self._lock:
            self._is_possible = False
            running = dict(self._running)
        deadline = time.monotonic() + deadline_s
        for walk, thread in running.items():
            walk.end()
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in running.values())


def is_served_soon(is_served: "Future[bool]") -> bool:
    """What a walk that was asked says; False as well when it takes long."""
    try:
        return patience.wait(is_served, WAIT_S_MAX)
    except TimeoutError:
        return False
