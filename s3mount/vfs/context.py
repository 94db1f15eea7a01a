"""What every part of the vfs works with: the floors below it, and the few steps all operations share.

Threads: any. S3 may be asked only by `directory`, `place_in` and `known`, which hold no lock; what follows them runs in
an index transaction and looks everything up again, since the tree may have changed in between.
"""

import logging
from dataclasses import dataclass
from typing import NamedTuple

from s3mount import junk, keys
from s3mount.cache.filecache import FileCache
from s3mount.clock import Clock
from s3mount.config import CAPACITY_BYTES
from s3mount.errors import Missing, NotADirectory, NotFound, ReadOnly
from s3mount.index import links
from s3mount.index.index import Index
from s3mount.locks import InodeLocks
from s3mount.model import ROOT_INO, Attr, Ino, Inode
from s3mount.remote.attributes import AttributeReader
from s3mount.remote.lister import Lister
from s3mount.store.base import StoreProperties
from s3mount.vfs.archived import ArchivedFiles
from s3mount.vfs.departed import Departed
from s3mount.vfs.discards import Discards
from s3mount.vfs.foreign_changes import ForeignChanges
from s3mount.vfs.handles import Handles
from s3mount.vfs.late_opens import LateOpens
from s3mount.vfs.prefetch import Prefetch
from s3mount.writeback.writeback import WriteBack

log = logging.getLogger(__name__)


class VfsOptions(NamedTuple):
    """`fsync_remote`: fsync returns when S3 has the file. Deadlines in seconds; `offline_timeout_s`: how long an
    operation waits for an S3 that gives no sign of life. `capacity_bytes`: what statfs shows as the drive's size.
    `is_relatime`: reading moves atime, as mount(8) describes relatime. `keeps_junk`: what junk.py names stays on this
    computer."""

    read_only: bool = False
    fsync_remote: bool = False
    has_hard_links: bool = True
    room_deadline_s: float = 60.0
    upload_deadline_s: float = 3600.0
    offline_timeout_s: float = 30.0
    capacity_bytes: int = CAPACITY_BYTES
    is_relatime: bool = True
    keeps_junk: bool = False


@dataclass(frozen=True, slots=True)
class VfsContext:
    index: Index
    cache: FileCache
    lister: Lister
    attributes: AttributeReader
    handles: Handles
    locks: InodeLocks
    writeback: WriteBack
    clock: Clock
    properties: StoreProperties
    options: VfsOptions
    discards: Discards
    archived: ArchivedFiles
    departed: Departed
    late_opens: LateOpens
    foreign: ForeignChanges
    prefetch: Prefetch

    # -- reading the tree (may ask S3) ---------------------------------------------------------------------------

    def live(self, ino: Ino) -> Inode:
        """The newest row. Raises NotFound when the inode went away since it was looked up."""
        inode = links.identity(self.index, ino)
        if inode is None:
            raise NotFound("removed meanwhile")
        return inode

    def place_in(self, parent: Ino, name: str) -> Ino:
        """`parent`, brought up to date, as a place where `name` may be made, moved or removed. Raises NotADirectory,
        StoreError, and what keys.check_name does."""
        self.directory(parent)
        keys.check_name(name)
        return parent

    def directory(self, ino: Ino) -> Ino:
        """`ino` itself, when it is a directory, brought up to date. Raises NotADirectory, StoreError."""
        if not self.live(ino).is_dir:
            raise NotADirectory("a path component is not a directory")
        self.lister.ensure_fresh(ino)
        return ino

    def lookup(self, parent: Ino, name: str) -> Ino:
        keys.check_name(name)
        ino = self.index.dentries.lookup(parent, name)
        if ino is None:
            raise NotFound(name)
        row = self.index.inodes.find(ino)
        if row is not None and row.link_of is not None:
            self.known(row)  # someone else may have made a file of its own of this name
        return ino

    def known(self, inode: Inode) -> Inode:
        """`inode` with mode, owner and times as its object has them. Raises NotFound when the object is gone."""
        if inode.metadata_known:
            return inode
        try:
            self.attributes.ensure(inode.ino)
        except Missing as error:
            place = self.index.dentries.place(inode.ino)
            if place is not None:
                self.lister.invalidate(place[0])
            raise NotFound("the object is gone") from error
        return self.live(inode.ino)

    def attr(self, inode: Inode) -> Attr:
        return inode.attr(self.cache.hole_bytes(inode.ino))

    # -- changing it (inside an index transaction, no S3) --------------------------------------------------------

    def require_writable(self) -> None:
        if self.options.read_only:
            raise ReadOnly("the drive is mounted read-only")

    def due_ns(self) -> int:
        return self.clock.now_ns() + self.writeback.delay_ns

    def live_directory(self, ino: Ino) -> Inode:
        """The directory's row, inside a transaction. Raises NotFound when it was removed meanwhile."""
        inode = self.index.inodes.find(ino)
        if inode is None or not inode.is_dir:
            raise NotFound("the directory was removed meanwhile")
        return inode

    def child(self, parent: Ino, name: str) -> Inode | None:
        with self.index.locked():
            ino = self.index.dentries.lookup(parent, name)
            return None if ino is None else links.identity(self.index, ino)

    def require_key(self, directory: Inode, name: str, *, is_dir: bool) -> None:
        """Raise NameTooLong when there can be no object for this name, NotFound when the directory has no path."""
        dir_key = self.index.dentries.path_key(directory)
        if dir_key is None:
            raise NotFound("the directory was removed meanwhile")
        keys.check_key(keys.child_key(dir_key, name, is_dir=is_dir))

    def with_meta_owed(self, inode: Inode) -> Inode:
        """`inode` with its metadata owed to the bucket (the root of a whole bucket has no key to keep it under)."""
        if inode.ino == ROOT_INO and not self.properties.has_root_key:
            return inode
        return inode._replace(meta_generation=inode.meta_generation + 1, due_ns=self.due_ns())

    def is_junk(self, directory: Inode, name: str, *, is_dir: bool) -> bool:
        """Whether what gets this name in `directory` is to stay on this computer."""
        return self.options.keeps_junk and (directory.is_kept_here or junk.is_junk(name, is_dir=is_dir))

    def touch_directory(self, ino: Ino, *, is_told: bool = True) -> None:
        """A name was added to or taken from this directory: its times move, and the bucket learns of it if it has
        or must have a marker object; with `is_told` False only if it must have one. A directory that lives by its
        children alone gets one when the last is gone."""
        now_ns = self.clock.now_ns()
        inode = self.index.inodes.get(ino)._replace(mtime_ns=now_ns, ctime_ns=now_ns)
        has_marker = inode.remote_etag is not None or inode.is_owed
        is_owing = is_told if has_marker else not inode.is_kept_here and self.index.dentries.is_empty_in_bucket(ino)
        if is_owing:
            inode = self.with_meta_owed(inode)
        self.index.inodes.update(inode)

    def drop_if_unused(self, inode: Inode) -> bool:
        """Forget an inode, given as it is by now, that has neither names nor handles; True: its cached content is to be
        discarded after the transaction."""
        if inode.nlink > 0 or self.handles.is_open(inode.ino):
            return False
        self.index.drop(inode, self.due_ns())
        self.departed.keep(inode)
        return True
