"""The SQLite file under the index: one connection, one lock, transactions, durability.

Called only from this folder. The lock is the innermost of the global order (see locks.py): whoever holds it calls
neither S3 nor the cache. A statement that the disk refuses raises NoSpace or IOFailure, never an error of SQLite's.

WAL with synchronous=NORMAL: a commit is in the kernel's page cache when it returns, so it survives `kill -9`;
`commit_durably` makes all commits before it survive power loss (https://sqlite.org/pragma.html#pragma_synchronous).
The file is this connection's alone while it is open (locking_mode=EXCLUSIVE): whoever owns the state folder is its only
user, and without it each transaction takes and gives back a dozen locks of the operating system.
"""

import sqlite3
import threading
import uuid
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from s3mount.errors import FsError, IOFailure, MountError, NoSpace
from s3mount.index import migrations
from s3mount.index.schema import DDL, SCHEMA_VERSION
from s3mount.private import create_file

CACHE_KIB = 32 << 10
WAL_PAGES_MAX = 4000
WANTED_AT_ONCE = 512


def _failure(error: sqlite3.DatabaseError) -> Exception:
    """What a refused statement means to the caller of a file operation; a bug stays what it is."""
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError):
        return error
    kind: type[FsError] = NoSpace if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL else IOFailure
    return kind(f"the index cannot be used: {error}")


class Transaction:
    """All or nothing; nested ones join the outer. Committed on leaving the outermost, undone on an exception. One
    object serves all of a database's: what there is to know of the one under way is the database's."""

    __slots__ = ("_database",)

    def __init__(self, database: "Database"):
        self._database = database

    def __enter__(self) -> None:
        self._database.enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.leave(is_kept=kind is None)


def _portions(wanted: Iterable[object]) -> Iterator[tuple[str, list[object]]]:
    """Placeholders, and as many values."""
    left = iter(wanted)
    while some := list(islice(left, WANTED_AT_ONCE)):
        # Few different statements, so that they stay prepared; nothing is equal to NULL.
        count = 1 << (len(some) - 1).bit_length()
        yield ", ".join("?" * count), some + [None] * (count - len(some))


