"""Renames in the bucket: who must go first, how a directory hands its move down, and how a circle is broken.

A write to a key waits while the bucket has somebody else's bytes there: an inode renamed away whose copy is still owed,
or one that is unlinked but open. The same holds for every key below a directory that was renamed away and not yet
listed. Two that wait for each other (a and b swapped) cannot be resolved in the bucket, which has no swap; one of them
is then brought into the cache whole and lets go of its object.
"""

import logging

from s3mount import keys, names
from s3mount.errors import Missing, PreconditionFailed, Rejected
from s3mount.index.index import Index
from s3mount.index.schema import DUE_NEVER
from s3mount.model import Ino, Inode, ObjectKey
from s3mount.writeback.context import WriteBackContext

log = logging.getLogger(__name__)

CHAIN_MAX = 1000
ASKED_AHEAD_MAX = 20_000


def find_blocker(index: Index, inode: Inode, key: ObjectKey) -> Inode | None:
    """Who must be moved before `inode` may be written to `key`."""
    with index.locked():
        occupant = None if inode.remote_key == key else index.inodes.with_remote_key(key, is_dir=inode.is_dir)
        if occupant is not None and occupant.ino != inode.ino:
            return occupant
        if keys.is_dir_key(key):
            other = index.inodes.with_remote_key(key, is_dir=not inode.is_dir)
            if other is not None and index.dentries.path_key(other) != key:
                return other
        directories = index.dentries.directories_above(inode.ino)
        # Nobody else's marker is at the key of a directory that has its own there.
        in_place = {it.remote_key for it, path_key in directories if it.remote_key == path_key}
        for above in keys.ancestor_keys(key):
            owner = None if above in in_place else index.inodes.with_remote_key(above, is_dir=True)
            if owner is not None and index.dentries.path_key(owner) != above:
                return owner
        displaced = (it for it, _ in directories if it.remote_key is not None and it.remote_key not in in_place)
        return next(displaced, None)


def is_in_circle(index: Index, inode: Inode, blocker: Inode) -> bool:
    """Whether `blocker`, or the one it waits for, and so on, waits for `inode`."""
    waiting: Inode | None = blocker
    seen: set[Ino] = set()
    while waiting is not None and waiting.ino not in seen and len(seen) < CHAIN_MAX:
        if waiting.ino == inode.ino:
            return True
        seen.add(waiting.ino)
        path_key = index.dentries.path_key(waiting)
        if waiting.is_dir and waiting.remote_key not in (None, path_key):
            return False  # a directory hands its move down without waiting for anybody
        waiting = None if path_key is None else find_blocker(index, waiting, path_key)
    return False


class Mover:
    def __init__(self, context: WriteBackContext):
        self._context = context
        self._index = context.index

    def move_directory(self, inode: Inode) -> None:
        """Hand the change of key down: every child owes its own move, the old prefix is a tombstone, and the directory
        is new in the bucket. One transaction, however many children."""
        self._context.lister.ensure_listed(inode.ino)
        self._context.attributes.ensure(inode.ino)  # its marker is written anew under the new key
        self._context.attributes.prefetch(self._unknown_children(inode.ino))
        now_ns = self._context.clock.now_ns()
        with self._index.transaction():
            now = self._index.inodes.find(inode.ino)
            if now is None or now.nlink == 0 or now.remote_key is None:
                return
            if now.remote_key == self._index.dentries.path_key(now):
                return  # moved back meanwhile
            for child in self._index.inodes.directories_in(now.ino):
                self._index.keep_written_key(child)
            self._index.inodes.bump_children(now.ino, now_ns)
            self._index.tombstones.put(now.remote_key, now.remote_etag, now_ns)
            self._index.inodes.update(now._replace(remote_key=None, remote_etag=None))

    def _unknown_children(self, ino: Ino) -> list[Ino]:
        """Whose metadata is to be asked for before each can be moved."""
        children = [Ino(child) for child in self._index.dentries.inos(ino)[:ASKED_AHEAD_MAX]]
        found = self._index.inodes.find_all(children, may_keep=False)
        return [child.ino for child in found.values() if not child.metadata_known]

    def make_way(self, inode: Inode, blocker: Inode) -> bool:
        """Get `inode` nearer to the key that `blocker` occupies; True when nothing there is in its way. Raises
        StoreError, also when S3 refuses what must be done first."""
        if blocker.nlink == 0:
            try:
                self.localize(blocker)
            except (Missing, PreconditionFailed):
                return True  # its bytes are lost to it, whatever is there now: its handles fail as stale
        elif self._is_waiting_shadow(blocker):
            self._let_go(blocker)
        elif is_in_circle(self._index, inode, blocker) and not inode.is_dir:
            self.localize(inode)
        else:
            parked = self._index.parked.find(blocker.ino)
            if parked is not None and blocker.due_ns == DUE_NEVER:
                raise Rejected(f"waits for /{blocker.remote_key} to be moved, which S3 refuses: {parked.cause}")
            self._index.inodes.set_due(blocker.ino, self._context.clock.now_ns())
        return False

    def _is_waiting_shadow(self, inode: Inode) -> bool:
        primary = None if inode.link_of is None else self._index.inodes.find(inode.link_of)
        return primary is not None and primary.is_owed

    def _let_go(self, shadow: Inode) -> None:
        """Give up a shadow's object. Its bytes are the primary's, and it gets them anew at its own key."""
        with self._index.transaction():
            now = self._index.inodes.find(shadow.ino)
            if now is None or now.remote_key is None or now.link_of is None:
                return
            self._index.tombstones.put(now.remote_key, now.remote_etag, self._context.clock.now_ns())
            self._index.inodes.update(
                now._replace(remote_key=None, remote_etag=None, meta_generation=now.meta_generation + 1)
            )
        self._index.commit_durably()

    def localize(self, inode: Inode) -> None:
        """Bring a file whole into the cache, on disk for good, and let go of its object: whoever waits for that key may
        replace it. Raises StoreError when the bytes cannot be had."""
        context = self._context
        remote = inode.remote
        if remote is None:
            return
        if inode.link_of is not None:
            self._let_go(inode)
            return
        if inode.is_symlink and inode.target is None:
            body = context.cache.read(inode.ino, remote, start=0, end=inode.size) if inode.size else b""
            target: str | None = names.from_bytes(body)
        else:
            target = inode.target
            context.cache.load(inode.ino, remote, inode.size)
        with context.locks.of(inode.ino):
            now = self._index.inodes.find(inode.ino)
            if now is None or now.remote != remote:
                return
            if now.is_file:
                if context.cache.present_bytes(inode.ino) < now.size:
                    return  # evicted or cut meanwhile; the next turn tries again
                context.cache.mark_all_dirty(inode.ino, now.size)
                context.cache.sync(inode.ino)
                context.on_record(inode.ino)
            with self._index.transaction():
                now = self._index.inodes.get(inode.ino)
                self._index.tombstones.put(remote.key, remote.etag, context.clock.now_ns())
                self._index.inodes.update(
                    now._replace(
                        target=target,
                        content_generation=self._index.next_generation(now),
                        remote_key=None,
                        remote_etag=None,
                        remote_size=0,
                    )
                )
        self._index.commit_durably()
        log.info("ino %d: kept in the cache only, its key %r is wanted by another file", inode.ino, remote.key)
