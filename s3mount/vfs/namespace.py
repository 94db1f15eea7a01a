"""Operations on names: create, mkdir, symlink, unlink, rmdir, rename, readdir.

None waits for S3 beyond bringing the directories involved up to date; what the bucket must learn is committed to the
index before they return.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import replace

from s3mount import keys
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
from s3mount.model import ROOT_INO, Attr, Caller, DirEntry, Fh, Ino, Inode
from s3mount.vfs.context import VfsContext
from s3mount.vfs.hard_links import HardLinks

RENAME_NOREPLACE = 1  # linux/fs.h
SYMLINK_BYTES_MAX = 4095  # PATH_MAX less the NUL, as Linux file systems have it


class Namespace:
    def __init__(self, context: VfsContext):
        self._context = context
        self._index = context.index
        self._hard_links = HardLinks(context)

    def open_directory(self, path: str) -> Fh:
        context = self._context
        directory = context.resolve(path)
        context.directory(directory.ino)
        entries: list[DirEntry] = []
        unknown: list[Ino] = []
        with self._index.locked():
            for name, ino in self._index.dentries.children(directory.ino):
                inode = context.live(ino)
                if inode.metadata_known:
                    entries.append(DirEntry(name, inode.attr()))
                else:
                    unknown.append(ino)
                    entries.append(DirEntry(name, _listed_attr(inode), is_complete=False))
        context.attributes.prefetch(unknown)
        return context.handles.open_dir(directory.ino, entries)

    def read_directory(self, fh: Fh) -> Sequence[DirEntry]:
        return self._context.handles.directory(fh).entries

    def create(self, path: str, mode: int, flags: int, caller: Caller) -> Fh | None:
        """Make a file and open it; None when the name exists by now and O_EXCL was not asked: open that instead."""
        context = self._context
        context.require_writable()
        parent, name = context.resolve_parent(path)
        with self._index.transaction():
            if context.child(parent, name) is not None:
                if flags & os.O_EXCL:
                    raise Exists(path)
                return None
            inode = self._add(parent, name, stat.S_IFREG | stat.S_IMODE(mode), caller, content_generation=1)
            fh = context.handles.open_file(inode.ino, flags)
        context.writeback.notify()
        return fh

    def make_directory(self, path: str, mode: int, caller: Caller) -> None:
        context = self._context
        context.require_writable()
        parent, name = self._new_name(path)
        with self._index.transaction():
            self._require_absent(parent, name)
            inode = self._add(parent, name, stat.S_IFDIR | stat.S_IMODE(mode), caller)
        context.lister.mark_fresh(inode.ino)
        context.writeback.notify()

    def make_symlink(self, target: str, path: str, caller: Caller) -> None:
        context = self._context
        context.require_writable()
        try:
            size = len(target.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise InvalidArgument("the link's target is not UTF-8") from error
        if size > SYMLINK_BYTES_MAX:
            raise NameTooLong("the link's target is too long")
        parent, name = self._new_name(path)
        with self._index.transaction():
            self._require_absent(parent, name)
            self._add(parent, name, stat.S_IFLNK | 0o777, caller, target=target, size=size, content_generation=1)
        context.writeback.notify()

    def _new_name(self, path: str) -> tuple[Ino, str]:
        if not keys.split_path(path):
            raise Exists("/")
        return self._context.resolve_parent(path)

    def _require_absent(self, parent: Ino, name: str) -> None:
        if self._index.dentries.lookup(parent, name) is not None:
            raise Exists(name)

    def _add(
        self, parent: Ino, name: str, mode: int, caller: Caller, *, target: str | None = None, size: int = 0,
        content_generation: int = 0,
    ) -> Inode:  # fmt: skip
        context = self._context
        directory = context.live_directory(parent)
        is_dir = stat.S_ISDIR(mode)
        context.require_key(directory, name, is_dir=is_dir)
        gid = caller.gid
        if directory.mode & stat.S_ISGID:
            # A setgid directory hands its group down, and to subdirectories the bit as well: inode(7).
            gid = directory.gid
            mode |= stat.S_ISGID if is_dir else 0
        now_ns = context.clock.now_ns()
        inode = Inode(
            Ino(0), mode, caller.uid, gid, size, now_ns, now_ns, nlink=2 if is_dir else 1, target=target,
            content_generation=content_generation, meta_generation=1, is_listed=is_dir, due_ns=context.due_ns(),
        )  # fmt: skip
        inode = self._index.create(parent, name, inode)
        context.touch_directory(parent)
        return inode

    def unlink(self, path: str) -> None:
        context = self._context
        context.require_writable()
        if not keys.split_path(path):
            raise IsADirectory("/")
        parent, name = context.resolve_parent(path)
        with self._index.transaction():
            inode = context.child(parent, name)
            if inode is None:
                raise NotFound(path)
            if inode.is_dir:
                raise IsADirectory(path)
            dropped = self._remove_name(parent, name, inode)
            context.touch_directory(parent)
        self._after_removal(inode.ino, dropped)

    def remove_directory(self, path: str) -> None:
        context = self._context
        context.require_writable()
        if not keys.split_path(path):
            raise NotPermitted("the root of the drive cannot be removed")
        parent, name = context.resolve_parent(path)
        self._refresh_if_directory(parent, name)
        with self._index.transaction():
            inode = context.child(parent, name)
            if inode is None:
                raise NotFound(path)
            if not inode.is_dir:
                raise NotADirectory(path)
            if not self._index.dentries.is_empty(inode.ino):
                raise NotEmpty(path)
            dropped = self._remove_name(parent, name, inode)
            context.touch_directory(parent)
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
        self._index.inodes.update(replace(inode, nlink=nlink, ctime_ns=context.clock.now_ns()))
        return context.drop_if_unused(inode.ino)

    def _after_removal(self, ino: Ino, dropped: bool) -> None:
        if dropped:
            self._context.discards.add(ino)
        self._context.writeback.notify()

    def rename(self, old: str, new: str, flags: int) -> None:
        context = self._context
        context.require_writable()
        if flags & ~RENAME_NOREPLACE:
            raise InvalidArgument("this kind of rename is not supported")
        if not keys.split_path(old) or not keys.split_path(new):
            raise NotPermitted("the root of the drive cannot be renamed")
        old_parent, old_name = context.resolve_parent(old)
        new_parent, new_name = context.resolve_parent(new)
        source = context.child(old_parent, old_name)
        if source is not None:
            # The bucket's copy gets its metadata written anew, so it must be known before it is owed.
            context.known(source)
        self._refresh_if_directory(new_parent, new_name)
        with self._index.transaction():
            source = context.child(old_parent, old_name)
            target = context.child(new_parent, new_name)
            if source is None:
                raise NotFound(old)
            if target is not None and flags & RENAME_NOREPLACE:
                raise Exists(new)
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
            moved = replace(self._index.inodes.get(row.ino), ctime_ns=context.clock.now_ns())
            self._index.inodes.update(context.with_meta_owed(moved))
            self._hard_links.moved(row)
            context.touch_directory(old_parent)
            if new_parent != old_parent:
                context.touch_directory(new_parent)
        if target is not None:
            self._after_removal(target.ino, dropped)
        context.writeback.notify()

    def _check_rename(self, source: Inode, target: Inode | None, new_parent: Ino) -> None:
        """What rename(2) refuses, by type and place of both sides."""
        if source.is_dir and (new_parent == source.ino or source.ino in self._index.dentries.ancestors(new_parent)):
            raise InvalidArgument("a directory cannot become its own subdirectory")
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


def _listed_attr(inode: Inode) -> Attr:
    """What is known of an inode that was only listed: a directory is one, the rest may be files or symlinks."""
    mode = stat.S_IFDIR if inode.is_dir else 0
    return replace(inode.attr(), mode=mode)
