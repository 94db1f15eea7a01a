"""Files over one part: which parts to send and which to copy from the object they are based on, then the upload.

Parts that local edits did not touch are copied inside S3 (UploadPartCopy); the rest is sent. The object appears at
Complete or not at all, and only if the file was not changed since its first part was read.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from s3mount.cache.extents import Extents
from s3mount.ending import end_pool
from s3mount.errors import Missing, StoreError
from s3mount.metadata import decode
from s3mount.model import ETag, Inode, ObjectKey
from s3mount.store.base import Condition
from s3mount.writeback.context import WriteBackContext

log = logging.getLogger(__name__)

PART_BYTES = 8 << 20
PARTS_IN_FLIGHT = 6
PART_COUNT_MAX = 10_000


class ContentMoved(Exception):
    """The file was changed while its parts were read: what was sent must not become an object."""


@dataclass(frozen=True, slots=True)
class Part:
    """Part `number` (from 1) is the bytes [start, end); `is_copied`: the base object has them unchanged."""

    number: int
    start: int
    end: int
    is_copied: bool


def part_bytes(size: int) -> int:
    """PART_BYTES, or the next whole MiB that keeps the number of parts within S3's limit."""
    smallest = -(-size // PART_COUNT_MAX)
    return max(PART_BYTES, -(-smallest >> 20) << 20)


def plan_parts(size: int, dirty: Extents, base_size: int) -> Iterator[Part]:
    """`base_size`: how many bytes the base object has; 0 when there is none."""
    step = part_bytes(size)
    for number, start in enumerate(range(0, size, step), 1):
        end = min(start + step, size)
        yield Part(number, start, end, is_copied=end <= base_size and not any(dirty.within(start, end)))


def plan_copy(size: int) -> Iterator[Part]:
    """Parts of an object that is copied whole because it is too large for CopyObject."""
    return plan_parts(size, Extents(), size)


class MultipartUpload:
    def __init__(self, context: WriteBackContext):
        self._context = context
        self._pool = ThreadPoolExecutor(PARTS_IN_FLIGHT, thread_name_prefix="part")

    def upload(self, inode: Inode, key: ObjectKey, condition: Condition, parts: Iterator[Part]) -> ETag:
        """Make the object from `parts`. Raises ContentMoved, StoreError; then nothing of it stays in the bucket, or is
        on record to be aborted."""
        context = self._context
        upload_id = context.store.create_multipart(
            key, metadata=context.object_metadata(inode), content_type=context.content_type(inode, key)
        )
        context.index.multiparts.add(upload_id, key, inode.ino)
        try:
            etags = self._send(inode, key, upload_id, parts)
            with context.locks.of(inode.ino):
                self._check_unmoved(inode)
            etag = self._complete(inode, key, upload_id, etags, condition)
        except BaseException:
            self.abort(upload_id, key)
            raise
        context.index.multiparts.remove(upload_id)
        return etag

    def _send(self, inode: Inode, key: ObjectKey, upload_id: str, parts: Iterator[Part]) -> list[ETag]:
        etags: dict[int, ETag] = {}
        running: dict[Future[ETag], Part] = {}
        try:
            for part in parts:
                while len(running) >= PARTS_IN_FLIGHT:
                    self._collect(running, etags)
                self._check_unmoved(inode)
                running[self._pool.submit(self._send_part, inode, key, upload_id, part)] = part
            while running:
                self._collect(running, etags)
        finally:
            wait(running)
        return [etags[number] for number in sorted(etags)]

    @staticmethod
    def _collect(running: dict[Future[ETag], Part], etags: dict[int, ETag]) -> None:
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            etags[running.pop(future).number] = future.result()

    def _send_part(self, inode: Inode, key: ObjectKey, upload_id: str, part: Part) -> ETag:
        context = self._context
        base = inode.remote
        if part.is_copied and base is not None:
            return context.store.copy_part(
                key, upload_id, part.number, source=base.key, source_etag=base.etag, start=part.start, end=part.end
            )
        body = context.cache.read(inode.ino, base, start=part.start, end=part.end)
        return context.store.upload_part(key, upload_id, part.number, body)

    def _check_unmoved(self, inode: Inode) -> None:
        now = self._context.index.inodes.find(inode.ino)
        if now is None or now.nlink == 0 or now.content_generation != inode.content_generation:
            raise ContentMoved

    def _complete(self, inode: Inode, key: ObjectKey, upload_id: str, etags: list[ETag], condition: Condition) -> ETag:
        context = self._context
        try:
            return context.store.complete_multipart(key, upload_id, etags, condition=condition)
        except Missing:
            # A reply may have been lost after S3 did complete: then the object carries our write id.
            info = context.store.head(key)
            if decode(info.metadata or {}, is_dir_key=False).write_id == context.write_id(inode):
                return info.etag
            raise

    def abort(self, upload_id: str, key: ObjectKey) -> None:
        """Take the parts out of the bucket; one that cannot be reached now stays on record for the next mount."""
        try:
            self._context.store.abort_multipart(key, upload_id)
        except StoreError as error:
            log.warning("multipart upload %s of %r could not be aborted yet: %s", upload_id, key, error)
            return
        self._context.index.multiparts.remove(upload_id)

    def close(self, deadline_s: float) -> bool:
        """False when parts are still under way after the deadline."""
        return end_pool(self._pool, deadline_s)
