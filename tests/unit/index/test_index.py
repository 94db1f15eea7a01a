"""The index: all or nothing, staged rows, and the owed queue that cannot disagree with the generations."""

import os
import random
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from s3mount.clock import SystemClock
from s3mount.errors import MountError
from s3mount.index import inodes
from s3mount.index.index import Index
from s3mount.index.multiparts import Intent
from s3mount.index.schema import DUE_NEVER, SCHEMA_VERSION
from s3mount.model import ROOT_INO, CacheRow, ETag, Ino, Inode, ObjectInfo, ObjectKey

FILE = Inode(Ino(0), stat.S_IFREG | 0o644, 0, 0, 0, 1, 1, content_generation=1, meta_generation=1)
DIR = Inode(Ino(0), stat.S_IFDIR | 0o755, 0, 0, 0, 1, 1, nlink=2, meta_generation=1)
LATER = 1 << 60


class Stop(Exception):
    pass


def undone(index: Index, act: Callable[[], object]) -> None:
    try:
        with index.transaction():
            act()
            raise Stop
    except Stop:
        pass


def test_an_undone_transaction_leaves_no_row_name_or_cached_trace(index: Index) -> None:
    undone(index, lambda: index.create(ROOT_INO, "a", FILE))
    assert index.dentries.lookup(ROOT_INO, "a") is None
    assert index.inodes.totals()[0] == 1
    made = index.create(ROOT_INO, "a", FILE)
    undone(index, lambda: index.inodes.update(made._replace(size=7)))
    undone(index, lambda: index.dentries.remove(ROOT_INO, "a", made))
    assert index.inodes.get(made.ino).size == 0
    assert index.dentries.lookup(ROOT_INO, "a") == made.ino
    assert index.dentries.place(made.ino) == (ROOT_INO, "a")


def test_an_undone_transaction_brings_staged_rows_back(index: Index) -> None:
    inode = index.create(ROOT_INO, "a", FILE)
    staged = inode._replace(size=5, content_generation=9)
    index.inodes.stage(staged)
    undone(index, lambda: index.inodes.update(staged._replace(mode=stat.S_IFREG | 0o600)))
    assert index.inodes.get(inode.ino) == staged
    undone(index, lambda: index.inodes.stage(staged._replace(size=1)))
    undone(index, lambda: index.inodes.flush(inode.ino))
    undone(index, lambda: index.inodes.delete(inode.ino))
    assert index.inodes.get(inode.ino) == staged
    index.inodes.flush(inode.ino)
    assert not index.inodes.staged()
    assert index.inodes.get(inode.ino).size == 5


def test_closing_a_file_is_one_commit_of_row_and_bytes(index: Index) -> None:
    inode = index.create(ROOT_INO, "a", FILE)
    index.inodes.stage(inode._replace(size=5, content_generation=9))
    entries = index.cache_entries

    def refused() -> None:
        index.inodes.flush(inode.ino)
        raise Stop

    row = CacheRow(b"present", b"", 5, 1)
    with pytest.raises(Stop):
        entries.save(inode.ino, row, {}, refused)
    assert entries.load(inode.ino) is None
    assert index.inodes.staged() == [inode.ino]
    entries.save(inode.ino, row, {0: b"seals"}, lambda: index.inodes.flush(inode.ino))
    assert entries.load(inode.ino) == row
    assert index.inodes.staged() == []


def test_the_file_is_of_one_connection_alone(index: Index, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "index.sqlite", timeout=0) as other, pytest.raises(sqlite3.OperationalError):
        other.execute("SELECT COUNT(*) FROM inode")


def test_a_new_due_time_reaches_the_queue_and_leaves_staged_what_is_staged(index: Index) -> None:
    inode = index.create(ROOT_INO, "a", FILE._replace(due_ns=1))
    index.inodes.stage(inode._replace(size=5, due_ns=LATER))
    index.inodes.set_due(inode.ino, LATER)
    assert index.inodes.due(LATER - 1, 10, lambda ino: False) == []
    assert index.inodes.next_due_ns() == LATER
    assert list(index.inodes.staged()) == [inode.ino]
    assert index.inodes.get(inode.ino).size == 5


def test_expedite_reaches_parked_work_only_when_asked(index: Index) -> None:
    parked = index.create(ROOT_INO, "a", FILE._replace(due_ns=DUE_NEVER))
    later = index.create(ROOT_INO, "b", FILE._replace(due_ns=LATER))
    index.inodes.expedite(5, with_parked=False)
    assert [index.inodes.get(i.ino).due_ns for i in (parked, later)] == [DUE_NEVER, 5]
    index.inodes.expedite(5, with_parked=True)
    assert index.inodes.get(parked.ino).due_ns == 5


