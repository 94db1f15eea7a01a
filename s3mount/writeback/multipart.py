"""Files over one part: which parts to send and which to copy from the object they are based on, then the upload.

Called by the workers, one per inode at a time. Parts that local edits did not touch are copied inside S3
(UploadPartCopy); the rest is sent. Every finished part is on record, so an upload that was interrupted, by a failure, a
change or the death of the process, goes on with what is missing. The object appears at Complete or not at all, and only
from parts that have the bytes of one moment (pending.py).
"""

import json
import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

from s3mount.cache.extents import Extents
from s3mount.ending import end_pool
from s3mount.errors import Damaged, Missing, StoreError
from s3mount.index.multiparts import RecordedUpload, SentPart
from s3mount.metadata import decode
from s3mount.model import ETag, Ino, Inode, ObjectKey
from s3mount.store.base import Condition
from s3mount.writeback.context import WriteBackContext
from s3mount.writeback.pending import PendingUpload, PendingUploads

log = logging.getLogger(__name__)

PART_BYTES = 8 << 20
COPIED_PART_BYTES = 256 << 20
PARTS_IN_FLIGHT = 6
PART_COUNT_MAX = 10_000


class ContentMoved(Exception):
    """The file was changed while its parts were read: what was sent must not become an object."""


class Part(NamedTuple):
    """Part `number` (from 1) is the bytes [start, end); `is_copied`: the base object has them unchanged."""

    number: int
    start: int
    end: int
    is_copied: bool


class Plan(NamedTuple):
    """All parts of an object. `needs_metadata`: an upload begun with other metadata than today's is of no use."""

    part_bytes: int
    parts: Sequence[Part]
    needs_metadata: bool = False

    @property
    def is_mostly_copied(self) -> bool:
        copied = sum(part.end - part.start for part in self.parts if part.is_copied)
        return 2 * copied > sum(part.end - part.start for part in self.parts)

    def is_sent(self, pending: PendingUpload) -> bool:
        return all(pending.has(part.number, part.start, part.end) for part in self.parts)

    def etags(self, pending: PendingUpload) -> list[ETag]:
        """Of a plan that is sent, in the order of its parts. Parts past a file that was cut are left out, for good."""
        return [pending.parts[part.number].etag for part in self.parts]


class Uploaded(NamedTuple):
    """`has_metadata`: the object has the inode's metadata too; an upload that was begun earlier has that time's."""

    etag: ETag
    has_metadata: bool


def part_bytes(size: int) -> int:
    """PART_BYTES, doubled until the number of parts is within S3's limit."""
    step = PART_BYTES
    while step * PART_COUNT_MAX < size:
        step *= 2
    return step


def plan_parts(size: int, dirty: Extents, base_size: int) -> Plan:
    """`base_size`: how many bytes the base object has; 0 when there is none."""
    step = part_bytes(size)
    ranges = [(start, min(start + step, size)) for start in range(0, size, step)]
    return Plan(
        step,
        [
            Part(number, start, end, is_copied=end <= base_size and not any(dirty.within(start, end)))
            for number, (start, end) in enumerate(ranges, 1)
        ],
    )


def plan_copy(size: int) -> Plan:
    """Parts of an object that is copied whole because it is too large for CopyObject."""
    step = max(COPIED_PART_BYTES, part_bytes(size))
    starts = range(0, size, step)
    parts = [Part(number, start, min(start + step, size), is_copied=True) for number, start in enumerate(starts, 1)]
    return Plan(step, parts, needs_metadata=True)


