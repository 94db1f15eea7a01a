"""The drive: every operation a binding may call, one short method each. Raises FsError and nothing else on purpose.

Inodes are named by their number, names by their directory's number and themselves. A number that a caller may use is
one that an operation here gave out; it stays good while the inode has a name or a handle. Durable on return: see each
method's part of docs/semantics.md.
"""

import os
import stat
from collections.abc import Sequence

from s3mount import names
from s3mount.errors import InvalidArgument, IsADirectory, Stale
from s3mount.index import links
from s3mount.metadata import TIME_NS_MAX
from s3mount.model import Attr, AttrChange, Caller, DirEntry, Fh, Ino, Inode, Seek, VolumeInfo
from s3mount.vfs.context import VfsContext
from s3mount.vfs.directories import Directories
from s3mount.vfs.failures import fs_errors_only
from s3mount.vfs.fileio import FileIO
from s3mount.vfs.foreign_changes import Tell, TellNew
from s3mount.vfs.hard_links import HardLinks
from s3mount.vfs.namespace import Namespace
from s3mount.vfs.privileges import CAPABILITIES
from s3mount.vfs.space import Space
from s3mount.vfs.xattrs import Xattrs, after_chmod

ROOT = Caller(0, 0)
BLOCK_SIZE = 4096
FILES_MAX = 1 << 40
NEW_FILE_FLAGS = os.O_CREAT | os.O_EXCL | os.O_WRONLY


