"""What the last run left half done. At mount, before the first operation; no S3 calls in `at_start`, so that a mount is
ready at once whatever is owed."""

import logging
from collections.abc import Sequence

from s3mount.model import Ino, ObjectKey
from s3mount.writeback.context import WriteBackContext
from s3mount.writeback.multipart import MultipartUpload

log = logging.getLogger(__name__)


Unfinished = Sequence[tuple[str, ObjectKey, Ino]]


def at_start(context: WriteBackContext) -> Unfinished:
    """Make the index say what is so: no file is open, nothing is being uploaded, parked work gets another try. Returns
    the multipart uploads that the last run left; those of this run are not among them."""
    index = context.index
    now_ns = context.clock.now_ns()
    with index.transaction():
        for orphan in index.inodes.orphans():
            # Unlinked while open, and then the handles died with the process.
            index.drop(orphan, now_ns)
        index.parked.clear()
        index.inodes.expedite(now_ns, with_parked=True)
        index.tombstones.expedite(now_ns)
        return index.multiparts.all()


def in_background(context: WriteBackContext, multipart: MultipartUpload, unfinished: Unfinished) -> None:
    """Abort uploads that the last run began and nobody continues; remove cached bytes that no inode owns."""
    for upload_id, key, _ in unfinished:
        multipart.abort(upload_id, key)
    removed = context.cache.sweep(lambda ino: context.index.inodes.find(ino) is not None)
    if removed:
        log.info("removed %d cached files that no inode owns", removed)
