"""Records, in one transaction each, that a write is about to be tried and what came of it.

Crash table (docs/writeback.md has the whole): died after `begin` → the attempt is on record, so an object of ours at
that key is recognised by its write id, or deleted if nobody wants it; died after the request, before `uploaded` → the
same; died after `uploaded` → done.
"""

from dataclasses import dataclass
from functools import partial

from s3mount.errors import Missing
from s3mount.index import links
from s3mount.model import ETag, Ino, Inode, ObjectKey
from s3mount.store.base import ABSENT, Condition, matches
from s3mount.writeback.context import WriteBackContext

GATHER_NS = 200_000_000  # deletions wait this long, so that many go in one request


@dataclass(frozen=True, slots=True)
class _Begun:
    """An attempt that is on record. `condition`: what must hold, None when S3 must be asked what is there;
    `known_etag`: of the version that may be replaced in any case."""

    condition: Condition | None
    known_etag: ETag | None
    is_dir: bool


class Settlement:
    def __init__(self, context: WriteBackContext):
        self._context = context
        self._index = context.index

    def begin(self, ino: Ino, key: ObjectKey) -> Condition | None:
        """Put the attempt on record; returns what must hold at `key`, or None when the inode has gone, or stays here.
        Raises StoreError when S3 had to be asked."""
        begun = self._begin(ino, key)
        if begun is None:
            return None
        condition = begun.condition or self._look(key, begun.known_etag)
        return self._context.conditions.ensure(key, condition, is_marker=begun.is_dir)

    def begin_unasked(self, ino: Ino, key: ObjectKey) -> Condition | None:
        """The same, in a transaction of the caller's; None also when S3 would have to be asked, and then `begin` may
        follow."""
        begun = self._begin(ino, key)
        if begun is None or begun.condition is None:
            return None
        return self._context.conditions.unasked(begun.condition, is_marker=begun.is_dir)

    def _begin(self, ino: Ino, key: ObjectKey) -> _Begun | None:
        with self._index.transaction():
            inode = self._index.inodes.find(ino)
            if inode is None or inode.nlink == 0 or inode.is_kept_here:
                return None
            if inode.attempt_key not in (None, key):
                self._index.abandon_attempt(inode, self._context.clock.now_ns())
            if inode.attempt_key != key:
                self._index.inodes.update(inode._replace(attempt_key=key))
            tombstone = self._index.tombstones.find(key)
            is_attempted = self._index.inodes.with_attempt_at(key, but=ino) is not None
        known_etag = None if tombstone is None else tombstone.etag
        condition: Condition | None = None
        if inode.remote_key == key and inode.remote_etag is not None:
            condition = matches(inode.remote_etag)
        elif tombstone is None and not is_attempted:
            condition = ABSENT
        elif known_etag is not None and not is_attempted:
            condition = matches(known_etag)
        return _Begun(condition, known_etag, inode.is_dir)

    def _look(self, key: ObjectKey, known_etag: ETag | None) -> Condition:
        """An earlier write of ours to this key had no known outcome: what it left there, or found, may be replaced."""
        try:
            there = self._context.store.head(key)
        except Missing:
            return ABSENT
        is_ours = there.etag == known_etag or self._context.is_own_write(there)
        return matches(there.etag) if is_ours else ABSENT

    def uploaded(self, snapshot: Inode, key: ObjectKey, etag: ETag, *, has_metadata: bool = True) -> None:
        """The object at `key` has the bytes and the metadata of `snapshot`; without `has_metadata` only the bytes: the
        metadata stays owed."""
        context = self._context
        settle = partial(self._settle, snapshot, key, etag, has_metadata=has_metadata)
        with context.locks.of(snapshot.ino):
            # The inode lock keeps the content as it is, not the name: by the time of the transaction it may be gone.
            now = self._index.inodes.find(snapshot.ino)
            is_same = now is not None and now.content_generation == snapshot.content_generation
            # A copy inside S3 is of content that was clean before.
            if is_same and snapshot.content_owed and snapshot.is_file and snapshot.link_of is None:
                context.cache.mark_clean(snapshot.ino, settle)
            else:
                settle()
        context.totals.count_upload(snapshot.size if snapshot.content_owed else 0)

    def _settle(self, snapshot: Inode, key: ObjectKey, etag: ETag, *, has_metadata: bool) -> None:
        with self._index.transaction():
            self._context.guard.note([key])
            inode = self._index.inodes.find(snapshot.ino)
            if inode is None:
                self._index.tombstones.put(key, etag, self._context.clock.now_ns())
                self._index.cache_entries.remove(snapshot.ino)
            elif inode.is_dir and self._index.dentries.written_key(inode) != key:
                self._leave_stray_marker(inode, key, etag)
            else:
                self._record(inode, snapshot, key, etag, has_metadata=has_metadata)

    def copied(self, before: Inode, snapshot: Inode, key: ObjectKey, etag: ETag) -> bool:
        """The object at `key` has the bytes and the metadata of `snapshot`, a copy that the empty file `before` is to
        become. False when that was written meanwhile: the attempt stays on record, as if its outcome was not known."""
        context = self._context
        with context.locks.of(snapshot.ino):
            with self._index.transaction():
                context.guard.note([key])
                inode = self._index.inodes.find(snapshot.ino)
                if inode is None:
                    self._index.tombstones.put(key, etag, context.clock.now_ns())
                    return False
                if inode.content_generation != before.content_generation:
                    return False
                are_times_set = inode.mtime_ns != before.mtime_ns  # meanwhile, and so they are owed
                inode = inode._replace(
                    size=snapshot.size,
                    mtime_ns=inode.mtime_ns if are_times_set else snapshot.mtime_ns,
                    ctime_ns=max(inode.ctime_ns, snapshot.ctime_ns),
                    content_generation=snapshot.content_generation,
                )
                self._record(inode, snapshot, key, etag)
            context.cache.mark_clean(snapshot.ino)
        context.totals.count_upload(0)
        return True

    def _record(self, inode: Inode, snapshot: Inode, key: ObjectKey, etag: ETag, *, has_metadata: bool = True) -> None:
        """Make `inode`, a row that may be ahead of `snapshot`, the one whose object is at `key`."""
        self._leave_old_key(inode, key)
        self._index.tombstones.remove([key])
        self._index.parked.remove(inode.ino)
        # Renamed meanwhile, by itself or with a directory above, the move is owed whatever the snapshot says: it may
        # have been taken after the rename, for a write to the old key; or the directory above may be back where it
        # was, and think that what lies below it is still where it had been in between.
        is_elsewhere = self._index.dentries.place(inode.ino) is not None and (
            self._index.dentries.path_key(inode) != key or self._index.dentries.written_key(inode) != key
        )
        now = inode._replace(
            remote_key=key,
            remote_etag=etag,
            remote_modified_ns=None,
            remote_size=snapshot.size,
            content_uploaded=snapshot.content_generation,
            meta_generation=inode.meta_generation + (is_elsewhere or not has_metadata),
            meta_uploaded=snapshot.meta_generation,
            attempt_key=None,
            metadata_known=True,
            is_local=False,
        )
        if inode.link_group is not None and snapshot.link_group is not None:
            now = now._replace(link_group=links.group_of(self._index, snapshot))
        self._index.inodes.update(now)
        links.owe(self._index, now, self._context.clock.now_ns())

    def _leave_stray_marker(self, directory: Inode, key: ObjectKey, etag: ETag) -> None:
        """The directory was moved while its marker was on the way, and what lies below it is elsewhere: that is what
        it must remember to hand its next move down."""
        self._index.tombstones.put(key, etag, self._context.clock.now_ns())
        self._index.keep_written_key(directory)
        directory = self._index.inodes.get(directory.ino)
        self._index.inodes.update(directory._replace(attempt_key=None, meta_generation=directory.meta_generation + 1))

    def _leave_old_key(self, inode: Inode, key: ObjectKey) -> None:
        """The object this inode came from is nobody's now: to be deleted, and free for whoever waits for its key."""
        old_key = inode.remote_key
        if old_key is None or old_key == key:
            return
        now_ns = self._context.clock.now_ns()
        self._index.tombstones.put(old_key, inode.remote_etag, now_ns + GATHER_NS)
        waiting = self._index.dentries.resolve_key(old_key)
        if waiting is not None and waiting.is_owed and waiting.due_ns > now_ns:
            self._index.inodes.set_due(waiting.ino, now_ns)

    def done_without_upload(self, snapshot: Inode, key: ObjectKey) -> None:
        """A directory at `key` has no marker, so nothing is owed for it."""
        with self._index.transaction():
            inode = self._index.inodes.find(snapshot.ino)
            if inode is None or self._index.dentries.written_key(inode) != key:
                return
            if inode.attempt_key not in (None, key):
                self._index.abandon_attempt(inode, self._context.clock.now_ns())
            self._index.parked.remove(inode.ino)
            self._index.inodes.update(
                inode._replace(
                    remote_key=key,
                    remote_etag=None,
                    attempt_key=None,
                    meta_uploaded=snapshot.meta_generation,
                )
            )
