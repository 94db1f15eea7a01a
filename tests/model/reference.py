"""The readable specification: what a drive is, as plain Python objects in memory.

It has the methods of vfs.filesystem.FileSystem and answers as that must: the model machine runs both side by side, by
path (vfs/paths.py), and the functional suite runs on it too, so that the specification itself is held to what Linux
does. One thread. Permissions are the kernel's work (`default_permissions`) and are not looked at here.
"""

import itertools
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field

from s3mount import errors
from s3mount.clock import Clock, SystemClock
from s3mount.keys import check_key, check_name
from s3mount.model import ROOT_INO, Attr, AttrChange, Caller, DirEntry, Fh, Ino, ObjectKey, Seek, VolumeInfo
from s3mount.names import NAME_BYTES_MAX

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
SYMLINK_BYTES_MAX = 4095
PERMISSION_BITS = 0o7777


@dataclass(eq=False)
class RefInode:
    ino: Ino
    mode: int
    uid: int
    gid: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    nlink: int = 1
    content: bytearray = field(default_factory=bytearray)
    target: str = ""
    place: "tuple[RefInode, str] | None" = None
    children: dict[str, "RefInode"] = field(default_factory=dict)

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def size(self) -> int:
        return len(self.target.encode("utf-8", "surrogateescape")) if stat.S_ISLNK(self.mode) else len(self.content)


@dataclass
class RefHandle:
    inode: RefInode
    flags: int
    snapshot: Sequence[DirEntry] = ()
    is_begun: bool = False


