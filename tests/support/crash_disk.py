"""A recorder under a state folder, and the states that a power cut may leave of it.

Used by tests of power loss. While `recorded`, every system call by which s3mount's own code and SQLite (through
sqlite_files.py) change something below the folder goes into one log, in the order in which it took effect. `image`
replays the log up to any point and builds a folder as a disk may hold it after power was cut there:

- what was written to a file before its last fsync is there, and so are the names in a folder before its last fsync;
- of every later change anything may be there: all, nothing, the first few, any of them; writes torn at sectors of 512
  bytes; a file as long as it was made, with zeros where the bytes did not arrive.

A name may be missing though its file was synced, and the other way round. Any thread may write while it records.
"""

import contextlib
import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from s3mount.cache import disk
from tests.support import sqlite_files
from tests.support.sqlite_files import Act

SECTOR = 512
ROOT = 0


class Op(Enum):
    LINK = "link"
    UNLINK = "unlink"
    RENAME = "rename"
    WRITE = "write"
    TRUNCATE = "truncate"
    SYNC = "sync"
    SYNC_ALL = "sync all"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class Event:
    """`node`: the file or folder it happened to; of names, the folder."""

    op: Op
    node: int = ROOT
    name: str = ""
    offset: int = 0
    data: bytes = b""
    child: int = ROOT
    is_folder: bool = False
    mark: Any = None


@dataclass
class Node:
    """What is certain of a file or folder, and what happened since."""

    is_folder: bool = False
    data: bytearray = field(default_factory=bytearray)
    names: dict[str, int] = field(default_factory=dict)
    pending: list[Event] = field(default_factory=list)


