"""What the cache stands on in these tests: rows in a dict, a disk that records and can die, a clock, a slow store."""

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from s3mount.cache.blockfile import OFFSET_MAX
from s3mount.cache.disk import Buffer, DiskFile, LocalDisk
from s3mount.cache.extents import Extents
from s3mount.cache.filecache import FileCache
from s3mount.cache.trust import TAG_BYTES
from s3mount.model import CacheRow, ETag, Ino, ObjectInfo, ObjectKey, RemoteObject
from tests.support.memory_store import MemoryStore

KIB = 1 << 10
MIB = 1 << 20


class Died(BaseException):
    """The process was killed at this call."""


class Journal:
    """Every effect on rows and disk, in order. `die_at` n: the n-th raises Died instead, and so do all after it."""

    def __init__(self, die_at: int = 0):
        self.lines: list[str] = []
        self.die_at = die_at
        self._count = 0
        self._lock = threading.Lock()

    def note(self, line: str) -> None:
        with self._lock:
            self._count += 1
            if self.die_at and self._count >= self.die_at:
                raise Died(line)
            self.lines.append(line)


class DictEntries:
    def __init__(self, journal: Journal | None = None):
        self.rows: dict[Ino, CacheRow] = {}
        self.seals: dict[Ino, dict[int, bytes]] = {}
        self.sizes: dict[Ino, int] = {}  # of files that were cut
        self.journal = journal or Journal()
        self.saves = 0

    def load(self, ino: Ino) -> CacheRow | None:
        return self.rows.get(ino)

    def save(
        self, ino: Ino, row: CacheRow, seals: Mapping[int, bytes], along: Callable[[], None] | None = None
    ) -> None:
        self.journal.note(f"save {ino}")
        self.saves += 1
        self.rows[ino] = row
        self._put_seals(ino, seals)
        if along is not None:
            along()

    def load_seals(self, ino: Ino) -> list[tuple[int, bytes]]:
        return list(self.seals.get(ino, {}).items())

    def save_seals(self, ino: Ino, seals: Mapping[int, bytes]) -> None:
        self.journal.note(f"save_seals {ino}")
        self._put_seals(ino, seals)

    def _put_seals(self, ino: Ino, seals: Mapping[int, bytes]) -> None:
        rows = self.seals.setdefault(ino, {})
        rows.update(seals)
        for number in [number for number, row in rows.items() if not row]:
            del rows[number]

    def remove(self, ino: Ino) -> None:
        self.journal.note(f"remove {ino}")
        self.rows.pop(ino, None)
        self.seals.pop(ino, None)

    def commit_durably(self) -> None:
        self.journal.note("commit")

    def total_bytes(self) -> int:
        return sum(row.present_size for row in self.rows.values())

    def file_size(self, ino: Ino) -> int:
        return self.sizes.get(ino, OFFSET_MAX)

    def holes(self) -> list[tuple[Ino, bytes]]:
        return [(ino, row.holes) for ino, row in self.rows.items() if row.holes]

    def least_recently_used(self, limit: int) -> list[Ino]:
        inos = [ino for ino, row in self.rows.items() if row.present_size > 0]
        return sorted(inos, key=lambda ino: self.rows[ino].used_ns)[:limit]

    def present(self, ino: int) -> Extents:
        row = self.rows.get(Ino(ino))
        return Extents.unpack(row.present[TAG_BYTES:]) if row else Extents()


