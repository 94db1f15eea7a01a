"""What a large bucket costs, as counts: statements, LISTs, bytes of memory; and that no statement walks a table."""

import os
import re
import sqlite3
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from s3mount.drive import INDEX_NAME, Drive, DriveOptions
from s3mount.model import ROOT_INO, Caller, ETag
from s3mount.remote.defaults import Defaults
from s3mount.remote.refresh import Refresher
from s3mount.vfs.paths import PathFileSystem
from tests.support.entries import all_entries
from tests.support.memory_store import MemoryStore

ME = Caller(0, 0, 0o022)
NAMES = 10_000
MIB = 1 << 20
# Beyond what the caches may hold in any case, a listing may take this much for a page and this much for each name.
PAGE_BYTES_MAX = 6 * MIB
BYTES_A_NAME_MAX = 60
# All rows of a table, or of one directory, and rightly so: of a few, or of as many as the caller asked for.
WALKS = re.compile(
    r"SELECT ino FROM dentry WHERE parent = \S+ ORDER BY name"  # who is in a directory
    r"|SELECT ino FROM dentry WHERE parent = \d+$|SELECT name, ino FROM dentry WHERE parent = \S+ ORDER BY name"
    r"|SELECT d.ino FROM dentry AS d"
    r"|SELECT 1 FROM dentry WHERE parent = \S+ LIMIT 1"
    r"|SELECT 1 FROM dentry AS d .* ORDER BY d.name DESC LIMIT 1"  # ends at the first that is not kept here
    r"|UPDATE inode SET meta_generation = meta_generation \+ 1"  # a directory was moved: all in it
    r"|SELECT key FROM tombstone LIMIT|SELECT COUNT\(\*\) FROM (tombstone|parked)"
    r"|.* FROM (fact|parked|multipart|multipart_intent|part|sqlite_sequence)\b|DELETE FROM parked"
)
PLAN = re.compile(r"SCAN (?!.*USING (COVERING )?INDEX)\w+|SEARCH \w+ USING PRIMARY KEY \(parent=\?\)$")


def make_drive(store: MemoryStore, folder: Path) -> Drive:
    options = DriveOptions(defaults=Defaults(0, 0, 0o022), cache_limit_bytes=16 * MIB, write_back_delay_s=0.01)
    return Drive(store, folder, options)


@contextmanager
def traced(drive: Drive) -> Iterator[Counter[str]]:
    """How often each statement was executed, its values filled in."""
    found: Counter[str] = Counter()
    connection = drive.index._database._connection
    # Another thread in a statement waits for the interpreter to call back, and this call, which has it, for SQLite.
    with drive.index.locked():
        connection.set_trace_callback(lambda sql: found.update([sql]))
    yield found
    with drive.index.locked():
        connection.set_trace_callback(None)


def full_directory(store: MemoryStore, count: int) -> None:
    for number in range(count):
        store.foreign_put(f"d/file-{number:06}", b"x")


def names_of(drive: Drive) -> list[str]:
    ino = drive.filesystem.lookup(ROOT_INO, "d").ino
    fh = drive.filesystem.opendir(ino)
    try:
        return [entry.name for entry in all_entries(drive.filesystem, fh)]
    finally:
        drive.filesystem.releasedir(fh)


def test_no_statement_walks_a_table(tmp_path: Path) -> None:
    store = MemoryStore(page_size=7)
    full_directory(store, 40)
    store.foreign_put("e%key", b"odd")
    drive = make_drive(store, tmp_path)
    with traced(drive) as executed:
        names_of(drive)
        fs = PathFileSystem(drive.filesystem)
        for name in ("d/file-000001", "e%25key%key"):
            fs.getattr(f"/{name}")
        fs.mkdir("/new", 0o755, ME)
        fh = fs.create("/new/file", 0o644, os.O_WRONLY | os.O_CREAT, ME)
        fs.write(fh, 0, b"bytes")
        fs.flush(fh)
        fs.release(fh)
        fs.link("/new/file", "/new/other")
        fs.rename("/d", "/new/d")
        assert not drive.drain(20, lambda backlog: None)
        fs.unlink("/new/other")
        fs.unlink("/new/d/file-000007")
        store.foreign_delete("new/d/file-000008")
        Refresher(drive.index, drive.lister, on_listed=lambda count: None).refresh(["new"], recursive=True)
        fs.statfs()
        assert not drive.drain(20, lambda backlog: None)
        drive.writeback.left()
    drive.close()
    walking = {}
    with closing(sqlite3.connect(tmp_path / INDEX_NAME)) as connection:
        for sql in executed:
            if sql.split()[0] not in ("SELECT", "UPDATE", "DELETE") or WALKS.match(sql):
                continue
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
            if any(PLAN.match(line) for line in plan):
                walking[sql] = plan
    assert len(executed) > 100
    assert not walking


def test_a_listing_takes_few_statements_a_thousand_keys(tmp_path: Path) -> None:
    store = MemoryStore()
    full_directory(store, 10_000)
    drive = make_drive(store, tmp_path)
    drive._attributes.prefetch = lambda inos: None  # type: ignore[method-assign]
    for expected in ("new", "known"):
        drive.lister.invalidate(drive.filesystem.lookup(ROOT_INO, "d").ino)
        before = store.request_counts()["ListObjectsV2"]
        with traced(drive) as executed:
            assert len(names_of(drive)) == 10_000
        assert store.request_counts()["ListObjectsV2"] - before == 10
        inserted = sum(count for sql, count in executed.items() if sql.startswith("INSERT"))
        assert inserted == (20_000 if expected == "new" else 0)
        assert executed.total() - inserted < 300
    drive.close()


def test_memory_of_a_listing_is_bounded(tmp_path: Path) -> None:
    store = MemoryStore()
    full_directory(store, NAMES)
    for _ in ("new", "known"):
        drive = make_drive(store, tmp_path)
        drive._attributes.prefetch = lambda inos: None  # type: ignore[method-assign]
        ino = drive.filesystem.lookup(ROOT_INO, "d").ino
        tracemalloc.start()
        fh = drive.filesystem.opendir(ino)
        count, start = 0, 0
        while page := drive.filesystem.readdir(fh, start):
            count, start = count + len(page), page[-1].next_place
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        drive.close()
        assert count == NAMES
        assert peak < PAGE_BYTES_MAX + NAMES * BYTES_A_NAME_MAX, f"{peak / MIB:.1f} MiB"


def test_a_drain_of_much_does_not_count_all_the_time(tmp_path: Path) -> None:
    """What is owed is counted row by row, under the lock that everybody needs."""
    store = MemoryStore()
    put = store.put

    def slow_put(*arguments: Any, **named: Any) -> ETag:
        time.sleep(0.05)  # one after the other: this store has no network to wait for
        return put(*arguments, **named)

    store.put = slow_put  # type: ignore[method-assign]
    drive = make_drive(store, tmp_path)
    fs = PathFileSystem(drive.filesystem)
    for number in range(100):
        fs.release(fs.create(f"/f{number}", 0o644, os.O_WRONLY | os.O_CREAT, ME))
    counts = 0
    totals = drive.index.inodes.owed_totals

    def slow_totals() -> tuple[int, int, int | None]:
        nonlocal counts
        counts += 1
        time.sleep(0.1)
        return totals()

    drive.index.inodes.owed_totals = slow_totals  # type: ignore[method-assign]
    begun_s = time.monotonic()
    assert not drive.drain(60, lambda backlog: None)
    assert counts <= 2 + (time.monotonic() - begun_s)
    drive.close()
