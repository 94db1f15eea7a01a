"""link(2), and what unlink and rename mean for a file with several names.

Called by FileSystem and Namespace, from any thread. Each name but one is a shadow row of the index (index/links.py);
here is where a name's row and the inode that the user sees are told apart.
"""

from s3mount import keys
from s3mount.errors import Exists, NotFound, NotPermitted, TooManyLinks
from s3mount.index import links
from s3mount.model import Ino, Inode
from s3mount.vfs.context import VfsContext

LINKS_MAX = 65_000  # as ext4; each is an object that a change of the file writes anew


class HardLinks:
    def __init__(self, context: VfsContext):
        self._context = context
        self._index = context.index

    def link(self, ino: Ino, parent: Ino, name: str) -> Inode:
        """One more name for a file; survives kill -9 on return. Raises Exists, NotPermitted for a directory, for what
        is kept here and where hard links are not wanted, TooManyLinks, NotFound when the file has no name any more."""
        context = self._context
        context.require_writable()
        if not context.options.has_hard_links:
            raise NotPermitted("this mount makes no hard links")
        keys.check_name(name)
        context.directory(parent)
        inode = context.known(context.live(ino))
        if inode.is_dir:
            raise NotPermitted("a directory has one name")
        with self._index.transaction():
            inode = context.live(ino)
            if self._index.dentries.lookup(parent, name) is not None:
                raise Exists(name)
            if inode.is_kept_here:
                raise NotPermitted("a desktop system's file, which is for this computer alone")
            if inode.nlink == 0:
                raise NotFound("the file was removed")
            if inode.nlink >= LINKS_MAX:
                raise TooManyLinks(f"the file has {inode.nlink} names")
            context.require_key(context.live_directory(parent), name, is_dir=False)
            now_ns = context.clock.now_ns()
            inode = links.add(self._index, inode, parent, name, now_ns=now_ns, due_ns=context.due_ns())
            context.touch_directory(parent)
        context.writeback.notify()
        return inode

    def remove_name(self, parent: Ino, name: str, inode: Inode) -> bool:
        """Take one of several names from `inode`, in the caller's transaction. False: it has but this one."""
        index = self._index
        now_ns, due_ns = self._context.clock.now_ns(), self._context.due_ns()
        row = self.row(parent, name, inode)
        if row.link_of is not None:
            links.remove_shadow(index, row, now_ns=now_ns, due_ns=due_ns)
            return True
        if links.shadows(index, inode):
            links.take_over(index, inode, now_ns=now_ns, due_ns=due_ns)
            return True
        return False

    def row(self, parent: Ino, name: str, inode: Inode) -> Inode:
        """The row behind this name of `inode`: its own, or a shadow's."""
        ino = self._index.dentries.lookup(parent, name)
        return inode if ino is None else self._index.inodes.get(ino)

    def moved(self, row: Inode) -> None:
        """The name of `row` was changed: a shadow's row is not where the user sees the time of that."""
        if row.link_of is not None:
            primary = self._index.inodes.get(row.link_of)
            self._index.inodes.update(primary._replace(ctime_ns=self._context.clock.now_ns()))
