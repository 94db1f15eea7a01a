"""From one index format to the next, one function a step. Called once, when the index is opened."""

import json
import sqlite3
from collections.abc import Callable

from s3mount import xattr_format
from s3mount.errors import MountError
from s3mount.index.schema import SCHEMA_VERSION


def _add_links_xattrs_devices(connection: sqlite3.Connection) -> None:
    for column in (
        "rdev INTEGER NOT NULL DEFAULT 0",
        "xattrs TEXT",
        "link_of INTEGER",
        "link_group TEXT",
        "remote_modified_ns INTEGER",
    ):
        connection.execute(f"ALTER TABLE inode ADD COLUMN {column}")
    for name, column in (("inode_link", "link_of"), ("inode_group", "link_group")):
        connection.execute(f"CREATE INDEX {name} ON inode ({column}) WHERE {column} IS NOT NULL")
    unmet = "metadata_known = 0 OR (is_listed = 0 AND (mode & 61440) = 16384)"
    connection.execute(f"CREATE INDEX inode_unmet ON inode (ino) WHERE {unmet}")
    # Version 1 carried these along as metadata of others, and made a plain file of a special one.
    rows = connection.execute(
        "SELECT ino, foreign_metadata FROM inode"
        """ WHERE foreign_metadata LIKE '%"xattr"%' OR foreign_metadata LIKE '%"rdev"%'"""
    )
    for ino, text in rows.fetchall():
        kept = json.loads(text)
        xattrs, rdev = kept.pop("xattr", None), kept.pop("rdev", None)
        connection.execute(
            "UPDATE inode SET foreign_metadata = ?, xattrs = ? WHERE ino = ?",
            (json.dumps(kept, sort_keys=True) if kept else None, xattr_format.to_json(xattrs), ino),
        )
        if rdev is not None:
            connection.execute(
                "UPDATE inode SET metadata_known = 0 WHERE ino = ?"
                " AND content_generation = content_uploaded AND meta_generation = meta_uploaded",
                (ino,),
            )


def _add_holes(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE cache_entry ADD COLUMN holes BLOB NOT NULL DEFAULT x''")
    connection.execute("CREATE INDEX cache_entry_holes ON cache_entry (ino) WHERE length(holes) > 0")


def _add_components(connection: sqlite3.Connection) -> None:
    """Every name was its own component then, those too that now look like encoded ones."""
    connection.execute("ALTER TABLE dentry ADD COLUMN component TEXT")
    connection.execute("CREATE INDEX dentry_component ON dentry (parent, component) WHERE component IS NOT NULL")
    looks_encoded = "name LIKE '%!%key' ESCAPE '!' OR name LIKE '%!%name' ESCAPE '!'"
    connection.execute(f"UPDATE dentry SET component = name WHERE {looks_encoded}")


def _from_1_to_2(connection: sqlite3.Connection) -> None:
    _add_links_xattrs_devices(connection)
    _add_components(connection)
    _add_holes(connection)


def _from_2_to_3(connection: sqlite3.Connection) -> None:
    """A directory's object with content was the directory's, and not shown: it is a file in it, which is yet to be
    listed."""
    connection.execute(
        "UPDATE inode SET remote_etag = NULL, remote_size = 0, is_listed = 0"
        " WHERE (mode & 61440) = 16384 AND remote_size > 0"
    )


def _from_3_to_4(connection: sqlite3.Connection) -> None:
    """What is junk is a decision of the mount that makes it, so nothing is yet."""
    connection.execute("ALTER TABLE inode ADD COLUMN is_local INTEGER NOT NULL DEFAULT 0")
    connection.execute("DROP INDEX inode_owed")
    connection.execute(
        "CREATE INDEX inode_owed ON inode (due_ns)"
        " WHERE nlink > 0 AND (content_generation > content_uploaded OR meta_generation > meta_uploaded)"
        " AND NOT (is_local AND remote_key IS NULL AND attempt_key IS NULL)"
    )
    connection.execute("CREATE INDEX inode_local ON inode (ino) WHERE is_local")


# STEPS[n] brings an index of version n to version n + 1 inside one transaction.
STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _from_1_to_2, 2: _from_2_to_3, 3: _from_3_to_4}


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
