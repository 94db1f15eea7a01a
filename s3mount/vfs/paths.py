"""FileSystem by path instead of by inode, for bindings of systems that name files so, and for tests.

It resolves and calls, and knows nothing else. Paths are absolute, "/" for the root. Methods that take both `path` and
`fh` go by the handle when there is one: the file may have no path any more. Any thread; raises FsError as FileSystem
does.
"""

from collections.abc import Sequence

from s3mount import keys
from s3mount.errors import BadHandle, Exists, IsADirectory, NotPermitted, Stale
from s3mount.model import ROOT_INO, Attr, AttrChange, Caller, Fh, Ino
from s3mount.vfs.filesystem import FileSystem


class PathFileSystem:
    def __init__(self, filesystem: FileSystem):
        self._filesystem = filesystem
        self._inos: dict[Fh, Ino] = {}
        self.allocate = filesystem.allocate
        self.copy_range = filesystem.copy_range
        self.fsync = filesystem.fsync
        self.fsyncdir = filesystem.fsyncdir
        self.flush = filesystem.flush
        self.read = filesystem.read
        self.readdir = filesystem.readdir
        self.releasedir = filesystem.releasedir
        self.seek = filesystem.seek
        self.statfs = filesystem.statfs
        self.write = filesystem.write

    def resolve(self, path: str) -> Ino:
        """The inode at `path`; every directory on the way is as fresh as promised."""
        ino = ROOT_INO
        for name in keys.split_path(path):
            ino = self._filesystem.lookup(ino, name).ino
        return ino

    def _place(self, path: str) -> tuple[Ino, str] | None:
        """(directory, name) of a path whose last component need not exist; None for the root, which has no name."""
        *above, name = keys.split_path(path) or [""]
        return (self.resolve("/".join(above)), name) if name else None

    def _new_place(self, path: str) -> tuple[Ino, str]:
        place = self._place(path)
        if place is None:
            raise Exists(path)
        return place

    def _inode(self, path: str | None, fh: Fh | None) -> Ino:
        if fh is not None:
            if fh not in self._inos:
                raise BadHandle(f"no open file has handle {fh}")
            return self._inos[fh]
        if path is None:
            raise BadHandle("neither path nor handle")
        return self.resolve(path)

    # -- attributes ----------------------------------------------------------------------------------------------

    def getattr(self, path: str | None, fh: Fh | None = None) -> Attr:
        return self._filesystem.getattr(self._inode(path, fh))

    def _change(self, path: str | None, change: AttrChange, fh: Fh | None) -> None:
        self._filesystem.setattr(self._inode(path, fh), change, fh)

    def chmod(self, path: str | None, mode: int, fh: Fh | None = None) -> None:
        self._change(path, AttrChange(mode=mode), fh)

    def chown(self, path: str | None, uid: int, gid: int, fh: Fh | None = None) -> None:
        """-1 keeps the one or the other."""
        self._change(path, AttrChange(uid=None if uid == -1 else uid, gid=None if gid == -1 else gid), fh)

    def utimens(self, path: str | None, atime_ns: int | None, mtime_ns: int | None, fh: Fh | None = None) -> None:
        """None leaves the one or the other."""
        self._change(path, AttrChange(atime_ns=atime_ns, mtime_ns=mtime_ns), fh)

    def truncate(self, path: str | None, size: int, fh: Fh | None = None) -> None:
        self._change(path, AttrChange(size=size), fh)

    # -- names ---------------------------------------------------------------------------------------------------

    def opendir(self, path: str) -> Fh:
        return self._filesystem.opendir(self.resolve(path))

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        self._filesystem.mkdir(*self._new_place(path), mode, caller)

    def symlink(self, target: str, path: str, caller: Caller) -> None:
        self._filesystem.symlink(target, *self._new_place(path), caller)

    def readlink(self, path: str) -> str:
        return self._filesystem.readlink(self.resolve(path))

    def unlink(self, path: str) -> None:
        place = self._place(path)
        if place is None:
            raise IsADirectory(path)
        self._filesystem.unlink(*place)

    def rmdir(self, path: str) -> None:
        self._filesystem.rmdir(*self._place_of_one_below_the_root(path))

    def rename(self, old: str, new: str, flags: int = 0) -> None:
        source, target = self._place_of_one_below_the_root(old), self._place_of_one_below_the_root(new)
        self._filesystem.rename(*source, *target, flags)

    def _place_of_one_below_the_root(self, path: str) -> tuple[Ino, str]:
        place = self._place(path)
        if place is None:
            raise NotPermitted("the root of the drive can be neither removed nor renamed")
        return place

    def link(self, old: str, new: str) -> None:
        self._filesystem.link(self.resolve(old), *self._new_place(new))

    def mknod(self, path: str, mode: int, rdev: int, caller: Caller) -> None:
        self._filesystem.mknod(*self._new_place(path), mode, rdev, caller)

    # -- extended attributes -------------------------------------------------------------------------------------

    def getxattr(self, path: str, name: str) -> bytes | None:
        return self._filesystem.getxattr(self.resolve(path), name)

    def listxattr(self, path: str) -> Sequence[str]:
        return self._filesystem.listxattr(self.resolve(path))

    def setxattr(self, path: str, name: str, value: bytes, flags: int = 0) -> None:
        self._filesystem.setxattr(self.resolve(path), name, value, flags)

    def removexattr(self, path: str, name: str) -> None:
        self._filesystem.removexattr(self.resolve(path), name)

    # -- bytes ---------------------------------------------------------------------------------------------------

    def create(self, path: str, mode: int, flags: int, caller: Caller) -> Fh:
        attr, fh = self._filesystem.create(*self._new_place(path), mode, flags, caller)
        self._inos[fh] = attr.ino
        return fh

    def open(self, path: str, flags: int) -> Fh:
        ino = self.resolve(path)
        try:
            fh = self._filesystem.open(ino, flags)
        except Stale:
            # It was removed, or something was renamed over it, since it was looked up.
            ino = self.resolve(path)
            fh = self._filesystem.open(ino, flags)
        self._inos[fh] = ino
        return fh

    def release(self, fh: Fh) -> None:
        try:
            self._filesystem.release(fh)
        finally:
            self._inos.pop(fh, None)
