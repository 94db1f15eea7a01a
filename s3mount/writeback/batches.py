"""Sends small files and copies together: one thread prepares them, keeps several under way, and settles what came.

Fed by the scheduler, which has claimed each inode and its keys; the claim is given back when the outcome is on record.
One thread for many, because threads that upload and threads that answer the kernel hand the interpreter to each other.
Only what is one plain step comes through here, of which S3 need not be asked anything first: a whole small file, a
symbolic link, a special file, a directory's marker, or a copy of any object under a new name or with new metadata.
Whatever else turns out, the inode is handed to the path that all others take (steps.py), in a thread of its own.

Crash table: that of settle.py, file by file. The attempts of those that begin together are on record in one
transaction before the first of them is sent; the bytes of each are read under its inode lock, as of one generation.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from s3mount.errors import FsError, StoreError
from s3mount.model import ETag, Ino, Inode, ObjectKey
from s3mount.store.base import Condition, Put
from s3mount.writeback.context import WriteBackContext
from s3mount.writeback.multipart import ContentMoved
from s3mount.writeback.settle import Settlement
from s3mount.writeback.steps import Steps
from s3mount.writeback.uploader import Uploader

log = logging.getLogger(__name__)

# What a body may have: all of those under way are in memory.
SMALL_BYTES = 256 << 10
# More are begun when this share of those that may be under way have ended.
REFILLED_SHARE = 4

Keys = Collection[ObjectKey]


class _Sent(NamedTuple):
    """An inode as it is sent, the keys that are claimed, and the bytes that its request has."""

    inode: Inode
    wanted: set[ObjectKey]
    size: int


class Batches:
    def __init__(
        self,
        context: WriteBackContext,
        *,
        steps: Steps,
        uploader: Uploader,
        settlement: Settlement,
        submit: Callable[..., object],
        look: Callable[[], int],
        alone: Callable[[Ino, set[ObjectKey]], None],
        release: Callable[[Mapping[Ino, Keys]], None],
        is_stopping: Callable[[], bool],
    ):
        """`submit` runs a function in a thread of the pool. `look` starts what is due, through `add` too; `alone` takes
        an inode's step in the calling thread, and gives back its claim. `release` gives back claims."""
        self._context = context
        self._index = context.index
        self._steps = steps
        self._uploader = uploader
        self._settlement = settlement
        self._submit = submit
        self._look = look
        self._alone = alone
        self._release = release
        self._is_stopping = is_stopping
        self._lock = threading.Lock()
        self._queue: deque[tuple[Ino, set[ObjectKey]]] = deque()
        self._is_running = False
        # Used by the running thread alone: what was taken and not sent yet, and the inodes as they are sent, with
        # their claims.
        self._taken: dict[Ino, set[ObjectKey]] = {}
        self._sent: dict[ObjectKey, _Sent] = {}

    def takes(self, inode: Inode) -> bool:
        """Whether a look at the row says that it may come through here."""
        is_copied = not inode.content_owed and inode.remote is not None
        return (
            (is_copied or not inode.is_file or inode.size <= SMALL_BYTES)
            and inode.metadata_known
            and inode.link_of is None
        )

    def add(self, ino: Ino, wanted: set[ObjectKey]) -> None:
        """An inode that is claimed with these keys."""
        with self._lock:
            self._queue.append((ino, wanted))
            if self._is_running:
                return
            self._is_running = True
        self._submit(self._run)

    def _run(self) -> None:
        while True:
            try:
                self._context.store.put_many(self._take, self._give)
            except Exception:
                if not self._is_stopping():  # left behind by stop, it finds the index closed
                    log.exception("a batch stumbled; it goes on")
            self._give_up()
            with self._lock:
                if not self._queue:
                    self._is_running = False
                    return

    def _give_up(self) -> None:
        """Of these nobody knows what became: as after a crash, the attempt is on record."""
        left = self._taken | {sent.inode.ino: sent.wanted for sent in self._sent.values()}
        self._taken, self._sent = {}, {}
        for ino, wanted in left.items():
            try:
                if not self._is_stopping():
                    self._steps.postpone(ino)
            finally:
                self._release({ino: wanted})

    # -- what is sent --------------------------------------------------------------------------------------------

    def _take(self, count: int) -> Iterable[Put]:
        """What may be sent now, attempts on record, each read when it is asked for: meanwhile those before it are on
        their way. Raises nothing."""
        limit = self._context.concurrency.limit
        if len(self._sent) > limit - max(1, limit // REFILLED_SHARE):
            return ()  # begun several at a time, not one for each that ends
        if not self._is_stopping():
            self._look_again()
        self._taken = self._next(min(count, limit - len(self._sent)))
        if self._is_stopping():
            taken, self._taken = self._taken, {}
            self._release(taken)  # what is owed stays owed
            return ()
        return self._prepared(self._begin())

    def _prepared(self, begun: Mapping[Ino, tuple[ObjectKey, Condition]]) -> Iterator[Put]:
        while self._taken:
            ino = next(iter(self._taken))
            put = self._prepare(ino, *begun[ino]) if ino in begun else None
            wanted = self._taken.pop(ino)
            if put is None:
                self._in_a_thread(self._alone, ino, wanted)
            else:
                yield put

    def _look_again(self) -> None:
        try:
            self._look()
        except Exception:
            if not self._is_stopping():
                log.exception("looking for a batch stumbled; it goes on")

    def _in_a_thread(self, function: Callable[..., None], ino: Ino, wanted: Keys, *arguments: object) -> None:
        """Which gives back the claim. When the pool is being ended, nobody needs it."""
        try:
            self._submit(function, ino, wanted, *arguments)
        except RuntimeError:
            self._release({ino: wanted})

    def _next(self, count: int) -> dict[Ino, set[ObjectKey]]:
        with self._lock:
            return dict(self._queue.popleft() for _ in range(min(count, len(self._queue))))

    def _begin(self) -> dict[Ino, tuple[ObjectKey, Condition]]:
        """Where each is put and on which condition; without those that are not one plain step."""
        begun: dict[Ino, tuple[ObjectKey, Condition]] = {}
        try:
            with self._index.transaction():
                for ino, wanted in self._taken.items():
                    key = self._steps.plain_key(ino, wanted)
                    condition = None if key is None else self._settlement.begin_unasked(ino, key)
                    if key is not None and condition is not None:
                        begun[ino] = key, condition
        except FsError as error:
            log.info("the inodes of a batch go one by one: %s", error)
            return {}
        except Exception:
            if not self._is_stopping():
                log.exception("beginning a batch stumbled; its inodes go one by one")
            return {}
        return begun

    def _prepare(self, ino: Ino, key: ObjectKey, condition: Condition) -> Put | None:
        """None when it is not as small or as whole as it looked."""
        try:
            found = self._uploader.prepare(ino, key, condition, SMALL_BYTES)
        except (ContentMoved, FsError, StoreError) as error:
            log.debug("%r is uploaded alone: %s", key, error)
            return None
        except Exception:
            if not self._is_stopping():
                log.exception("reading %r stumbled; it is uploaded alone", key)
            return None
        if found is None:
            return None
        snapshot, put = found
        self._sent[key] = _Sent(snapshot, self._taken[ino], len(put.body))
        return put

    # -- what came of it -----------------------------------------------------------------------------------------

    def _give(self, outcomes: Mapping[ObjectKey, ETag | StoreError]) -> None:
        settled: dict[Ino, Keys] = {}
        for key, outcome in outcomes.items():
            sent = self._sent.pop(key)
            if isinstance(outcome, StoreError):
                self._in_a_thread(self._failed, sent.inode.ino, sent.wanted, sent, key, outcome)
                continue
            self._attempt(sent, key, partial(self._settlement.uploaded, sent.inode, key, outcome))
            settled[sent.inode.ino] = sent.wanted
        if settled:
            self._release(settled)

    def _failed(self, ino: Ino, wanted: Keys, sent: _Sent, key: ObjectKey, error: StoreError) -> None:
        def fail() -> None:
            raise error

        self._attempt(sent, key, fail)
        self._release({ino: wanted})

    def _attempt(self, sent: _Sent, key: ObjectKey, request: Callable[[], None]) -> None:
        try:
            self._steps.attempt(sent.inode, key, request, sent.size)
        except Exception:
            if not self._is_stopping():  # left behind by stop, it finds the index closed
                log.exception("write-back of %r stumbled; it is tried again", key)
                self._steps.postpone(sent.inode.ino)
