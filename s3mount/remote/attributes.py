"""Asks for the metadata of objects that were only listed: one HEAD each, in parallel, once per version.

Called by vfs when attributes are needed and by writeback before metadata is rewritten. Never under a lock.
"""

import logging
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from s3mount import foreign_metadata, keys, metadata, names
from s3mount.ending import end_pool
from s3mount.errors import Missing, StoreError
from s3mount.index import links
from s3mount.index.index import Index
from s3mount.model import Ino, Inode, ObjectInfo
from s3mount.remote.flights import Flights
from s3mount.remote.observer import ForeignObserver
from s3mount.store.base import ObjectStore

log = logging.getLogger(__name__)

THREADS = 16
PREFETCH_MAX = 20_000
ATTEMPTS_MAX = 5

Ask = Callable[[Inode], ObjectInfo | None]


class AttributeReader:
    def __init__(
        self,
        store: ObjectStore,
        index: Index,
        *,
        observer: ForeignObserver,
    ):
        self._store = store
        self._index = index
        self._observer = observer
        self._flights = Flights()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="attributes")
        self._lock = threading.Lock()
        # In order, each once.
        self._wanted: OrderedDict[Ino, None] = OrderedDict()
        self._workers = 0

    def ensure(self, ino: Ino, ask: Ask | None = None) -> None:
        """Return when mode, owner and times of this inode are known. `ask` may know them without a HEAD, which is sent
        when it returns None. Raises Missing when its object is gone, else StoreError."""
        for _ in range(ATTEMPTS_MAX):
            inode = self._index.inodes.find(ino)
            if inode is None or inode.metadata_known:
                return
            self._flights.run(ino, lambda: self._read(ino, ask))

    def prefetch(self, inos: Iterable[Ino]) -> None:
        """Ask for all of these in the background; what does not fit the queue is asked for when it is needed."""
        with self._lock:
            for ino in inos:
                if len(self._wanted) < PREFETCH_MAX:
                    self._wanted[ino] = None
            more = min(THREADS, len(self._wanted)) - self._workers
            self._workers += max(0, more)
        for _ in range(more):
            self._pool.submit(self._work)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._workers -= 1
                    return
                ino, _ = self._wanted.popitem(last=False)
            try:
                if not self._flights.is_running(ino):
                    self.ensure(ino)
            except StoreError as error:
                log.debug("prefetch of attributes of ino %d failed: %s", ino, error)
            except Exception:
                log.exception("prefetch of attributes of ino %d failed", ino)

    def _read(self, ino: Ino, ask: Ask | None) -> None:
        inode = self._index.inodes.find(ino)
        if inode is None or inode.metadata_known:
            return
        info = None
        try:
            if ask is not None:
                info = ask(inode)
            if info is None and inode.remote_key is not None:
                info = self._store.head(inode.remote_key)
                if keys.is_marker(info) != inode.is_dir:
                    raise Missing(f"{inode.remote_key!r} is {'a file' if inode.is_dir else 'a directory'} by now")
        except Missing:
            info = None
            if not inode.is_dir:
                raise
        if info is not None and not inode.is_dir and info.etag != inode.remote_etag:
            self._observer.replaced(ino, info)
            inode = inode._replace(remote_etag=info.etag, remote_size=info.size)
        with self._index.transaction():
            now = self._index.inodes.find(ino)
            if now is None or now.metadata_known:
                return
            if info is not None and now.is_owed and now.remote_key == info.key and now.remote_etag != info.etag:
                # Local work keeps its base, and its upload meets the version that is there.
                found = with_metadata(now, info)
                self._index.inodes.update(found._replace(remote_etag=now.remote_etag, mtime_ns=now.mtime_ns))
                return
            if now.remote != inode.remote or now.remote_key != inode.remote_key:
                return  # our own write overtook the answer; ensure() looks again
            known = now._replace(metadata_known=True) if info is None else with_metadata(now, info)
            self._index.inodes.update(known)
            links.meet(self._index, known, may_join=not self._observer.is_open(ino))

    def close(self, deadline_s: float) -> bool:
        """False when requests are still under way after the deadline."""
        with self._lock:
            self._wanted.clear()
        return end_pool(self._pool, deadline_s)


def with_metadata(inode: Inode, info: ObjectInfo) -> Inode:
    """`inode` with the attributes that its object carries."""
    found = info.metadata or {}
    attributes = metadata.decode(found, is_dir_key=inode.is_dir)
    if inode.is_dir and inode.meta_uploaded and attributes == metadata.FileAttributes():
        # A store that drops what it was told of directories has no better knowledge than the index.
        return inode._replace(remote_etag=info.etag, metadata_known=True)
    mode = inode.mode
    if attributes.mode is not None:
        kind = stat.S_IFMT(inode.mode) if inode.is_dir else _kind(attributes.mode, info.size)
        mode = kind | stat.S_IMODE(attributes.mode)
    if attributes.target is not None:
        mode = stat.S_IFLNK | stat.S_IMODE(mode)
        inode = inode._replace(target=attributes.target, size=len(names.to_bytes(attributes.target)))
    mtime_ns = attributes.mtime_ns if attributes.mtime_ns is not None else info.last_modified_ns
    return inode._replace(
        mode=mode,
        uid=inode.uid if attributes.uid is None else attributes.uid,
        gid=inode.gid if attributes.gid is None else attributes.gid,
        mtime_ns=mtime_ns,
        atime_ns=attributes.atime_ns,
        ctime_ns=info.last_modified_ns,
        remote_etag=info.etag,
        foreign_metadata=foreign_metadata.pick(found),
        metadata_known=True,
        rdev=attributes.rdev or 0 if stat.S_ISBLK(mode) or stat.S_ISCHR(mode) else 0,
        xattrs=attributes.xattrs,
        link_group=inode.link_group if inode.nlink > 1 else metadata.linked_group(attributes.link, info.key),
    )  # fmt: skip


def _kind(mode: int, size: int) -> int:
    """The type of a file whose object says `mode`: one without a type, or with bytes that a special file cannot have,
    is a regular file."""
    kind = stat.S_IFMT(mode)
    return kind if kind == stat.S_IFLNK or (kind and not size) else stat.S_IFREG
