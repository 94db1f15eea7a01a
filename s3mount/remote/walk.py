"""One listing of everything below a directory, which brings each directory that it passes up to date.

Begun by walks.py when a tree is being walked, so that it costs one request per thousand keys and not one per directory.
`run` has a thread of its own; the other methods are called by any, under no lock.

In every store we know, by byte order or by tree, the keys below a directory follow each other without a gap. So one is
complete when a key from elsewhere comes. A key that comes back to such a directory raises OutOfOrder.
Each directory is merged by the rules of merge.py, as if it had been listed alone, unless it was listed alone since, or
is just now: then the walk's pages are the older ones.
"""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from s3mount import keys
from s3mount.clock import Clock
from s3mount.index.index import Index
from s3mount.model import Ino, Inode, ObjectInfo, ObjectKey
from s3mount.remote.defaults import Defaults
from s3mount.remote.guard import WriteGuard
from s3mount.remote.merge import DirectoryMerge
from s3mount.remote.observer import ForeignObserver
from s3mount.store.base import ListPage, ObjectStore

log = logging.getLogger(__name__)

# A walk begins with as many pages, and goes on by one for each directory that is asked for and was in them.
CREDIT_FIRST = 2
CREDIT_MAX = 16
LINGER_S = 5.0
# Our own writes are noted for as long as a walk lasts (guard.py): the next directory begins another one.
PAGES_MAX = 64
SPOILED_MAX = 10_000
# Of a directory that is far ahead, or has more below it than in it, a listing of its own comes earlier.
PAGES_WAITED_MAX = 4


class OutOfOrder(Exception):
    """The store does not list directory by directory."""


class WalkedDirectories(Protocol):
    """Who lists directories by themselves."""

    def is_being_listed(self, ino: Ino) -> bool: ...

    def claimed(self, walk: "Walk", ino: Ino) -> None:
        """The walk begins to merge this directory; no other is to. Inside an index transaction."""

    def walked(self, walk: "Walk", ino: Ino, asked_s: float) -> bool:
        """The index has what the bucket had of this directory at some moment after `asked_s`, unless it is spoiled by
        now: False."""

    def invalidate(self, ino: Ino) -> None: ...


@dataclass(frozen=True, slots=True)
class WalkContext:
    store: ObjectStore
    index: Index
    guard: WriteGuard
    defaults: Defaults
    clock: Clock
    observer: ForeignObserver
    directories: WalkedDirectories


@dataclass
class _Passed:
    """A directory that the walk is in. `objects` and `prefixes`: of the page that was not merged yet."""

    key: ObjectKey
    asked_s: float
    page: int = -1
    is_complete: bool = False
    is_met: bool = False
    ino: Ino | None = None
    merge: DirectoryMerge | None = None
    objects: list[ObjectInfo] = field(default_factory=list)
    prefixes: list[ObjectKey] = field(default_factory=list)


class _Waiting(NamedTuple):
    ino: Ino
    key: ObjectKey
    until_page: int
    is_served: "Future[bool]"


