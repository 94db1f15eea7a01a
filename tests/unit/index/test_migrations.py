"""An index of an earlier format goes on: nothing of it is lost, and it is quick."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from s3mount import xattr_format
from s3mount.clock import SystemClock
from s3mount.index.index import Index
from s3mount.index.schema import DDL, SCHEMA_VERSION
from s3mount.model import ROOT_INO, Ino, Inode, ObjectKey

# Format 1 as it was released: SQL, so that no later change of the code changes it.
VERSION_1 = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE inode (
    ino INTEGER PRIMARY KEY AUTOINCREMENT, mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, atime_ns INTEGER,
    nlink INTEGER NOT NULL, target TEXT, content_generation INTEGER NOT NULL, content_uploaded INTEGER NOT NULL,
    meta_generation INTEGER NOT NULL, meta_uploaded INTEGER NOT NULL, remote_key TEXT, remote_etag TEXT,
    remote_size INTEGER NOT NULL, metadata_known INTEGER NOT NULL, foreign_metadata TEXT, attempt_key TEXT,
    is_listed INTEGER NOT NULL, due_ns INTEGER NOT NULL, owed_since_ns INTEGER NOT NULL
);
CREATE INDEX inode_owed ON inode (due_ns)
    WHERE nlink > 0 AND (content_generation > content_uploaded OR meta_generation > meta_uploaded);
CREATE INDEX inode_remote ON inode (remote_key) WHERE remote_key IS NOT NULL;
CREATE INDEX inode_orphan ON inode (ino) WHERE nlink = 0;
CREATE INDEX inode_attempt ON inode (attempt_key) WHERE attempt_key IS NOT NULL;
CREATE TABLE dentry (
    parent INTEGER NOT NULL, name TEXT NOT NULL, ino INTEGER NOT NULL, PRIMARY KEY (parent, name)
) WITHOUT ROWID;
CREATE INDEX dentry_ino ON dentry (ino);
CREATE TABLE tombstone (key TEXT PRIMARY KEY, etag TEXT, due_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX tombstone_due ON tombstone (due_ns);
CREATE TABLE multipart (
    upload_id TEXT PRIMARY KEY, key TEXT NOT NULL, ino INTEGER NOT NULL, part_bytes INTEGER NOT NULL, base_key TEXT,
    base_etag TEXT, metadata TEXT NOT NULL, write_id TEXT NOT NULL, cache_tag TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE part (
    upload_id TEXT NOT NULL, number INTEGER NOT NULL, start_at INTEGER NOT NULL, end_at INTEGER NOT NULL,
    etag TEXT NOT NULL, PRIMARY KEY (upload_id, number)
) WITHOUT ROWID;
CREATE TABLE multipart_intent (
    key TEXT PRIMARY KEY, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE parked (ino INTEGER PRIMARY KEY, cause TEXT NOT NULL, since_ns INTEGER NOT NULL);
CREATE TABLE cache_entry (
    ino INTEGER PRIMARY KEY, present BLOB NOT NULL, dirty BLOB NOT NULL, present_size INTEGER NOT NULL,
    used_ns INTEGER NOT NULL
);
CREATE INDEX cache_entry_used ON cache_entry (used_ns) WHERE present_size > 0;
CREATE TABLE cache_seal (
    ino INTEGER NOT NULL, segment INTEGER NOT NULL, seals BLOB NOT NULL, PRIMARY KEY (ino, segment)
) WITHOUT ROWID;
INSERT INTO fact VALUES ('uuid', 'abcdef012345'), ('source', 's3://b'), ('run', '7');
PRAGMA user_version = 1;
"""
ROWS = """
INSERT INTO inode VALUES (1, 16877, 0, 0, 0, 5, 5, NULL, 3, NULL, 0, 0, 0, 0, '', NULL, 0, 1, NULL, NULL, 1, 0, 0);
INSERT INTO inode VALUES (2, 16877, 1, 2, 0, 6, 7, 8, 2, NULL, 0, 0, 1, 1, 'd/', 'e2', 0, 1, NULL, NULL, 1, 0, 0);
INSERT INTO inode VALUES (3, 33188, 1, 2, 9, 6, 7, NULL, 1, NULL, 4, 3, 2, 1, 'd/f', 'e3', 8, 1, '{"x": "y"}', 'd/f', 0,
                          50, 40);
INSERT INTO inode VALUES (4, 41471, 1, 2, 1, -6, 7, NULL, 1, 't', 1, 1, 1, 1, 'l', 'e4', 1, 1, NULL, NULL, 0, 0, 0);
INSERT INTO inode VALUES (5, 33188, 1, 2, 9, 6, 7, NULL, 1, NULL, 0, 0, 0, 0, 'g', 'e5', 9, 1,
    '{"other": "z", "xattr": "%7B%22user.a%22%3A%22aGk%3D%22%7D"}', NULL, 0, 0, 0);
INSERT INTO inode VALUES (6, 33188, 1, 2, 0, 6, 7, NULL, 1, NULL, 0, 0, 0, 0, 'null', 'e6', 0, 1,
    '{"rdev": "259"}', NULL, 0, 0, 0);
INSERT INTO dentry VALUES (1, 'd', 2), (2, 'f', 3), (1, 'l', 4), (1, 'g', 5), (1, 'null', 6);
INSERT INTO tombstone VALUES ('old', 'eo', 9);
INSERT INTO multipart VALUES ('u', 'd/f', 3, 8388608, 'd/f', 'e3', '{}', 'w', 'tag');
INSERT INTO part VALUES ('u', 1, 0, 9, 'p');
INSERT INTO multipart_intent VALUES ('k', 1, 2);
INSERT INTO parked VALUES (3, 'refused', 11);
INSERT INTO cache_entry VALUES (3, x'00', x'00', 9, 12);
INSERT INTO cache_seal VALUES (3, 0, x'01');
"""
# Format 2, the same.
VERSION_2 = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE inode (ino INTEGER PRIMARY KEY AUTOINCREMENT, mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid
    INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, atime_ns INTEGER,
    nlink INTEGER NOT NULL, target TEXT, content_generation INTEGER NOT NULL, content_uploaded INTEGER NOT NULL,
    meta_generation INTEGER NOT NULL, meta_uploaded INTEGER NOT NULL, remote_key TEXT, remote_etag TEXT, remote_size
    INTEGER NOT NULL, metadata_known INTEGER NOT NULL, foreign_metadata TEXT, attempt_key TEXT, is_listed INTEGER
    NOT NULL, due_ns INTEGER NOT NULL, owed_since_ns INTEGER NOT NULL, rdev INTEGER NOT NULL DEFAULT 0, xattrs TEXT,
    link_of INTEGER, link_group TEXT, remote_modified_ns INTEGER);
