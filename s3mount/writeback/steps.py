"""Takes the step that an inode owes next, and says what becomes of the inode when it fails.

Called by the scheduler's workers, one per inode at a time, with its keys claimed. A step that failed for now makes its
inode due later, twice as late each time; one refused for good parks it.
"""

import logging
from collections.abc import Callable
from functools import partial

from s3mount.errors import Damaged, FsError, Missing, PreconditionFailed, Rejected, S3mountError, StoreError, Throttled
from s3mount.index.schema import DUE_NEVER
from s3mount.model import ROOT_INO, Ino, Inode, ObjectKey
from s3mount.writeback.conflict import ConflictResolver
from s3mount.writeback.context import BACK_OFF_S_MAX, WriteBackContext
from s3mount.writeback.moves import Mover, find_blocker
from s3mount.writeback.multipart import PART_BYTES, ContentMoved
from s3mount.writeback.pending import PendingUploads
from s3mount.writeback.setbacks import Setbacks
from s3mount.writeback.settle import Settlement
from s3mount.writeback.state import Step, next_step
from s3mount.writeback.uploader import Uploader

log = logging.getLogger(__name__)

BLOCKED_NS = 200_000_000
DUE_SLACK_NS = int(BACK_OFF_S_MAX * 2 * 1e9)


class Steps:
    def __init__(
        self,
        context: WriteBackContext,
        *,
        uploader: Uploader,
        mover: Mover,
        settlement: Settlement,
        conflicts: ConflictResolver,
        pending: PendingUploads,
        delay_ns: int,
    ):
        """`delay_ns`: the longest that anything is made to wait after a change."""
        self.setbacks = Setbacks()
        self.due_within_ns = delay_ns + DUE_SLACK_NS
        self._context = context
        self._index = context.index
        self._uploader = uploader
        self._mover = mover
        self._settlement = settlement
        self._conflicts = conflicts
        self._pending = pending

    def take(self, inode: Inode, wanted: set[ObjectKey]) -> bool:
        """`wanted`: the keys that are claimed. Whether what failed before may be due sooner by now."""
        key = self._index.dentries.path_key(inode)
        primary = None if inode.link_of is None else self._index.inodes.find(inode.link_of)
        step = next_step(inode, key, may_have_marker=self._may_have_marker(inode), primary=primary)
        if step is Step.NOTHING or key is None:
            return False
        if step is Step.WAIT and primary is not None:
            self._wait_for(primary.ino, inode, key)
            return False
        if step is Step.PUT and self._can_end_where_it_began(inode):
            key = self._pending_key(inode) or key
        if key not in wanted or inode.remote_key not in {None, *wanted}:
            return False  # renamed since it was claimed: the next turn claims the right keys
        size = inode.size if step is Step.PUT and inode.size <= PART_BYTES else 0
        return self.attempt(inode, key, partial(self._request, step, inode, key), size)

    def attempt(self, inode: Inode, key: ObjectKey, request: Callable[[], None], size: int) -> bool:
        """Do what sends so many bytes in one request, and see to its failure. Whether what failed before may be due
        sooner by now."""
        try:
            request()
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
            self.postpone(inode.ino)
        else:
            self._context.concurrency.succeeded(size)
            self.setbacks.forget([inode.ino])
            return self._hurry()
        return False

    def plain_key(self, ino: Ino, wanted: set[ObjectKey]) -> ObjectKey | None:
        """The key at which one request puts an inode whole, or copies it, with nothing to be seen to first; else None.
        `wanted`: the keys that are claimed. In a transaction."""
        inode = self._index.inodes.find(ino)
        if inode is None or not inode.metadata_known or inode.link_of is not None:
            return None
        key = self._index.dentries.path_key(inode)
        step = next_step(inode, key, may_have_marker=self._may_have_marker(inode))
        if key is None or step not in (Step.PUT, Step.PUT_MARKER, Step.COPY) or self._pending.find(ino) is not None:
            return None
        if key not in wanted or inode.remote_key not in {None, *wanted}:
            return None
        return key if find_blocker(self._index, inode, key) is None else None

    def keys_of(self, inode: Inode) -> set[ObjectKey]:
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

    def _may_have_marker(self, inode: Inode) -> bool:
        if not inode.is_dir or (inode.ino == ROOT_INO and not self._context.store.properties.has_root_key):
            return False
        return self._index.dentries.own_file(inode.ino) is None

    def _wait_for(self, ino: Ino, shadow: Inode, key: ObjectKey) -> None:
        """What the bucket learns of the primary makes the shadow due."""
        with self._index.locked():  # should the primary be done meanwhile, the shadow is due already, and stays so
            primary = self._index.inodes.find(ino)
            if primary is None or not primary.is_owed:
                return
            parked = self._index.parked.find(ino)
            if parked is not None and primary.due_ns == DUE_NEVER:
                cause = f"waits for /{self._index.dentries.path_key(primary)}, which S3 refuses: {parked.cause}"
                self._park(shadow, key, Rejected(cause))
                return
            now_ns = self._context.clock.now_ns()
            due_ns = max(now_ns + BLOCKED_NS, 0 if primary.due_ns == DUE_NEVER else primary.due_ns)
            self._index.inodes.set_due(shadow.ino, min(due_ns, now_ns + self.due_within_ns))

    def _request(self, step: Step, inode: Inode, key: ObjectKey) -> None:
        if step is Step.MOVE_DIRECTORY:
            self._mover.move_directory(inode)
            return
        blocker = find_blocker(self._index, inode, key)
        if blocker is not None and not self._mover.make_way(inode, blocker):
            self._index.inodes.set_due(inode.ino, self._context.clock.now_ns() + BLOCKED_NS)
            return
        if step is Step.SETTLE:
            self._settlement.done_without_upload(inode, key)
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
        if self.setbacks.note_conflict(inode.ino):
            self.postpone(inode.ino)  # a store that never agrees must not be asked in a tight loop

    def _failed(self, inode: Inode, key: ObjectKey, error: StoreError) -> None:
        if isinstance(error, Throttled):
            self._context.concurrency.strained()
        if error.temporary:
            wait_s = self.postpone(inode.ino)
            log.warning("upload of %r failed, again in %.0f s: %s", key, wait_s, error)
        else:
            self._park(inode, key, error)

    def _park(self, inode: Inode, key: ObjectKey, error: S3mountError) -> None:
        with self._index.transaction():
            now = self._index.inodes.find(inode.ino)
            if now is None:
                return
            self._index.parked.put(inode.ino, str(error), self._context.clock.now_ns())
            self._index.inodes.update(now._replace(due_ns=DUE_NEVER))
        log.error("upload of %r cannot be done and is parked, its data is kept: %s", key, error)

    def postpone(self, ino: Ino) -> float:
        """Try it again later; in how many seconds."""
        now_ns = self._context.clock.now_ns()
        until_ns = self.setbacks.postpone(ino, now_ns, self._index.inodes.next_due_ns(but=ino))
        self._index.inodes.set_due(ino, until_ns)
        return (until_ns - now_ns) / 1e9

    def _hurry(self) -> bool:
        """S3 took something: what failed before need not wait for the end of its back-off."""
        hurried = self.setbacks.hurry(self._context.clock.now_ns())
        if not hurried:
            return False
        with self._index.transaction():
            for ino, due_ns in hurried:
                inode = self._index.inodes.find(ino)
                if inode is not None and due_ns < inode.due_ns < DUE_NEVER:
                    self._index.inodes.set_due(ino, due_ns)
        return True
