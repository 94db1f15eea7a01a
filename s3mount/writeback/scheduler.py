"""The reconcile loop: one thread that looks for owed work whose time has come, and workers that take one step each.

The queue is the index itself (the partial index inode_owed), so there is no second list of what is owed.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

from s3mount.ending import end_pool
from s3mount.errors import FsError, StoreError
from s3mount.model import Ino, Inode, ObjectKey
from s3mount.writeback.batches import Batches
from s3mount.writeback.claims import Claims
from s3mount.writeback.context import WriteBackContext
from s3mount.writeback.deleter import Deleter
from s3mount.writeback.multipart import MultipartUpload
from s3mount.writeback.pace import Pace
from s3mount.writeback.pending import PendingUploads
from s3mount.writeback.settle import Settlement
from s3mount.writeback.steps import BLOCKED_NS, Steps
from s3mount.writeback.streaming import Streamer
from s3mount.writeback.uploader import Uploader

log = logging.getLogger(__name__)

IDLE_S_MAX = 1.0
BUSY_POLL_S = 0.02
FULL_S_MAX = 0.05
# What is written in less than this goes up after it, not against it: both want the same processor, disk and server.
STREAM_AFTER_NS = 5 * 10**9
STREAM_LOOK_NS = 2 * 10**9  # how often a file that is being written is looked at for parts to send
OPEN_HOLD_NS = 30 * 10**9  # a file open for writing and changed within this time is left to its writer
DELETE_PAUSE_S = 0.2


class Scheduler:
    def __init__(
        self,
        context: WriteBackContext,
        *,
        steps: Steps,
        uploader: Uploader,
        settlement: Settlement,
        deleter: Deleter,
        multipart: MultipartUpload,
        pending: PendingUploads,
        claims: Claims,
        pace: Pace,
        is_held: Callable[[Ino], bool],
        on_progress: Callable[[], None],
    ):
        self._context = context
        self._index = context.index
        self._steps = steps
        self._deleter = deleter
        self._multipart = multipart
        self._pending = pending
        self._claims = claims
        self._pace = pace
        self._is_held_by_writer = is_held
        self._on_progress = on_progress
        self._wake = threading.Event()
        self._sleeps_until_s = 0.0
        self._is_stopping = threading.Event()
        self._is_deleting = threading.Event()
        self._streamer = Streamer(context, multipart, pending, is_stopping=self._is_stopping.is_set)
        self._pool = ThreadPoolExecutor(context.concurrency.limit_max + 2, thread_name_prefix="writeback")
        self._is_looking = threading.Lock()  # nobody waits for it, so it is of no order
        self._batches = Batches(
            context,
            steps=steps,
            uploader=uploader,
            settlement=settlement,
            submit=self._pool.submit,
            look=self._look,
            alone=self._work,
            release=self._release_all,
            is_stopping=self._is_stopping.is_set,
        )
        self._thread = threading.Thread(target=self._loop, name="scheduler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def notify(self, due_in_s: float = 0.0) -> None:
        """There may be work that is due in so many seconds: wake up, unless the loop looks by then anyway."""
        if self._sleeps_until_s > self._context.clock.monotonic_s() + due_in_s:
            self._wake.set()

    def stop(self, deadline_s: float) -> bool:
        """Begin no more steps and wait for those that run, no longer than `deadline_s`; False when some still do: to
        them, and to the next run, it is as if the process died in the middle of the request."""
        deadline = time.monotonic() + deadline_s
        self._is_stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(deadline_s)
        return end_pool(self._pool, deadline - time.monotonic())

    # -- the loop ------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self._is_stopping.is_set():
            try:
                started = self._look()
                pause_s = self._pause_s(started)
            except Exception:
                log.exception("the write-back loop stumbled; it goes on")
                pause_s = IDLE_S_MAX
            self._sleeps_until_s = self._context.clock.monotonic_s() + pause_s
            self._wake.wait(pause_s)
            self._wake.clear()

    def _look(self) -> int:
        """How many were started; 0 also when another thread is at it."""
        if not self._is_looking.acquire(blocking=False):
            return 0
        try:
            return self._start_due()
        finally:
            self._is_looking.release()

    def _start_due(self) -> int:
        now_ns = self._context.clock.now_ns()
        started = 0
        free = self._free()
        if free > 0 and not self._pace.gives_way(self._index.inodes.next_due_ns()):
            due = self._index.inodes.due(now_ns, free, self._claims.has_ino)
            for inode in due:
                started += self._start(inode, now_ns)
            if len(due) == free:
                self._context.concurrency.note_full()
        for ino in self._pending.unwanted():
            if self._claims.claim(ino, ()):
                self._pool.submit(self._abandon, ino)
                started += 1
        next_delete_ns = self._index.tombstones.next_due_ns()
        if next_delete_ns is not None and next_delete_ns <= now_ns and not self._is_deleting.is_set():
            self._is_deleting.set()
            self._pool.submit(self._delete)
            started += 1
        return started

    def _free(self) -> int:
        """How many more inodes may be taken up now. Parts are limited where they are sent."""
        concurrency = self._context.concurrency
        return min(concurrency.limit + self._multipart.sending, concurrency.limit_max) - self._claims.count()

    def _pause_s(self, started: int) -> float:
        if self._free() <= 0:
            return FULL_S_MAX
        times = (self._index.inodes.next_due_ns(), self._index.tombstones.next_due_ns())
        due = [due_ns for due_ns in times if due_ns is not None]
        if not due:
            return IDLE_S_MAX
        now_ns = self._context.clock.now_ns()
        if min(due) > now_ns + self._steps.due_within_ns:
            log.warning("the clock of this computer was set back: what is owed is due now")
            self._steps.setbacks.forget(None)
            with self._index.transaction():
                self._index.inodes.expedite(now_ns, with_parked=False)
                self._index.tombstones.expedite(now_ns)
            return 0.0
        pause_s = (min(due) - now_ns) / 1e9
        return min(IDLE_S_MAX, max(pause_s, 0.0 if started else BUSY_POLL_S))

    def _start(self, inode: Inode, now_ns: int) -> bool:
        if inode.due_ns > now_ns:  # staged after its row was written
            self._index.inodes.set_due(inode.ino, inode.due_ns)
            return self._start_stream(inode, now_ns)
        until_ns = self._steps.setbacks.of(inode.ino).until_ns
        if until_ns > now_ns:
            self._index.inodes.set_due(inode.ino, until_ns)
            return False
        if self._is_held(inode, now_ns):
            return self._start_stream(inode, now_ns)
        wanted = self._steps.keys_of(inode)
        if not self._claims.claim(inode.ino, wanted):
            self._index.inodes.set_due(inode.ino, now_ns + BLOCKED_NS)
            return False
        if self._batches.takes(inode):
            self._batches.add(inode.ino, wanted)
        else:
            self._pool.submit(self._work, inode.ino, wanted)
        return True

    def _start_stream(self, inode: Inode, now_ns: int) -> bool:
        """Send what is complete of a file that is still being written."""
        if now_ns - inode.owed_since_ns < STREAM_AFTER_NS or not self._streamer.is_worth_a_look(inode):
            return False
        if not self._is_held_by_writer(inode.ino):
            return False
        wanted = self._steps.keys_of(inode)
        if self._steps.setbacks.of(inode.ino).until_ns > now_ns or not self._claims.claim(inode.ino, wanted):
            return False
        self._pool.submit(self._stream, inode.ino, wanted)
        return True

    def _is_held(self, inode: Inode, now_ns: int) -> bool:
        """A file still being written is not uploaded over and over; after a quiet while it is, open or not."""
        if not inode.is_file or not self._is_held_by_writer(inode.ino):
            return False
        until_ns = max(inode.mtime_ns, inode.ctime_ns) + OPEN_HOLD_NS
        if until_ns <= now_ns:
            return False
        self._index.inodes.set_due(inode.ino, min(until_ns, now_ns + STREAM_LOOK_NS))
        if not self._is_held_by_writer(inode.ino):
            self._index.inodes.set_due(inode.ino, now_ns)  # closed in between: nobody would end the hold any more
        return True

    # -- the workers ---------------------------------------------------------------------------------------------

    def _delete(self) -> None:
        is_full = False
        try:
            is_full = self._deleter.run()
        except Exception:
            if not self._is_stopping.is_set():  # left behind by stop, it finds the index closed
                log.exception("deleting stumbled; it goes on")
        finally:
            self._on_progress()
            if not is_full:
                self._is_stopping.wait(DELETE_PAUSE_S)  # what comes due meanwhile goes in one request
            self._is_deleting.clear()
            self._wake.set()

    def _work(self, ino: Ino, wanted: set[ObjectKey]) -> None:
        try:
            inode = self._index.inodes.find(ino)
            if inode is not None and not self._is_stopping.is_set() and self._steps.take(inode, wanted):
                self._wake.set()
        except Exception:
            if not self._is_stopping.is_set():  # left behind by stop, it finds the index closed
                log.exception("write-back of ino %d stumbled; it is tried again", ino)
                self._steps.postpone(ino)
        finally:
            self._release(ino, wanted)

    def _release(self, ino: Ino, wanted: Collection[ObjectKey]) -> None:
        self._release_all({ino: wanted})

    def _release_all(self, claimed: Mapping[Ino, Collection[ObjectKey]]) -> None:
        for ino, wanted in claimed.items():
            self._claims.release(ino, wanted)
        self._on_progress()
        # Small files are begun several at a time, not one for each that ends.
        if self._claims.count() <= self._context.concurrency.limit // 2:
            self._wake.set()

    def _stream(self, ino: Ino, wanted: set[ObjectKey]) -> None:
        try:
            inode = self._index.inodes.find(ino)
            key = None if inode is None else self._index.dentries.path_key(inode)
            if key in wanted and not self._is_stopping.is_set():
                self._streamer.stream(ino, key)
                self._steps.setbacks.forget([ino])
        except (StoreError, FsError) as error:
            log.warning("sending parts of %r failed, again in %.0f s: %s", key, self._steps.postpone(ino), error)
        except Exception:
            log.exception("sending parts of ino %d stumbled; it is tried again", ino)
            self._steps.postpone(ino)
        finally:
            self._release(ino, wanted)

    def _abandon(self, ino: Ino) -> None:
        """Abort the pending upload of an inode that went away, or owes nothing any more."""
        try:
            pending = self._pending.find(ino)
            if pending is not None and self._pending.is_unwanted(ino):
                self._multipart.abandon(pending)
        except Exception:
            log.exception("aborting the upload of ino %d stumbled; it is tried again", ino)
        finally:
            self._release(ino, ())
