"""The drive: every operation a binding may call, one short method each. Raises FsError and nothing else on purpose.

Paths are absolute, "/" for the root. Methods that take both `path` and `fh` go by the handle when there is one: the
file may have no path any more. Durable on return: see each method's part of docs/semantics.md.
"""

import stat
from collections.abc import Callable, Sequence
from dataclasses import replace

from s3mount import names
from s3mount.errors import BadHandle, IsADirectory
from s3mount.metadata import TIME_NS_MAX
from s3mount.model import Attr, Caller, DirEntry, Fh, Inode, VolumeInfo
from s3mount.vfs.context import VfsContext
from s3mount.vfs.failures import fs_errors_only
from s3mount.vfs.fileio import FileIO
from s3mount.vfs.namespace import Namespace

BLOCK_SIZE = 4096
VOLUME_BYTES = 1 << 50  # a bucket has no size; 1 PiB is what tools that check for room are content with
FILES_MAX = 1 << 40


def _storable(time_ns: int) -> int:
    return max(-TIME_NS_MAX, min(TIME_NS_MAX, time_ns))


class FileSystem:
    def __init__(self, context: VfsContext):
        self._context = context
        self._namespace = Namespace(context)
        self._io = FileIO(context)
        self.offline_timeout_s = context.options.offline_timeout_s

    def _inode(self, path: str | None, fh: Fh | None) -> Inode:
        """The inode with its attributes known."""
        if fh is not None:
            return self._context.known(self._context.index.inodes.get(self._context.handles.file(fh).ino))
        if path is None:
            raise BadHandle("neither path nor handle")
        return self._context.known(self._context.resolve(path))

    # -- attributes ----------------------------------------------------------------------------------------------

    @fs_errors_only
    def getattr(self, path: str | None, fh: Fh | None = None) -> Attr:
        return self._inode(path, fh).attr()

    @fs_errors_only
    def chmod(self, path: str | None, mode: int, fh: Fh | None = None) -> None:
        inode = self._inode(path, fh)
        self._change(inode, lambda now: replace(now, mode=stat.S_IFMT(now.mode) | stat.S_IMODE(mode)))

    @fs_errors_only
    def chown(self, path: str | None, uid: int, gid: int, fh: Fh | None = None) -> None:
        """-1 keeps the one or the other."""
        inode = self._inode(path, fh)
        self._change(
            inode, lambda now: replace(now, uid=now.uid if uid == -1 else uid, gid=now.gid if gid == -1 else gid)
        )

    @fs_errors_only
    def utimens(self, path: str | None, atime_ns: int | None, mtime_ns: int | None, fh: Fh | None = None) -> None:
        """None leaves the one or the other (UTIME_OMIT). A time that 64 bits of nanoseconds cannot hold becomes the
        nearest that they can, as Linux does with what a file system cannot hold."""
        inode = self._inode(path, fh)
        self._change(
            inode,
            lambda now: replace(
                now,
                atime_ns=now.atime_ns if atime_ns is None else _storable(atime_ns),
                mtime_ns=now.mtime_ns if mtime_ns is None else _storable(mtime_ns),
            ),
        )

    def _change(self, inode: Inode, change: Callable[[Inode], Inode]) -> None:
        context = self._context
        context.require_writable()
        with context.index.transaction():
            now = context.live(inode.ino)
            changed = replace(change(now), ctime_ns=context.clock.now_ns())
            context.index.inodes.update(context.with_meta_owed(changed))
        context.writeback.notify()

    @fs_errors_only
    def statfs(self) -> VolumeInfo:
        files, size = self._context.index.inodes.totals()
        blocks = VOLUME_BYTES // BLOCK_SIZE
        used = min(blocks, -(-size // BLOCK_SIZE))
        return VolumeInfo(BLOCK_SIZE, blocks, blocks - used, FILES_MAX, FILES_MAX - files, names.NAME_BYTES_MAX)

    # -- names ---------------------------------------------------------------------------------------------------

    @fs_errors_only
    def opendir(self, path: str) -> Fh:
        """The entries are those of this moment, for as long as the handle is open."""
        return self._namespace.open_directory(path)

    @fs_errors_only
    def readdir(self, fh: Fh) -> Sequence[DirEntry]:
        """All entries, in a stable order, without "." and ".."."""
        return self._namespace.read_directory(fh)

    @fs_errors_only
    def releasedir(self, fh: Fh) -> None:
        self._context.handles.close(fh)

    @fs_errors_only
    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        self._namespace.make_directory(path, mode, caller)

    @fs_errors_only
    def rmdir(self, path: str) -> None:
        self._namespace.remove_directory(path)

    @fs_errors_only
    def unlink(self, path: str) -> None:
        """An open file lives on until its last release."""
        self._namespace.unlink(path)

    @fs_errors_only
    def rename(self, old: str, new: str, flags: int = 0) -> None:
        """Atomic here; the objects follow. `flags`: 0 or RENAME_NOREPLACE, else InvalidArgument."""
        self._namespace.rename(old, new, flags)

    @fs_errors_only
    def symlink(self, target: str, path: str, caller: Caller) -> None:
        self._namespace.make_symlink(target, path, caller)

    @fs_errors_only
    def readlink(self, path: str) -> str:
        return self._io.read_link(self._inode(path, None))

    # -- bytes ---------------------------------------------------------------------------------------------------

    @fs_errors_only
    def create(self, path: str, mode: int, flags: int, caller: Caller) -> Fh:
        fh = self._namespace.create(path, mode, flags, caller)
        return self._io.open(path, flags) if fh is None else fh

    @fs_errors_only
    def open(self, path: str, flags: int) -> Fh:
        return self._io.open(path, flags)

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
    def truncate(self, path: str | None, size: int, fh: Fh | None = None) -> None:
        inode = self._inode(path, fh)
        if inode.is_dir:
            raise IsADirectory(path or "")
        self._io.truncate(inode.ino, size)

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