class MultipartUpload:
    def __init__(self, context: WriteBackContext, pending: PendingUploads):
        self._context = context
        self._pending = pending
        self._begun = threading.Condition()
        self._beginning: set[ObjectKey] = set()
        self._sending: set[Ino] = set()
        threads = min(PARTS_IN_FLIGHT, context.concurrency.limit_max)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="part")

    @property
    def sending(self) -> int:
        """How many workers send nothing themselves, but wait for the parts of their file."""
        return len(self._sending)

    # -- the whole object -----------------------------------------------------------------------------------------

    def upload(self, inode: Inode, key: ObjectKey, condition: Condition, plan: Plan) -> Uploaded:
        """Make the object from what is planned, going on with the pending upload if there is one. Raises ContentMoved,
        StoreError, FsError; what S3 has taken by then stays on record for the next attempt, or to be aborted. The
        caller reports `completed` when the object is in the index."""
        pending = self._usable(inode, key, plan)
        try:
            if pending is not None and not pending.is_confirmed:
                etag = self._confirm(inode, pending, plan)
                if etag is not None:
                    return self._uploaded(inode, pending, etag)
                pending = self._pending.find(inode.ino)
            pending = pending or self.begin(inode, key, plan.part_bytes, is_mostly_copied=plan.is_mostly_copied)
            self.send(inode, pending, plan.parts, lambda: self._check_unmoved(inode))
            with self._context.locks.of(inode.ino):
                self._check_unmoved(inode)
                if not plan.is_sent(pending):
                    raise ContentMoved
                etags = plan.etags(pending)
            etag = self._complete(key, pending, etags, condition, inode.size)
        except (StoreError, Damaged) as error:
            self._give_up(inode, error)
            raise
        return self._uploaded(inode, pending, etag)

    def _give_up(self, inode: Inode, error: StoreError | Damaged) -> None:
        """A failure for now leaves the parts to the next attempt; after one for good that begins with none."""
        pending = self._pending.find(inode.ino)
        if pending is None:
            return
        pending.is_confirmed = False
        if isinstance(error, Damaged) or not (error.temporary or isinstance(error, Missing)):
            self.abandon(pending)

    def _uploaded(self, inode: Inode, pending: PendingUpload, etag: ETag) -> Uploaded:
        return Uploaded(etag, has_metadata=pending.record.metadata == self._metadata_text(inode, pending.record.key))

    def completed(self, inode: Inode) -> None:
        """The index names the object: the upload is over."""
        pending = self._pending.find(inode.ino)
        if pending is not None:
            self._pending.completed(pending)

    def _usable(self, inode: Inode, key: ObjectKey, plan: Plan) -> PendingUpload | None:
        """The pending upload, if it can become this object; one that cannot is aborted."""
        pending = self._pending.find(inode.ino)
        if pending is None:
            return None
        is_usable = (
            pending.record.key == key
            and pending.record.part_bytes == plan.part_bytes
            and pending.is_based_on(inode)
            and (not plan.needs_metadata or pending.record.metadata == self._metadata_text(inode, key))
        )
        if not is_usable:
            self.abandon(pending)
            return None
        return pending

    def _confirm(self, inode: Inode, pending: PendingUpload, plan: Plan) -> ETag | None:
        """Ask S3 what it has of the upload. An ETag: it was completed, and that is the object. An upload that S3 knows
        no more is forgotten."""
        record = pending.record
        try:
            there = self._context.store.list_parts(record.key, record.upload_id)
        except Missing:
            with self._context.locks.of(inode.ino):
                self._check_unmoved(inode)
                is_whole = plan.is_sent(pending)
            etag = self._find_completed(record, inode.size) if is_whole else None
            if etag is None:
                log.info("S3 has forgotten the upload of %r: it starts over", record.key)
                self._pending.completed(pending)
            return etag
        self._pending.keep_only(pending, list(there))
        return None

    def _find_completed(self, record: RecordedUpload, size: int) -> ETag | None:
        """The object, if it is what this very upload made."""
        try:
            info = self._context.store.head(record.key)
        except Missing:
            return None
        write_id = decode(info.metadata or {}, is_dir_key=False).write_id
        return info.etag if write_id == record.write_id and info.size == size else None

    def _check_unmoved(self, inode: Inode) -> None:
        now = self._context.index.inodes.find(inode.ino)
        if now is None or now.nlink == 0 or now.content_generation != inode.content_generation:
            raise ContentMoved

    def _complete(
        self, key: ObjectKey, pending: PendingUpload, etags: list[ETag], condition: Condition, size: int
    ) -> ETag:
        try:
            return self._context.store.complete_multipart(key, pending.record.upload_id, etags, condition=condition)
        except Missing:
            # A reply may have been lost after S3 did complete: then the object carries this upload's write id.
            etag = self._find_completed(pending.record, size)
            if etag is None:
                raise
            return etag

    # -- its pieces -----------------------------------------------------------------------------------------------

    def begin(self, inode: Inode, key: ObjectKey, step: int, *, is_mostly_copied: bool = False) -> PendingUpload:
        """A new upload, its id on record. Raises StoreError; should one have begun all the same, the next mount finds
        it by the intent that stays on record."""
        with self._begun:
            self._beginning.add(key)
        try:
            return self._begin(inode, key, step, is_mostly_copied)
        finally:
            with self._begun:
                self._beginning.discard(key)
                self._begun.notify_all()

    def wait_begun(self, key: ObjectKey, deadline_s: float) -> bool:
        """Return when no upload to `key` is between S3 and the index; False when time is up. One that was listed before
        the call, and is ours, is on record then, or over."""
        with self._begun:
            return self._begun.wait_for(lambda: key not in self._beginning, deadline_s)

    def _begin(self, inode: Inode, key: ObjectKey, step: int, is_mostly_copied: bool) -> PendingUpload:
        context = self._context
        write_id = f"{context.write_id(inode)}.{secrets.token_hex(4)}"
        context.index.multiparts.intend(key, context.clock.now_ns())
        context.index.commit_durably()  # a power cut must not hide what will be in the bucket
        try:
            upload_id = context.store.create_multipart(
                key,
                metadata=context.object_metadata(inode, key, write_id),
                content_type=context.content_type(inode, key),
                is_mostly_copied=is_mostly_copied,
            )
        except StoreError as error:
            if not error.temporary:
                context.index.multiparts.fulfil(key)
            raise
        base_key, base_etag = (None, None) if inode.remote is None else (inode.remote.key, inode.remote.etag)
        return self._pending.add(
            RecordedUpload(
                upload_id, key, inode.ino, step, base_key, base_etag,
                self._metadata_text(inode, key), write_id, context.cache.tag,
            )
        )  # fmt: skip

    def _metadata_text(self, inode: Inode, key: ObjectKey) -> str:
        return json.dumps(self._context.object_metadata(inode, key, "-"), sort_keys=True)

    def send(self, inode: Inode, pending: PendingUpload, parts: Sequence[Part], check: Callable[[], None]) -> None:
        """Send those of `parts` that S3 does not have. `check` is called before each and may raise. Raises StoreError,
        FsError; parts that were finished are on record."""
        running: set[Future[None]] = set()
        self._sending.add(inode.ino)
        try:
            for part in parts:
                if pending.has(part.number, part.start, part.end):
                    continue
                while len(running) >= min(PARTS_IN_FLIGHT, self._context.concurrency.limit):
                    self._context.concurrency.note_full()
                    running = self._collect(running)
                check()
                running.add(self._pool.submit(self._send_part, inode, pending, part))
            while running:
                running = self._collect(running)
        finally:
            self._sending.discard(inode.ino)
            wait(running)

    @staticmethod
    def _collect(running: set[Future[None]]) -> set[Future[None]]:
        done, left = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
        return left

    def _send_part(self, inode: Inode, pending: PendingUpload, part: Part) -> None:
        context, record, base = self._context, pending.record, inode.remote
        with context.locks.of(inode.ino):
            changes = self._pending.changes_of(pending, part.number)
            # Changes from here on are counted; those made while the part waited for its turn are not.
            now = context.index.inodes.find(inode.ino)
            if now is None or part.end > now.size:
                raise ContentMoved
            if part.is_copied and any(context.cache.dirty_extents(inode.ino).within(part.start, part.end)):
                raise ContentMoved
        if part.is_copied and base is not None:
            etag = context.store.copy_part(
                record.key, record.upload_id, part.number,
                source=base.key, source_etag=base.etag, start=part.start, end=part.end,
            )  # fmt: skip
        else:
            body = context.cache.read(inode.ino, base, start=part.start, end=part.end, for_upload=True)
            etag = context.store.upload_part(record.key, record.upload_id, part.number, body)
        self._pending.record_part(pending, SentPart(part.number, part.start, part.end, etag), changes)
        context.concurrency.succeeded(0 if part.is_copied else part.end - part.start)

    def abandon(self, pending: PendingUpload) -> None:
        """It will not be continued: take its parts out of the bucket."""
        self._pending.disown(pending)
        self.abort(pending.record.upload_id, pending.record.key)

    def abort(self, upload_id: str, key: ObjectKey) -> bool:
        """Take the parts out of the bucket. False: S3 cannot be reached now, and what is on record of it stays for the
        next mount."""
        try:
            self._context.store.abort_multipart(key, upload_id)
        except StoreError as error:
            log.warning("multipart upload %s of %r could not be aborted yet: %s", upload_id, key, error)
            return False
        self._context.index.multiparts.remove(upload_id)
        return True

    def close(self, deadline_s: float) -> bool:
        """False when parts are still under way after the deadline."""
        return end_pool(self._pool, deadline_s)
