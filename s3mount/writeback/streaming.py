"""Sends the parts of a large file while it is still being written, so that little is left to do when it is closed.

Called by the scheduler's workers, which hold the claim on the inode, never by the writer. Only whole parts that the
writer has passed are sent, each once: one that is changed afterwards waits for the close, and so does all of a file
that was lengthened before it was filled. Begins at STREAM_PARTS_MIN such parts, so small files never come here.
"""

from collections.abc import Callable

from s3mount.cache.extents import Extents
from s3mount.model import Ino, Inode, ObjectKey
from s3mount.writeback.context import WriteBackContext
from s3mount.writeback.multipart import PART_BYTES, ContentMoved, MultipartUpload, Part, part_bytes
from s3mount.writeback.pending import PendingUpload, PendingUploads

STREAM_PARTS_MIN = 4
PARTS_AT_ONCE = 2  # fewer than at the close: the writer goes first
PASSED_BYTES = 1 << 20  # a part is complete when the file goes on at least this far behind it


class Stopped(Exception):
    """The drive is being stopped: no more parts."""


def ready_parts(size: int, step: int, dirty: Extents, pending: PendingUpload | None) -> list[Part]:
    """The parts that can go up before the file is closed, in order."""
    return [
        Part(number, start, start + step, is_copied=False)
        for number, start in enumerate(range(0, size - step - PASSED_BYTES + 1, step), 1)
        if dirty.covers(start, start + step)
        and (pending is None or (number not in pending.spoiled and not pending.has(number, start, start + step)))
    ]


class Streamer:
    def __init__(
        self,
        context: WriteBackContext,
        multipart: MultipartUpload,
        pending: PendingUploads,
        *,
        is_stopping: Callable[[], bool],
    ):
        self._context = context
        self._multipart = multipart
        self._pending = pending
        self._is_stopping = is_stopping

    def is_worth_a_look(self, inode: Inode) -> bool:
        """Cheap: whether there may be parts to send of a file that is being written."""
        return (
            inode.is_file
            and inode.content_owed
            and not inode.is_kept_here
            and inode.size > STREAM_PARTS_MIN * PART_BYTES
            and not self._pending.is_sparse(inode.ino)
        )

    def stream(self, ino: Ino, key: ObjectKey) -> None:
        """Send what is ready, and what becomes ready meanwhile. Raises StoreError, FsError."""
        context = self._context
        context.attributes.ensure(ino)
        while not self._is_stopping():
            with context.locks.of(ino):
                inode = context.on_record(ino)
                if inode is None or inode.nlink == 0 or not self.is_worth_a_look(inode):
                    return
                dirty = context.cache.dirty_extents(ino)
                pending = self._pending.find(ino)
            step = part_bytes(inode.size)
            if pending is not None and (pending.record.part_bytes != step or not pending.is_based_on(inode)):
                return  # of no use any more; the upload at the close sees to it
            parts = ready_parts(inode.size, step, dirty, pending)
            if not parts or (pending is None and len(parts) < STREAM_PARTS_MIN):
                return
            if pending is None:
                pending = self._multipart.begin(inode, key, step)
            try:
                self._multipart.send(inode, pending, parts[:PARTS_AT_ONCE], self._check_running)
            except (Stopped, ContentMoved):
                return
            except Exception:
                pending.is_confirmed = False
                raise

    def _check_running(self) -> None:
        if self._is_stopping():
            raise Stopped