class FileSystem:
    def __init__(self, context: VfsContext):
        self._context = context
        self._namespace = Namespace(context)
        self._directories = Directories(context)
        self._io = FileIO(context)
        self._space = Space(context, self._io)
        self._hard_links = HardLinks(context)
        self._xattrs = Xattrs(context)
        self.offline_timeout_s = context.options.offline_timeout_s

    def watch(self, tell: Tell, tell_new: TellNew | None = None) -> None:
        """`tell` hears of what others change in the bucket, as soon as it is known here: (ino, None) when content and
        attributes are not what they were, (parent, name) when a name is gone. `tell_new` hears of (parent, name) that
        is new in a directory listed before. Neither may block or call back."""
        self._context.foreign.watch(tell, tell_new)

    @fs_errors_only
    def place(self, ino: Ino) -> tuple[Ino, str] | None:
        """The directory and the name of an inode, one of them when it has several; None for the root, and for what has
        none (any more). Asks the index alone."""
        return self._context.index.dentries.place(ino)

    # -- attributes ----------------------------------------------------------------------------------------------

    @fs_errors_only
    def lookup(self, parent: Ino, name: str) -> Attr:
        """The inode of that name; its directory is as fresh as promised. Raises NotFound, NotADirectory."""
        context = self._context
        inode = context.known(context.live(context.lookup(context.directory(parent), name)))
        if not inode.nlink:
            # What was asked for its metadata was another version of an open file, which is a new inode now.
            inode = context.known(context.live(context.lookup(parent, name)))
        return context.attr(inode)

    @fs_errors_only
    def getattr(self, ino: Ino) -> Attr:
        """As the index has it, with the object's metadata asked for if need be. An inode that is gone has its last
        attributes, and no links; raises Stale when those are forgotten."""
        inode = links.identity(self._context.index, ino)
        if inode is None:
            return self._context.departed.get(ino).attr()
        return self._context.attr(self._context.known(inode))

    @fs_errors_only
    def setattr(self, ino: Ino, change: AttrChange, fh: Fh | None = None) -> Attr:
        """Change what `change` names, all but the size in one transaction, and return what came of it. A new size
        moves mtime, unless `change` says what mtime is to be. With `fh` the size changes as ftruncate(2) does it.

        A time too far away to be kept becomes the nearest that can, as Linux has it. Raises Stale for an inode that is
        gone and forgotten."""
        context = self._context
        context.require_writable()
        inode = links.identity(context.index, ino)
        if inode is None:
            return self._change_departed(ino, change)
        inode = context.known(inode)
        if change.size is not None:
            if inode.is_dir:
                raise IsADirectory("a directory has no size to set")
            if fh is not None and not context.handles.file(fh).can_write:
                raise InvalidArgument("not open for writing")
            self._io.truncate(inode.ino, change.size)
            change = change._replace(size=None)
            if change == AttrChange():
                return context.attr(context.live(ino))
        with context.index.transaction():
            changed = _changed(context.live(ino), change)._replace(ctime_ns=context.clock.now_ns())
            context.index.inodes.update(context.with_meta_owed(changed))
        context.writeback.notify()
        return context.attr(changed)

    def _change_departed(self, ino: Ino, change: AttrChange) -> Attr:
        inode = self._context.departed.get(ino)
        if change.size is not None:
            self._context.late_opens.note()
            raise Stale("the bytes of this inode are gone")
        changed = _changed(inode, change)._replace(ctime_ns=self._context.clock.now_ns())
        self._context.departed.keep(changed)
        return changed.attr()

    @fs_errors_only
    def statfs(self) -> VolumeInfo:
        files, size = self._context.index.inodes.totals()
        blocks = self._context.options.capacity_bytes // BLOCK_SIZE
        used = min(blocks, -(-size // BLOCK_SIZE))
        return VolumeInfo(BLOCK_SIZE, blocks, blocks - used, FILES_MAX, FILES_MAX - files, names.NAME_BYTES_MAX)

    # -- names ---------------------------------------------------------------------------------------------------

    @fs_errors_only
    def opendir(self, ino: Ino) -> Fh:
        """What is in it at this moment is shown, until the handle is read from its start for the second time."""
        return self._directories.open(ino)

    @fs_errors_only
    def readdir(self, fh: Fh, start: int = 0) -> Sequence[DirEntry]:
        """Some entries, without "." and "..", in a stable order; none at the end. `start`: 0 for the first (again,
        after rewinddir(3), of what is there at that moment), else where an entry said that the next is. Each has the
        name and the attributes that it has by now; what is gone by now is left out."""
        return self._directories.read(fh, start)

    @fs_errors_only
    def releasedir(self, fh: Fh) -> None:
        self._context.handles.close(fh)

    @fs_errors_only
    def mkdir(self, parent: Ino, name: str, mode: int, caller: Caller) -> Attr:
        return self._namespace.make_directory(parent, name, mode, caller).attr()

    @fs_errors_only
    def mknod(self, parent: Ino, name: str, mode: int, rdev: int, caller: Caller) -> Attr:
        """A regular file, a fifo, a socket or a device; `rdev` counts for the last only."""
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            return self._namespace.make_special(parent, name, mode, rdev, caller).attr()
        attr, fh = self.create(parent, name, mode, NEW_FILE_FLAGS, caller)
        self.release(fh)
        return attr

    @fs_errors_only
    def link(self, ino: Ino, new_parent: Ino, new_name: str) -> Attr:
        """One more name for a file. Raises NotPermitted, TooManyLinks, Exists."""
        return self._context.attr(self._hard_links.link(ino, new_parent, new_name))

    @fs_errors_only
    def rmdir(self, parent: Ino, name: str) -> None:
        self._namespace.remove_directory(parent, name)

    @fs_errors_only
    def unlink(self, parent: Ino, name: str) -> None:
        """An open file lives on until its last release."""
        self._namespace.unlink(parent, name)

    @fs_errors_only
    def rename(self, parent: Ino, name: str, new_parent: Ino, new_name: str, flags: int = 0) -> None:
        """Atomic here; the objects follow. `flags`: 0, RENAME_NOREPLACE or RENAME_EXCHANGE, else
        InvalidArgument."""
        self._namespace.rename(parent, name, new_parent, new_name, flags)

    @fs_errors_only
    def symlink(self, target: str, parent: Ino, name: str, caller: Caller) -> Attr:
        return self._namespace.make_symlink(target, parent, name, caller).attr()

    @fs_errors_only
    def readlink(self, ino: Ino) -> str:
        return self._io.read_link(self._context.known(self._context.live(ino)))

    # -- extended attributes and access lists ---------------------------------------------------------------------

    def getxattr(self, ino: Ino, name: str) -> bytes | None:
        """None: there is none of that name. Raises NotSupported."""
        # The kernel asks for this one before every write(2).
        if name == CAPABILITIES and self._xattrs.has_none(ino):
            return None
        return self._getxattr(ino, name)

    @fs_errors_only
    def _getxattr(self, ino: Ino, name: str) -> bytes | None:
        return self._xattrs.get(ino, name)

    @fs_errors_only
    def listxattr(self, ino: Ino, caller: Caller = ROOT) -> Sequence[str]:
        """Those that `caller` may know of."""
        return self._xattrs.names(ino, caller)

    @fs_errors_only
    def setxattr(self, ino: Ino, name: str, value: bytes, flags: int = 0) -> None:
        """`flags`: 0, XATTR_CREATE or XATTR_REPLACE. Raises Exists, NoAttribute, NotSupported, OutOfRange, TooBig, and
        NoSpace when an object's metadata cannot hold it."""
        self._xattrs.set(ino, name, value, flags)

    @fs_errors_only
    def removexattr(self, ino: Ino, name: str) -> None:
        """Raises NoAttribute, NotSupported."""
        self._xattrs.remove(ino, name)

    # -- bytes ---------------------------------------------------------------------------------------------------

    @fs_errors_only
    def create(self, parent: Ino, name: str, mode: int, flags: int, caller: Caller) -> tuple[Attr, Fh]:
        """Make and open, in one step for everyone else. Opens what is there by now, unless O_EXCL is asked for. Raises
        Stale when that is neither a file nor a directory: whoever asked must look the name up again."""
        made = self._namespace.create(parent, name, mode, flags, caller)
        if not isinstance(made, Inode):
            return made[0].attr(), made[1]
        there = self._context.known(made)
        if not there.is_file and not there.is_dir:
            raise Stale("something else has the name by now")
        fh = self._io.open(there.ino, flags, caller)
        return self._context.attr(self._context.live(there.ino)), fh

    @fs_errors_only
    def open(self, ino: Ino, flags: int, caller: Caller = ROOT) -> Fh:
        """With O_TRUNC the file loses what it may not keep when `caller` changes it (setuid). Raises Stale when the
        inode is gone: look its name up again."""
        return self._io.open(ino, flags, caller)

    def keeps_pages(self, fh: Fh) -> bool:
        """Whether the kernel may answer reads of this open with what it has of the file from earlier ones."""
        return self._context.handles.file(fh).keeps_pages

    @fs_errors_only
    def read(self, fh: Fh, offset: int, size: int) -> bytes:
        """Fewer bytes than asked only at the end of the file. Raises Stale when the object was replaced."""
        return self._io.read(fh, offset, size)

    @fs_errors_only
    def write(self, fh: Fh, offset: int, data: bytes | memoryview, *, is_page: bool = False) -> int:
        """All of `data`; at the end of the file when it is open with O_APPEND, whatever `offset` says, unless it is a
        page of a shared mapping that the kernel writes back (`is_page`)."""
        return self._io.write(fh, offset, data, is_page=is_page)

    @fs_errors_only
    def allocate(self, fh: Fh, mode: int, offset: int, length: int) -> None:
        """fallocate(2), with the modes that shift no bytes."""
        self._space.allocate(fh, mode, offset, length)

    @fs_errors_only
    def seek(self, fh: Fh, offset: int, wanted: Seek) -> int:
        """lseek(2) for data or a hole. Holes are what was made here and is cached; the bucket knows none."""
        return self._space.seek(fh, offset, wanted)

    @fs_errors_only
    def copy_range(self, fh_in: Fh, offset_in: int, fh_out: Fh, offset_out: int, size: int) -> int:
        """copy_file_range(2): perhaps fewer bytes than asked; 0 at the end of the source."""
        return self._space.copy(fh_in, offset_in, fh_out, offset_out, size)

    @fs_errors_only
    def flush(self, fh: Fh) -> None:
        """close(2): data and change survive kill -9. Raises IOFailure when S3 refused an earlier upload for good."""
        self._io.flush(fh)

    @fs_errors_only
    def fsync(self, fh: Fh, datasync: bool = False) -> None:
        """Data and change survive power loss; with --fsync remote, the bucket has them."""
        self._io.fsync(self._context.handles.file(fh).ino)

    @fs_errors_only
    def fsyncdir(self, fh: Fh, datasync: bool = False) -> None:
        self._io.fsync_directory(self._context.handles.directory(fh).ino)

    @fs_errors_only
    def release(self, fh: Fh) -> None:
        self._io.release(fh)


def _changed(inode: Inode, change: AttrChange) -> Inode:
    """`inode` with all of `change` but its size."""
    if change.mode is not None:
        inode = after_chmod(inode, change.mode)
    if change.mtime_ns is not None and inode.atime_ns is None:
        inode = inode._replace(atime_ns=inode.mtime_ns)  # as it was shown, or it would go along
    return inode._replace(
        mode=inode.mode if change.mode is None else stat.S_IFMT(inode.mode) | stat.S_IMODE(change.mode),
        uid=inode.uid if change.uid is None else change.uid,
        gid=inode.gid if change.gid is None else change.gid,
        atime_ns=inode.atime_ns if change.atime_ns is None else _storable(change.atime_ns),
        mtime_ns=inode.mtime_ns if change.mtime_ns is None else _storable(change.mtime_ns),
    )


def _storable(time_ns: int) -> int:
    return max(-TIME_NS_MAX, min(TIME_NS_MAX, time_ns))
