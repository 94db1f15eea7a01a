"""What is owed besides inodes: tombstones; and what stands in the way: parked work."""

from collections.abc import Iterable
from typing import NamedTuple

from s3mount import keys
from s3mount.index.database import Database
from s3mount.model import ETag, Ino, ObjectKey


class Tombstone(NamedTuple):
    key: ObjectKey
    etag: ETag | None
    due_ns: int


class Parked(NamedTuple):
    ino: Ino
    cause: str
    since_ns: int


class Tombstones:
    def __init__(self, database: Database):
        self._database = database

    def put(self, key: ObjectKey, etag: ETag | None, due_ns: int) -> None:
        """Nobody wants `key` any more. Durable against kill -9 when the transaction is. A version that is known stays
        so: a directory goes, without a marker, after the file that had its key."""
        self._database.write(
            "INSERT INTO tombstone VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE"
            " SET etag = COALESCE(excluded.etag, etag), due_ns = excluded.due_ns",
            key,
            etag,
            due_ns,
        )

    def find(self, key: ObjectKey) -> Tombstone | None:
        row = self._database.row("SELECT key, etag, due_ns FROM tombstone WHERE key = ?", key)
        return Tombstone(*row) if row else None

    def remove(self, keys_: Iterable[ObjectKey]) -> None:
        self._database.write_many("DELETE FROM tombstone WHERE key = ?", [(key,) for key in keys_])

    def has_below(self, dir_key: ObjectKey) -> bool:
        sql = "SELECT 1 FROM tombstone WHERE key > ? AND key < ? LIMIT 1"
        return self._database.row(sql, dir_key, keys.range_end(dir_key)) is not None

    def due(self, now_ns: int, limit: int) -> list[Tombstone]:
        sql = "SELECT key, etag, due_ns FROM tombstone WHERE due_ns <= ? ORDER BY due_ns LIMIT ?"
        return [Tombstone(*row) for row in self._database.rows(sql, now_ns, limit)]

    def set_due(self, keys_: Iterable[ObjectKey], due_ns: int) -> None:
        self._database.write_many("UPDATE tombstone SET due_ns = ? WHERE key = ?", [(due_ns, key) for key in keys_])

    def expedite(self, due_ns: int) -> None:
        self._database.write("UPDATE tombstone SET due_ns = ? WHERE due_ns > ?", due_ns, due_ns)

    def some(self, limit: int) -> list[ObjectKey]:
        return [key for (key,) in self._database.rows("SELECT key FROM tombstone LIMIT ?", limit)]

    def next_due_ns(self) -> int | None:
        (due_ns,) = self._database.row("SELECT MIN(due_ns) FROM tombstone")
        return due_ns  # type: ignore[no-any-return]

    def count(self) -> int:
        (count,) = self._database.row("SELECT COUNT(*) FROM tombstone")
        return count  # type: ignore[no-any-return]


class ParkedWork:
    def __init__(self, database: Database):
        self._database = database

    def put(self, ino: Ino, cause: str, now_ns: int) -> None:
        self._database.write(
            "INSERT INTO parked VALUES (?, ?, ?) ON CONFLICT (ino) DO UPDATE SET cause = excluded.cause",
            ino,
            cause,
            now_ns,
        )

    def find(self, ino: Ino) -> Parked | None:
        row = self._database.row("SELECT ino, cause, since_ns FROM parked WHERE ino = ?", ino)
        return Parked(*row) if row else None

    def remove(self, ino: Ino) -> None:
        self._database.write("DELETE FROM parked WHERE ino = ?", ino)

    def clear(self) -> None:
        self._database.write("DELETE FROM parked")

    def all(self) -> list[Parked]:
        rows = self._database.rows("SELECT ino, cause, since_ns FROM parked ORDER BY since_ns LIMIT 10000")
        return [Parked(*row) for row in rows]

    def count(self) -> int:
        (count,) = self._database.row("SELECT COUNT(*) FROM parked")
        return count  # type: ignore[no-any-return]
