"""One step of the scale measurement, in a process of its own so that its peak of memory is its own.

Called by scale.py as `python -m benchmark.scale_work STEP STATE_DIR COUNT PER_DIRECTORY`; prints one line of JSON. The
drive is the real one, with its index on disk; the store is computed (computed_store.py), and between the two and the
kernel there is nothing: what a find does is what the kernel asks for when it does one.
"""

import importlib
import json
import random
import sqlite3
import stat
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmark.computed_store import MODIFIED_NS, SIZE, ComputedStore, directory_name, file_name
from benchmark.peers import status_kib
from s3mount.bindings import load_binding
from s3mount.drive import INDEX_NAME, Drive, DriveOptions
from s3mount.index.database import Database
from s3mount.model import ROOT_INO, DirEntry, Fh, Ino
from s3mount.remote.defaults import Defaults

SEED = 20061126
LOOKUPS = 10_000
DRAIN_S_MAX = 3600.0
Found = dict[str, float]


class Step:
    def __init__(self, state_dir: Path, count: int, per_directory: int) -> None:
        self.count = count
        self.per_directory = per_directory
        self.store = ComputedStore(count, per_directory)
        options = DriveOptions(defaults=Defaults(0, 0, 0o022), cache_limit_bytes=64 << 20, metadata_ttl_s=3600.0)
        self.drive = Drive(self.store, state_dir, options)  # type: ignore[arg-type]
        self.fs = self.drive.filesystem
        self.found: Found = {}
        load_binding()
        self.pack: Callable[..., bytes] = importlib.import_module("s3mount.bindings.stat_buffer").entry_bytes

    @contextmanager
    def measured(self, name: str) -> Iterator[None]:
        """Note what happens inside: seconds, CPU seconds, requests by kind."""
        before, cpu_s, begun_s = self.store.request_counts(), time.process_time(), time.monotonic()
        yield
        self.found[f"{name} s"] = round(time.monotonic() - begun_s, 3)
        self.found[f"{name} CPU s"] = round(time.process_time() - cpu_s, 3)
        for kind, number in self.store.request_counts().items():
            self.found[f"{name} {kind}"] = number - before.get(kind, 0)

    def find(self, *, with_attributes: bool) -> int:
        """How many files and directories there are, each packed as the kernel gets it. `with_attributes`: what a
        listing does not tell is looked up as well."""
        waiting, seen = deque([ROOT_INO]), 0
        while waiting:
            ino = waiting.popleft()
            fh = self.fs.opendir(ino)
            for entry in self.entries(fh):
                seen += 1
                self.pack(entry.attr, is_complete=entry.is_complete)
                if stat.S_ISDIR(entry.attr.mode):
                    waiting.append(entry.attr.ino)
                if not entry.is_complete and (with_attributes or stat.S_ISDIR(entry.attr.mode)):
                    self.fs.lookup(ino, entry.name)
            self.fs.releasedir(fh)
        return seen

    def entries(self, fh: Fh) -> Iterator[DirEntry]:
        """As the kernel gets them, by pages."""
        start = 0
        while page := self.fs.readdir(fh, start):
            yield from page
            start = page[-1].next_place

    def directories(self) -> list[Ino]:
        return [self.fs.lookup(ROOT_INO, directory_name(number)).ino for number in range(self.count_directories())]

    def count_directories(self) -> int:
        return -(-self.count // self.per_directory)


def first(step: Step) -> None:
    """Names alone, of a bucket that the index knows nothing of; then again. Attributes are not asked for ahead, or some
    of what `attributes` costs would be counted here."""
    step.drive._attributes.prefetch = lambda inos: None  # type: ignore[method-assign]
    for name in ("first", "second"):
        with step.measured(name):
            seen = step.find(with_attributes=False)
        assert seen == step.count + step.count_directories()


def attributes(step: Step) -> None:
    with step.measured("attributes"):
        step.find(with_attributes=True)


def again(step: Step) -> None:
    """After a remount, with the index and all attributes; then within the time to live."""
    for name in ("remount", "fresh"):
        with step.measured(name):
            seen = step.find(with_attributes=True)
        assert seen == step.count + step.count_directories()


def lookups(step: Step) -> None:
    """Of names that nobody has asked for since the start, and how long df takes."""
    dice = random.Random(SEED)
    numbers = dice.sample(range(step.count), min(LOOKUPS, step.count))
    # The listing of the directories is measured elsewhere.
    step.drive.lister.mark_fresh(ROOT_INO)
    inos = step.directories()
    for ino in inos:
        step.drive.lister.mark_fresh(ino)
    with step.measured("lookups"):
        for number in numbers:
            directory, file = divmod(number, step.per_directory)
            step.fs.lookup(inos[directory], file_name(file))
    step.found["µs a lookup"] = round(step.found["lookups CPU s"] / len(numbers) * 1e6, 1)
    with step.measured("statfs"):
        step.fs.statfs()


def remove(step: Step) -> None:
    """rm -r of it all, and what the bucket hears of that."""
    with step.measured("remove"):
        for directory in range(step.count_directories()):
            ino = step.fs.lookup(ROOT_INO, directory_name(directory)).ino
            fh = step.fs.opendir(ino)
            for entry in step.entries(fh):
                step.fs.unlink(ino, entry.name)
            step.fs.releasedir(fh)
            step.fs.rmdir(ROOT_INO, directory_name(directory))
    _drain(step, "remove in bucket")


def move(step: Step) -> None:
    """mv of the first directory, and how long a lookup of another name then takes."""
    ino = step.fs.lookup(ROOT_INO, directory_name(0)).ino
    step.fs.lookup(ino, file_name(0))
    with step.measured("move"):
        step.fs.rename(ROOT_INO, directory_name(0), ROOT_INO, "moved")
    _drain(step, "move in bucket", lambda: step.fs.lookup(ino, file_name(0)))


def _drain(step: Step, name: str, probe: Callable[[], Any] = lambda: None) -> None:
    """`probe` is done again and again meanwhile; the longest that it took is noted."""
    slowest_s = 0.0

    def on_progress(backlog: Any) -> None:
        nonlocal slowest_s
        begun_s = time.monotonic()
        probe()
        slowest_s = max(slowest_s, time.monotonic() - begun_s)

    with step.measured(name):
        left = step.drive.drain(DRAIN_S_MAX, on_progress)
    assert not left, left[:3]
    step.found[f"{name}, slowest call s"] = round(slowest_s, 3)


STEPS = {step.__name__: step for step in (first, attributes, again, lookups, remove, move)}


def fill(state_dir: Path, count: int, per_directory: int) -> None:
    """An index as a find of all that has left behind, written row by row in SQL: for numbers of objects that are too
    many to be listed here."""
    Database(state_dir / INDEX_NAME).close()
    directories = -(-count // per_directory)
    numbers = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)"
    columns = (
        "ino, mode, uid, gid, size, mtime_ns, ctime_ns, nlink, content_generation, content_uploaded, meta_generation,"
        " meta_uploaded, remote_key, remote_etag, remote_size, metadata_known, is_listed, due_ns, owed_since_ns,"
        " remote_modified_ns"
    )
    row = f"0, 0, ?, {MODIFIED_NS}, {MODIFIED_NS}, ?, 0, 0, 0, 0"
    dir_key = "printf('d%07d/', i)"
    with closing(sqlite3.connect(state_dir / INDEX_NAME, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute(
            f"INSERT INTO inode ({columns}) VALUES (1, {stat.S_IFDIR | 0o755}, {row}, '', NULL, 0, 1, 1, 0, 0, NULL)",
            (0, 2 + directories),
        )
        connection.execute(
            f"{numbers} INSERT INTO inode ({columns}) SELECT i + 2, {stat.S_IFDIR | 0o755},"
            f" {row}, {dir_key}, NULL, 0, 1, 1, 0, 0, NULL FROM n",
            (directories, 0, 2),
        )
        connection.execute(
            f"{numbers} INSERT INTO dentry SELECT 1, printf('d%07d', i), i + 2, NULL FROM n", (directories,)
        )
        file = f"i / {per_directory}", f"printf('file-%08d.dat', i % {per_directory})"
        connection.execute(
            f"{numbers} INSERT INTO inode ({columns}) SELECT i + {2 + directories}, {stat.S_IFREG | 0o644}, {row},"
            f" printf('d%07d/', {file[0]}) || {file[1]}, printf('%032x', i), {SIZE}, 1, 0, 0, 0, {MODIFIED_NS} FROM n",
            (count, SIZE, 1),
        )
        connection.execute(
            f"{numbers} INSERT INTO dentry SELECT {file[0]} + 2, {file[1]}, i + {2 + directories}, NULL FROM n",
            (count,),
        )
        connection.execute("COMMIT")


def main() -> None:
    name, state, count, per_directory = sys.argv[1:]
    if name == "fill":
        fill(Path(state), int(count), int(per_directory))
        found: Found = {}
    else:
        step = Step(Path(state), int(count), int(per_directory))
        STEPS[name](step)
        step.drive.close()
        found = step.found
        # As the index is used now: without what is mapped of it, and its log.
        found["peak MiB"] = round(status_kib("self", "VmHWM") / 1024)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