class ReferenceTree:
    def __init__(self, clock: Clock | None = None, *, uid: int = 0, gid: int = 0, root_mode: int = 0o755) -> None:
        self._clock = clock or SystemClock()
        self._inos = itertools.count(ROOT_INO)
        self._fhs = itertools.count(1)
        self._inodes: dict[Ino, RefInode] = {}
        self.handles: dict[int, RefHandle] = {}
        self.root = self._new(stat.S_IFDIR | root_mode, Caller(uid, gid))

    def watch(self, tell: object, tell_new: object = None) -> None:
        """Nobody else has a hand in this tree."""

    def place(self, ino: Ino) -> tuple[Ino, str] | None:
        place = self._inode(ino).place
        return None if place is None else (place[0].ino, place[1])

    # -- lookup --

    def _new(self, mode: int, caller: Caller, target: str = "") -> RefInode:
        now = self._clock.now_ns()
        inode = RefInode(Ino(next(self._inos)), mode, caller.uid, caller.gid, now, now, now, target=target)
        self._inodes[inode.ino] = inode
        return inode

    def _inode(self, ino: Ino) -> RefInode:
        if ino not in self._inodes:
            raise errors.Stale(str(ino))
        return self._inodes[ino]

    def _directory(self, ino: Ino) -> RefInode:
        inode = self._inode(ino)
        if not inode.is_dir:
            raise errors.NotADirectory(str(ino))
        if inode is not self.root and inode.place is None:
            raise errors.NotFound(f"{ino} was removed")
        return inode

    def _child(self, parent: RefInode, name: str) -> RefInode:
        if len(os.fsencode(name)) > NAME_BYTES_MAX:
            raise errors.NameTooLong(name)
        if name not in parent.children:
            raise errors.NotFound(name)
        return parent.children[name]

    def lookup(self, parent: Ino, name: str) -> Attr:
        return self._attr(self._child(self._directory(parent), name))

    def _handle(self, fh: int) -> RefHandle:
        if fh not in self.handles:
            raise errors.BadHandle(str(fh))
        return self.handles[fh]

    def _open(self, inode: RefInode, flags: int, snapshot: Sequence[DirEntry] = ()) -> Fh:
        fh = Fh(next(self._fhs))
        self.handles[fh] = RefHandle(inode, flags, snapshot)
        return fh

    # -- changes of time --

    def _touch_change(self, *inodes: RefInode) -> None:
        for inode in inodes:
            inode.ctime_ns = self._clock.now_ns()

    def _touch_content(self, *inodes: RefInode) -> None:
        for inode in inodes:
            inode.mtime_ns = inode.ctime_ns = self._clock.now_ns()

    # -- attributes --

    def getattr(self, ino: Ino) -> Attr:
        return self._attr(self._inode(ino))

    def _attr(self, i: RefInode) -> Attr:
        return Attr(i.ino, i.mode, i.nlink, i.uid, i.gid, i.size, i.atime_ns, i.mtime_ns, i.ctime_ns)

    def setattr(self, ino: Ino, change: AttrChange, fh: Fh | None = None) -> Attr:
        inode = self._inode(ino)
        if change.size is not None:
            if inode.is_dir:
                raise errors.IsADirectory(str(ino))
            if fh is not None and self._handle(fh).flags & os.O_ACCMODE == os.O_RDONLY:
                raise errors.InvalidArgument(str(fh))
            self._resize(inode, change.size)
        if change.mode is not None:
            inode.mode = stat.S_IFMT(inode.mode) | (change.mode & PERMISSION_BITS)
        inode.uid = inode.uid if change.uid is None else change.uid
        inode.gid = inode.gid if change.gid is None else change.gid
        inode.atime_ns = inode.atime_ns if change.atime_ns is None else change.atime_ns
        inode.mtime_ns = inode.mtime_ns if change.mtime_ns is None else change.mtime_ns
        self._touch_change(inode)
        return self._attr(inode)

    def statfs(self) -> VolumeInfo:
        return VolumeInfo(4096, 1 << 30, 1 << 29, 1 << 30, 1 << 29, 255)

    # -- directories --

    def opendir(self, ino: Ino) -> Fh:
        inode = self._directory(ino)
        return self._open(inode, os.O_RDONLY, self._snapshot(inode))

    def _snapshot(self, inode: RefInode) -> Sequence[DirEntry]:
        children = enumerate(inode.children.items(), 1)
        return [DirEntry(name, self._attr(child), next_place=place) for place, (name, child) in children]

    def readdir(self, fh: Fh, start: int = 0) -> Sequence[DirEntry]:
        handle = self._handle(fh)
        if start == 0 and handle.is_begun:
            handle.snapshot = self._snapshot(handle.inode)
        handle.is_begun |= start == 0
        return handle.snapshot[start:]

    def releasedir(self, fh: Fh) -> None:
        self._handle(fh)
        del self.handles[fh]

    def fsyncdir(self, fh: Fh, datasync: bool) -> None:
        self._handle(fh)

    def _add(self, parent: RefInode, name: str, mode: int, caller: Caller, target: str = "") -> RefInode:
        check_name(name)
        if name in parent.children:
            raise errors.Exists(name)
        check_key(self._key(parent, name, is_dir=stat.S_ISDIR(mode)))
        mode = mode if stat.S_ISLNK(mode) else mode & ~caller.umask
        if parent.mode & stat.S_ISGID:
            # inode(7): a setgid directory hands its group down, to directories with the bit.
            caller = Caller(caller.uid, parent.gid)
            mode |= stat.S_ISGID if stat.S_ISDIR(mode) else 0
        inode = parent.children[name] = self._new(mode, caller, target)
        inode.place = (parent, name)
        self._touch_content(parent)
        return inode

    def _key(self, parent: RefInode, name: str, *, is_dir: bool) -> ObjectKey:
        names = [name]
        while parent.place is not None:
            parent, above = parent.place
            names.append(above)
        return ObjectKey("/".join(reversed(names)) + ("/" if is_dir else ""))

    def mkdir(self, parent: Ino, name: str, mode: int, caller: Caller) -> Attr:
        return self._attr(self._add(self._directory(parent), name, stat.S_IFDIR | (mode & PERMISSION_BITS), caller))

    def mknod(self, parent: Ino, name: str, mode: int, rdev: int, caller: Caller) -> Attr:
        if not stat.S_ISREG(mode):
            raise errors.NotSupported(name)
        return self._attr(self._add(self._directory(parent), name, mode, caller))

    def link(self, ino: Ino, new_parent: Ino, new_name: str) -> Attr:
        raise errors.NotSupported(new_name)

    def symlink(self, target: str, parent: Ino, name: str, caller: Caller) -> Attr:
        if len(os.fsencode(target)) > SYMLINK_BYTES_MAX:
            raise errors.NameTooLong(target)
        return self._attr(self._add(self._directory(parent), name, stat.S_IFLNK | 0o777, caller, target))

    def readlink(self, ino: Ino) -> str:
        inode = self._inode(ino)
        if not stat.S_ISLNK(inode.mode):
            raise errors.InvalidArgument(str(ino))
        return inode.target

    def unlink(self, parent: Ino, name: str) -> None:
        directory = self._directory(parent)
        if self._child(directory, name).is_dir:
            raise errors.IsADirectory(name)
        self._drop(directory, name)

    def rmdir(self, parent: Ino, name: str) -> None:
        directory = self._directory(parent)
        inode = self._child(directory, name)
        if not inode.is_dir:
            raise errors.NotADirectory(name)
        if inode.children:
            raise errors.NotEmpty(name)
        self._drop(directory, name)

    def _drop(self, parent: RefInode, name: str) -> None:
        inode = parent.children.pop(name)
        inode.nlink, inode.place = 0, None
        self._touch_change(inode)
        self._touch_content(parent)

    def rename(self, parent: Ino, name: str, new_parent: Ino, new_name: str, flags: int = 0) -> None:
        if flags not in (0, RENAME_NOREPLACE, RENAME_EXCHANGE):
            raise errors.InvalidArgument("no other kind of rename is known")
        # Both directories before both names: that is the order Linux reports in.
        above, new_above = self._directory(parent), self._directory(new_parent)
        source = self._child(above, name)
        check_name(new_name)
        target = new_above.children.get(new_name)
        if target is not None and flags & RENAME_NOREPLACE:
            raise errors.Exists(new_name)
        if self._is_within(new_above, source):
            raise errors.InvalidArgument(f"{new_name} is below {name}")
        if flags == RENAME_EXCHANGE:
            self._exchange(above, name, new_above, new_name)
            return
        if target is source:
            return
        if target is not None:
            if source.is_dir and not target.is_dir:
                raise errors.NotADirectory(new_name)
            if target.is_dir and not source.is_dir:
                raise errors.IsADirectory(new_name)
            if target.children:
                raise errors.NotEmpty(new_name)
            self._drop(new_above, new_name)
        del above.children[name]
        new_above.children[new_name] = source
        source.place = (new_above, new_name)
        self._touch_content(above, new_above)
        self._touch_change(source)

    def _exchange(self, above: RefInode, name: str, new_above: RefInode, new_name: str) -> None:
        source, target = self._child(above, name), self._child(new_above, new_name)
        if target is source:
            return
        if self._is_within(above, target):
            raise errors.InvalidArgument(f"{name} is below {new_name}")
        above.children[name], source.place = target, (new_above, new_name)
        new_above.children[new_name], target.place = source, (above, name)
        self._touch_content(above, new_above)
        self._touch_change(source, target)

    def _is_within(self, inode: RefInode, directory: RefInode) -> bool:
        while inode is not directory and inode.place is not None:
            inode = inode.place[0]
        return inode is directory

    # -- extended attributes: the specification has none --

    def getxattr(self, ino: Ino, name: str) -> bytes | None:
        self._inode(ino)
        return None

    def listxattr(self, ino: Ino, caller: Caller | None = None) -> Sequence[str]:
        self._inode(ino)
        return ()

    def setxattr(self, ino: Ino, name: str, value: bytes, flags: int = 0) -> None:
        raise errors.NotSupported(name)

    def removexattr(self, ino: Ino, name: str) -> None:
        raise errors.NotSupported(name)

    # -- content --

    def create(self, parent: Ino, name: str, mode: int, flags: int, caller: Caller) -> tuple[Attr, Fh]:
        directory = self._directory(parent)
        inode = directory.children.get(name)
        if inode is not None and not flags & os.O_EXCL:
            fh = self.open(inode.ino, flags)
        else:
            inode = self._add(directory, name, stat.S_IFREG | (mode & PERMISSION_BITS), caller)
            fh = self._open(inode, flags)
        return self._attr(inode), fh

    def open(self, ino: Ino, flags: int, caller: Caller | None = None) -> Fh:
        inode = self._inode(ino)
        if inode.is_dir:
            raise errors.IsADirectory(str(ino))
        if flags & os.O_TRUNC:
            self._resize(inode, 0)
        return self._open(inode, flags)

    def keeps_pages(self, fh: Fh) -> bool:
        return False

    def read(self, fh: Fh, offset: int, size: int) -> bytes:
        handle = self._handle(fh)
        if handle.flags & os.O_ACCMODE == os.O_WRONLY:
            raise errors.BadHandle(str(fh))
        return bytes(handle.inode.content[offset : offset + size])

    def write(self, fh: Fh, offset: int, data: bytes | memoryview, *, is_page: bool = False) -> int:
        handle = self._handle(fh)
        if handle.flags & os.O_ACCMODE == os.O_RDONLY:
            raise errors.BadHandle(str(fh))
        content = handle.inode.content
        if handle.flags & os.O_APPEND and not is_page:
            offset = len(content)
        if not data:
            return 0
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data
        self._touch_content(handle.inode)
        return len(data)

    def _resize(self, inode: RefInode, size: int) -> None:
        del inode.content[size:]
        inode.content.extend(bytes(size - len(inode.content)))
        self._touch_content(inode)

    def allocate(self, fh: Fh, mode: int, offset: int, length: int) -> None:
        raise errors.NotSupported("fallocate")

    def seek(self, fh: Fh, offset: int, wanted: Seek) -> int:
        size = len(self._handle(fh).inode.content)
        if not 0 <= offset < size:
            raise errors.NoSuchOffset(str(offset))
        return offset if wanted is Seek.DATA else size

    def copy_range(self, fh_in: Fh, offset_in: int, fh_out: Fh, offset_out: int, size: int) -> int:
        raise errors.NotSupported("copy_file_range")

    def flush(self, fh: Fh) -> None:
        self._handle(fh)

    def fsync(self, fh: Fh, datasync: bool) -> None:
        self._handle(fh)

    def release(self, fh: Fh) -> None:
        self._handle(fh)
        del self.handles[fh]
