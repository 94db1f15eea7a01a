"""The readable specification: what a drive is, as plain Python objects in memory.

It has the methods of vfs.filesystem.FileSystem and answers as that must: the model machine runs both side by side,
and the functional suite runs on it too, so that the specification itself is held to what Linux does. One thread.
Permissions are the kernel's work (`default_permissions`) and are not looked at here.
"""

import itertools
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field

from s3mount import errors
from s3mount.clock import Clock, SystemClock
from s3mount.keys import NAME_BYTES_MAX, check_key, check_name, split_path
from s3mount.model import ROOT_INO, Attr, Caller, DirEntry, Fh, Ino, ObjectKey, VolumeInfo

RENAME_NOREPLACE = 1
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


class ReferenceTree:
    def __init__(self, clock: Clock | None = None, *, uid: int = 0, gid: int = 0, root_mode: int = 0o755) -> None:
        self._clock = clock or SystemClock()
        self._inos = itertools.count(ROOT_INO)
        self._fhs = itertools.count(1)
        self.handles: dict[int, RefHandle] = {}
        self.root = self._new(stat.S_IFDIR | root_mode, Caller(uid, gid))

    # -- lookup --

    def _new(self, mode: int, caller: Caller, target: str = "") -> RefInode:
        now = self._clock.now_ns()
        return RefInode(Ino(next(self._inos)), mode, caller.uid, caller.gid, now, now, now, target=target)

    def _find(self, path: str) -> RefInode:
        inode = self.root
        for name in split_path(path):
            if not inode.is_dir:
                raise errors.NotADirectory(path)
            if len(os.fsencode(name)) > NAME_BYTES_MAX:
                raise errors.NameTooLong(path)
            child = inode.children.get(name)
            if child is None:
                raise errors.NotFound(path)
            inode = child
        return inode

    def _parent(self, path: str) -> tuple[RefInode, str]:
        *above, name = split_path(path) or [""]
        parent = self._find("/".join(above))
        if not parent.is_dir:
            raise errors.NotADirectory(path)
        return parent, name

    def _handle(self, fh: int) -> RefHandle:
        if fh not in self.handles:
            raise errors.BadHandle(str(fh))
        return self.handles[fh]

    def _inode(self, path: str | None, fh: int | None) -> RefInode:
        return self._find(path or "/") if fh is None else self._handle(fh).inode

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

    def getattr(self, path: str | None, fh: Fh | None = None) -> Attr:
        return self._attr(self._inode(path, fh))

    def _attr(self, i: RefInode) -> Attr:
        return Attr(i.ino, i.mode, i.nlink, i.uid, i.gid, i.size, i.atime_ns, i.mtime_ns, i.ctime_ns)

    def chmod(self, path: str | None, mode: int, fh: Fh | None = None) -> None:
        inode = self._inode(path, fh)
        inode.mode = stat.S_IFMT(inode.mode) | (mode & PERMISSION_BITS)
        self._touch_change(inode)

    def chown(self, path: str | None, uid: int, gid: int, fh: Fh | None = None) -> None:
        inode = self._inode(path, fh)
        inode.uid = inode.uid if uid == -1 else uid
        inode.gid = inode.gid if gid == -1 else gid
        self._touch_change(inode)

    def utimens(self, path: str | None, atime_ns: int | None, mtime_ns: int | None, fh: Fh | None = None) -> None:
        inode = self._inode(path, fh)
        inode.atime_ns = inode.atime_ns if atime_ns is None else atime_ns
        inode.mtime_ns = inode.mtime_ns if mtime_ns is None else mtime_ns
        self._touch_change(inode)

    def statfs(self) -> VolumeInfo:
        return VolumeInfo(4096, 1 << 30, 1 << 29, 1 << 30, 1 << 29, 255)

    # -- directories --

    def opendir(self, path: str) -> Fh:
        inode = self._find(path)
        if not inode.is_dir:
            raise errors.NotADirectory(path)
        snapshot = [DirEntry(name, self._attr(child)) for name, child in inode.children.items()]
        return self._open(inode, os.O_RDONLY, snapshot)

    def readdir(self, fh: Fh) -> Sequence[DirEntry]:
        return self._handle(fh).snapshot

    def releasedir(self, fh: Fh) -> None:
        self._handle(fh)
        del self.handles[fh]

    def fsyncdir(self, fh: Fh, datasync: bool) -> None:
        self._handle(fh)

    def _add(self, path: str, mode: int, caller: Caller, target: str = "") -> RefInode:
        parent, name = self._parent(path)
        if not name or name in parent.children:
            raise errors.Exists(path)
        check_name(name)
        check_key(ObjectKey(path.lstrip("/") + ("/" if stat.S_ISDIR(mode) else "")))
        if parent.mode & stat.S_ISGID:
            # inode(7): a setgid directory hands its group down, to directories with the bit.
            caller = Caller(caller.uid, parent.gid)
            mode |= stat.S_ISGID if stat.S_ISDIR(mode) else 0
        inode = parent.children[name] = self._new(mode, caller, target)
        self._touch_content(parent)
        return inode

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        self._add(path, stat.S_IFDIR | (mode & PERMISSION_BITS), caller)

    def symlink(self, target: str, path: str, caller: Caller) -> None:
        if len(os.fsencode(target)) > SYMLINK_BYTES_MAX:
            raise errors.NameTooLong(target)
        self._add(path, stat.S_IFLNK | 0o777, caller, target)

    def readlink(self, path: str) -> str:
        inode = self._find(path)
        if not stat.S_ISLNK(inode.mode):
            raise errors.InvalidArgument(path)
        return inode.target

    def _child(self, path: str) -> tuple[RefInode, str, RefInode]:
        parent, name = self._parent(path)
        if name not in parent.children:
            raise errors.NotFound(path)
        return parent, name, parent.children[name]

    def unlink(self, path: str) -> None:
        parent, name, inode = self._child(path)
        if inode.is_dir:
            raise errors.IsADirectory(path)
        self._drop(parent, name)

    def rmdir(self, path: str) -> None:
        parent, name, inode = self._child(path)
        if not inode.is_dir:
            raise errors.NotADirectory(path)
        if inode.children:
            raise errors.NotEmpty(path)
        self._drop(parent, name)

    def _drop(self, parent: RefInode, name: str) -> None:
        inode = parent.children.pop(name)
        inode.nlink = 0
        self._touch_change(inode)
        self._touch_content(parent)

    def rename(self, old: str, new: str, flags: int = 0) -> None:
        if flags & ~RENAME_NOREPLACE:
            raise errors.InvalidArgument("only RENAME_NOREPLACE is known")
        # Both directories before both names: that is the order Linux reports in.
        self._parent(old)
        new_parent, new_name = self._parent(new)
        old_parent, old_name, source = self._child(old)
        check_name(new_name)
        target = new_parent.children.get(new_name)
        if target is not None and flags & RENAME_NOREPLACE:
            raise errors.Exists(new)
        if f"{new}/".startswith(f"{old}/") and new != old:
            raise errors.InvalidArgument(f"{new} is below {old}")
        if target is source:
            return
        if target is not None:
            if source.is_dir and not target.is_dir:
                raise errors.NotADirectory(new)
            if target.is_dir and not source.is_dir:
                raise errors.IsADirectory(new)
            if target.children:
                raise errors.NotEmpty(new)
            self._drop(new_parent, new_name)
        del old_parent.children[old_name]
        new_parent.children[new_name] = source
        self._touch_content(old_parent, new_parent)
        self._touch_change(source)

    # -- content --

    def create(self, path: str, mode: int, flags: int, caller: Caller) -> Fh:
        parent, name = self._parent(path)
        if name in parent.children and not flags & os.O_EXCL:
            return self.open(path, flags)
        return self._open(self._add(path, stat.S_IFREG | (mode & PERMISSION_BITS), caller), flags)

    def open(self, path: str, flags: int) -> Fh:
        inode = self._find(path)
        if inode.is_dir:
            raise errors.IsADirectory(path)
        if flags & os.O_TRUNC:
            self._resize(inode, 0)
        return self._open(inode, flags)

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

    def truncate(self, path: str | None, size: int, fh: Fh | None = None) -> None:
        inode = self._inode(path, fh)
        if inode.is_dir:
            raise errors.IsADirectory(str(path))
        if fh is not None and self._handle(fh).flags & os.O_ACCMODE == os.O_RDONLY:
            raise errors.InvalidArgument(str(fh))
        self._resize(inode, size)

    def _resize(self, inode: RefInode, size: int) -> None:
        del inode.content[size:]
        inode.content.extend(bytes(size - len(inode.content)))
        self._touch_content(inode)

    def flush(self, fh: Fh) -> None:
        self._handle(fh)

    def fsync(self, fh: Fh, datasync: bool) -> None:
        self._handle(fh)

    def release(self, fh: Fh) -> None:
        self._handle(fh)
        del self.handles[fh]
