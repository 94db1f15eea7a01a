"""What the last run left half done. At mount, before the first operation; no S3 calls in `at_start`, so that a mount is
ready at once whatever is owed."""

import logging

from s3mount.writeback.context import WriteBackContext
from s3mount.writeback.multipart import MultipartUpload

log = logging.getLogger(__name__)


def at_start(context: WriteBackContext) -> None:
    """Make the index say what is so: no file is open, nothing is being uploaded, parked work gets another try."""
    index = context.index
    now_ns = context.clock.now_ns()
    with index.transaction():
        for orphan in index.inodes.orphans():
            # Unlinked while open, and then the handles died with the process.
            index.drop(orphan, now_ns)
        index.parked.clear()
        index.inodes.expedite(now_ns)
        index.tombstones.expedite(now_ns)


def in_background(context: WriteBackContext, multipart: MultipartUpload) -> None:
    """Abort uploads that the last run began and nobody continues; remove cached bytes that no inode owns."""
    for upload_id, key, _ in context.index.multiparts.all():
        multipart.abort(upload_id, key)
    removed = context.cache.sweep(lambda ino: context.index.inodes.find(ino) is not None)
    if removed:
        log.info("removed %d cached files that no inode owns", removed)
