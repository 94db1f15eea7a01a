"""What happens here when a listing or a HEAD shows that someone else replaced or removed objects.

Called by remote/ (its ForeignObserver), under no lock.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace

from s3mount.cache.filecache import FileCache
from s3mount.clock import Clock
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

        While it is open, the new version becomes a new inode: the kernel has one size and one page cache for all opens
        of an inode, and would give who opened the old version the end, or pages, of the new one without asking.
        """
        with self._locks.of(ino):
            inode = self._index.inodes.find(ino)
            if inode is None or not is_foreign_change(inode, info):
                return
            log.info("object %r was changed by someone else", info.key)
            self.outdated(ino)
            with self._index.transaction():
                inode = self._index.inodes.find(ino)
                if inode is None or not is_foreign_change(inode, info):
                    return
                new = replaced_inode(inode, info, self._defaults, self._clock.now_ns())
                place = self._index.dentries.place(ino) if self._handles.is_open(ino) else None
                if place is None:
                    self._index.inodes.update(new)
                else:
                    self._give_name_to(new, inode, *place)

    def _give_name_to(self, new: Inode, old: Inode, parent: Ino, name: str) -> None:
        component = self._index.dentries.component(old)
        self._index.dentries.remove(parent, name, old)
        self._index.inodes.update(replace(old, nlink=0, remote_key=None, remote_etag=None))
        self._index.create(parent, name, replace(new, ino=Ino(0)), component)

    def outdated(self, ino: Ino) -> None:
        # In this order, a handle opened in between is stale too, though it may have read nothing yet.
        self._cache.discard(ino)
        self._handles.content_changed(ino)

    def removed(self, inos: Iterable[Ino]) -> None:
        """Forget inodes that have lost their names; those still open stay until their last release, and are stale."""
        for ino in inos:
            self._handles.content_changed(ino)
            with self._index.transaction():
                is_open = self._handles.is_open(ino)
                if not is_open:
                    inode = self._index.inodes.find(ino)
                    if inode is not None:
                        self._departed.keep(inode)
                    self._index.forget(ino)
            if not is_open:
                self._cache.discard(ino)
