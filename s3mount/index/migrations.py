"""From one index format to the next, one function a step. Called once, when the index is opened."""

import sqlite3
from collections.abc import Callable

from s3mount.errors import MountError
from s3mount.index.schema import SCHEMA_VERSION


def _index_attempts(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE INDEX inode_attempt ON inode (attempt_key) WHERE attempt_key IS NOT NULL")


def _record_parts(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE multipart RENAME TO multipart_without_parts")
    connection.execute(
        "CREATE TABLE multipart (upload_id TEXT PRIMARY KEY, key TEXT NOT NULL, ino INTEGER NOT NULL,"
        " part_bytes INTEGER NOT NULL, base_key TEXT, base_etag TEXT, metadata TEXT NOT NULL,"
        " write_id TEXT NOT NULL, cache_tag TEXT NOT NULL) WITHOUT ROWID"
    )
    # Their parts are not known: nobody's, so they are aborted.
    connection.execute(
        "INSERT INTO multipart SELECT upload_id, key, 0, 0, NULL, NULL, '', '', '' FROM multipart_without_parts"
    )
    connection.execute("DROP TABLE multipart_without_parts")
    connection.execute(
        "CREATE TABLE part (upload_id TEXT NOT NULL, number INTEGER NOT NULL, start_at INTEGER NOT NULL,"
        " end_at INTEGER NOT NULL, etag TEXT NOT NULL, PRIMARY KEY (upload_id, number)) WITHOUT ROWID"
    )
    connection.execute(
        "CREATE TABLE multipart_intent (key TEXT PRIMARY KEY, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL)"
        " WITHOUT ROWID"
    )


# STEPS[n] brings an index of version n to version n + 1 inside one transaction.
STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _index_attempts, 2: _record_parts}


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring an index of `version` to SCHEMA_VERSION. Raises MountError for one that is newer than this program."""
    if version > SCHEMA_VERSION:
        raise MountError(
            f"the index was written by a newer s3mount (format {version}, this one knows {SCHEMA_VERSION}): upgrade it"
        )
    for step in range(version, SCHEMA_VERSION):
        connection.execute("BEGIN IMMEDIATE")
        STEPS[step](connection)
        connection.execute(f"PRAGMA user_version={step + 1}")
        connection.execute("COMMIT")
