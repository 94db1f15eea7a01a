"""Compares index, cache and bucket, and mends what is safe: nothing of a user's is changed, here or in the bucket.

Called by mount.py for a live mount and by offline.py for a state folder; one thread a check, no lock held. Sends one
listing of the whole prefix and a HEAD for each object with known metadata. Raises StoreError when the bucket cannot be
asked, IOFailure when the cache directory cannot be read.
"""

from collections.abc import Callable

from s3mount.check import bucket
from s3mount.check.cached import check_cache
from s3mount.check.context import CheckContext
from s3mount.check.findings import Finding, Kind
from s3mount.errors import StoreError

OWED_SHOWN_MAX = 1000

Progress = Callable[[int], None]


def check(context: CheckContext, progress: Progress) -> list[Finding]:
    """Everything that was found. `progress` is told now and then how many things were looked at; what it raises goes
    through."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count % 100 == 1:
            progress(count)

    found = check_cache(context, step)
    found += bucket.check_bucket(context, step)
    found += _owed(context)
    found += _unfinished(context)
    return found


def _owed(context: CheckContext) -> list[Finding]:
    index = context.index
    found: list[Finding] = []
    for inode in index.inodes.owed(OWED_SHOWN_MAX):
        parked = index.parked.find(inode.ino)
        found.append(Finding(Kind.NOT_UPLOADED, context.path(inode.ino), parked.cause if parked else ""))
    return found + [Finding(Kind.NOT_DELETED, f"/{key}") for key in index.tombstones.some(OWED_SHOWN_MAX)]


def _unfinished(context: CheckContext) -> list[Finding]:
    found: list[Finding] = []
    for upload in [] if context.is_live else context.index.multiparts.all():
        repair = ""
        if context.repairs:
            try:
                context.store.abort_multipart(upload.key, upload.upload_id)
                context.index.multiparts.remove(upload.upload_id)
                repair = "aborted"
            except StoreError as error:
                repair = f"could not be aborted: {error}"
        found.append(Finding(Kind.UNFINISHED_UPLOAD, f"/{upload.key}", upload.upload_id, repair))
    return found
