"""The drive: every operation a binding may call, one short method each. Raises FsError and nothing else on purpose.

Inodes are named by their number, names by their directory's number and themselves. A number that a caller may use is
one that an operation here gave out; it stays good while the inode has a name or a handle. Durable on return: see each
method's part of docs/semantics.md.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import replace

from s3mount import names
from s3mount.errors import InvalidArgument, IsADirectory, NotSupported, Stale
from s3mount.metadata import TIME_NS_MAX
from s3mount.model import Attr, AttrChange, Caller, DirEntry, Fh, Ino, Inode, VolumeInfo
from s3mount.vfs.context import VfsContext
from s3mount.vfs.failures import fs_errors_only
from s3mount.vfs.fileio import FileIO
from s3mount.vfs.namespace import Namespace

BLOCK_SIZE = 4096
VOLUME_BYTES = 1 << 50  # a bucket has no size; 1 PiB is what tools that check for room are content with
FILES_MAX = 1 << 40
NEW_FILE_FLAGS = os.O_CREAT | os.O_EXCL | os.O_WRONLY


class FileSystem:
    def __init__(self, context: VfsContext):
        self._context = context
        self._namespace = Namespace(context)
        self._io = FileIO(context)
        self.offline_timeout_s = context.options.offline_timeout_s

    # -- attributes ----------------------------------------------------------------------------------------------

    @fs_errors_only
    def lookup(self, parent: Ino, name: str) -> Attr:
        """The inode of that name; its directory is as fresh as promised. Raises NotFound, NotADirectory."""
        context = self._context
        inode = context.known(context.live(context.lookup(context.directory(parent), name)))
        if not inode.nlink:
            # What was asked for its metadata was another version of an open file, which is a new inode now.
            inode = context.known(context.live(context.lookup(parent, name)))
        return inode.attr()

    @fs_errors_only
    def getattr(self, ino: Ino) -> Attr:
        """As the index has it, with the object's metadata asked for if need be. An inode that is gone has its last
        attributes, and no links; raises Stale when those are forgotten."""
        inode = self._context.index.inodes.find(ino)
        if inode is None:
            return self._context.departed.get(ino).attr()
        return self._context.known(inode).attr()

    @fs_errors_only
    def setattr(self, ino: Ino, change: AttrChange, fh: Fh | None = None) -> Attr:
        """Change what `change` names, all but the size in one transaction, and return what came of it. A new size
        moves mtime, unless `change` says what mtime is to be. With `fh` the size changes as ftruncate(2) does it.

        A time that 64 bits of nanoseconds cannot hold becomes the nearest that they can, as Linux does with what a
        file system cannot hold. Raises Stale for an inode that is gone and forgotten."""
        context = self._context
        context.require_writable()
        inode = context.index.inodes.find(ino)
        if inode is None:
            return self._change_departed(ino, change)
        inode = context.known(inode)
        if change.size is not None:
            if inode.is_dir:
                raise IsADirectory("a directory has no size to set")
            if fh is not None and not context.handles.file(fh).can_write:
                raise InvalidArgument("not open for writing")
            self._io.truncate(ino, change.size)
            change = replace(change, size=None)
            if change == AttrChange():
                return context.live(ino).attr()
        with context.index.transaction():
            changed = replace(_changed(context.live(ino), change), ctime_ns=context.clock.now_ns())
            context.index.inodes.update(context.with_meta_owed(changed))
        context.writeback.notify()
        return changed.attr()

    def _change_departed(self, ino: Ino, change: AttrChange) -> Attr:
        inode = self._context.departed.get(ino)
        if change.size is not None:
            raise Stale("the bytes of this inode are gone")
        changed = replace(_changed(inode, change), ctime_ns=self._context.clock.now_ns())
        self._context.departed.keep(changed)
        return changed.attr()

    @fs_errors_only
    def statfs(self) -> VolumeInfo:
        files, size = self._context.index.inodes.totals()
        blocks = VOLUME_BYTES // BLOCK_SIZE
        used = min(blocks, -(-size // BLOCK_SIZE))
        return VolumeInfo(BLOCK_SIZE, blocks, blocks - used, FILES_MAX, FILES_MAX - files, names.NAME_BYTES_MAX)

    # -- names ---------------------------------------------------------------------------------------------------

    @fs_errors_only
    def opendir(self, ino: Ino) -> Fh:
        """The entries are those of this moment, until the handle is read from its start for the second time."""
        return self._namespace.open_directory(ino)

    @fs_errors_only
    def readdir(self, fh: Fh, *, from_start: bool = True) -> Sequence[DirEntry]:
        """All entries, in a stable order, without "." and "..". `from_start`: the caller begins with the first (again,
        after rewinddir(3), with the entries of that moment); else it goes on in what it got before."""
        return self._namespace.read_directory(fh, from_start=from_start)

    @fs_errors_only
    def releasedir(self, fh: Fh) -> None:
        self._context.handles.close(fh)

    @fs_errors_only
    def mkdir(self, parent: Ino, name: str, mode: int, caller: Caller) -> Attr:
        return self._namespace.make_directory(parent, name, mode, caller).attr()

    @fs_errors_only
    def mknod(self, parent: Ino, name: str, mode: int, rdev: int, caller: Caller) -> Attr:
        if not stat.S_ISREG(mode):
            raise NotSupported("special files are not kept")
        attr, fh = self.create(parent, name, mode, NEW_FILE_FLAGS, caller)
        self.release(fh)
        return attr

    @fs_errors_only
    def link(self, ino: Ino, new_parent: Ino, new_name: str) -> Attr:
        raise NotSupported("hard links are not kept")

    @fs_errors_only
    def rmdir(self, parent: Ino, name: str) -> None:
        self._namespace.remove_directory(parent, name)

    @fs_errors_only
    def unlink(self, parent: Ino, name: str) -> None:
        """An open file lives on until its last release."""
        self._namespace.unlink(parent, name)

    @fs_errors_only
    def rename(self, parent: Ino, name: str, new_parent: Ino, new_name: str, flags: int = 0) -> None:
        """Atomic here; the objects follow. `flags`: 0 or RENAME_NOREPLACE, else InvalidArgument."""
        self._namespace.rename(parent, name, new_parent, new_name, flags)

    @fs_errors_only
    def symlink(self, target: str, parent: Ino, name: str, caller: Caller) -> Attr:
        return self._namespace.make_symlink(target, parent, name, caller).attr()

    @fs_errors_only
    def readlink(self, ino: Ino) -> str:
        return self._io.read_link(self._context.known(self._context.live(ino)))

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
        fh = self._io.open(there.ino, flags)
        return self._context.live(there.ino).attr(), fh

    @fs_errors_only
    def open(self, ino: Ino, flags: int) -> Fh:
        """Raises Stale when the inode is gone: look its name up again."""
        return self._io.open(ino, flags)

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
    return replace(
        inode,
        mode=inode.mode if change.mode is None else stat.S_IFMT(inode.mode) | stat.S_IMODE(change.mode),
        uid=inode.uid if change.uid is None else change.uid,
        gid=inode.gid if change.gid is None else change.gid,
        atime_ns=inode.atime_ns if change.atime_ns is None else _storable(change.atime_ns),
        mtime_ns=inode.mtime_ns if change.mtime_ns is None else _storable(change.mtime_ns),
    )


def _storable(time_ns: int) -> int:
    return max(-TIME_NS_MAX, min(TIME_NS_MAX, time_ns))