class Database:
    def __init__(self, path: Path):
        """Open or create the index file. Raises MountError when it cannot be used."""
        self._lock = threading.RLock()
        self._depth = 0
        self._has_begun = False
        self._transaction = Transaction(self)
        self._rollback_hooks: list[Callable[[], None]] = []
        self._commit_hooks: list[Callable[[], None]] = []
        try:
            # SQLite gives the files beside it the mode that it has.
            create_file(path)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            self._configure()
            self._create_or_migrate()
        except (sqlite3.Error, OSError) as error:
            raise MountError(f"the index {path} cannot be used: {error}") from error

    def _configure(self) -> None:
        for pragma in (
            "locking_mode=EXCLUSIVE",
            "journal_mode=WAL",
            "synchronous=NORMAL",
            # On macOS a sync goes through the disk's own cache, as host.fdatasync; nothing elsewhere.
            "fullfsync=ON",
            f"cache_size=-{CACHE_KIB}",
            f"wal_autocheckpoint={WAL_PAGES_MAX}",
            "temp_store=MEMORY",
        ):
            self._connection.execute(f"PRAGMA {pragma}")

    def _create_or_migrate(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._connection.executescript(
                f"BEGIN; {DDL} INSERT INTO fact VALUES ('uuid', '{uuid.uuid4().hex[:12]}');"
                f"PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
            )
        else:
            migrations.migrate(self._connection, version)

    def on_rollback(self, hook: Callable[[], None]) -> None:
        """`hook` runs, under the lock, after a transaction was undone: caches over the tables must be emptied."""
        self._rollback_hooks.append(hook)

    def on_commit(self, hook: Callable[[], None]) -> None:
        """`hook` runs, under the lock, after a transaction was committed."""
        self._commit_hooks.append(hook)

    @property
    def in_transaction(self) -> bool:
        """For a holder of the lock: whether what it does now may yet be undone."""
        return self._depth > 0

    def transaction(self) -> Transaction:
        return self._transaction

    def enter(self) -> None:
        self._lock.acquire()
        self._depth += 1

    def leave(self, *, is_kept: bool) -> None:
        self._depth -= 1
        try:
            if self._depth == 0:
                self._end(is_kept=is_kept)
        finally:
            self._lock.release()

    def _end(self, *, is_kept: bool) -> None:
        try:
            if is_kept:
                self._commit()
            else:
                self._undo()
        finally:
            self._has_begun = False

    def _begin(self) -> None:
        """Before the first change of a transaction: one that only reads needs none, for the lock keeps others out."""
        if not self._depth:
            return
        if not self._has_begun:
            self._execute("BEGIN IMMEDIATE")
            self._has_begun = True
        elif not self._connection.in_transaction:
            raise IOFailure("the disk refused an earlier change of this transaction")

    def _commit(self) -> None:
        try:
            if self._has_begun:
                self._execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        for hook in self._commit_hooks:
            hook()

    def _undo(self) -> None:
        try:
            # SQLite undoes a transaction by itself when the disk refuses it.
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
        finally:
            for hook in self._rollback_hooks:
                hook()

    def _execute(self, sql: str, arguments: Sequence[object] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, arguments)
        except sqlite3.DatabaseError as error:
            raise _failure(error) from error

    def locked(self) -> threading.RLock:
        """The lock itself, for a read of several rows that must agree."""
        return self._lock

    def rows(self, sql: str, *arguments: object) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(sql, arguments).fetchall()
            except sqlite3.DatabaseError as error:
                raise _failure(error) from error

    def rows_in(self, sql: str, wanted: Iterable[object], *arguments: object) -> Iterator[Any]:
        """Rows of `sql`, in which {} stands for all of `wanted`, some of them at a time, before `arguments`."""
        for marks, some in _portions(wanted):
            yield from self.rows(sql.format(marks), *some, *arguments)

    def write_in(self, sql: str, wanted: Iterable[object]) -> None:
        """`write` for all of `wanted`, in the same way."""
        for marks, some in _portions(wanted):
            self.write(sql.format(marks), *some)

    def column(self, sql: str, *arguments: object) -> "array[int]":
        """The first column of many rows, as integers."""
        with self._lock:
            try:
                return array("q", (value for (value,) in self._connection.execute(sql, arguments)))
            except sqlite3.DatabaseError as error:
                raise _failure(error) from error

    def row(self, sql: str, *arguments: object) -> Any:
        with self._lock:
            try:
                return self._connection.execute(sql, arguments).fetchone()
            except sqlite3.DatabaseError as error:
                raise _failure(error) from error

    def write(self, sql: str, *arguments: object) -> int:
        """Execute inside the caller's transaction (or one of its own); returns the last inserted rowid."""
        with self._lock:
            self._begin()
            return self._execute(sql, arguments).lastrowid or 0

    def write_many(self, sql: str, arguments: Sequence[Sequence[object]]) -> None:
        with self._lock:
            self._begin()
            try:
                self._connection.executemany(sql, arguments)
            except sqlite3.DatabaseError as error:
                raise _failure(error) from error

    def commit_durably(self) -> None:
        """Return when every commit so far is on disk. Not inside a transaction. Raises NoSpace, IOFailure."""
        with self._lock:
            assert self._depth == 0, "a durable commit cannot be nested"
            self._connection.execute("PRAGMA synchronous=FULL")
            try:
                # A commit that changes a page is what makes SQLite sync the log, and with it all frames before.
                self._execute(
                    "INSERT INTO fact VALUES ('sync', '1') ON CONFLICT (name) DO UPDATE SET value = value + 1"
                )
            finally:
                self._connection.execute("PRAGMA synchronous=NORMAL")

    def close(self) -> None:
        with self._lock:
            self._connection.close()