class Walk:
    def __init__(self, context: WalkContext, root: ObjectKey, after: ObjectKey, above: tuple[Ino, Ino] | None):
        """Of what is below `root` and follows `after`, the key of a directory. What is on the way there is told of in
        part only, so others list that. `above`: the root and the directory that it is in."""
        self.above = above
        self.uses = 0  # of what it has found; counted by whoever began it
        self.pages = 0
        self._context = context
        self._root = root
        self._after = after
        self._partial = {root, after, *keys.ancestor_keys(after)}
        self._stack = [_Passed(root, 0.0)]
        self._passed: set[ObjectKey] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        # Under the lock.
        self._is_over = False
        self._at = after
        self._inside: frozenset[ObjectKey] = frozenset()
        self._spoiled: set[Ino] = set()
        self._credit = CREDIT_FIRST
        self._waiting: list[_Waiting] = []

    # -- from other threads --------------------------------------------------------------------------------------

    def asks(self, directory: Inode) -> "Future[bool] | None":
        """Will be whether the walk has brought this directory up to date; None when it will not come by."""
        key = directory.remote_key
        with self._lock:
            if key is None or self._is_over or directory.ino in self._spoiled or not self._is_ahead(key):
                return None
            is_served: Future[bool] = Future()
            self._waiting.append(_Waiting(directory.ino, key, self.pages + PAGES_WAITED_MAX, is_served))
            self._earn(1)
        return is_served

    def covers(self, key: ObjectKey) -> bool:
        """Whether the walk is to come by the directories below this one."""
        with self._lock:
            return not self._is_over and (self._is_ahead(key) or key == self._root)

    def used(self) -> None:
        """A directory was asked for that the walk had brought up to date before."""
        with self._lock:
            self._earn(1)

    def spoil(self, ino: Ino) -> None:
        """What the walk finds of this directory is too old from now on."""
        with self._lock:
            self._spoiled.add(ino)
            self._is_over |= len(self._spoiled) > SPOILED_MAX

    def is_spoiled(self, ino: Ino) -> bool:
        with self._lock:
            return ino in self._spoiled

    @property
    def is_over(self) -> bool:
        with self._lock:
            return self._is_over

    def end(self) -> None:
        with self._lock:
            self._is_over = True
            self._wake.set()

    def _earn(self, credit: int) -> None:
        self._credit = min(CREDIT_MAX, self._credit + credit)
        self._wake.set()

    def _is_ahead(self, key: ObjectKey) -> bool:
        """In either order that stores have; where they differ nobody waits."""
        if not key.startswith(self._root) or key in self._partial:
            return False
        return key in self._inside or (key > self._at and key.split("/") > self._at.split("/"))

    # -- the walk itself -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Return when it is at its end, or nobody follows. Raises StoreError, OutOfOrder."""
        try:
            with self._context.guard.listing() as began:
                self._run(began)
        finally:
            self.end()
            self._answer(everybody=True)
            # Whoever is yet to ask for what was found still holds the walk.
            self._passed.clear()
            self._stack.clear()

    def _run(self, began: int) -> None:
        token: str | None = None
        while self.pages < PAGES_MAX and self._may_go_on():
            asked_s = self._context.clock.monotonic_s()
            page = self._context.store.list_page(self._root, delimiter="", token=token, after=self._after)
            self.pages += 1
            token = page.next_token
            for passed in self._sorted(page, asked_s, is_last=token is None):
                self._merge(passed, began)
            if token is None:
                return
            if page.objects:
                with self._lock:
                    self._at = page.objects[-1].key
                    self._inside = frozenset(passed.key for passed in self._stack)
            self._answer()

    def _may_go_on(self) -> bool:
        """Wait until somebody follows. Who waits for what is further ahead than the walk may go must not wait for that:
        it ends."""
        while True:
            with self._lock:
                if self._is_over:
                    return False
                if self._credit > 0:
                    self._credit -= 1
                    return True
                if self._waiting:
                    return False
                self._wake.clear()
            if not self._wake.wait(LINGER_S):
                return False

    def _sorted(self, page: ListPage, asked_s: float, *, is_last: bool) -> list[_Passed]:
        """The directories of which this page tells something, parents first."""
        touched: list[_Passed] = []

        def touch(passed: _Passed) -> _Passed:
            if passed.page != self.pages:
                passed.page = self.pages
                touched.append(passed)
            return passed

        def leave() -> None:
            passed = self._stack.pop()
            touch(passed).is_complete = True
            self._passed.add(passed.key)

        for info in page.objects:
            dir_key = info.key[: info.key.rfind("/") + 1]
            while not dir_key.startswith(self._stack[-1].key):
                leave()
            for key in _between(self._stack[-1].key, dir_key):
                if key in self._passed:
                    raise OutOfOrder(f"{info.key!r} comes after other directories")
                touch(self._stack[-1]).prefixes.append(key)
                self._stack.append(_Passed(key, asked_s))
            touch(self._stack[-1]).objects.append(info)
        while is_last and len(self._stack) > 1:
            leave()
        return [passed for passed in touched if passed.key not in self._partial]

    def _merge(self, passed: _Passed, began: int) -> None:
        context = self._context
        page = ListPage(passed.objects, passed.prefixes, None)
        passed.objects, passed.prefixes = [], []
        is_done = False
        with context.index.transaction():
            self._meet(passed, began)
            if passed.merge is None or passed.ino is None:
                return
            directory = context.index.inodes.find(passed.ino)
            if directory is None or directory.remote_key != passed.key or self._is_too_old(passed.ino):
                self._drop(passed)
                return
            passed.merge.page(page)
            if passed.is_complete:
                # A listing with delimiter may show what this one does not, SeaweedFS's directories without objects.
                is_done = not passed.merge.lacks_directory()
                while is_done and passed.merge.sweep():
                    pass
        passed.merge.result.tell(context.observer)
        if is_done and context.directories.walked(self, passed.ino, passed.asked_s):
            self._answer(served=passed.ino)
        elif passed.is_complete:
            self._drop(passed)

    def _meet(self, passed: _Passed, began: int) -> None:
        """Find out whose key this is; a directory that the index does not show yet is none of ours."""
        if passed.is_met:
            return
        passed.is_met = True
        directory = self._context.index.inodes.with_remote_key(passed.key, is_dir=True)
        if directory is None:
            return
        passed.ino = directory.ino
        self._context.directories.claimed(self, directory.ino)
        passed.merge = DirectoryMerge(
            self._context.index, self._context.guard, self._context.defaults, self._context.clock,
            dir_ino=directory.ino, dir_key=passed.key, began=began,
        )  # fmt: skip

    def _is_too_old(self, ino: Ino) -> bool:
        return self.is_spoiled(ino) or self._context.directories.is_being_listed(ino)

    def _drop(self, passed: _Passed) -> None:
        passed.merge = None
        if passed.ino is not None:
            self.spoil(passed.ino)

    def _answer(self, *, served: Ino | None = None, everybody: bool = False) -> None:
        """To those who wait for the directory `served`, or in vain."""
        answers: list[_Waiting] = []
        with self._lock:
            staying: list[_Waiting] = []
            for waiting in self._waiting:
                if served is not None:
                    is_over = waiting.ino == served
                else:
                    is_late = self.pages >= waiting.until_page or not self._is_ahead(waiting.key)
                    is_over = everybody or is_late or waiting.ino in self._spoiled
                (answers if is_over else staying).append(waiting)
            self._waiting = staying
            if served is None:
                self._credit -= len(answers)
        for waiting in answers:
            waiting.is_served.set_result(served is not None)


def _between(above: ObjectKey, below: str) -> Iterator[ObjectKey]:
    """The keys of the directories from the one below `above` to `below`."""
    end = len(above)
    while end < len(below):
        end = below.index("/", end) + 1
        yield ObjectKey(below[:end])
