"""Multipart uploads on record: what was begun, which parts S3 has taken, and what was about to be begun.

Called by writeback/ from any thread. A part is on record only while its bytes are the file's: whoever is to change them
removes it before. So parts that a later run finds here may be used, if S3 still has them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from s3mount.index.database import Database
from s3mount.model import ETag, Ino, ObjectKey

NOBODY = Ino(0)


class RecordedUpload(NamedTuple):
    """A row of the table `multipart`; the columns are explained in index/schema.py."""

    upload_id: str
    key: ObjectKey
    ino: Ino
    part_bytes: int
    base_key: ObjectKey | None
    base_etag: ETag | None
    metadata: str
    write_id: str
    cache_tag: str


class SentPart(NamedTuple):
    """The bytes [start, end) as S3 has taken them."""

    number: int
    start: int
    end: int
    etag: ETag


class Intent(NamedTuple):
    """Uploads to `key` were begun between these times, and of one at least the upload id is not known."""

    key: ObjectKey
    first_ns: int
    last_ns: int


class Multiparts:
    """Every change survives kill -9 on return (inside a transaction: when that is committed)."""

    def __init__(self, database: Database):
        self._database = database

    # -- uploads -------------------------------------------------------------------------------------------------

    def add(self, upload: RecordedUpload) -> None:
        self._database.write(
            "INSERT OR REPLACE INTO multipart VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            upload.upload_id, upload.key, upload.ino, upload.part_bytes, upload.base_key, upload.base_etag,
            upload.metadata, upload.write_id, upload.cache_tag,
        )  # fmt: skip

    def remove(self, upload_id: str) -> None:
        with self._database.transaction():
            self._database.write("DELETE FROM part WHERE upload_id = ?", upload_id)
            self._database.write("DELETE FROM multipart WHERE upload_id = ?", upload_id)

    def disown(self, upload_id: str) -> None:
        """Nobody continues it: what is left to do is to abort it."""
        with self._database.transaction():
            self._database.write("DELETE FROM part WHERE upload_id = ?", upload_id)
            self._database.write("UPDATE multipart SET ino = ? WHERE upload_id = ?", NOBODY, upload_id)

    def is_known(self, upload_id: str) -> bool:
        return self._database.row("SELECT 1 FROM multipart WHERE upload_id = ?", upload_id) is not None

    def all(self) -> Sequence[RecordedUpload]:
        return [RecordedUpload(*row) for row in self._database.rows("SELECT * FROM multipart")]

    # -- their parts ---------------------------------------------------------------------------------------------

    def add_part(self, upload_id: str, part: SentPart) -> None:
        self._database.write(
            "INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?, ?)",
            upload_id, part.number, part.start, part.end, part.etag,
        )  # fmt: skip

    def remove_parts(self, upload_id: str, numbers: Sequence[int]) -> None:
        with self._database.transaction():
            self._database.write_many(
                "DELETE FROM part WHERE upload_id = ? AND number = ?", [(upload_id, number) for number in numbers]
            )

    def parts(self, upload_id: str) -> list[SentPart]:
        sql = "SELECT number, start_at, end_at, etag FROM part WHERE upload_id = ?"
        return [SentPart(*row) for row in self._database.rows(sql, upload_id)]

    # -- intents -------------------------------------------------------------------------------------------------

    def intend(self, key: ObjectKey, now_ns: int) -> None:
        """An upload to `key` is about to be begun: should its id be lost, this tells where to look for it."""
        self._database.write(
            "INSERT INTO multipart_intent VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET last_ns = excluded.last_ns",
            key, now_ns, now_ns,
        )  # fmt: skip

    def fulfil(self, key: ObjectKey) -> None:
        """The last one intended has its id on record, or does not exist. One lost before it stays to be found."""
        self._database.write("DELETE FROM multipart_intent WHERE key = ? AND first_ns = last_ns", key)

    def intents(self) -> list[Intent]:
        return [Intent(*row) for row in self._database.rows("SELECT key, first_ns, last_ns FROM multipart_intent")]

    def remove_intent(self, intent: Intent) -> None:
        self._database.write("DELETE FROM multipart_intent WHERE key = ? AND last_ns = ?", intent.key, intent.last_ns)
