"""A write met an object that is not the version it was based on: whose is it, and how do both sides stay?

Ours, from a write whose reply was lost: its version is taken as the base. Gone: the upload begins anew. Somebody
else's: local bytes go beside it as `name (conflict HOST DATE TIME).ext`; a mere change of metadata is laid over it.
"""

import logging
import os
import socket
import time

from s3mount import foreign_metadata, keys, names
from s3mount.errors import Missing, PreconditionFailed, Rejected, StoreError
from s3mount.index import links
from s3mount.metadata import decode
from s3mount.model import Ino, Inode, ObjectInfo, ObjectKey
from s3mount.writeback.context import WriteBackContext

log = logging.getLogger(__name__)

LOST_BASE = "changed here and by someone else; the object version under the local changes is gone from the bucket"


def conflict_name(name: str, host: str, at_ns: int) -> str:
    """`name` with a mark before its extension, cut so that it stays a legal name."""
    stamp = time.strftime("%Y-%m-%d %H.%M.%S", time.localtime(at_ns // 10**9))
    mark = f" (conflict {host} {stamp})"
    stem, extension = os.path.splitext(name)
    while len(names.to_bytes(stem + mark + extension)) > names.NAME_BYTES_MAX:
        stem = stem[:-1]
    return stem + mark + extension


def _attempt_but(inode: Inode, key: ObjectKey) -> ObjectKey | None:
    """The attempt that stays on record once the outcome of one at `key` is known."""
    return None if inode.attempt_key == key else inode.attempt_key


class ConflictResolver:
    def __init__(self, context: WriteBackContext):
        self._context = context
        self._index = context.index

    def resolve(self, inode: Inode, key: ObjectKey, error: StoreError) -> None:
        """Change the index so that the next step succeeds with nothing lost. `error` is what the write met. Raises
        StoreError from looking."""
        if inode.is_dir:
            self._resolve_marker(inode.ino, key)
            return
        if inode.link_of is not None and not self._has_sound_source(inode):
            return
        there = self._find(key)
        if inode.link_of is None and inode.remote_key is not None and inode.remote_key != key:
            if there is not None and self._is_same_content(there, inode):
                # Its move was done, and a power cut took back what the index knew of it: the old object may be gone.
                self._adopt(inode, key, there)
                return
            self._resolve_source(inode)
            if there is not None and self._is_ours_older(there, inode):
                # Written there before the file was moved and changed, and the reply was lost: it may be replaced.
                self._index.tombstones.put(key, there.etag, self._context.clock.now_ns())
                return
        if there is None or (inode.remote_key == key and keys.is_marker(there)):
            self._forget_base(inode, key)
            return
        if inode.remote_key == key and inode.remote_etag == there.etag:
            if isinstance(error, PreconditionFailed) and inode.content_owed:
                self._context.conditions.refused()
            return  # the base is as it was: what was missing is a multipart upload that somebody aborted
        if self._is_ours(there, inode):
            self._adopt(inode, key, there)
        elif self._index.tombstones.find(key) is not None and self._context.is_own_write(there):
            # The last writing of somebody who has left this key, and whose reply was lost: it may be replaced.
            self._index.tombstones.put(key, there.etag, self._context.clock.now_ns())
        elif inode.content_owed or inode.remote_key != key:
            self._keep_both(inode, key)
        else:
            self._adopt(inode, key, there)

    def _find(self, key: ObjectKey) -> ObjectInfo | None:
        try:
            return self._context.store.head(key)
        except Missing:
            return None

    def _resolve_marker(self, ino: Ino, key: ObjectKey) -> None:
        """Any marker may be replaced. An object with content is somebody's file in that directory, unless it is the
        last writing of one that has left it."""
        context, index = self._context, self._index
        there = self._find(key)
        marker = there if there is not None and keys.is_marker(there) else None
        if marker is not None:
            context.conditions.met_marker(marker)
        with index.transaction():
            now = index.inodes.find(ino)
            if now is None or index.dentries.path_key(now) != key:
                return
            tombstone = index.tombstones.find(key)
            known = now.remote_etag or (tombstone.etag if tombstone is not None else None)
            if there is not None and there.etag == known and not context.conditions.is_tree:
                context.conditions.refused()
                return
            if there is not None and marker is None and tombstone is not None and context.is_own_write(there):
                index.tombstones.put(key, there.etag, context.clock.now_ns())
                return
            index.tombstones.remove([key])
            index.inodes.update(
                now._replace(
                    remote_key=now.remote_key if there is None else key,
                    remote_etag=None if marker is None else marker.etag or None,
                    attempt_key=_attempt_but(now, key),
                )
            )
        if there is not None and marker is None:
            log.warning("%r was given content by someone else: it is shown as a file in that directory", key)
            context.lister.relist(ino, lambda: None)

    def _has_sound_source(self, shadow: Inode) -> bool:
        """Whether the primary's object is what the index says, so that it is the shadow's own that is not. Else it is
        taken for what it is, and the next turn sees to the shadow."""
        primary = links.identity(self._index, shadow.ino)
        if primary is None or primary.remote is None or primary.is_owed:
            return False
        try:
            there = self._context.store.head(primary.remote.key)
        except Missing:
            self._forget_base(primary, primary.remote.key)
            return False
        if there.etag == primary.remote_etag:
            return True
        if self._is_ours(there, primary):
            self._adopt(primary, there.key, there)
        else:
            self._context.observer.replaced(primary.ino, there)
        return False

    def _is_ours(self, there: ObjectInfo, inode: Inode) -> bool:
        write_id = decode(there.metadata or {}, is_dir_key=False).write_id
        return self._context.is_own_write_id(write_id, inode)

    def _is_ours_older(self, there: ObjectInfo, inode: Inode) -> bool:
        write_id = decode(there.metadata or {}, is_dir_key=False).write_id
        return self._context.is_own_older_write(write_id, inode)

    def _is_same_content(self, there: ObjectInfo, inode: Inode) -> bool:
        """Whether we wrote it, with the bytes that the index names now."""
        write_id = decode(there.metadata or {}, is_dir_key=False).write_id or ""
        return self._is_ours(there, inode) and write_id.split(".")[2:3] == [str(inode.content_generation)]

    def _resolve_source(self, inode: Inode) -> None:
        """What a renamed file was based on may be what changed: take the foreign version over, or let it keep the old
        name and keep what is here."""
        assert inode.remote_key is not None
        try:
            there = self._context.store.head(inode.remote_key)
        except Missing:
            self._forget_base(inode, inode.remote_key)
            return
        if there.etag == inode.remote_etag:
            return
        if inode.content_owed and not self._is_ours(there, inode):
            self._forget_base(inode, inode.remote_key)
        else:
            self._adopt(inode, inode.remote_key, there)

    def _adopt(self, inode: Inode, key: ObjectKey, there: ObjectInfo) -> None:
        """Base our state on the version that is there: ours, or a foreign one under a mere metadata change."""
        with self._context.locks.of(inode.ino):
            owes_content = self._owes_content(inode)
            # A power cut may have taken back that we wrote newer bytes: those there count then, as if foreign.
            is_ours = self._is_ours(there, inode) and (owes_content or self._is_same_content(there, inode))
            if not is_ours and not owes_content:
                # Before the index names the other version: no crash may leave old bytes under the new ETag.
                self._context.observer.outdated(inode.ino)
            with self._index.transaction():
                now = self._index.inodes.find(inode.ino)
                if now is None:
                    self._index.tombstones.put(key, there.etag, self._context.clock.now_ns())
                    return
                if now.remote_key not in (None, key):
                    assert now.remote_key is not None
                    self._index.tombstones.put(now.remote_key, now.remote_etag, self._context.clock.now_ns())
                size = now.size if now.content_owed or is_ours else there.size
                self._index.tombstones.remove([key])
                if not is_ours:
                    now = now if now.content_owed else links.leave(self._index, now)
                    now = now._replace(target=None if not now.content_owed else now.target)
                    now = now._replace(foreign_metadata=foreign_metadata.pick(there.metadata or {}))
                self._index.inodes.update(
                    now._replace(
                        size=size,
                        remote_key=key,
                        remote_etag=there.etag,
                        remote_modified_ns=None,
                        remote_size=there.size,
                        meta_generation=now.meta_generation + 1,
                        attempt_key=_attempt_but(now, key),
                    )
                )
        if is_ours and inode.is_file and inode.content_owed:
            # Bytes missing here are now read from our own object, which has them: all was sent.
            log.info("%r: an earlier upload of ours arrived after all", key)

    def _owes_content(self, inode: Inode) -> bool:
        now = self._index.inodes.find(inode.ino)
        return now is not None and now.content_owed

    def _forget_base(self, inode: Inode, key: ObjectKey) -> None:
        """The object is gone. Local bytes are uploaded as new; without any, the file is gone as well."""
        context = self._context
        with context.locks.of(inode.ino):
            is_whole = self._keep_whole(inode.ino)
            with self._index.transaction():
                now = self._index.inodes.find(inode.ino)
                if now is None or now.remote_key != key:
                    self._index.tombstones.remove([key])  # its object is gone: it must not be a condition any more
                    return
                if not is_whole and not now.content_owed:
                    self._remove(now)
                    return
                if not is_whole:
                    raise Rejected(LOST_BASE)
                if now.is_file:
                    context.totals.count_conflict()
                self._index.inodes.update(
                    now._replace(
                        content_generation=self._index.next_generation(now),
                        remote_key=None,
                        remote_etag=None,
                        remote_size=0,
                        attempt_key=_attempt_but(now, key),
                    )
                )
        log.warning("%r was removed by someone else; the local version is uploaded again", key)

    def _keep_whole(self, ino: Ino) -> bool:
        """Whether all of the content is here; then nothing of it is evicted any more. Under the inode lock."""
        now = self._index.inodes.find(ino)
        if now is not None and now.link_of is not None:
            return True  # it is the primary's, and copied from there
        if now is None or not now.is_file:
            return now is not None and (now.is_dir or now.is_special or now.target is not None)
        cache = self._context.cache
        if cache.present_bytes(ino) < now.size:
            return False
        if not now.content_owed:
            cache.mark_all_dirty(ino, now.size)  # the index takes the object away next: from here on it is not evicted
        return cache.present_bytes(ino) >= now.size

    def _remove(self, inode: Inode) -> None:
        if links.survive(self._index, inode, now_ns=self._context.clock.now_ns()):
            return
        links.disband(self._index, inode)
        place = self._index.dentries.place(inode.ino)
        if place is not None:
            self._index.dentries.remove(*place, inode)
        self._index.abandon_attempt(inode, self._context.clock.now_ns())
        gone = inode._replace(nlink=0, remote_key=None, remote_etag=None, attempt_key=None)
        self._index.inodes.update(gone)
        log.warning("%r was removed by someone else before its rename reached the bucket", inode.remote_key)

    def _keep_both(self, inode: Inode, key: ObjectKey) -> None:
        """The foreign object keeps the name, our version takes one that tells what happened."""
        context = self._context
        with context.locks.of(inode.ino):
            is_whole = inode.remote_key != key or self._keep_whole(inode.ino)
            with self._index.transaction():
                now = self._index.inodes.find(inode.ino)
                place = None if now is None else self._index.dentries.place(inode.ino)
                if now is None or place is None or self._index.dentries.path_key(now) != key:
                    return
                parent, name = place
                is_based_there = now.remote_key == key
                if is_based_there and not is_whole:
                    raise Rejected(LOST_BASE)
                new_name = conflict_name(name, socket.gethostname(), context.clock.now_ns())
                self._index.dentries.remove(parent, name, now)
                self._index.dentries.add(parent, new_name, now)
                self._index.tombstones.remove([key])
                now = now._replace(
                    meta_generation=now.meta_generation + 1, attempt_key=None, due_ns=context.clock.now_ns()
                )
                if is_based_there:
                    now = now._replace(remote_key=None, remote_etag=None, remote_size=0)
                self._index.inodes.update(now)
        context.lister.invalidate(parent)
        context.totals.count_conflict()
        log.warning("%r was changed by someone else; the local version is kept as %r", key, new_name)
