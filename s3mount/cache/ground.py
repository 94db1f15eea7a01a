"""What every block file stands on, and one request for bytes of one. Plain values that FileCache and fetcher make."""

from concurrent.futures import Future
from dataclasses import dataclass, field

from s3mount.cache.budget import Budget, Reservation
from s3mount.cache.disk import Disk
from s3mount.cache.entries import CacheEntries
from s3mount.cache.holes import SparseFiles
from s3mount.cache.open_files import OpenFiles
from s3mount.clock import Clock
from s3mount.model import ETag, ObjectInfo
from s3mount.store.base import Body


@dataclass(frozen=True, slots=True)
class Ground:
    """What every block file stands on."""

    disk: Disk
    entries: CacheEntries
    budget: Budget
    clock: Clock
    open_files: OpenFiles
    tag: bytes
    sparse: SparseFiles


@dataclass(slots=True, eq=False)
class Flight:
    """One request under way for [start, end) of the version `etag`. `info`: what its reply says of the object, when all
    of it was asked for."""

    start: int
    end: int
    etag: ETag
    epoch: int
    reservation: Reservation | None = None
    info: ObjectInfo | None = None
    done: Future[Body] = field(init=False)
