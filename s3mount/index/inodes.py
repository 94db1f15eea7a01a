"""Inode rows: read through a bounded cache, changed inside transactions, or staged in memory while a file is written.

Staged: write(2) moves size, mtime and generation too often for a commit each. The newest row then lives in memory only,
seen by every reader here, and reaches the table at flush, fsync and upload, after the cache's own row. What must be
on disk before the first byte changes (that the inode is owed) is committed by the writer before it stages.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from cachetools import LRUCache

from s3mount import names
from s3mount.clock import Clock
from s3mount.index.database import Database
from s3mount.index.schema import DUE_NEVER
from s3mount.model import ROOT_INO, Ino, Inode, ObjectKey

CACHED_INODES_MAX = 50_000  # 0.8 KB each
# So many rows are counted under one hold of the lock, and the sum of a large index is good for so many times as long as
# it took.
COUNTED_AT_ONCE = 20_000
TOTALS_KEPT_TIMES = 20
TOTALS_KEPT_S_MIN = 0.2
COLUMNS = Inode._fields
OWED = (
    "nlink > 0 AND (content_generation > content_uploaded OR meta_generation > meta_uploaded)"
    " AND NOT (is_local AND remote_key IS NULL AND attempt_key IS NULL)"
)

_SELECT = f"SELECT {', '.join(COLUMNS)} FROM inode"
INSERT = f"INSERT INTO inode ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
_UPDATE = f"UPDATE inode SET {', '.join(f'{name} = ?' for name in COLUMNS[1:])} WHERE ino = ?"
_SHADOWS = "SELECT ino FROM inode WHERE link_of = ? ORDER BY ino"
_DIRECTORIES_IN = (
    "SELECT d.ino FROM dentry AS d CROSS JOIN inode AS i ON i.ino = d.ino"
    " WHERE d.parent = ? AND (i.mode & 61440) = 16384 ORDER BY d.name"
)
_FORGET_METADATA = (
    "UPDATE inode SET metadata_known = 0"
    f" WHERE ino IN ({{}}) AND attempt_key IS NULL AND remote_etag IS NOT NULL AND NOT ({OWED})"
)
_COUNT = (
    "SELECT COUNT(*), COALESCE(SUM(size), 0), MAX(ino)"
    " FROM (SELECT ino, size FROM inode WHERE ino > ? ORDER BY ino LIMIT ?)"
)
_UNMET = (
    "SELECT 1 FROM inode INDEXED BY inode_unmet"
    " WHERE metadata_known = 0 OR (is_listed = 0 AND (mode & 61440) = 16384) LIMIT 1"
)
_WITH_REMOTE_KEY = (
    "SELECT ino FROM inode WHERE remote_key = ? AND ((mode & 61440) = 16384) = ? ORDER BY nlink = 0 LIMIT 1"
)
assert COLUMNS[0] == "ino"


_TARGET = COLUMNS.index("target")
_TIMES = tuple(COLUMNS.index(name) for name in ("mtime_ns", "ctime_ns", "atime_ns"))
_SQLITE_INTEGERS = range(-(1 << 63), 1 << 63)


def values_of(inode: Inode) -> tuple[Any, ...]:
    """The row as SQLite keeps it: its text is UTF-8 and its integers are of 64 bits, so what is not is a blob."""
    values: tuple[Any, ...] = inode
    if inode.target is not None and not names.is_utf8(inode.target):
        values = (*values[:_TARGET], names.to_bytes(inode.target), *values[_TARGET + 1 :])
    if all(values[at] is None or values[at] in _SQLITE_INTEGERS for at in _TIMES):
        return values
    return tuple(
        str(value).encode() if at in _TIMES and value is not None and value not in _SQLITE_INTEGERS else value
        for at, value in enumerate(values)
    )


def _inode(row: Sequence[Any]) -> Inode:
    """The way back from `values_of`."""
    if bytes in map(type, row):
        row = [_from_blob(at, value) if isinstance(value, bytes) else value for at, value in enumerate(row)]
    return Inode._make(row)


def _from_blob(at: int, value: bytes) -> Any:
    return names.from_bytes(value) if at == _TARGET else int(value)


class Inodes:
    def __init__(self, database: Database, clock: Clock):
        self._database = database
        self._clock = clock
        self._cache: LRUCache[Ino, Inode] = LRUCache(CACHED_INODES_MAX)
        self._totals = 0, 0
        self._totals_until_s = 0.0
        self._staged: dict[Ino, Inode] = {}
        self._staged_before: dict[Ino, Inode | None] = {}
        database.on_rollback(self._undo)
        database.on_commit(lambda: self._staged_before.clear())

    def _set_staged(self, ino: Ino, inode: Inode | None) -> None:
        """Stage or unstage; inside a transaction, so that undoing it brings the staged row back."""
        if self._database.in_transaction:
            self._staged_before.setdefault(ino, self._staged.get(ino))
        if inode is None:
            self._staged.pop(ino, None)
        else:
            self._staged[ino] = inode

    def _undo(self) -> None:
        self._cache.clear()
        before, self._staged_before = self._staged_before, {}
        for ino, inode in before.items():
            self._set_staged(ino, inode)

    def find(self, ino: Ino) -> Inode | None:
        with self._database.locked():
            inode = self._staged.get(ino) or self._cache.get(ino)
            if inode is None:
                row = self._database.row(f"{_SELECT} WHERE ino = ?", ino)
                if row is None:
                    return None
                inode = self._cache[ino] = _inode(row)
            return inode

    def get(self, ino: Ino) -> Inode:
        """The newest row. Raises KeyError when there is none: the caller holds a name or handle, so that is a bug."""
        inode = self.find(ino)
        if inode is None:
            raise KeyError(ino)
        return inode

    def find_all(self, inos: Collection[Ino], *, may_keep: bool) -> dict[Ino, Inode]:
        """`find` of each that is there. `may_keep`: whether they may push others out of memory."""
        with self._database.locked():
            found = {ino: inode for ino in inos if (inode := self._staged.get(ino) or self._cache.get(ino)) is not None}
            missing = [ino for ino in inos if ino not in found]
            read = {row[0]: _inode(row) for row in self._database.rows_in(f"{_SELECT} WHERE ino IN ({{}})", missing)}
            if may_keep:
                self._cache.update(read)
            return found | read

    def directories_in(self, parent: Ino) -> list[Inode]:
        """Those of a directory's children that are directories."""
        with self._database.locked():
            return [self.get(ino) for (ino,) in self._database.rows(_DIRECTORIES_IN, parent)]

    def forget_metadata(self, inos: Collection[int]) -> None:
        """The metadata of those of these objects for which nothing is owed is asked for anew, at their next use."""
        with self._database.locked():
            self._database.write_in(_FORGET_METADATA, inos)
            for ino in inos:
                self._cache.pop(Ino(ino), None)

    def insert(self, inode: Inode) -> Inode:
        """Add a row with a new ino (the given one must be 0, except for the root)."""
        inode = self._with_owed_since(inode)
        ino = Ino(self._database.write(INSERT, inode.ino or None, *values_of(inode)[1:]))
        inode = self._cache[ino] = inode._replace(ino=ino)
        return inode

    def update(self, inode: Inode) -> None:
        """Write the row, in the caller's transaction or one of its own. A staged size stays in memory: in the table it
        would claim bytes that no row of the cache has yet, and that read as zeros after kill -9."""
        with self._database.locked():
            inode = self._with_owed_since(inode)
            if inode.ino not in self._staged or not inode.content_owed:
                self._write(inode)
                return
            (size,) = self._database.row("SELECT size FROM inode WHERE ino = ?", inode.ino)
            values = values_of(inode._replace(size=size))
            self._database.write(_UPDATE, *values[1:], values[0])
            self._cache.pop(inode.ino, None)
            self._set_staged(inode.ino, inode)

    def _write(self, inode: Inode) -> None:
        values = values_of(inode)
        self._database.write(_UPDATE, *values[1:], values[0])
        self._set_staged(inode.ino, None)
        self._cache[inode.ino] = inode

    def _with_owed_since(self, inode: Inode) -> Inode:
        if inode.is_owed == bool(inode.owed_since_ns):
            return inode
        return inode._replace(owed_since_ns=self._clock.now_ns() if inode.is_owed else 0)

    def stage(self, inode: Inode) -> None:
        """Make this the newest row in memory only. The inode must be owed in the table already."""
        with self._database.locked():
            self._set_staged(inode.ino, inode)

    def flush(self, ino: Ino) -> None:
        """Write the staged row, if there is one. The cache's row must be saved already."""
        with self._database.locked():
            staged = self._staged.get(ino)
            if staged is not None:
                self._write(self._with_owed_since(staged))

    def staged(self) -> Sequence[Ino]:
        with self._database.locked():
            return list(self._staged)

    def delete(self, ino: Ino) -> None:
        with self._database.locked():
            self._database.write("DELETE FROM inode WHERE ino = ?", ino)
            self._set_staged(ino, None)
            self._cache.pop(ino, None)

    def bump_children(self, parent: Ino, due_ns: int) -> None:
        """Make the metadata of every child owed: the key of each has changed with its directory's."""
        with self._database.locked():
            children = [ino for (ino,) in self._database.rows("SELECT ino FROM dentry WHERE parent = ?", parent)]
            # The time at which something was due that is not owed any more would put it before its directory's marker.
            # What must be asked for goes first all the same, directory by directory, while its answers are at hand.
            self._database.write(
                "UPDATE inode SET meta_generation = meta_generation + 1,"
                " due_ns = CASE WHEN owed_since_ns = 0 AND metadata_known THEN ? ELSE MIN(due_ns, ?) END,"
                " owed_since_ns = CASE owed_since_ns WHEN 0 THEN ? ELSE owed_since_ns END"
                " WHERE ino IN (SELECT ino FROM dentry WHERE parent = ?)",
                due_ns,
                due_ns,
                self._clock.now_ns(),
                parent,
            )
            for ino in children:
                self._cache.pop(ino, None)
                staged = self._staged.get(ino)
                if staged is not None:
                    self._set_staged(ino, staged._replace(meta_generation=staged.meta_generation + 1))

    def release_local(self, due_ns: int) -> int:
        """Nothing is for this computer alone any more: what was is owed. Returns how many that were."""
        with self._database.locked():
            sql = "SELECT COUNT(*) FROM inode INDEXED BY inode_local WHERE is_local"
            (count,) = self._database.row(sql)
            if count:
                sql = "UPDATE inode SET is_local = 0, due_ns = ?, owed_since_ns = ? WHERE is_local"
                self._database.write(sql, due_ns, self._clock.now_ns())
                self._cache.clear()
            return int(count)

    def with_attempt_at(self, key: ObjectKey, but: Ino | None = None) -> Inode | None:
        """An inode, other than `but`, whose write to `key` has no known outcome."""
        row = self._database.row("SELECT ino FROM inode WHERE attempt_key = ? AND ino IS NOT ?", key, but)
        return self.find(row[0]) if row else None

    def with_remote_key(self, key: ObjectKey, *, is_dir: bool) -> Inode | None:
        """The directory whose children, or the other inode whose bytes, the bucket has under `key`, wherever its path
        is now."""
        # An orphan whose object was replaced has the key too, but not the object.
        row = self._database.row(_WITH_REMOTE_KEY, key, is_dir)
        return self.find(row[0]) if row else None

    def shadows_of(self, ino: Ino) -> list[Inode]:
        """The further names of a file, in the order in which they were made."""
        with self._database.locked():
            return [self.get(found) for (found,) in self._database.rows(_SHADOWS, ino)]

    def with_link_group(self, group: str, but: Ino) -> Inode | None:
        """A live file, other than `but` and no shadow, whose object carries this link group."""
        row = self._database.row(
            "SELECT ino FROM inode WHERE link_group = ? AND link_of IS NULL AND nlink > 0 AND ino != ? LIMIT 1",
            group,
            but,
        )
        return self.find(row[0]) if row else None

    def are_all_met(self) -> bool:
        """Whether every directory was listed and every object's metadata asked for."""
        return self._database.row(_UNMET) is None

    def has_remote_below(self, dir_key: ObjectKey, end: str) -> bool:
        sql = "SELECT 1 FROM inode WHERE remote_key > ? AND remote_key < ? LIMIT 1"
        return self._database.row(sql, dir_key, end) is not None

    def due(self, now_ns: int, limit: int, skip: Callable[[Ino], bool]) -> list[Inode]:
        """Owed inodes whose time has come, longest due first."""
        found: list[Inode] = []
        with self._database.locked():
            sql = f"SELECT ino FROM inode WHERE {OWED} AND due_ns <= ? ORDER BY due_ns"
            for (ino,) in self._database.rows(sql + " LIMIT ?", now_ns, limit * 4):
                if len(found) == limit:
                    break
                if not skip(ino):
                    found.append(self.get(ino))
        return found

    def next_due_ns(self, but: Ino | None = None) -> int | None:
        """When the next owed inode, other than `but`, is due; None when nothing is (parked work apart)."""
        row = self._database.row(f"SELECT due_ns FROM inode WHERE {OWED} AND ino IS NOT ? ORDER BY due_ns LIMIT 1", but)
        return None if row is None or row[0] == DUE_NEVER else int(row[0])

    def note_modified(self, inode: Inode, modified_ns: int, *, is_metadata_known: bool) -> None:
        """When a listing says that the object of `inode`, which owes nothing, was made; and whether its metadata is the
        known one."""
        with self._database.locked():
            sql = "UPDATE inode SET remote_modified_ns = ?, metadata_known = metadata_known AND ? WHERE ino = ?"
            self._database.write(sql, modified_ns, is_metadata_known, inode.ino)
            self._cache.pop(inode.ino, None)

    def set_due(self, ino: Ino, due_ns: int) -> None:
        """When the work owed for an inode may start. What is staged of it stays so, but for this."""
        with self._database.locked():
            inode = self.find(ino)
            if inode is None:
                return
            self._database.write("UPDATE inode SET due_ns = ? WHERE ino = ?", due_ns, ino)
            inode = inode._replace(due_ns=due_ns)
            if ino in self._staged:
                self._cache.pop(ino, None)
                self._set_staged(ino, inode)
            else:
                self._cache[ino] = inode

    def expedite(self, due_ns: int, *, with_parked: bool) -> None:
        """Make all owed work due at `due_ns`, postponed work too."""
        with self._database.locked():
            for ino, staged in list(self._staged.items()):
                if staged.due_ns > due_ns and (with_parked or staged.due_ns < DUE_NEVER):
                    self._set_staged(ino, staged._replace(due_ns=due_ns))
            sql = f"UPDATE inode SET due_ns = ? WHERE {OWED} AND due_ns > ?"
            self._database.write(sql if with_parked else f"{sql} AND due_ns < {DUE_NEVER}", due_ns, due_ns)
            self._cache.clear()

    def owed_totals(self) -> tuple[int, int, int | None]:
        """(inodes owed, bytes of content owed, when the oldest of the changes was made)."""
        sql = (
            "SELECT COUNT(*), COALESCE(SUM(CASE WHEN content_generation > content_uploaded THEN size ELSE 0 END), 0),"
            f" MIN(owed_since_ns) FROM inode WHERE {OWED}"
        )
        count, size, since_ns = self._database.row(sql)
        return count, size, since_ns

    def owed(self, limit: int) -> list[Inode]:
        with self._database.locked():
            rows = self._database.rows(f"SELECT ino FROM inode WHERE {OWED} ORDER BY due_ns LIMIT ?", limit)
            return [self.get(ino) for (ino,) in rows]

    def after(self, ino: Ino, limit: int) -> list[Inode]:
        """The newest rows with a number above `ino`, in order, at most `limit`."""
        with self._database.locked():
            rows = self._database.rows("SELECT ino FROM inode WHERE ino > ? ORDER BY ino LIMIT ?", ino, limit)
            return [self.get(found) for (found,) in rows]

    def orphans(self) -> list[Inode]:
        rows = self._database.rows("SELECT ino FROM inode WHERE nlink = 0 AND ino != ?", ROOT_INO)
        return [self.get(ino) for (ino,) in rows]

    def totals(self) -> tuple[int, int]:
        """(number of inodes, bytes in all of them): what statfs shows as used. Of a large index, as it was lately."""
        begun_s = self._clock.monotonic_s()
        if begun_s < self._totals_until_s:
            return self._totals
        count, size, last = 0, 0, -1
        while last is not None:
            some, some_size, last = self._database.row(_COUNT, last, COUNTED_AT_ONCE)
            count, size = count + some, size + some_size
        self._totals = count, size
        ended_s = self._clock.monotonic_s()
        kept_s = (ended_s - begun_s) * TOTALS_KEPT_TIMES
        self._totals_until_s = ended_s + kept_s if kept_s > TOTALS_KEPT_S_MIN else 0.0
        return self._totals
