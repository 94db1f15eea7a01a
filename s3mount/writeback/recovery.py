"""What the last run left half done. At mount, before the first operation; no S3 calls in `at_start`, so that a mount is
ready at once whatever is owed."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from s3mount.errors import StoreError
from s3mount.index.multiparts import Intent, RecordedUpload
from s3mount.writeback.context import WriteBackContext
from s3mount.writeback.multipart import MultipartUpload
from s3mount.writeback.pending import PendingUploads

log = logging.getLogger(__name__)

# How far the server's clock may be from ours for an upload of a lost id to be taken for ours.
CLOCK_SKEW_NS = 15 * 60 * 10**9
BEGIN_DEADLINE_S = 60.0


class Unfinished(NamedTuple):
    """What the last run left in the bucket and nobody continues: uploads to abort, and intents to look for."""

    uploads: Sequence[RecordedUpload] = ()
    intents: Sequence[Intent] = ()


def at_start(context: WriteBackContext, pending: PendingUploads) -> Unfinished:
    """Make the index say what is so: no file is open, nothing is being uploaded, parked work gets another try. Takes
    up the last run's multipart uploads, and returns what cannot be; nothing of this run is among that."""
    index = context.index
    now_ns = context.clock.now_ns()
    with index.transaction():
        for orphan in index.inodes.orphans():
            # Unlinked while open, and then the handles died with the process.
            index.drop(orphan, now_ns)
        index.parked.clear()
        index.inodes.expedite(now_ns, with_parked=True)
        index.tombstones.expedite(now_ns)
        return Unfinished(pending.load(context.cache.tag), index.multiparts.intents())


def in_background(context: WriteBackContext, multipart: MultipartUpload, unfinished: Unfinished) -> None:
    """Abort uploads that the last run began and nobody continues; remove cached bytes that no inode owns."""
    for upload in unfinished.uploads:
        multipart.abort(upload.upload_id, upload.key)
    for intent in unfinished.intents:
        _abort_lost(context, multipart, intent)
    removed = context.cache.sweep(lambda ino: context.index.inodes.find(ino) is not None)
    if removed:
        log.info("removed %d cached files that no inode owns", removed)


def _abort_lost(context: WriteBackContext, multipart: MultipartUpload, intent: Intent) -> None:
    """Find the upload whose id was lost between S3 and the index, and abort it. Ours is one that was begun at exactly
    that key, at the time we were about to, and that is not on record; anybody else's is left alone."""
    index = context.index
    try:
        found = context.store.list_multiparts(intent.key)
    except StoreError as error:
        log.warning("uploads of %r could not be listed, the next mount tries again: %s", intent.key, error)
        return
    for upload in found:
        is_of_then = intent.first_ns - CLOCK_SKEW_NS <= upload.initiated_ns <= intent.last_ns + CLOCK_SKEW_NS
        if upload.key != intent.key or not is_of_then:
            continue
        if not multipart.wait_begun(intent.key, BEGIN_DEADLINE_S):
            return  # one is being begun right now, which may be this one: the next mount looks again
        if index.multiparts.is_known(upload.upload_id):
            continue
        log.info("aborting an upload of %r whose id was lost", intent.key)
        if not multipart.abort(upload.upload_id, upload.key):
            return
    index.multiparts.remove_intent(intent)
