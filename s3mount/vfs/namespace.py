"""Operations on names, by the number of their directory: create, mkdir, symlink, unlink, rmdir, rename.

None waits for S3 beyond bringing the directories involved up to date; what the bucket must learn is committed to the
index before they return.
"""

import os
import stat

from s3mount import names
from s3mount.errors import (
    Exists,
    InvalidArgument,
    IsADirectory,
    NameTooLong,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
)
from s3mount.model import ROOT_INO, Caller, Fh, Ino, Inode
from s3mount.vfs.context import VfsContext
from s3mount.vfs.hard_links import HardLinks
from s3mount.vfs.xattrs import inherit, require_room

# linux/fs.h
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
SYMLINK_BYTES_MAX = 4095  # PATH_MAX less the NUL, as Linux file systems have it


class Namespace:
    def __init__(self, context: VfsContext):
        self._context = context
        self._index = context.index
        self._hard_links = HardLinks(context)

    def create(self, parent: Ino, name: str, mode: int, flags: int, caller: Caller) -> Inode | tuple[Inode, Fh]:
        """Make a file and open it; the inode alone when the name exists by now and O_EXCL was not asked: open that
        instead."""
        context = self._context
        context.require_writable()
        context.place_in(parent, name)
        with self._index.transaction():
            there = context.child(parent, name)
            if there is not None:
                if flags & os.O_EXCL:
                    raise Exists(name)
                return there
            inode = self._add(parent, name, stat.S_IFREG | stat.S_IMODE(mode), caller, content_generation=1)
            fh = context.handles.open_file(inode.ino, flags)
        context.writeback.notify()
        return inode, fh

    def make_directory(self, parent: Ino, name: str, mode: int, caller: Caller) -> Inode:
        context = self._context
        context.require_writable()
        context.place_in(parent, name)
        with self._index.transaction():
            self._require_absent(parent, name)
            inode = self._add(parent, name, stat.S_IFDIR | stat.S_IMODE(mode), caller)
        context.lister.mark_fresh(inode.ino)
        context.writeback.notify()
        return inode

    def make_symlink(self, target: str, parent: Ino, name: str, caller: Caller) -> Inode:
        context = self._context
        context.require_writable()
        size = len(names.to_bytes(target))
        if size > SYMLINK_BYTES_MAX:
            raise NameTooLong("the link's target is too long")
        context.place_in(parent, name)
        with self._index.transaction():
            self._require_absent(parent, name)
            inode = self._add(
                parent, name, stat.S_IFLNK | 0o777, caller, target=target, size=size, content_generation=1
            )  # fmt: skip
        context.writeback.notify()
        return inode

    def make_special(self, parent: Ino, name: str, mode: int, rdev: int, caller: Caller) -> Inode:
        context = self._context
        context.require_writable()
        kind = stat.S_IFMT(mode)
        if kind not in (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFBLK, stat.S_IFCHR):
            raise InvalidArgument("no such type of file")
        context.place_in(parent, name)
        with self._index.transaction():
            self._require_absent(parent, name)
            is_device = kind in (stat.S_IFBLK, stat.S_IFCHR)
            mode = kind | stat.S_IMODE(mode)
            inode = self._add(parent, name, mode, caller, content_generation=1, rdev=rdev if is_device else 0)
        context.writeback.notify()
        return inode

    def _require_absent(self, parent: Ino, name: str) -> None:
        if self._index.dentries.lookup(parent, name) is not None:
            raise Exists(name)

    def _add(
        self, parent: Ino, name: str, mode: int, caller: Caller, *, target: str | None = None, size: int = 0,
        content_generation: int = 0, rdev: int = 0,
    ) -> Inode:  # fmt: skip
        context = self._context
        directory = context.live_directory(parent)
        is_dir = stat.S_ISDIR(mode)
        context.require_key(directory, name, is_dir=is_dir)
        gid = caller.gid
        mode, xattrs = inherit(directory, mode, caller.umask)
        if directory.mode & stat.S_ISGID:
            # A setgid directory hands its group down, and to subdirectories the bit as well: inode(7).
            gid = directory.gid
            mode |= stat.S_ISGID if is_dir else 0
        now_ns = context.clock.now_ns()
        inode = Inode(
            Ino(0), mode, caller.uid, gid, size, now_ns, now_ns, nlink=2 if is_dir else 1, target=target,
            content_generation=content_generation, meta_generation=1, is_listed=is_dir, due_ns=context.due_ns(),
            rdev=rdev, xattrs=xattrs, is_local=context.is_junk(directory, name, is_dir=is_dir),
        )  # fmt: skip
        require_room(inode)
        inode = self._index.create(parent, name, inode)
        context.touch_directory(parent, is_told=not inode.is_kept_here)
        return inode

    def unlink(self, parent: Ino, name: str) -> None:
        context = self._context
        context.require_writable()
        context.place_in(parent, name)
        with self._index.transaction():
            inode = context.child(parent, name)
            if inode is None:
                raise NotFound(name)
            if inode.is_dir:
                raise IsADirectory(name)
            dropped = self._remove_name(parent, name, inode)
            context.touch_directory(parent, is_told=not inode.is_kept_here)
        self._after_removal(inode.ino, dropped)

    def remove_directory(self, parent: Ino, name: str) -> None:
        context = self._context
        context.require_writable()
        context.place_in(parent, name)
        self._refresh_if_directory(parent, name)
        with self._index.transaction():
            inode = context.child(parent, name)
            if inode is None:
                raise NotFound(name)
            if not inode.is_dir:
                raise NotADirectory(name)
            if not self._index.dentries.is_empty(inode.ino):
                raise NotEmpty(name)
            dropped = self._remove_name(parent, name, inode)
            context.touch_directory(parent, is_told=not inode.is_kept_here)
        self._after_removal(inode.ino, dropped)

    def _refresh_if_directory(self, parent: Ino, name: str) -> None:
        """An emptiness that is decided on must be the bucket's, not an old listing's."""
        inode = self._context.child(parent, name)
        if inode is not None and inode.is_dir:
            self._context.directory(inode.ino)

    def _remove_name(self, parent: Ino, name: str, inode: Inode) -> bool:
        context = self._context
        if self._hard_links.remove_name(parent, name, inode):
            return False
        self._index.dentries.remove(parent, name, inode)
        nlink = 0 if inode.is_dir else inode.nlink - 1
        inode = inode._replace(nlink=nlink, ctime_ns=context.clock.now_ns())
        if inode.is_file and not nlink:
            context.late_opens.hold(inode.ino)
        if context.drop_if_unused(inode):
            return True
        self._index.inodes.update(inode)
        return False

    def _after_removal(self, ino: Ino, dropped: bool) -> None:
        if dropped:
            self._context.discards.add(ino)
        self._context.writeback.notify()

    def rename(self, old_parent: Ino, old_name: str, new_parent: Ino, new_name: str, flags: int) -> None:
        context = self._context
        context.require_writable()
        if flags not in (0, RENAME_NOREPLACE, RENAME_EXCHANGE):
            raise InvalidArgument("this kind of rename is not supported")
        context.place_in(old_parent, old_name)
        context.place_in(new_parent, new_name)
        if flags == RENAME_EXCHANGE:
            self._exchange(old_parent, old_name, new_parent, new_name)
            return
        source = context.child(old_parent, old_name)
        if source is not None:
            # The bucket's copy gets its metadata written anew, so it must be known before it is owed.
            context.known(source)
        self._refresh_if_directory(new_parent, new_name)
        with self._index.transaction():
            source = context.child(old_parent, old_name)
            target = context.child(new_parent, new_name)
            if source is None:
                raise NotFound(old_name)
            if target is not None and flags & RENAME_NOREPLACE:
                raise Exists(new_name)
            if target is not None and target.ino == source.ino:
                return
            self._check_rename(source, target, new_parent)
            context.require_key(context.live_directory(new_parent), new_name, is_dir=source.is_dir)
            dropped = target is not None and self._remove_name(new_parent, new_name, target)
            if source.is_dir:
                self._index.keep_written_key(source)
            row = self._hard_links.row(old_parent, old_name, source)
            self._index.dentries.remove(old_parent, old_name, row)
            self._index.dentries.add(new_parent, new_name, row)
            replaces_object = target is not None and not target.is_kept_here
            self._index.inodes.update(self._moved(row.ino, new_parent, new_name, replaces_object=replaces_object))
            self._hard_links.moved(row)
            context.touch_directory(old_parent)
            if new_parent != old_parent:
                context.touch_directory(new_parent)
        if target is not None:
            self._after_removal(target.ino, dropped)
        context.writeback.notify()

    def _exchange(self, old_parent: Ino, old_name: str, new_parent: Ino, new_name: str) -> None:
        """Two names, each with whatever it names, swap places. In the bucket they are a circle (writeback/moves.py)."""
        context, index = self._context, self._index
        places = ((old_parent, old_name), (new_parent, new_name))
        for place in places:
            inode = context.child(*place)
            if inode is not None:
                # As for a rename, for both.
                context.known(inode)
        with index.transaction():
            one, other = context.child(*places[0]), context.child(*places[1])
            if one is None or other is None:
                raise NotFound(old_name if one is None else new_name)
            if one.ino == other.ino:
                return
            rows = [self._hard_links.row(*place, inode) for place, inode in zip(places, (one, other), strict=True)]
            moves = ((rows[0], places[0], places[1]), (rows[1], places[1], places[0]))
            for row, _, (parent, name) in moves:
                self._check_move(row, parent)
                context.require_key(context.live_directory(parent), name, is_dir=row.is_dir)
            for row, _, _ in moves:
                if row.is_dir:
                    index.keep_written_key(row)
            for row, (parent, name), _ in moves:
                index.dentries.remove(parent, name, row)
            for row, _, (parent, name) in moves:
                index.dentries.add(parent, name, row)
                index.inodes.update(self._moved(row.ino, parent, name))
                self._hard_links.moved(row)
            for parent in {old_parent, new_parent}:
                context.touch_directory(parent)
        context.writeback.notify()

    def _moved(self, ino: Ino, parent: Ino, name: str, *, replaces_object: bool = False) -> Inode:
        """The row of what has just got this name: owed there, or kept here. What the bucket has of it, or of what it
        replaces, is not taken away: that follows its name, whatever it is, and so does all of a directory."""
        context = self._context
        row = self._index.inodes.get(ino)._replace(ctime_ns=context.clock.now_ns())
        if not row.is_dir:
            is_free = row.remote_key is None and row.attempt_key is None and row.link_of is None and row.nlink == 1
            is_junk = context.is_junk(context.live_directory(parent), name, is_dir=False)
            row = row._replace(is_local=is_free and is_junk and not replaces_object)
        return context.with_meta_owed(row)

    def _check_move(self, source: Inode, new_parent: Ino) -> None:
        if not source.is_dir:
            return
        if new_parent == source.ino or source.ino in self._index.dentries.ancestors(new_parent):
            raise InvalidArgument("a directory cannot become its own subdirectory")
        if source.is_kept_here:
            raise NotPermitted("a desktop system's directory stays where it is")

    def _check_rename(self, source: Inode, target: Inode | None, new_parent: Ino) -> None:
        """What rename(2) refuses, by type and place of both sides."""
        self._check_move(source, new_parent)
        if target is None:
            return
        if target.ino == ROOT_INO:
            raise NotPermitted("the root of the drive cannot be replaced")
        if source.is_dir and not target.is_dir:
            raise NotADirectory("a directory cannot replace a file")
        if target.is_dir and not source.is_dir:
            raise IsADirectory("a file cannot replace a directory")
        if target.is_dir and not self._index.dentries.is_empty(target.ino):
            raise NotEmpty("the target directory is not empty")
