"""Makes an empty file the copy of another by one CopyObject, while the caller waits: no byte passes through here.

Called by WriteBack for copy_file_range(2), on the thread of a file operation and with its patience. To the bucket it is
an upload, with the same claim, attempt, condition and settlement; the new object depends on nothing of the source's.
Whatever is in the way, the answer is that nothing was copied, and the caller copies the bytes itself.

Numbers: the copy has a generation of its own, and the empty file is given the one after that before S3 is asked. So
neither what is written meanwhile or afterwards, nor the empty file itself, is ever taken for an object that a COPY of
unknown outcome has left.
"""

import logging

from s3mount.errors import FsError, Missing, StoreError
from s3mount.model import Ino, Inode, ObjectKey, RemoteObject
from s3mount.store.base import Condition, ConditionKind
from s3mount.writeback.claims import Claims
from s3mount.writeback.context import WriteBackContext
from s3mount.writeback.moves import find_blocker
from s3mount.writeback.pending import PendingUploads
from s3mount.writeback.settle import Settlement

log = logging.getLogger(__name__)


class Copier:
    def __init__(
        self, context: WriteBackContext, settlement: Settlement, pending: PendingUploads, claims: Claims
    ) -> None:
        self._context = context
        self._index = context.index
        self._settlement = settlement
        self._pending = pending
        self._claims = claims

    def copy(self, source: Ino, target: Ino, *, now_ns: int, due_ns: int) -> int:
        """How many bytes `target` has now: all of `source`'s, in the bucket, and that survives kill -9; or 0, and then
        it is as it was, but perhaps owed, due at `due_ns`. Raises neither StoreError nor FsError."""
        inode = self._index.inodes.find(target)
        key = None if inode is None else self._index.dentries.path_key(inode)
        if inode is None or key is None or inode.remote_key not in (None, key):
            return 0
        if not self._claims.claim(target, [key]):
            return 0
        try:
            return self._copy_to(key, source, target, now_ns=now_ns, due_ns=due_ns)
        except (StoreError, FsError, TimeoutError) as error:
            log.info("%r is copied through the cache: %s", key, error)
            return 0
        finally:
            self._claims.release(target, [key])

    def _copy_to(self, key: ObjectKey, source: Ino, target: Ino, *, now_ns: int, due_ns: int) -> int:
        remote = self._find_whole(source)
        if remote is None:
            return 0
        self._context.attributes.ensure(target)  # metadata is written whole
        before = self._begin(key, target, due_ns)
        if before is None:
            return 0
        condition = self._settlement.begin(target, key)
        if condition is None or not self._holds(key, condition):
            return 0
        copied = before._replace(
            size=remote.size,
            mtime_ns=now_ns,
            ctime_ns=now_ns,
            content_generation=before.content_generation - 1,
        )
        etag = self._context.store.copy(
            remote.key,
            key,
            source_etag=remote.etag,
            metadata=self._context.object_metadata(copied, key),
            content_type=self._context.content_type(copied, key),
            condition=condition,
        )
        return remote.size if self._settlement.copied(before, copied, key, etag) else 0

    def _find_whole(self, ino: Ino) -> RemoteObject | None:
        """The object that is all of the source, as the user sees it."""
        source = self._index.inodes.find(ino)
        if source is None or not source.is_file or source.is_owed or source.content_owed or not source.metadata_known:
            return None
        remote = source.remote
        if remote is None or remote.size != source.size or remote.size > self._context.store.properties.copy_bytes_max:
            return None
        return remote

    def _begin(self, key: ObjectKey, ino: Ino, due_ns: int) -> Inode | None:
        """The target's row, owed and on record; None when it is not the empty file that a COPY may become."""
        context, cache = self._context, self._context.cache
        with context.locks.of(ino):
            if cache.present_bytes(ino) or cache.dirty_extents(ino) or self._pending.find(ino) is not None:
                return None
            now = context.on_record(ino)
            if now is None or not now.is_file or now.size or now.link_of is not None:
                return None
            with self._index.transaction():
                now = self._index.inodes.get(ino)
                if self._index.dentries.path_key(now) != key or now.remote_key not in (None, key):
                    return None
                if self._index.parked.find(ino) is not None or find_blocker(self._index, now, key) is not None:
                    return None
                now = now._replace(content_generation=self._index.next_generation(now) + 1, due_ns=due_ns)
                self._index.inodes.update(now)
                return self._index.inodes.get(ino)

    def _holds(self, key: ObjectKey, condition: Condition) -> bool:
        """Not every store heeds the condition of a COPY. That of the upload which comes instead can be relied on, so
        this one is tried only where it is known to hold."""
        if condition.kind is ConditionKind.ANY:
            return True
        try:
            there = self._context.store.head(key).etag
        except Missing:
            return condition.etag is None
        return there == condition.etag
