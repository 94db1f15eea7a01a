"""Asks for the metadata of objects that were only listed: one HEAD each, once per version.

Called by vfs when attributes are needed and by writeback before metadata is rewritten. Never under a lock. One thread
asks ahead, for many at once, and records in one transaction what has come meanwhile.
"""

import logging
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from s3mount import foreign_metadata, keys, metadata, names
from s3mount.ending import end_pool
from s3mount.errors import Missing, StoreError
from s3mount.index import links
from s3mount.index.index import Index
from s3mount.model import Ino, Inode, ObjectInfo, ObjectKey
from s3mount.remote.flights import Flights
from s3mount.remote.observer import ForeignObserver
from s3mount.store.base import ObjectStore

log = logging.getLogger(__name__)

PREFETCH_MAX = 20_000
ATTEMPTS_MAX = 5

Ask = Callable[[Inode], ObjectInfo | None]


class _Closed(Exception):
    """Nobody wants to know any more."""


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
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="attributes")
        self._lock = threading.Lock()
        # In order, each once.
        self._wanted: OrderedDict[Ino, None] = OrderedDict()
        self._is_asking = False
        self._is_closed = False
        # Used by the pool's one thread alone: the rows as they were when their objects were asked for.
        self._asked: dict[ObjectKey, Inode] = {}

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
            if self._is_closed:
                return
            for ino in inos:
                if len(self._wanted) < PREFETCH_MAX:
                    self._wanted[ino] = None
            if not self._wanted or self._is_asking:
                return
            self._is_asking = True
        self._pool.submit(self._work)

    def _work(self) -> None:
        while True:
            try:
                self._store.head_many(self._take, self._give)
            except _Closed:
                log.debug("the drive is being closed: no more attributes are asked for ahead")
            except Exception:
                log.exception("asking for attributes ahead stumbled; it goes on")
            for inode in self._asked.values():
                self._flights.end(inode.ino)
            self._asked.clear()
            with self._lock:
                if not self._wanted:
                    self._is_asking = False
                    return

    def _take(self, count: int) -> list[ObjectKey]:
        """The keys of those that are wanted next and that nobody asks for yet."""
        if self._is_closed:
            raise _Closed
        taken: list[ObjectKey] = []
        while len(taken) < count and (inos := self._wanted_next(count - len(taken))):
            rows = self._index.inodes.find_all(inos, may_keep=True)
            for ino in inos:
                inode = rows.get(ino)
                key = None if inode is None or inode.metadata_known else inode.remote_key
                if inode is not None and key is not None and key not in self._asked and self._flights.begin(ino):
                    self._asked[key] = inode
                    taken.append(key)
        return taken

    def _wanted_next(self, count: int) -> list[Ino]:
        with self._lock:
            return [self._wanted.popitem(last=False)[0] for _ in range(min(count, len(self._wanted)))]

    def _give(self, heads: Mapping[ObjectKey, ObjectInfo | StoreError]) -> None:
        """Record what has come in one transaction; whoever waits for one of these looks again, or is told the error."""
        asked = {key: self._asked.pop(key) for key in heads}
        errors: dict[ObjectKey, StoreError] = {}
        try:
            found: list[tuple[Inode, ObjectInfo | None]] = []
            for key, inode in asked.items():
                try:
                    found.append(self._met(inode, heads[key]))
                except StoreError as error:
                    log.debug("prefetch of attributes of ino %d failed: %s", inode.ino, error)
                    errors[key] = error
            with self._index.transaction():
                for inode, info in found:
                    self._record(inode, info)
        finally:
            for key, inode in asked.items():
                self._flights.end(inode.ino, errors.get(key))

    def _read(self, ino: Ino, ask: Ask | None) -> None:
        inode = self._index.inodes.find(ino)
        if inode is None or inode.metadata_known:
            return
        info: ObjectInfo | StoreError | None = None
        try:
            if ask is not None:
                info = ask(inode)
            if info is None and inode.remote_key is not None:
                info = self._store.head(inode.remote_key)
        except Missing as error:
            info = error
        inode, known = self._met(inode, info)
        with self._index.transaction():
            self._record(inode, known)

    def _met(self, inode: Inode, head: ObjectInfo | StoreError | None) -> tuple[Inode, ObjectInfo | None]:
        """What the object of `inode` says, None for a directory without one; with the inode as of that version. Raises
        the error."""
        if isinstance(head, ObjectInfo) and keys.is_marker(head) != inode.is_dir:
            head = Missing(f"{inode.remote_key!r} is {'a file' if inode.is_dir else 'a directory'} by now")
        if isinstance(head, Missing) and inode.is_dir:
            return inode, None
        if isinstance(head, StoreError):
            raise head
        if head is not None and not inode.is_dir and head.etag != inode.remote_etag:
            self._observer.replaced(inode.ino, head)
            inode = inode._replace(remote_etag=head.etag, remote_size=head.size)
        return inode, head

    def _record(self, inode: Inode, info: ObjectInfo | None) -> None:
        """In a transaction: `inode` is the row as it was when its object was asked for."""
        now = self._index.inodes.find(inode.ino)
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
        links.meet(self._index, known, may_join=not self._observer.is_open(inode.ino))

    def close(self, deadline_s: float) -> bool:
        """Cancels what is asked for ahead. False when requests are still under way after the deadline."""
        with self._lock:
            self._wanted.clear()
            self._is_closed = True
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
