"""The multipart uploads under way, one an inode at most: which parts S3 has, as memory and index both know it.

`before_change` is called by vfs/ on the write path, with the inode lock; the rest by the workers of write-back, who
hold the claim on the inode. What is known of parts changes under the inode lock only, so for its holder every part in
`parts` has the bytes of the file as it is: that is why Complete, decided on under that lock, never makes a mixture.
"""

import threading
from collections import Counter
from dataclasses import dataclass, field

from cachetools import LRUCache

from s3mount.index.index import Index
from s3mount.index.multiparts import NOBODY, RecordedUpload, SentPart
from s3mount.locks import InodeLocks
from s3mount.model import Ino, Inode
from s3mount.store.base import PartInfo

SPARSE_MAX = 10_000


@dataclass(eq=False, slots=True)
class PendingUpload:
    """`changes`: how often the bytes of a part were changed since it was first read. `spoiled`: parts that were sent,
    or being sent, when they changed. `is_confirmed`: S3 answered for it in this run, and no request for it has failed
    since."""

    record: RecordedUpload
    parts: dict[int, SentPart] = field(default_factory=dict)
    changes: Counter[int] = field(default_factory=Counter)
    spoiled: set[int] = field(default_factory=set)
    is_confirmed: bool = True

    def has(self, number: int, start: int, end: int) -> bool:
        part = self.parts.get(number)
        return part is not None and (part.start, part.end) == (start, end)

    def is_based_on(self, inode: Inode) -> bool:
        """Whether the inode's object is still the version that its parts were copied from and filled up with."""
        base = inode.remote
        there = None if base is None else (base.key, base.etag)
        return there == (None if self.record.base_etag is None else (self.record.base_key, self.record.base_etag))


class PendingUploads:
    def __init__(self, index: Index, locks: InodeLocks):
        self._index = index
        self._locks = locks
        self._by_ino: dict[Ino, PendingUpload] = {}
        self._sparse: LRUCache[Ino, bool] = LRUCache(SPARSE_MAX)
        self._lock = threading.Lock()

    def load(self, cache_tag: str) -> list[RecordedUpload]:
        """Take up what the last run left; returns the uploads that nobody can continue, disowned. Before any other
        thread runs."""
        useless: list[RecordedUpload] = []
        for record in self._index.multiparts.all():
            if record.ino == NOBODY or record.cache_tag != cache_tag or record.ino in self._by_ino:
                self._index.multiparts.disown(record.upload_id)
                useless.append(record)
                continue
            parts = {part.number: part for part in self._index.multiparts.parts(record.upload_id)}
            self._by_ino[record.ino] = PendingUpload(record, parts, is_confirmed=False)
        return useless

    def find(self, ino: Ino) -> PendingUpload | None:
        return self._by_ino.get(ino)

    def add(self, record: RecordedUpload) -> PendingUpload:
        """Its id is on record when this returns, and the intent to begin it is not."""
        with self._index.transaction():
            self._index.multiparts.add(record)
            self._index.multiparts.fulfil(record.key)
        pending = self._by_ino[record.ino] = PendingUpload(record)
        return pending

    def before_change(self, ino: Ino, start: int, end: int | None) -> None:
        """The bytes [start, end) are about to change (None: all from `start` on), under the inode lock: parts with any
        of them are sent again. Survives kill -9 on return, so no later run takes such a part for the new bytes."""
        pending = self._by_ino.get(ino)
        if pending is None:
            return
        step = pending.record.part_bytes
        first = start // step + 1
        last = max([first, *pending.parts, *pending.changes]) if end is None else max(first, -(-end // step))
        for number in range(first, last + 1):
            if number in pending.changes:
                pending.changes[number] += 1
        stale = [n for n in range(first, last + 1) if n in pending.parts and pending.parts[n].end > start]
        if stale:
            self._index.multiparts.remove_parts(pending.record.upload_id, stale)
            pending.spoiled.update(stale)
            for number in stale:
                del pending.parts[number]

    def record_part(self, pending: PendingUpload, part: SentPart, changes: int) -> bool:
        """S3 has taken a part whose bytes were read when they had been changed `changes` times; False: they were
        changed meanwhile, and the part does not count."""
        with self._locks.of(pending.record.ino):
            if pending.changes[part.number] != changes or self._by_ino.get(pending.record.ino) is not pending:
                pending.spoiled.add(part.number)
                return False
            self._index.multiparts.add_part(pending.record.upload_id, part)
            pending.parts[part.number] = part
            return True

    def changes_of(self, pending: PendingUpload, number: int) -> int:
        with self._locks.of(pending.record.ino):
            return pending.changes.setdefault(number, 0)

    def keep_only(self, pending: PendingUpload, there: list[PartInfo]) -> None:
        """S3 says which parts it has: any other, or a different one, does not count."""
        held = {(info.number, info.size, info.etag) for info in there}
        with self._locks.of(pending.record.ino):
            lost = [p.number for p in pending.parts.values() if (p.number, p.end - p.start, p.etag) not in held]
            self._index.multiparts.remove_parts(pending.record.upload_id, lost)
            for number in lost:
                del pending.parts[number]
        pending.is_confirmed = True

    def disown(self, pending: PendingUpload) -> None:
        """Nobody continues it. It stays on record until it is aborted."""
        with self._locks.of(pending.record.ino):
            self._index.multiparts.disown(pending.record.upload_id)
            self._by_ino.pop(pending.record.ino, None)

    def completed(self, pending: PendingUpload) -> None:
        """It has become an object, and that is in the index."""
        with self._locks.of(pending.record.ino):
            self._index.multiparts.remove(pending.record.upload_id)
            self._by_ino.pop(pending.record.ino, None)
        with self._lock:
            self._sparse.pop(pending.record.ino, None)

    # -- what is worth sending before the file is closed ----------------------------------------------------------

    def note_sparse(self, ino: Ino) -> None:
        """The file was lengthened with zeros that are likely to be written over: its parts wait for the close."""
        with self._lock:
            self._sparse[ino] = True

    def is_sparse(self, ino: Ino) -> bool:
        with self._lock:
            return ino in self._sparse

    # -- the sum of it --------------------------------------------------------------------------------------------

    def sent_bytes(self) -> int:
        """Bytes that S3 has taken for uploads not yet complete."""
        return sum(sum(part.end - part.start for part in list(p.parts.values())) for p in list(self._by_ino.values()))

    def is_unwanted(self, ino: Ino) -> bool:
        """Whether no upload of this inode is owed, so that nobody will complete the pending one."""
        inode = self._index.inodes.find(ino)
        return inode is None or not inode.is_owed

    def unwanted(self) -> list[Ino]:
        return [ino for ino in list(self._by_ino) if self.is_unwanted(ino)]