def test_dropping_an_inode_spares_what_is_another_s_object(index: Index) -> None:
    key = ObjectKey("a")
    old = index.create(ROOT_INO, "old", FILE._replace(attempt_key=key))
    index.create(ROOT_INO, "a", FILE._replace(remote_key=key, remote_etag=ETag("e")))
    with index.transaction():
        index.abandon_attempt(old, 1)
        index.drop(old, 1)
    assert index.tombstones.count() == 0


def test_an_attempt_is_found_by_its_key(index: Index) -> None:
    one = index.create(ROOT_INO, "one", FILE._replace(attempt_key=ObjectKey("k")))
    found = index.inodes.with_attempt_at(ObjectKey("k"))
    assert found is not None
    assert found.ino == one.ino
    assert index.inodes.with_attempt_at(ObjectKey("k"), but=one.ino) is None
    assert index.inodes.with_attempt_at(ObjectKey("other")) is None


def check(index: Index) -> None:
    """Every row agrees with the queue, the names and the link counts."""
    rows = index._database.rows("SELECT ino FROM inode")
    inodes = [index.inodes.get(ino) for (ino,) in rows]
    owed = {inode.ino for inode in inodes if inode.is_owed}
    assert {inode.ino for inode in index.inodes.owed(10_000)} == owed
    assert index.inodes.owed_totals()[0] == len(owed)
    table = index._database.rows("SELECT ino, owed_since_ns FROM inode")
    assert {ino for ino, since in table if since} == owed
    for inode in inodes:
        children = index.dentries.children(inode.ino)
        below = [index.inodes.get(ino) for _, ino in children]
        if inode.is_dir:
            assert inode.nlink == 2 + sum(child.is_dir for child in below)
        for name, ino in children:
            assert index.dentries.lookup(inode.ino, name) == ino
            assert index.dentries.place(ino) == (inode.ino, name)
        assert inode.ino == ROOT_INO or index.dentries.place(inode.ino) is not None


def step(index: Index, choose: random.Random) -> None:
    directories = [ino for (ino,) in index._database.rows("SELECT ino FROM inode WHERE (mode & 61440) = 16384")]
    parent = Ino(choose.choice(directories))
    name = choose.choice("abcd")
    ino = index.dentries.lookup(parent, name)
    if ino is None:
        index.create(parent, name, choose.choice((FILE, DIR)))
        return
    inode = index.inodes.get(ino)
    match choose.randrange(7):
        case 0:
            index.inodes.update(inode._replace(meta_generation=inode.meta_generation + 1))
        case 1:
            index.inodes.update(
                inode._replace(content_uploaded=inode.content_generation, meta_uploaded=inode.meta_generation)
            )
        case 2 if inode.is_file and inode.content_owed:
            index.inodes.stage(inode._replace(content_generation=inode.content_generation + 1, size=9))
        case 3:
            index.inodes.bump_children(parent, 3)
        case 4:
            index.inodes.set_due(ino, choose.randrange(100))
        case 5 if index.dentries.is_empty(ino):
            index.dentries.remove(parent, name, inode)
            index.drop(inode, 1)
        case _:
            index.inodes.flush(ino)


def test_queue_and_rows_agree_after_random_changes(index: Index) -> None:
    seed = os.environ.get("S3MOUNT_TEST_SEED") or str(random.randrange(1 << 32))
    print("S3MOUNT_TEST_SEED =", seed)
    choose = random.Random(seed)
    for turn in range(600):
        if choose.random() < 0.2:
            undone(index, lambda: step(index, choose))
        else:
            with index.transaction():
                step(index, choose)
        if turn % 20 == 0:
            check(index)
    check(index)


def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    Index(path, SystemClock()).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(MountError, match="newer"):
        Index(path, SystemClock())


def test_an_upload_whose_id_was_lost_stays_intended(index: Index) -> None:
    key = ObjectKey("k")
    index.multiparts.intend(key, 1)
    index.multiparts.fulfil(key)
    assert index.multiparts.intents() == []
    index.multiparts.intend(key, 2)
    (lost,) = index.multiparts.intents()
    index.multiparts.intend(key, 3)
    index.multiparts.fulfil(key)
    assert index.multiparts.intents() == [Intent(key, 2, 3)]
    index.multiparts.remove_intent(lost)
    assert index.multiparts.intents() == [Intent(key, 2, 3)]


