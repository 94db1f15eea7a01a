"""SQLite on the mount, in both ways to keep a transaction; what it said is committed is there after `kill -9` (P1, P2).

As `python -m tests.programs.test_sqlite DATABASE MODE FIRST` it writes rows one transaction at a time from FIRST on,
until it is ended, and prints each number when its transaction is committed.
"""

import contextlib
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.programs.conftest import remount_with_an_empty_cache
from tests.programs.running import DEADLINE_S
from tests.support.cli_mount import CliMount
from tests.support.mount_process import REPOSITORY

MODES = ["WAL", "DELETE"]  # DELETE is the rollback journal, SQLite's default
ROW_BYTES = 1500
COMMITS = 25
TOGETHER = 8
PAUSE_S = 0.005


def connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=DEADLINE_S, isolation_level=None)
    assert connection.execute(f"PRAGMA journal_mode={mode}").fetchone()[0] == mode.lower()
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=20")
    connection.execute("CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY, body BLOB, copy BLOB)")
    return connection


def body_of(number: int) -> bytes:
    return (str(number).encode() * ROW_BYTES)[:ROW_BYTES]


def write_rows(path: Path, mode: str, first: int) -> Iterator[int]:
    """Each number after its commit. Pages are touched all over: a row goes in, one in the middle is moved."""
    with closing(connect(path, mode)) as connection:
        number = first
        while True:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO rows VALUES (?, ?, ?)", (number, body_of(number), body_of(number)))
            connection.execute("UPDATE rows SET copy = body || '' WHERE number % 7 = ?", (number % 7,))
            connection.execute("COMMIT")
            yield number
            number += 1
            time.sleep(PAUSE_S)  # SQLite's waiting is not fair: without it the other one gets no turn


def numbers_in(path: Path) -> list[int]:
    """After all checks."""
    with closing(sqlite3.connect(path, timeout=DEADLINE_S)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute("SELECT number, body, CAST(copy AS BLOB) FROM rows ORDER BY number").fetchall()
    assert all(body == copy == body_of(number) for number, body, copy in rows)
    return [number for number, _, _ in rows]


class Writer:
    """write_rows in a process of its own, its commits read as they are said."""

    def __init__(self, path: Path, mode: str, first: int) -> None:
        command = [sys.executable, "-m", "tests.programs.test_sqlite", str(path), mode, str(first)]
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.committed: list[int] = []

    def wait_for(self, commits: int) -> None:
        assert self.process.stdout is not None
        while len(self.committed) < commits:
            self.committed.append(int(self.process.stdout.readline()))

    def end(self) -> str:
        """What it complained of; `committed` is complete then."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        with self.process:
            self.committed += [int(line) for line in self.process.stdout]
            return self.process.stderr.read()


@pytest.mark.parametrize("mode", MODES)
def test_two_processes_write(drive: CliMount, folder: Path, mode: str) -> None:
    path = folder / "database"
    with closing(connect(path, mode)):
        pass
    writer = Writer(path, mode, 1_000)
    writer.wait_for(1)
    for number in write_rows(path, mode, 0):
        if number == TOGETHER:
            break
    writer.wait_for(TOGETHER)
    writer.process.kill()
    writer.end()
    found = numbers_in(path)
    assert set(found) >= {*range(TOGETHER), *writer.committed}
    remount_with_an_empty_cache(drive)
    assert numbers_in(path) == found
    with closing(connect(path, mode)) as connection:
        connection.execute("DELETE FROM rows WHERE number % 2")
        connection.execute("VACUUM")
    assert numbers_in(path) == [number for number in found if not number % 2]


@pytest.mark.parametrize("mode", MODES)
def test_kill_in_the_middle(drive: CliMount, folder: Path, mode: str) -> None:
    """The mount dies under a writer: each commit that was acknowledged is there, of the others all or nothing."""
    path = folder / "database"
    first = 0
    for _ in range(2):
        writer = Writer(path, mode, first)
        writer.wait_for(COMMITS)
        drive.kill()
        assert "Error" in writer.end(), "the writer ended before the kill"
        assert drive.unmount().returncode == 0
        drive.mount()
        found = numbers_in(path)
        assert found in (list(range(writer.committed[-1] + 1)), list(range(writer.committed[-1] + 2)))
        first = found[-1] + 1
    remount_with_an_empty_cache(drive)
    assert numbers_in(path) == list(range(first))


def test_readers_beside_a_writer(folder: Path) -> None:
    """WAL's promise: readers see whole transactions and wait for nobody; its shared memory is a file on the mount."""
    path = folder / "database"
    with closing(connect(path, "WAL")):
        pass
    wrong: list[str] = []
    ended = threading.Event()

    def read() -> None:
        with closing(sqlite3.connect(path, timeout=0)) as connection:
            while not ended.is_set():
                count, last = connection.execute("SELECT count(*), max(number) FROM rows").fetchone()
                if count and count != last + 1:
                    wrong.append(f"{count} rows up to {last}")

    writer = Writer(path, "WAL", 0)
    writer.wait_for(1)
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    writer.wait_for(40)
    ended.set()
    for reader in readers:
        reader.join(DEADLINE_S)
    writer.process.kill()
    writer.end()
    assert not wrong, wrong[:3]
    assert len(numbers_in(path)) >= 40


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        for row in write_rows(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])):
            print(row, flush=True)
