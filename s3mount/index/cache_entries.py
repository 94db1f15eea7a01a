"""Which bytes of a file the cache directory holds: the rows behind cache/ (it defines the Protocol this fulfils)."""

from collections.abc import Mapping, Sequence

from s3mount.index.database import Database
from s3mount.model import CacheRow, Ino

_SAVE = f"INSERT OR REPLACE INTO cache_entry (ino, {', '.join(CacheRow._fields)}) VALUES (?, ?, ?, ?, ?, ?)"


class IndexedCacheEntries:
    def __init__(self, database: Database):
        self._database = database

    def load(self, ino: Ino) -> CacheRow | None:
        row = self._database.row(f"SELECT {', '.join(CacheRow._fields)} FROM cache_entry WHERE ino = ?", ino)
        return None if row is None else CacheRow(*row)

    def save(self, ino: Ino, row: CacheRow, seals: Mapping[int, bytes]) -> None:
        with self._database.transaction():
            self._database.write(_SAVE, ino, *row)
            if seals:
                self.save_seals(ino, seals)

    def load_seals(self, ino: Ino) -> Sequence[tuple[int, bytes]]:
        return self._database.rows("SELECT segment, seals FROM cache_seal WHERE ino = ?", ino)

    def save_seals(self, ino: Ino, seals: Mapping[int, bytes]) -> None:
        kept = [(ino, number, row) for number, row in seals.items() if row]
        gone = [(ino, number) for number, row in seals.items() if not row]
        with self._database.transaction():
            if gone:
                self._database.write_many("DELETE FROM cache_seal WHERE ino = ? AND segment = ?", gone)
            if kept:
                self._database.write_many("INSERT OR REPLACE INTO cache_seal VALUES (?, ?, ?)", kept)

    def remove(self, ino: Ino) -> None:
        with self._database.transaction():
            self._database.write("DELETE FROM cache_entry WHERE ino = ?", ino)
            self._database.write("DELETE FROM cache_seal WHERE ino = ?", ino)

    def commit_durably(self) -> None:
        self._database.commit_durably()

    def total_bytes(self) -> int:
        (total,) = self._database.row("SELECT COALESCE(SUM(present_size), 0) FROM cache_entry")
        return total  # type: ignore[no-any-return]

    def file_size(self, ino: Ino) -> int:
        row = self._database.row("SELECT size FROM inode WHERE ino = ?", ino)
        return 0 if row is None else row[0]

    def holes(self) -> Sequence[tuple[Ino, bytes]]:
        return self._database.rows("SELECT ino, holes FROM cache_entry WHERE length(holes) > 0")

    def least_recently_used(self, limit: int) -> Sequence[Ino]:
        sql = "SELECT ino FROM cache_entry WHERE present_size > 0 ORDER BY used_ns LIMIT ?"
        return [ino for (ino,) in self._database.rows(sql, limit)]

    def after(self, ino: Ino, limit: int) -> Sequence[Ino]:
        """The inodes with a row and a number above `ino`, in order, at most `limit`."""
        rows = self._database.rows("SELECT ino FROM cache_entry WHERE ino > ? ORDER BY ino LIMIT ?", ino, limit)
        return [found for (found,) in rows]
