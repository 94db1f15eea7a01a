"""What happens here when a listing or a HEAD shows that someone else replaced or removed objects.

Called by remote/ (its ForeignObserver), under no lock.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace

from s3mount.cache.filecache import FileCache
from s3mount.clock import Clock
from s3mount.index import links
from s3mount.index.index import Index
from s3mount.locks import InodeLocks
from s3mount.model import Ino, Inode, ObjectInfo
from s3mount.remote.defaults import Defaults
from s3mount.remote.merge import is_foreign_change, replaced_inode
from s3mount.vfs.departed import Departed
from s3mount.vfs.handles import Handles

log = logging.getLogger(__name__)


class ForeignChanges:
    def __init__(
        self, index: Index, cache: FileCache, handles: Handles, locks: InodeLocks, defaults: Defaults, clock: Clock,
        departed: Departed,
    ):  # fmt: skip
        self._index = index
        self._cache = cache
        self._handles = handles
        self._locks = locks
        self._defaults = defaults
        self._clock = clock
        self._departed = departed

    def replaced(self, ino: Ino, info: ObjectInfo) -> None:
        """Take the new version over, unless local work is owed by now: then the upload meets it.

        The cached bytes go before the index names the new version. Until it does, they can only be fetched under the
        old ETag, which S3 refuses; the other way round a crash, or a reader, could take old bytes for new ones. The
        inode lock keeps a writer from putting bytes there in between.
        """
        with self._locks.of(ino):
            inode = self._index.inodes.find(ino)
            if inode is None or not is_foreign_change(inode, info):
                return
            log.info("object %r was changed by someone else", info.key)
            if self._leave_to_theirs(ino, info):
                return
            self.outdated(ino)
            with self._index.transaction():
                inode = self._index.inodes.find(ino)
                if inode is not None and is_foreign_change(inode, info):
                    self._take_over(links.leave(self._index, inode), info)

    def _leave_to_theirs(self, ino: Ino, info: ObjectInfo) -> bool:
        """A file with other names keeps its bytes under those, and the name where someone else put others becomes a
        file of its own. False when no other name has the bytes."""
        now_ns = self._clock.now_ns()
        with self._index.transaction():
            inode = self._index.inodes.find(ino)
            place = self._index.dentries.place(ino)
            if inode is None or place is None or not is_foreign_change(inode, info):
                return False
            component = self._index.dentries.component(inode)
            if not links.survive(self._index, inode, now_ns=now_ns):
                return False
            new = Inode(Ino(0), 0, 0, 0, 0, 0, 0, remote_key=info.key)
            self._index.create(*place, replaced_inode(new, info, self._defaults, now_ns), component)
        return True

    def _take_over(self, inode: Inode, info: ObjectInfo) -> None:
        now = replaced_inode(inode, info, self._defaults, self._clock.now_ns())
        if now.nlink > 1:
            # No other name has the bytes that are gone, so all names get these; by another generation they are owed.
            generation = self._index.next_generation(now)
            now = replace(
                now,
                content_generation=generation,
                content_uploaded=generation,
                meta_generation=now.meta_generation + 1,
            )
            now = replace(now, link_group=links.new_group(self._index, now))
        self._index.inodes.update(now)
        links.owe(self._index, now, self._clock.now_ns())

    def is_open(self, ino: Ino) -> bool:
        return self._handles.is_open(ino)

    def outdated(self, ino: Ino) -> None:
        self._handles.content_changed(ino)
        self._cache.discard(ino)

    def removed(self, inos: Iterable[Ino]) -> None:
        """Forget inodes that have lost their names; those still open stay until their last release."""
        for ino in inos:
            with self._index.transaction():
                is_open = self._handles.is_open(ino)
                if not is_open:
                    inode = self._index.inodes.find(ino)
                    if inode is not None:
                        self._departed.keep(inode)
                    self._index.forget(ino)
            if not is_open:
                self._cache.discard(ino)
