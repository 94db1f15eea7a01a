"""From one index format to the next, one function a step. Called once, when the index is opened."""

import sqlite3
from collections.abc import Callable

from s3mount.errors import MountError
from s3mount.index.schema import SCHEMA_VERSION


def _add_components(connection: sqlite3.Connection) -> None:
    """Every name was its own component then, those too that now look like encoded ones."""
    connection.execute("ALTER TABLE dentry ADD COLUMN component TEXT")
    connection.execute("CREATE INDEX dentry_component ON dentry (parent, component) WHERE component IS NOT NULL")
    looks_encoded = "name LIKE '%!%key' ESCAPE '!' OR name LIKE '%!%name' ESCAPE '!'"
    connection.execute(f"UPDATE dentry SET component = name WHERE {looks_encoded}")


# STEPS[n] brings an index of version n to version n + 1 inside one transaction.
STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _add_components}


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
