"""Extended attributes and access control lists of an inode: get, set, list, remove.

Called by FileSystem, from any thread. An attribute is part of the inode's row, and a change of one is a change of
metadata: committed on return, and owed to the bucket, where all of them are one header of the object (xattr_format.py).

An object has 2 KB for metadata of all kinds. What does not fit beside ours, and beside what others put there, is
refused when it is set, with ENOSPC as ext4 does when an inode's room for attributes is used up; nothing is dropped
later. Who may see and change which is decided by the kernel: trusted.* by CAP_SYS_ADMIN, user.* by mode bits.
"""

import stat
from collections.abc import Callable

from s3mount import foreign_metadata, xattr_format
from s3mount.errors import (
    AccessDenied,
    Exists,
    InvalidArgument,
    NoAttribute,
    NoSpace,
    NotSupported,
    OutOfRange,
    TooBig,
)
from s3mount.foreign_metadata import METADATA_BYTES_MAX
from s3mount.metadata import OURS_BYTES_MAX
from s3mount.model import Caller, Ino, Inode
from s3mount.vfs import posix_acl
from s3mount.vfs.context import VfsContext

# linux/xattr.h, linux/limits.h
XATTR_CREATE = 1
XATTR_REPLACE = 2
NAME_BYTES_MAX = 255
VALUE_BYTES_MAX = 64 << 10

NAMESPACES = ("user.", "trusted.", "security.")
ACLS = (posix_acl.ACCESS, posix_acl.DEFAULT)


class Xattrs:
    def __init__(self, context: VfsContext):
        self._context = context
        self._index = context.index

    def get(self, ino: Ino, name: str) -> bytes | None:
        """None: there is none of that name. Raises NotSupported."""
        inode = self._context.known(self._context.live(ino))
        if inode.xattrs is not None:
            value = xattr_format.unpack(inode.xattrs).get(name)
            if value is not None:
                return value
        _check_name(name)
        return None

    def has_none(self, ino: Ino) -> bool:
        """Whether it is known, without asking anybody, that the inode has no attribute at all."""
        inode = self._index.inodes.find(ino)
        return inode is not None and inode.xattrs is None and inode.metadata_known and inode.link_of is None

    def names(self, ino: Ino, caller: Caller) -> list[str]:
        """trusted.* only for root: xattr(7). Their values the kernel keeps from others, their names it does not."""
        names = xattr_format.unpack(self._context.known(self._context.live(ino)).xattrs)
        return [name for name in names if caller.uid == 0 or not name.startswith("trusted.")]

    def set(self, ino: Ino, name: str, value: bytes, flags: int) -> None:
        """`flags`: 0, XATTR_CREATE or XATTR_REPLACE. Raises Exists, NoAttribute, NotSupported, OutOfRange, TooBig,
        NoSpace; InvalidArgument for an access list that is none, AccessDenied for a default one of a file."""
        _check_name(name)
        if flags & ~(XATTR_CREATE | XATTR_REPLACE):
            raise InvalidArgument("unknown flags")
        if len(value) > VALUE_BYTES_MAX:
            raise TooBig(f"{name}: over {VALUE_BYTES_MAX} bytes")

        def change(inode: Inode) -> Inode:
            xattrs = xattr_format.unpack(inode.xattrs)
            if flags & XATTR_CREATE and name in xattrs:
                raise Exists(name)
            if flags & XATTR_REPLACE and name not in xattrs:
                raise NoAttribute(name)
            if name in ACLS:
                return _with_acl(inode, xattrs, name, value)
            return inode._replace(xattrs=xattr_format.pack({**xattrs, name: value}))

        self._change(ino, change)

    def remove(self, ino: Ino, name: str) -> None:
        """Raises NoAttribute, NotSupported. An access list may be removed where there is none: it is a wish for mode
        bits alone, and every Linux file system grants it."""
        _check_name(name)

        def change(inode: Inode) -> Inode:
            xattrs = xattr_format.unpack(inode.xattrs)
            if name in ACLS and name not in xattrs:
                return inode
            if xattrs.pop(name, None) is None:
                raise NoAttribute(name)
            return inode._replace(xattrs=xattr_format.pack(xattrs))

        self._change(ino, change)

    def _change(self, ino: Ino, change: Callable[[Inode], Inode]) -> None:
        context = self._context
        context.require_writable()
        context.known(context.live(ino))
        with self._index.transaction():
            now = context.live(ino)
            changed = change(now)
            if changed == now:
                return
            require_room(changed)
            self._index.inodes.update(context.with_meta_owed(changed._replace(ctime_ns=context.clock.now_ns())))
        context.writeback.notify()


def after_chmod(inode: Inode, mode: int) -> Inode:
    """`inode` with its access list, if it has one, in step with a new `mode`."""
    if inode.xattrs is None:
        return inode
    return inode._replace(xattrs=xattr_format.pack(posix_acl.after_chmod(xattr_format.unpack(inode.xattrs), mode)))


def inherit(directory: Inode, mode: int, umask: int) -> tuple[int, str | None]:
    """(mode, packed extended attributes) of what is created with `mode` in `directory`."""
    if directory.xattrs is None:
        return (mode if stat.S_ISLNK(mode) else mode & ~umask), None
    mode, xattrs = posix_acl.inherit(xattr_format.unpack(directory.xattrs), mode, umask)
    return mode, xattr_format.pack(xattrs)


def require_room(inode: Inode) -> None:
    """Raise NoSpace when an object cannot hold all extended attributes of `inode`."""
    if inode.xattrs is None:
        return
    header = len("xattr") + len(xattr_format.to_header(inode.xattrs))
    if OURS_BYTES_MAX + header + foreign_metadata.size(inode.foreign_metadata) > METADATA_BYTES_MAX:
        raise NoSpace("an object's 2 KB of metadata do not hold these extended attributes")


def _check_name(name: str) -> None:
    if len(name.encode("utf-8", "surrogateescape")) > NAME_BYTES_MAX:
        raise OutOfRange(f"over {NAME_BYTES_MAX} bytes: {name!r}")
    if name in ACLS:
        return
    if name in NAMESPACES:
        raise InvalidArgument(f"not a name: {name!r}")
    if not name.startswith(NAMESPACES):
        raise NotSupported(f"no such namespace: {name!r}")


def _with_acl(inode: Inode, xattrs: dict[str, bytes], name: str, value: bytes) -> Inode:
    acl = posix_acl.decode(value)
    if inode.is_symlink:
        raise NotSupported("a symbolic link has no access list")
    if name == posix_acl.DEFAULT and not inode.is_dir:
        raise AccessDenied("only a directory has a default access list")
    xattrs.pop(name, None)
    if acl and name == posix_acl.ACCESS:
        inode = inode._replace(mode=posix_acl.mode_with(acl, inode.mode))
    if acl and not (name == posix_acl.ACCESS and posix_acl.is_minimal(acl)):
        xattrs[name] = posix_acl.encode(acl)
    return inode._replace(xattrs=xattr_format.pack(xattrs))
