"""The reconcile loop: one thread that looks for owed work whose time has come, and workers that take one step each.

The queue is the index itself (the partial index inode_owed), so there is no second list of what is owed. A step that
failed for now makes its inode due later, twice as late each time; one refused for good parks it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from s3mount.ending import end_pool
from s3mount.errors import Damaged, FsError, Missing, PreconditionFailed, Rejected, S3mountError, StoreError, Throttled
from s3mount.index.schema import DUE_NEVER
from s3mount.model import Ino, Inode, ObjectKey
from s3mount.writeback.claims import Claims
from s3mount.writeback.conflict import ConflictResolver
from s3mount.writeback.context import BACK_OFF_S_MAX, WriteBackContext
from s3mount.writeback.deleter import Deleter
from s3mount.writeback.moves import Mover, find_blocker
from s3mount.writeback.multipart import PART_BYTES, ContentMoved, MultipartUpload
from s3mount.writeback.pending import PendingUploads
from s3mount.writeback.setbacks import Setbacks
from s3mount.writeback.settle import Settlement
from s3mount.writeback.state import Step, next_step
from s3mount.writeback.streaming import Streamer
from s3mount.writeback.uploader import Uploader

log = logging.getLogger(__name__)

IDLE_S_MAX = 1.0
BUSY_POLL_S = 0.02
STREAM_LOOK_NS = 2 * 10**9  # how often a file that is being written is looked at for parts to send
OPEN_HOLD_NS = 30 * 10**9  # a file open for writing and changed within this time is left to its writer
DELETE_PAUSE_S = 0.2
BLOCKED_NS = 200_000_000
DUE_SLACK_NS = int(BACK_OFF_S_MAX * 2 * 1e9)


class Scheduler:
    def __init__(
        self,
        context: WriteBackContext,
        *,
        uploader: Uploader,
        mover: Mover,
        settlement: Settlement,
        conflicts: ConflictResolver,
        deleter: Deleter,
        multipart: MultipartUpload,
        pending: PendingUploads,
        claims: Claims,
        is_held: Callable[[Ino], bool],
        on_progress: Callable[[], None],
        delay_ns: int,
    ):
        """`delay_ns`: the longest that anything is made to wait after a change."""
        self._context = context
        self._index = context.index
        self._uploader = uploader
        self._mover = mover
        self._settlement = settlement
        self._conflicts = conflicts
        self._deleter = deleter
        self._multipart = multipart
        self._pending = pending
        self._claims = claims
        self._is_held_by_writer = is_held
        self._on_progress = on_progress
        self._due_within_ns = delay_ns + DUE_SLACK_NS
        self._setbacks = Setbacks()
        self._wake = threading.Event()
        self._sleeps_until_s = 0.0
        self._is_stopping = threading.Event()
        self._is_deleting = threading.Event()
        self._streamer = Streamer(context, multipart, pending, is_stopping=self._is_stopping.is_set)
        self._pool = ThreadPoolExecutor(context.concurrency.limit_max + 1, thread_name_prefix="writeback")
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
                started = self._start_due()
                pause_s = self._pause_s(started)
            except Exception:
                log.exception("the write-back loop stumbled; it goes on")
                pause_s = IDLE_S_MAX
            self._sleeps_until_s = self._context.clock.monotonic_s() + pause_s
            self._wake.wait(pause_s)
            self._wake.clear()

    def _start_due(self) -> int:
        now_ns = self._context.clock.now_ns()
        started = 0
        free = self._free()
        if free > 0:
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
            return IDLE_S_MAX  # the next worker that ends wakes us
        times = (self._index.inodes.next_due_ns(), self._index.tombstones.next_due_ns())
        due = [due_ns for due_ns in times if due_ns is not None]
        if not due:
            return IDLE_S_MAX
        now_ns = self._context.clock.now_ns()
        if min(due) > now_ns + self._due_within_ns:
            log.warning("the clock of this computer was set back: what is owed is due now")
            self.forget_back_off(None)
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
        until_ns = self._setbacks.of(inode.ino).until_ns
        if until_ns > now_ns:
            self._index.inodes.set_due(inode.ino, until_ns)
            return False
        if self._is_held(inode, now_ns):
            return self._start_stream(inode, now_ns)
        wanted = self._keys_of(inode)
        if not self._claims.claim(inode.ino, wanted):
            self._index.inodes.set_due(inode.ino, now_ns + BLOCKED_NS)
            return False
        self._pool.submit(self._work, inode.ino, wanted)
        return True

    def _keys_of(self, inode: Inode) -> set[ObjectKey]:
        """What a worker may write to for this inode."""
        path_key = self._index.dentries.path_key(inode)
        return {key for key in (path_key, inode.remote_key, self._pending_key(inode)) if key is not None}

    def _pending_key(self, inode: Inode) -> ObjectKey | None:
        pending = self._pending.find(inode.ino)
        return None if pending is None else pending.record.key

    def _can_end_where_it_began(self, inode: Inode) -> bool:
        """Whether the parts that were sent before a rename are completed under the old key, to be copied to the new one
        inside S3: if that key is nobody's, for nobody else's work may wait for ours."""
        pending = self._pending.find(inode.ino)
        if pending is None or not pending.parts:
            return False
        key = pending.record.key
        return (
            self._index.dentries.resolve_key(key) is None
            and self._index.tombstones.find(key) is None
            and find_blocker(self._index, inode, key) is None
        )

    def _start_stream(self, inode: Inode, now_ns: int) -> bool:
        """Send what is complete of a file that is still being written."""
        if not self._streamer.is_worth_a_look(inode) or not self._is_held_by_writer(inode.ino):
            return False
        wanted = self._keys_of(inode)
        if self._setbacks.of(inode.ino).until_ns > now_ns or not self._claims.claim(inode.ino, wanted):
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
            if inode is not None and not self._is_stopping.is_set():
                self._take_step(inode, wanted)
        except Exception:
            if not self._is_stopping.is_set():  # left behind by stop, it finds the index closed
                log.exception("write-back of ino %d stumbled; it is tried again", ino)
                self._postpone(ino)
        finally:
            self._claims.release(ino, wanted)
            self._on_progress()
            self._wake.set()

    def _stream(self, ino: Ino, wanted: set[ObjectKey]) -> None:
        try:
            inode = self._index.inodes.find(ino)
            key = None if inode is None else self._index.dentries.path_key(inode)
            if key in wanted and not self._is_stopping.is_set():
                self._streamer.stream(ino, key)
                self.forget_back_off([ino])
        except (StoreError, FsError) as error:
            log.warning("sending parts of %r failed, again in %.0f s: %s", key, self._postpone(ino), error)
        except Exception:
            log.exception("sending parts of ino %d stumbled; it is tried again", ino)
            self._postpone(ino)
        finally:
            self._claims.release(ino, wanted)
            self._on_progress()
            self._wake.set()

    def _abandon(self, ino: Ino) -> None:
        """Abort the pending upload of an inode that went away, or owes nothing any more."""
        try:
            pending = self._pending.find(ino)
            if pending is not None and self._pending.is_unwanted(ino):
                self._multipart.abandon(pending)
        except Exception:
            log.exception("aborting the upload of ino %d stumbled; it is tried again", ino)
        finally:
            self._claims.release(ino, ())
            self._on_progress()
            self._wake.set()

    def _take_step(self, inode: Inode, wanted: set[ObjectKey]) -> None:
        key = self._index.dentries.path_key(inode)
        primary = None if inode.link_of is None else self._index.inodes.find(inode.link_of)
        has_root_key = self._context.store.properties.has_root_key
        step = next_step(inode, key, has_root_key=has_root_key, primary=primary)
        if step is Step.NOTHING or key is None:
            return
        if step is Step.WAIT and primary is not None:
            self._wait_for(primary, inode, key)
            return
        if step is Step.SETTLE:
            self._settlement.done_without_upload(inode)
            return
        if step is Step.PUT and self._can_end_where_it_began(inode):
            key = self._pending_key(inode) or key
        if key not in wanted or inode.remote_key not in {None, *wanted}:
            return  # renamed since it was claimed: the next turn claims the right keys
        try:
            self._request(step, inode, key)
        except ContentMoved:
            log.debug("%r was changed while it was uploaded", key)
        except (PreconditionFailed, Missing) as error:
            self._resolve(inode, key, error)
        except StoreError as error:
            self._failed(inode, key, error)
        except Damaged as error:
            self._park(inode, key, error)
        except FsError as error:
            log.warning("upload of %r failed in the cache: %s", key, error)
            self._postpone(inode.ino)
        else:
            self._context.concurrency.succeeded(inode.size if step is Step.PUT and inode.size <= PART_BYTES else 0)
            self.forget_back_off([inode.ino])
            self._hurry()

    def _wait_for(self, primary: Inode, shadow: Inode, key: ObjectKey) -> None:
        """What the bucket learns of the primary makes the shadow due."""
        parked = self._index.parked.find(primary.ino)
        if parked is not None and primary.due_ns == DUE_NEVER:
            cause = f"waits for /{self._index.dentries.path_key(primary)}, which S3 refuses: {parked.cause}"
            self._park(shadow, key, Rejected(cause))
            return
        now_ns = self._context.clock.now_ns()
        due_ns = max(now_ns + BLOCKED_NS, 0 if primary.due_ns == DUE_NEVER else primary.due_ns)
        self._index.inodes.set_due(shadow.ino, min(due_ns, now_ns + self._due_within_ns))

    def _request(self, step: Step, inode: Inode, key: ObjectKey) -> None:
        if step is Step.MOVE_DIRECTORY:
            self._mover.move_directory(inode)
            return
        blocker = find_blocker(self._index, inode, key)
        if blocker is not None and not self._mover.make_way(inode, blocker):
            self._index.inodes.set_due(inode.ino, self._context.clock.now_ns() + BLOCKED_NS)
            return
        # Metadata is written whole, so what the object has must be known before it is replaced.
        self._context.attributes.ensure(inode.link_of or inode.ino)
        now = self._index.inodes.find(inode.ino)
        if now is None:
            return
        inode = now
        if step is Step.PUT:
            self._uploader.put(inode, key)
        elif step is Step.COPY:
            self._uploader.copy(inode, key)
        elif step is Step.LINK:
            self._uploader.link(inode, key)
        else:
            self._uploader.put_marker(inode, key)

    # -- failures ------------------------------------------------------------------------------------------------

    def _resolve(self, inode: Inode, key: ObjectKey, error: StoreError) -> None:
        log.info("%r is not the version that was expected: %s", key, error)
        try:
            self._conflicts.resolve(inode, key, error)
        except StoreError as failure:
            self._failed(inode, key, failure)
            return
        if self._setbacks.note_conflict(inode.ino):
            self._postpone(inode.ino)  # a store that never agrees must not be asked in a tight loop

    def _failed(self, inode: Inode, key: ObjectKey, error: StoreError) -> None:
        if isinstance(error, Throttled):
            self._context.concurrency.strained()
        if error.temporary:
            wait_s = self._postpone(inode.ino)
            log.warning("upload of %r failed, again in %.0f s: %s", key, wait_s, error)
        else:
            self._park(inode, key, error)

    def _park(self, inode: Inode, key: ObjectKey, error: S3mountError) -> None:
        with self._index.transaction():
            now = self._index.inodes.find(inode.ino)
            if now is None:
                return
            self._index.parked.put(inode.ino, str(error), self._context.clock.now_ns())
            self._index.inodes.update(replace(now, due_ns=DUE_NEVER))
        log.error("upload of %r cannot be done and is parked, its data is kept: %s", key, error)

    def _postpone(self, ino: Ino) -> float:
        now_ns = self._context.clock.now_ns()
        self._index.inodes.set_due(ino, now_ns + int(BACK_OFF_S_MAX * 1e9))  # its own time is not the next of others
        until_ns = self._setbacks.postpone(ino, now_ns, self._index.inodes.next_due_ns())
        self._index.inodes.set_due(ino, until_ns)
        return (until_ns - now_ns) / 1e9

    def _hurry(self) -> None:
        """S3 took something: what failed before need not wait for the end of its back-off."""
        hurried = self._setbacks.hurry(self._context.clock.now_ns())
        if not hurried:
            return
        with self._index.transaction():
            for ino, due_ns in hurried:
                inode = self._index.inodes.find(ino)
                if inode is not None and due_ns < inode.due_ns < DUE_NEVER:
                    self._index.inodes.set_due(ino, due_ns)
        self._wake.set()

    def forget_back_off(self, inos: Iterable[Ino] | None) -> None:
        """Let these (None: all) be tried as soon as they are due, as if they had not failed."""
        self._setbacks.forget(inos)
