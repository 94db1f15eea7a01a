"""What the parts of the write-back loop share."""

import mimetypes
import threading
from dataclasses import dataclass, field

from s3mount import foreign_metadata, metadata
from s3mount.cache.filecache import FileCache
from s3mount.clock import Clock
from s3mount.index import links
from s3mount.index.index import Index
from s3mount.locks import InodeLocks
from s3mount.model import Ino, Inode, ObjectInfo, ObjectKey
from s3mount.remote.attributes import AttributeReader
from s3mount.remote.guard import WriteGuard
from s3mount.remote.lister import Lister
from s3mount.remote.observer import ForeignObserver
from s3mount.store.base import ObjectStore
from s3mount.store.concurrency import Concurrency
from s3mount.writeback.conditions import Conditions


@dataclass
class Totals:
    """Since the mount began."""

    files: int = 0
    size: int = 0
    conflicts: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count_upload(self, size: int) -> None:
        with self.lock:
            self.files += 1
            self.size += size

    def count_conflict(self) -> None:
        with self.lock:
            self.conflicts += 1


@dataclass(frozen=True, slots=True)
class WriteBackContext:
    store: ObjectStore
    index: Index
    cache: FileCache
    locks: InodeLocks
    guard: WriteGuard
    lister: Lister
    attributes: AttributeReader
    observer: ForeignObserver
    clock: Clock
    conditions: Conditions
    concurrency: Concurrency
    totals: Totals = field(default_factory=Totals)

    def on_record(self, ino: Ino) -> Inode | None:
        """The inode as it is, what is staged of it committed: kill -9 leaves no less than is uploaded from here on.
        Under the inode lock."""
        self.cache.save(ino, lambda: self.index.inodes.flush(ino))
        return self.index.inodes.find(ino)

    def write_id(self, inode: Inode) -> str:
        """Marks an object as this index's writing of this state: how a lost reply is told from a foreign write."""
        return f"{self.index.uuid}.{inode.ino}.{inode.content_generation}.{inode.meta_generation}"

    def is_own_write_id(self, write_id: str | None, inode: Inode) -> bool:
        """Whether some state of this very inode was written by us."""
        return write_id is not None and write_id.split(".")[:2] == [self.index.uuid, str(inode.ino)]

    def is_own_older_write(self, write_id: str | None, inode: Inode) -> bool:
        """Whether it was written by us, for this inode, before the content that the index names now."""
        if write_id is None or not self.is_own_write_id(write_id, inode):
            return False
        generation = write_id.split(".")[2]
        return generation.isdecimal() and int(generation) < inode.content_generation

    def is_own_write(self, there: ObjectInfo) -> bool:
        """Whether this index wrote the object, for whichever inode."""
        write_id = metadata.decode(there.metadata or {}, is_dir_key=False).write_id
        return write_id is not None and write_id.split(".")[0] == self.index.uuid

    def object_metadata(self, inode: Inode, key: ObjectKey, write_id: str | None = None) -> dict[str, str]:
        """Of the object at `key` that is to stand for the inode as it is."""
        group = links.group_of(self.index, inode)
        ours = metadata.encode(
            mode=inode.mode, uid=inode.uid, gid=inode.gid, mtime_ns=inode.mtime_ns, atime_ns=inode.atime_ns,
            write_id=write_id or self.write_id(inode), rdev=inode.rdev, xattrs=inode.xattrs,
            link=None if group is None else metadata.link_of_key(group, key),
        )  # fmt: skip
        return foreign_metadata.merge(ours, inode.foreign_metadata)

    @staticmethod
    def content_type(inode: Inode, key: ObjectKey) -> str:
        if inode.is_dir:
            return metadata.CONTENT_TYPE_DIR
        guessed = mimetypes.guess_type(key, strict=False)[0] if inode.is_file else None
        return guessed or metadata.CONTENT_TYPE_FILE


BACK_OFF_S_MAX = 300.0
PROBE_S = 15.0  # in an outage something is tried at least this often


def back_off_s(failures: int) -> float:
    """How long to wait after the n-th failure in a row (from 1): 1, 2, 4 … 300 seconds."""
    return min(BACK_OFF_S_MAX, 2.0 ** min(failures - 1, 30))