def test_a_hundred_thousand_owed_rows_are_due_within_a_second(index: Index) -> None:
    inode = index.create(ROOT_INO, "file", FILE._replace(due_ns=LATER))
    columns = [name for _, name, *_ in index._database.rows("PRAGMA table_info(inode)") if name != "ino"]
    copied = ", ".join(columns)
    with index.transaction():
        for _ in range(17):
            index._database.write(f"INSERT INTO inode ({copied}) SELECT {copied} FROM inode WHERE ino >= ?", inode.ino)
    assert index.inodes.totals()[0] > 100_000
    began = time.process_time()
    with index.transaction():
        index.parked.clear()
        index.inodes.expedite(5, with_parked=True)
    assert len(index.inodes.due(5, 16, lambda ino: False)) == 16
    assert time.process_time() - began < 1.0


def test_totals_are_counted_in_portions_and_kept_while_they_are_dear(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inodes, "COUNTED_AT_ONCE", 3)
    times_s = iter(range(1000))  # each count takes a second, however fast the machine is
    monkeypatch.setattr(index.inodes._clock, "monotonic_s", lambda: next(times_s))
    monkeypatch.setattr(inodes, "TOTALS_KEPT_TIMES", 0)
    for number in range(8):
        index.create(ROOT_INO, f"n{number}", FILE._replace(size=10))
    assert index.inodes.totals() == (9, 80)
    index.create(ROOT_INO, "one more", FILE)
    assert index.inodes.totals() == (10, 80)
    monkeypatch.setattr(inodes, "TOTALS_KEPT_TIMES", 10**9)
    assert index.inodes.totals() == (10, 80)
    index.create(ROOT_INO, "and another", FILE)
    assert index.inodes.totals() == (10, 80)


def test_a_name_that_was_missed_is_found_once_a_listing_has_shown_it(index: Index) -> None:
    assert index.dentries.lookup(ROOT_INO, "a") is None
    shown = ObjectInfo(ObjectKey("a"), 1, ETag("e"), 1)
    with index.transaction():
        index.listed.add_files(ROOT_INO, {"a": shown}, FILE)
    ino = index.dentries.lookup(ROOT_INO, "a")
    assert ino is not None
    undone(index, lambda: index.dentries.remove(ROOT_INO, "a", index.inodes.get(ino)))
    assert index.dentries.lookup(ROOT_INO, "a") == ino


def test_directories_above_have_the_keys_of_their_paths(index: Index) -> None:
    outer = index.create(ROOT_INO, "outer", DIR)
    inner = index.create(outer.ino, "inner", DIR)
    file = index.create(inner.ino, "file", FILE)
    found = index.dentries.directories_above(file.ino)
    assert [(above.ino, key) for above, key in found] == [
        (inner.ino, "outer/inner/"), (outer.ino, "outer/"), (ROOT_INO, ""),
    ]  # fmt: skip
    with index.transaction():
        index.dentries.remove(ROOT_INO, "outer", outer)
    assert index.dentries.directories_above(file.ino) == []


def test_what_a_moved_directory_has_is_due_after_its_marker_unless_it_was_due_before(index: Index) -> None:
    """So nobody looks for who else may be at the directory's key, once for each file."""
    directory = index.create(ROOT_INO, "directory", DIR._replace(due_ns=50))
    clean = FILE._replace(content_uploaded=1, meta_generation=0, metadata_known=True, due_ns=10)
    settled = index.create(directory.ino, "settled", clean)
    unknown = index.create(directory.ino, "unknown", clean._replace(metadata_known=False))
    owed = index.create(directory.ino, "owed", FILE._replace(due_ns=20))
    late = index.create(directory.ino, "late", FILE._replace(due_ns=LATER))
    index.inodes.bump_children(directory.ino, 100)
    due = {inode.ino: index.inodes.get(inode.ino).due_ns for inode in (settled, unknown, owed, late)}
    assert due == {settled.ino: 100, unknown.ino: 10, owed.ino: 20, late.ino: 100}
    assert all(index.inodes.get(ino).is_owed for ino in due)


def test_many_kept_here_are_not_walked_to_find_one_that_is_not(index: Index) -> None:
    file = Inode(Ino(0), 0o100644, 0, 0, 0, 1, 1, content_generation=1)
    with index.transaction():
        for number in range(3000):
            index.create(ROOT_INO, f"._{number}", file._replace(is_local=True))
    assert index.dentries.is_empty_in_bucket(ROOT_INO)
    index.create(ROOT_INO, "file", file)
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    index._database._connection.set_progress_handler(count, 100)
    assert not index.dentries.is_empty_in_bucket(ROOT_INO)
    index._database._connection.set_progress_handler(None, 100)
    assert steps < 5, f"{steps} hundred steps of SQLite"