class RecordingFile:
    def __init__(self, file: DiskFile, ino: Ino, disk: "RecordingDisk"):
        self._file = file
        self._ino = ino
        self._disk = disk

    def pread(self, size: int, offset: int) -> bytes:
        return self._file.pread(size, offset)

    def pwrite(self, data: Buffer, offset: int) -> None:
        if self._disk.fail_write is not None:
            self._file.pwrite(bytes(data)[: len(data) // 2], offset)
            raise self._disk.fail_write
        self._disk.journal.note(f"pwrite {self._ino} {offset}+{len(data)}")
        self._file.pwrite(data, offset)

    def length(self) -> int:
        return self._file.length()

    def truncate(self, length: int) -> None:
        self._disk.journal.note(f"truncate {self._ino} {length}")
        self._file.truncate(length)

    def punch_hole(self, start: int, end: int) -> None:
        self._disk.journal.note(f"punch {self._ino} {start}-{end}")
        self._file.punch_hole(start, end)

    def allocate(self, start: int, end: int) -> None:
        self._disk.journal.note(f"allocate {self._ino} {start}-{end}")
        self._file.allocate(start, end)

    def fdatasync(self) -> None:
        self._disk.journal.note(f"fdatasync {self._ino}")
        self._file.fdatasync()

    def close(self) -> None:
        self._file.close()


class RecordingDisk:
    def __init__(self, directory: Path, journal: Journal | None = None, *, can_punch: bool = True):
        self._disk = LocalDisk(directory)
        self.journal = journal or Journal()
        self.fail_write: OSError | None = None
        self.boot = b"first boot"
        self.can_punch = can_punch

    def open(self, ino: Ino, *, create: bool) -> RecordingFile:
        return RecordingFile(self._disk.open(ino, create=create), ino, self)

    def length(self, ino: Ino) -> int | None:
        return self._disk.length(ino)

    def unlink(self, ino: Ino) -> None:
        self.journal.note(f"unlink {ino}")
        self._disk.unlink(ino)

    def list(self) -> Iterator[Ino]:
        return self._disk.list()

    def fsync_directory(self, ino: Ino) -> None:
        self.journal.note(f"fsync_directory {ino}")
        self._disk.fsync_directory(ino)

    def sync_all(self) -> bool:
        return self._disk.sync_all()

    def boot_identity(self) -> bytes:
        return self.boot

    def load_mark(self) -> bytes:
        return self._disk.load_mark()

    def store_mark(self, mark: bytes) -> None:
        self._disk.store_mark(mark)


class TestClock:
    __test__ = False

    def __init__(self) -> None:
        self._ns = 1_000_000_000

    def now_ns(self) -> int:
        self._ns += 1
        return self._ns

    def monotonic_s(self) -> float:
        return self._ns / 1e9

    def advance(self, seconds: float) -> None:
        self._ns += int(seconds * 1e9)


class SlowStore(MemoryStore):
    """Records every get; while `hold` is clear they wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.gets: list[tuple[int, int]] = []
        self.hold = threading.Event()
        self.hold.set()
        self.waiting = threading.Semaphore(0)

    def get(self, key: ObjectKey, *, start: int, end: int, if_match: ETag) -> bytes:
        self.gets.append((start, end))
        self.waiting.release()
        assert self.hold.wait(10)
        return super().get(key, start=start, end=end, if_match=if_match)

    def get_whole(self, key: ObjectKey, *, size: int, if_match: ETag) -> tuple[ObjectInfo, bytes]:
        self.gets.append((0, size))
        self.waiting.release()
        assert self.hold.wait(10)
        return super().get_whole(key, size=size, if_match=if_match)

    def object(self, key: str, body: bytes) -> RemoteObject:
        return RemoteObject(ObjectKey(key), self.foreign_put(key, body), len(body))


class Bench:
    """A cache and all it stands on; `restart` is a new process over the same disk and rows."""

    def __init__(self, directory: Path, *, limit: int = 64 * MIB, can_punch: bool = True):
        self.journal = Journal()
        self.clock = TestClock()
        self.store = SlowStore()
        self.entries = DictEntries(self.journal)
        self.disk = RecordingDisk(directory, self.journal, can_punch=can_punch)
        self.owed: set[int] = set()
        self.changing: set[int] = set()
        self.on_pressure: Callable[[], None] = lambda: None
        self.limit = limit
        self.cache = self._cache()

    def _cache(self) -> FileCache:
        return FileCache(
            Path("unused"),
            store=self.store,
            entries=self.entries,
            limit_bytes=self.limit,
            clock=self.clock,
            is_evictable=lambda ino: ino not in self.owed,
            on_pressure=lambda: self.on_pressure(),
            is_changing=lambda ino: ino in self.changing,
            disk=self.disk,
        )

    def restart(self, *, boot: bytes | None = None) -> FileCache:
        """kill -9, and with `boot` a power cut."""
        self.journal.die_at = 0
        self.cache._fetcher.close()
        self.disk.boot = boot or self.disk.boot
        self.cache = self._cache()
        return self.cache

    def write(self, ino: int, offset: int, data: bytes) -> None:
        self.owed.add(ino)
        with self.cache.reserve(len(data), 1):
            self.cache.write(Ino(ino), offset, data)

    def upload(self, ino: int, size: int) -> RemoteObject:
        body = self.cache.read(Ino(ino), None, start=0, end=size)
        remote = self.store.object(f"file{ino}", body)
        self.owed.discard(ino)
        self.cache.mark_clean(Ino(ino))
        return remote


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)