CREATE INDEX inode_owed ON inode (due_ns) WHERE nlink > 0 AND (content_generation > content_uploaded OR
    meta_generation > meta_uploaded);
CREATE INDEX inode_remote ON inode (remote_key) WHERE remote_key IS NOT NULL;
CREATE INDEX inode_orphan ON inode (ino) WHERE nlink = 0;
CREATE INDEX inode_attempt ON inode (attempt_key) WHERE attempt_key IS NOT NULL;
CREATE INDEX inode_link ON inode (link_of) WHERE link_of IS NOT NULL;
CREATE INDEX inode_group ON inode (link_group) WHERE link_group IS NOT NULL;
CREATE INDEX inode_unmet ON inode (ino) WHERE metadata_known = 0 OR (is_listed = 0 AND (mode & 61440) = 16384);
CREATE TABLE dentry (parent INTEGER NOT NULL, name TEXT NOT NULL, ino INTEGER NOT NULL, component TEXT, PRIMARY
    KEY (parent, name)) WITHOUT ROWID;
CREATE INDEX dentry_ino ON dentry (ino);
CREATE INDEX dentry_component ON dentry (parent, component) WHERE component IS NOT NULL;
CREATE TABLE tombstone (key TEXT PRIMARY KEY, etag TEXT, due_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX tombstone_due ON tombstone (due_ns);
CREATE TABLE multipart (upload_id TEXT PRIMARY KEY, key TEXT NOT NULL, ino INTEGER NOT NULL, part_bytes INTEGER
    NOT NULL, base_key TEXT, base_etag TEXT, metadata TEXT NOT NULL, write_id TEXT NOT NULL, cache_tag TEXT NOT
    NULL) WITHOUT ROWID;
CREATE TABLE part (upload_id TEXT NOT NULL, number INTEGER NOT NULL, start_at INTEGER NOT NULL, end_at INTEGER
    NOT NULL, etag TEXT NOT NULL, PRIMARY KEY (upload_id, number)) WITHOUT ROWID;
CREATE TABLE multipart_intent (key TEXT PRIMARY KEY, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE parked (ino INTEGER PRIMARY KEY, cause TEXT NOT NULL, since_ns INTEGER NOT NULL);
CREATE TABLE cache_entry (ino INTEGER PRIMARY KEY, present BLOB NOT NULL, dirty BLOB NOT NULL, present_size
    INTEGER NOT NULL, used_ns INTEGER NOT NULL, holes BLOB NOT NULL DEFAULT x'');
CREATE INDEX cache_entry_used ON cache_entry (used_ns) WHERE present_size > 0;
CREATE INDEX cache_entry_holes ON cache_entry (ino) WHERE length(holes) > 0;
CREATE TABLE cache_seal (ino INTEGER NOT NULL, segment INTEGER NOT NULL, seals BLOB NOT NULL, PRIMARY KEY (ino,
    segment)) WITHOUT ROWID;
INSERT INTO fact VALUES ('uuid', 'abcdef012345'), ('source', 's3://b'), ('run', '7');
PRAGMA user_version = 2;
"""
VERSION_3 = VERSION_2.replace("user_version = 2", "user_version = 3")
ROWS_2 = """
INSERT INTO inode (ino, mode, uid, gid, size, mtime_ns, ctime_ns, nlink, content_generation, content_uploaded,
    meta_generation, meta_uploaded, remote_key, remote_etag, remote_size, metadata_known, is_listed, due_ns,
    owed_since_ns)
VALUES (1, 16877, 0, 0, 0, 5, 5, 3, 0, 0, 0, 0, '', NULL, 0, 1, 1, 0, 0),
    (2, 16832, 1, 2, 0, 6, 7, 2, 0, 0, 2, 1, 'd/', 'e2', 7, 1, 1, 0, 9),
    (3, 16877, 1, 2, 0, 6, 7, 2, 0, 0, 1, 1, 'e/', 'e3', 0, 1, 1, 0, 0),
    (4, 33188, 1, 2, 9, 6, 7, 1, 3, 3, 2, 2, 'd/f', 'e4', 9, 1, 0, 0, 0);
INSERT INTO dentry VALUES (1, 'd', 2, NULL), (1, 'e', 3, NULL), (2, 'f', 4, NULL);
"""


def write(path: Path, sql: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(sql)
    connection.close()
    path.chmod(0o600)


@contextmanager
def opened(path: Path) -> Iterator[Index]:
    index = Index(path, SystemClock())
    try:
        yield index
    finally:
        index.close()


def test_an_index_of_version_1_keeps_all_it_had(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    write(path, VERSION_1 + ROWS)
    with opened(path) as index:
        assert index.uuid == "abcdef012345"
        assert index.inodes.get(Ino(2)) == Inode(
            Ino(2), 16877, 1, 2, 0, 6, 7, 8, 2, meta_generation=1, meta_uploaded=1, remote_key=ObjectKey("d/"),
            remote_etag="e2", is_listed=1,  # type: ignore[arg-type]
        )  # fmt: skip
        owed = index.inodes.get(Ino(3))
        assert owed == Inode(
            Ino(3), 33188, 1, 2, 9, 6, 7, None, 1, None, 4, 3, 2, 1, ObjectKey("d/f"), "e3", 8,  # type: ignore[arg-type]
            True, '{"x": "y"}', ObjectKey("d/f"), False, 50, 40,
        )  # fmt: skip
        assert owed.is_owed
        assert index.inodes.get(Ino(4)).target == "t"
        assert index.dentries.lookup(Ino(2), "f") == 3
        tombstone = index.tombstones.find(ObjectKey("old"))
        assert tombstone is not None
        assert tombstone.etag == "eo"
        assert [record.upload_id for record in index.multiparts.all()] == ["u"]
        assert len(index.multiparts.parts("u")) == 1
        assert len(index.multiparts.intents()) == 1
        assert index.parked.find(Ino(3)) is not None
        assert index._database.row("SELECT present_size, used_ns FROM cache_entry") == (9, 12)
        assert index._database.row("SELECT seals FROM cache_seal") == (b"\x01",)
        assert index._database.row("PRAGMA user_version") == (SCHEMA_VERSION,)
    with opened(path) as index:
        assert index.inodes.get(Ino(3)) == owed


def test_what_version_1_took_for_others_metadata_is_ours_now(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    write(path, VERSION_1 + ROWS)
    with opened(path) as index:
        inode = index.inodes.get(Ino(5))
        assert xattr_format.unpack(inode.xattrs) == {"user.a": b"hi"}
        assert inode.foreign_metadata == '{"other": "z"}'
        device = index.inodes.get(Ino(6))
        assert not device.metadata_known
        assert device.foreign_metadata is None


def test_names_that_look_encoded_keep_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    names = ("a%key", "caf%E9%name", "plain%")
    entries = "".join(f"INSERT INTO dentry VALUES (2, '{name}', {ino});" for ino, name in enumerate(names, start=10))
    write(path, VERSION_1 + ROWS + entries)
    with opened(path) as index:
        for name in names:
            ino = index.dentries.lookup(Ino(2), name)
            assert ino is not None
            assert index.dentries.path_key(index.inodes.get(Ino(5))._replace(ino=ino)) == f"d/{name}"


def test_a_directorys_object_with_content_is_listed_again(tmp_path: Path) -> None:
    """In format 2 it was the directory's."""
    path = tmp_path / "index.sqlite"
    write(path, VERSION_2 + ROWS_2)
    with opened(path) as index:
        directory = index.inodes.get(Ino(2))
        assert (directory.remote_key, directory.remote_etag, directory.remote_size) == ("d/", None, 0)
        assert not directory.is_listed
        assert directory.is_owed
        marker = index.inodes.get(Ino(3))
        assert (marker.remote_etag, marker.is_listed) == ("e3", 1)
        assert index.inodes.get(Ino(4)).remote_size == 9
        assert index._database.row("PRAGMA user_version") == (SCHEMA_VERSION,)


def columns(path: Path) -> set[tuple[str, ...]]:
    with sqlite3.connect(path) as connection:
        found = {row[1:4] for row in connection.execute("PRAGMA table_info(inode)")}
        found |= set(connection.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"))
    connection.close()
    return found


def test_what_was_owed_in_version_3_is_owed(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    write(path, VERSION_3 + ROWS_2)
    with opened(path) as index:
        assert [inode.ino for inode in index.inodes.owed(10)] == [2]
        assert not index.inodes.get(Ino(2)).is_local
        assert index._database.row("PRAGMA user_version") == (SCHEMA_VERSION,)


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2, VERSION_3])
def test_a_migrated_index_has_the_tables_of_a_new_one(tmp_path: Path, version: str) -> None:
    write(tmp_path / "old.sqlite", version)
    write(tmp_path / "new.sqlite", DDL)
    with opened(tmp_path / "old.sqlite"):
        pass
    assert columns(tmp_path / "old.sqlite") == columns(tmp_path / "new.sqlite")


def test_a_hundred_thousand_rows_take_less_than_a_second(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    fill = """
    WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 100001)
    INSERT INTO inode SELECT i, 33188, 0, 0, 9, 5, 5, NULL, 1, NULL, 1, 1, 1, 1, 'dir/file' || i, 'etag' || i, 9, 1,
        '{"some": "metadata"}', NULL, 0, 0, 0 FROM n;
    """
    write(path, VERSION_1 + ROWS.splitlines()[1] + fill)
    began = time.process_time()
    with opened(path) as index:
        assert time.process_time() - began < 1.0
        assert index.inodes.totals()[0] == 100_001


def test_times_that_64_bits_do_not_hold(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    years = [datetime(year, 5, 10, tzinfo=UTC) for year in (1, 1676, 1901, 1970, 2261, 2263, 2446)]
    times = [int(moment.timestamp()) * 10**9 + 123_456_789 for moment in years]
    times += [-(1 << 63), (1 << 63) - 1, 1 << 63, -(1 << 63) - 1, 1 << 64, -(1 << 64)]
    with opened(path) as index:
        index.ensure_root(0o040755, 0, 0, 1, has_key=False)
        made = [
            index.create(ROOT_INO, str(time_ns), Inode(Ino(0), 33188, 0, 0, 0, time_ns, -time_ns, atime_ns=time_ns + 1))
            for time_ns in times
        ]
        index.inodes.update(made[0])
    with opened(path) as index:
        assert [index.inodes.get(inode.ino) for inode in made] == made
        kinds = index._database.rows("SELECT DISTINCT typeof(mtime_ns) FROM inode WHERE ino > 1")
        assert sorted(kinds) == [("blob",), ("integer",)]