class CrashDisk:
    def __init__(self, folder: Path):
        self.folder = folder
        self.events: list[Event] = []
        self._lock = threading.RLock()
        self._root = str(folder)
        self._nodes: dict[str, int] = {self._root: ROOT}
        self._numbers: dict[int, int] = {}
        self._count = ROOT

    def mark(self, make: Callable[[], object]) -> None:
        """What a test wants to know of this point in the log; nothing else is logged while it is made."""
        with self._lock:
            self.events.append(Event(Op.MARK, mark=make()))

    def adopt(self) -> None:
        """What is in the folder already is certain."""
        for parent, folders, files in os.walk(self.folder):
            for name in (*folders, *files):
                path = os.path.join(parent, name)
                node = self._link(path, is_folder=name in folders)
                if name in files:
                    self._log(Op.WRITE, node, data=Path(path).read_bytes())
                    self._log(Op.SYNC, node)
            self._log(Op.SYNC, self._nodes[parent])

    def move(self, folder: Path) -> None:
        """The log goes on with what is done in `folder`, a copy; nothing that is done in the folder before counts."""
        self._nodes = {str(folder) + path.removeprefix(self._root): node for path, node in self._nodes.items()}
        self._numbers = {}
        self.folder, self._root = folder, str(folder)

    def open_numbers(self) -> list[int]:
        """The file descriptors that are open on what is recorded."""
        return list(self._numbers)

    # -- recording -----------------------------------------------------------------------------------------------

    def _log(self, op: Op, node: int, **fields: Any) -> None:
        self.events.append(Event(op, node, **fields))

    def _is_inside(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and str(path).startswith(f"{self._root}/")

    def _link(self, path: str, *, is_folder: bool) -> int:
        parent, name = os.path.split(path)
        self._count += 1
        self._nodes[path] = self._count
        self._log(Op.LINK, self._nodes[parent], name=name, child=self._count, is_folder=is_folder)
        return self._count

    def _unlink(self, path: str) -> None:
        parent, name = os.path.split(path)
        if self._nodes.pop(path, None) is not None:
            self._log(Op.UNLINK, self._nodes[parent], name=name)

    def _rename(self, old: str, new: str) -> None:
        parent, name = os.path.split(new)
        assert os.path.dirname(old) == parent, "a rename from folder to folder is not recorded"
        self._nodes[new] = self._nodes.pop(old)
        self._log(
            Op.RENAME, self._nodes[parent], name=name, child=self._nodes[new], data=os.path.basename(old).encode()
        )

    def on_sqlite(self, act: Act, path: str, number: int, data: bytes, do: Callable[[], int]) -> int:
        if not self._is_inside(path):
            return do()
        with self._lock:
            if act is Act.DELETE:
                self._unlink(path)  # before: the folder may be synced within
            result = do()
            if result != sqlite_files.OK or act is Act.DELETE:
                return result
            if act is Act.CREATE:
                if path not in self._nodes:
                    self._link(path, is_folder=False)
            elif act is Act.FOLDER_SYNC:
                self._log(Op.SYNC, self._nodes[os.path.dirname(path)])
            elif path in self._nodes:
                op = {Act.WRITE: Op.WRITE, Act.TRUNCATE: Op.TRUNCATE, Act.SYNC: Op.SYNC}[act]
                self._log(op, self._nodes[path], offset=number, data=data)
            return result

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Record what this process does below the folder, which is empty now and certain to be there."""
        with pytest.MonkeyPatch.context() as patch, sqlite_files.observed(self.on_sqlite):
            self._patch_names(patch)
            self._patch_bytes(patch)
            yield

    def _patch_names(self, patch: pytest.MonkeyPatch) -> None:
        real_open, real_mkdir, real_unlink, real_replace = os.open, os.mkdir, os.unlink, os.replace

        def open_(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            if not (self._is_inside(path) or str(path) == self._root):
                return real_open(path, flags, *rest, **named)
            with self._lock:
                number = real_open(path, flags, *rest, **named)
                node = self._nodes.get(str(path))
                if node is None:
                    node = self._link(str(path), is_folder=False)
                self._numbers[number] = node
                if flags & os.O_TRUNC:
                    self._log(Op.TRUNCATE, node)
                return number

        def mkdir(path: Any, *rest: Any, **named: Any) -> None:
            with self._lock:
                real_mkdir(path, *rest, **named)
                if self._is_inside(path):
                    self._link(str(path), is_folder=True)

        def unlink(path: Any, *rest: Any, **named: Any) -> None:
            with self._lock:
                real_unlink(path, *rest, **named)
                if self._is_inside(path):
                    self._unlink(str(path))

        def replace(old: Any, new: Any, **named: Any) -> None:
            with self._lock:
                real_replace(old, new, **named)
                if self._is_inside(new):
                    self._rename(str(old), str(new))

        for name, function in (("open", open_), ("mkdir", mkdir), ("unlink", unlink), ("replace", replace)):
            patch.setattr(os, name, function)

    def _patch_bytes(self, patch: pytest.MonkeyPatch) -> None:
        real_close, real_pwrite, real_write, real_truncate = os.close, os.pwrite, os.write, os.ftruncate
        real_punch, real_sync_all = disk.LocalFile.punch_hole, disk.LocalDisk.sync_all

        def logged(op: Op, number: int, **fields: Any) -> None:
            node = self._numbers.get(number)
            if node is not None:
                self._log(op, node, **fields)

        def close(number: int) -> None:
            with self._lock:
                self._numbers.pop(number, None)
                real_close(number)

        def pwrite(number: int, data: Any, offset: int) -> int:
            with self._lock:
                count = real_pwrite(number, data, offset)
                logged(Op.WRITE, number, offset=offset, data=bytes(data)[:count])
                return count

        def write(number: int, data: Any) -> int:
            if number not in self._numbers:
                return real_write(number, data)
            return pwrite(number, data, os.lseek(number, 0, os.SEEK_CUR))

        def truncate(number: int, length: int) -> None:
            with self._lock:
                real_truncate(number, length)
                logged(Op.TRUNCATE, number, offset=length)

        def punch(file: disk.LocalFile, start: int, end: int) -> None:
            with self._lock:
                real_punch(file, start, end)
                logged(Op.WRITE, file._number, offset=start, data=bytes(max(0, min(end, file.length()) - start)))

        def sync_all(local: disk.LocalDisk) -> bool:
            with self._lock:
                done = real_sync_all(local)
                if done:
                    self._log(Op.SYNC_ALL, ROOT)
                return done

        def sync(real: Callable[[int], None]) -> Callable[[int], None]:
            def patched(number: int) -> None:
                with self._lock:
                    real(number)
                    logged(Op.SYNC, number)

            return patched

        for name, function in (
            ("close", close), ("pwrite", pwrite), ("write", write), ("ftruncate", truncate),
            ("fsync", sync(os.fsync)), ("fdatasync", sync(os.fdatasync)),
        ):  # fmt: skip
            patch.setattr(os, name, function)
        patch.setattr(disk, "pwrite", pwrite)
        patch.setattr(disk.LocalFile, "punch_hole", punch)
        patch.setattr(disk.LocalDisk, "sync_all", sync_all)

    # -- images --------------------------------------------------------------------------------------------------

    def image(self, until: int, target: Path, dice: random.Random) -> None:
        """Make `target`: the folder as the disk may have it when power is cut after `until` events."""
        nodes = {ROOT: Node(is_folder=True)}
        for event in self.events[:until]:
            _replay(nodes, event)
        extent = dice.choice(list(Extent))
        target.mkdir()
        _build(nodes, nodes[ROOT], target, extent, dice)


def _replay(nodes: dict[int, Node], event: Event) -> None:
    if event.op is Op.MARK:
        return
    if event.op is Op.SYNC_ALL:
        for node in nodes.values():
            _settle(node, node.pending)
            node.pending = []
        return
    node = nodes[event.node]
    if event.op is Op.SYNC:
        _settle(node, node.pending)
        node.pending = []
        return
    if event.op is Op.LINK:
        nodes[event.child] = Node(is_folder=event.is_folder)
    node.pending.append(event)


def _settle(node: Node, events: list[Event]) -> None:
    for event in events:
        if event.op is Op.WRITE:
            _write(node.data, event.offset, event.data)
        elif event.op is Op.TRUNCATE:
            _truncate(node.data, event.offset)
        elif event.op is Op.UNLINK:
            node.names.pop(event.name, None)
        else:
            if event.op is Op.RENAME:
                node.names.pop(event.data.decode(), None)
            node.names[event.name] = event.child


def _write(data: bytearray, offset: int, piece: bytes) -> None:
    data.extend(bytes(max(0, offset + len(piece) - len(data))))
    data[offset : offset + len(piece)] = piece


def _truncate(data: bytearray, length: int) -> None:
    data.extend(bytes(max(0, length - len(data))))
    del data[length:]


class Extent(Enum):
    """How much of what was not synced arrived: of all files alike, or of each file and folder as the dice fall."""

    NOTHING = "nothing"
    ALL = "all"
    FIRST = "first"
    ANY = "any"
    MIXED = "mixed"


def _build(nodes: dict[int, Node], folder: Node, target: Path, extent: Extent, dice: random.Random) -> None:
    _settle(folder, _arrived(folder.pending, extent, dice))
    for name, number in folder.names.items():
        node = nodes[number]
        if node.is_folder:
            (target / name).mkdir(mode=0o700)
            _build(nodes, node, target / name, extent, dice)
        else:
            _fill(node, extent, dice)
            (target / name).write_bytes(node.data)


def _arrived(events: list[Event], extent: Extent, dice: random.Random) -> list[Event]:
    if extent is Extent.MIXED:
        extent = dice.choice([each for each in Extent if each is not Extent.MIXED])
    if extent is Extent.NOTHING:
        return []
    if extent is Extent.FIRST:
        return events[: dice.randint(0, len(events))]
    if extent is Extent.ANY:
        share = dice.random()
        return [event for event in events if dice.random() < share]
    return events


def _fill(node: Node, extent: Extent, dice: random.Random) -> None:
    """Lengths in their order, bytes in any."""
    if extent is Extent.MIXED:
        extent = dice.choice([each for each in Extent if each is not Extent.MIXED])
    if extent is not Extent.ANY:
        _settle(node, _arrived(node.pending, extent, dice))
        return
    share = dice.random()
    resizes = [event for event in node.pending if event.op is Op.TRUNCATE]
    certain = set(map(id, resizes[: dice.randint(0, len(resizes))]))
    for event in node.pending:
        if event.op is Op.TRUNCATE:
            if id(event) in certain:
                _truncate(node.data, event.offset)
            continue
        end = event.offset + len(event.data)
        start = event.offset
        while start < end:
            stop = min(end, start - start % SECTOR + SECTOR)
            if dice.random() < share:
                _write(node.data, start, event.data[start - event.offset : stop - event.offset])
            start = stop
        if dice.random() < share:
            node.data.extend(bytes(max(0, end - len(node.data))))
