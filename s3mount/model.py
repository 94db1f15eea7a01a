"""The words every floor shares: small frozen values, no behaviour beyond arithmetic on themselves.

Times are nanoseconds since the epoch (negative before 1970). Sizes are bytes. `mode` is always a whole
`st_mode`: file type and permission bits. Keys are relative to the mounted prefix; a directory's key ends
in "/", the root's is "".
"""

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, NewType

Ino = NewType("Ino", int)
Fh = NewType("Fh", int)
ETag = NewType("ETag", str)
ObjectKey = NewType("ObjectKey", str)

ROOT_INO = Ino(1)


class Caller(NamedTuple):
    """On whose behalf an operation runs. `umask`: what is taken off the mode of what it creates, unless the directory
    has a default access list."""

    uid: int
    gid: int
    umask: int = 0


@dataclass(frozen=True, slots=True)
class Attr:
    """What getattr returns."""

    ino: Ino
    mode: int
    nlink: int
    uid: int
    gid: int
    size: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    # Of 512 bytes; of what is stored, so no part of what the file is.
    blocks: int = field(default=0, compare=False)
    rdev: int = 0


class AttrChange(NamedTuple):
    """What setattr is to change; None leaves as it is. Of `mode` the permission bits count."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class DirEntry:
    """One name in a directory, with its attributes (the kernel's readdirplus wants both).

    `is_complete` False: the object was only listed, so `attr` holds nothing but ino and, for a directory, the type;
    a mode of 0 means that the type is not known yet (a symlink looks like a file in a listing). `next_place`: where in
    the open directory the next entry is.
    """

    name: str
    attr: Attr
    is_complete: bool = True
    next_place: int = field(default=0, compare=False)


class VolumeInfo(NamedTuple):
    """What statfs returns. Block counts are in units of `block_size` bytes."""

    block_size: int
    blocks: int
    blocks_free: int
    files: int
    files_free: int
    name_bytes_max: int


class ObjectInfo(NamedTuple):
    """An object as LIST or HEAD shows it. `metadata` is None when only listed: LIST does not return it."""

    key: ObjectKey
    size: int
    etag: ETag
    last_modified_ns: int
    metadata: Mapping[str, str] | None = None


class RemoteObject(NamedTuple):
    """The object version an inode's local state is based on."""

    key: ObjectKey
    etag: ETag
    size: int


class Seek(Enum):
    """What lseek(2) looks for."""

    DATA = "data"
    HOLE = "hole"


class CacheRow(NamedTuple):
    """Which bytes of a file the cache holds, as kept in the index; each column is explained in index/schema.py."""

    present: bytes
    dirty: bytes
    present_size: int
    used_ns: int
    holes: bytes = b""


class Inode(NamedTuple):
    """One row of the index: what the user sees, and what the bucket has. Each column is explained in index/schema.py.

    A tuple, because it is one in SQLite, and because a changed one is made several times for each file.

    Work is owed exactly when a generation is ahead of its uploaded one (and the inode has a name).
    """

    ino: Ino
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    atime_ns: int | None = None
    nlink: int = 1
    target: str | None = None
    content_generation: int = 0
    content_uploaded: int = 0
    meta_generation: int = 0
    meta_uploaded: int = 0
    remote_key: ObjectKey | None = None
    remote_etag: ETag | None = None
    remote_size: int = 0
    metadata_known: bool = True
    foreign_metadata: str | None = None
    attempt_key: ObjectKey | None = None
    is_listed: bool = False
    due_ns: int = 0
    owed_since_ns: int = 0
    rdev: int = 0
    xattrs: str | None = None
    link_of: Ino | None = None
    link_group: str | None = None
    remote_modified_ns: int | None = None
    is_local: bool = False

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_symlink(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def is_special(self) -> bool:
        """A fifo, a socket or a device: all of it is metadata, its object is empty."""
        return not (self.is_file or self.is_dir or self.is_symlink)

    @property
    def content_owed(self) -> bool:
        return self.content_generation > self.content_uploaded

    @property
    def is_kept_here(self) -> bool:
        """Whether it is for this computer alone. What the bucket has, or may have, is not."""
        return bool(self.is_local) and self.remote_key is None and self.attempt_key is None

    @property
    def is_owed(self) -> bool:
        is_ahead = self.content_owed or self.meta_generation > self.meta_uploaded
        return is_ahead and self.nlink > 0 and not self.is_kept_here

    @property
    def remote(self) -> RemoteObject | None:
        """The object that holds the bytes not present in the cache, if there is one."""
        if self.remote_key is None or self.remote_etag is None:
            return None
        return RemoteObject(self.remote_key, self.remote_etag, self.remote_size)

    @property
    def is_lost(self) -> bool:
        """A file whose bytes are neither owed nor in the bucket: its object was someone else's to replace or remove."""
        return self.is_file and self.size > 0 and self.remote is None and not self.content_owed

    def attr(self, hole_bytes: int = 0) -> Attr:
        """`hole_bytes`: how much of the size takes no room."""
        blocks = -(-(self.size - hole_bytes) // 512)
        atime_ns = self.mtime_ns if self.atime_ns is None else self.atime_ns
        # Of a file whose object says that it is linked, other names may not have been met yet.
        nlink = self.nlink if self.link_group is None else max(self.nlink, 2)
        return Attr(
            self.ino, self.mode, nlink, self.uid, self.gid, self.size, atime_ns, self.mtime_ns, self.ctime_ns,
            blocks, self.rdev,
        )  # fmt: skip
