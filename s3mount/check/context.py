"""What a check works with: the floors below, on a live mount or on a state folder that nobody serves."""

from collections.abc import Callable
from dataclasses import dataclass

from s3mount.cache.filecache import FileCache
from s3mount.index.index import Index
from s3mount.locks import InodeLocks
from s3mount.model import Ino
from s3mount.store.base import ObjectStore


@dataclass(frozen=True, slots=True)
class CheckContext:
    """`relist`: let the next use of this directory list it. `is_live`: a mount works on all this at the same time, so
    what is found must be seen to be so still, and unfinished uploads are its own business."""

    store: ObjectStore
    index: Index
    cache: FileCache
    locks: InodeLocks
    relist: Callable[[Ino], None]
    is_live: bool
    repairs: bool

    def path(self, ino: Ino) -> str:
        inode = self.index.inodes.find(ino)
        key = None if inode is None else self.index.dentries.path_key(inode)
        return f"inode {ino}" if key is None else f"/{key}"
