"""What happens here when a listing or a HEAD shows that someone else replaced or removed objects.

Called by remote/ (its ForeignObserver), under no lock.
"""

import logging
from collections.abc import Callable, Iterable

from s3mount.cache.filecache import FileCache
from s3mount.clock import Clock
from s3mount.index import links
from s3mount.index.index import Index
from s3mount.locks import InodeLocks
from s3mount.model import Ino, Inode, ObjectInfo
from s3mount.remote.defaults import Defaults
from s3mount.remote.merge import is_foreign_change, replaced_inode
from s3mount.remote.observer import LostName
from s3mount.vfs.departed import Departed
from s3mount.vfs.handles import Handles

log = logging.getLogger(__name__)

# (ino, None): content and attributes of this inode are not what they were; (parent, name): the name is gone.
Tell = Callable[[Ino, str | None], None]
# This name is new in that directory, or names something else now.
TellNew = Callable[[Ino, str], None]


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
        self._tell: Tell = _to_nobody
        self._tell_new: TellNew = _to_nobody

    def watch(self, tell: Tell, tell_new: TellNew | None) -> None:
        """From now on they hear of each change, from any thread, perhaps under the inode lock: they must not block."""
        self._tell = tell
        self._tell_new = _to_nobody if tell_new is None else tell_new

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
            if self._leave_to_theirs(ino, info):
                return
            self.outdated(ino)
            with self._index.transaction():
                inode = self._index.inodes.find(ino)
                if inode is None or not is_foreign_change(inode, info):
                    return
                inode = links.leave(self._index, inode)
                place = self._index.dentries.place(ino) if inode.nlink == 1 and self._handles.is_open(ino) else None
                if place is None:
                    self._take_over(inode, info)
                else:
                    self._give_name_to_theirs(inode, info, *place)
            if place is not None:
                self._tell(*place)
                self._tell_new(*place)
            # Again: what was asked for since `outdated` was answered with the old attributes.
            self._tell(ino, None)

    def _give_name_to_theirs(self, old: Inode, info: ObjectInfo, parent: Ino, name: str) -> None:
        component = self._index.dentries.component(old)
        self._index.dentries.remove(parent, name, old)
        self._index.inodes.update(old._replace(nlink=0, remote_key=None, remote_etag=None))
        new = replaced_inode(old._replace(ino=Ino(0)), info, self._defaults, self._clock.now_ns())
        self._index.create(parent, name, new, component)

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
        self._tell(*place)
        self._tell_new(*place)
        self._tell(ino, None)
        return True

    def _take_over(self, inode: Inode, info: ObjectInfo) -> None:
        now = replaced_inode(inode, info, self._defaults, self._clock.now_ns())
        if now.nlink > 1:
            # No other name has the bytes that are gone, so all names get these; by another generation they are owed.
            generation = self._index.next_generation(now)
            now = now._replace(
                content_generation=generation,
                content_uploaded=generation,
                meta_generation=now.meta_generation + 1,
            )
            now = now._replace(link_group=links.new_group(self._index, now))
        self._index.inodes.update(now)
        links.owe(self._index, now, self._clock.now_ns())

    def is_open(self, ino: Ino) -> bool:
        return self._handles.is_open(ino)

    def outdated(self, ino: Ino) -> None:
        # In this order, a handle opened in between is stale too, though it may have read nothing yet.
        self._cache.discard(ino)
        self._handles.content_changed(ino)
        self._tell(ino, None)

    def removed(self, lost: Iterable[LostName]) -> None:
        """Forget inodes that have lost their names; those still open stay until their last release, and are stale."""
        for ino, parent, name in lost:
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
            self._tell(parent, name)
            self._tell(ino, None)

    def added(self, new: Iterable[tuple[Ino, str]]) -> None:
        for parent, name in new:
            self._tell_new(parent, name)


def _to_nobody(ino: Ino, name: str | None) -> None:
    """No binding keeps anything of its own."""
