"""What a page of a listing means for the index, for all its objects together: a few statements for five hundred.

Called by remote/merge.py, inside a transaction, for what is simple: files whose name is their key's last component.
Reads past the caches of inodes.py and dentries.py, which hold nothing that the tables do not say as well, of what is
asked for here; what it adds is not in them yet.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from s3mount.index.database import Database
from s3mount.index.dentries import Dentries, Entry, from_column
from s3mount.index.inodes import COLUMNS, INSERT, Inodes, values_of
from s3mount.model import Ino, Inode, ObjectInfo

_KNOWN = (
    "SELECT i.remote_key, i.remote_etag, i.remote_modified_ns, d.name, d.component"
    " FROM inode AS i INDEXED BY inode_remote CROSS JOIN dentry AS d INDEXED BY dentry_ino ON d.ino = i.ino"
    " WHERE i.remote_key IN ({}) AND d.parent = ?"
)
# Each finds names or keys that are not simply new.
_TAKEN_NAMES = (
    "SELECT name FROM dentry WHERE name IN ({}) AND parent = ?",
    "SELECT component FROM dentry INDEXED BY dentry_component WHERE component IN ({}) AND parent = ?",
)
_TAKEN_KEYS = (
    "SELECT remote_key FROM inode INDEXED BY inode_remote WHERE remote_key IN ({})",
    "SELECT attempt_key FROM inode INDEXED BY inode_attempt WHERE attempt_key IN ({})",
    "SELECT key FROM tombstone WHERE key IN ({})",
)
_CHILDREN = (
    "SELECT d.name, d.component, d.ino, i.mode FROM dentry AS d CROSS JOIN inode AS i ON i.ino = d.ino"
    " WHERE d.parent = ? AND d.name > ? ORDER BY d.name LIMIT ?"
)
_PLACES = {name: COLUMNS.index(name) for name in COLUMNS}


class Child(NamedTuple):
    """`column`: the name as the table has it, for `children` to go on after."""

    column: Any
    entry: Entry
    ino: Ino
    mode: int


class Listed:
    def __init__(self, database: Database, inodes: Inodes, dentries: Dentries):
        self._database = database
        self._inodes = inodes
        self._dentries = dentries

    def known(self, parent: Ino, objects: Mapping[str, ObjectInfo]) -> set[str]:
        """The names, of those that are given with their objects, under which `parent` has just that version, made at
        just that time."""
        keys = {info.key: name for name, info in objects.items()}
        found: set[str] = set()
        for key, etag, modified_ns, name, component in self._database.rows_in(_KNOWN, keys, parent):
            info = objects[keys[key]]
            is_here = component is None and name == keys[key]
            if is_here and etag == info.etag and modified_ns == info.last_modified_ns:
                found.add(name)
        return found

    def unheard_of(self, parent: Ino, objects: Mapping[str, ObjectInfo]) -> set[str]:
        """The names of which `parent` has nothing, and their keys nobody."""
        keys = {info.key: name for name, info in objects.items()}
        new = set(objects)
        for sql in _TAKEN_NAMES if self._dentries.has_recorded else _TAKEN_NAMES[:1]:
            new.difference_update(name for (name,) in self._database.rows_in(sql, objects, parent))
        for sql in _TAKEN_KEYS:
            new.difference_update(keys[key] for (key,) in self._database.rows_in(sql, keys))
        return new

    def add_files(self, parent: Ino, objects: Mapping[str, ObjectInfo], like: Inode) -> None:
        """Files that were only listed, under names that `unheard_of` returned; all but what a listing says of each is
        as in `like`."""
        (last,) = self._database.row("SELECT seq FROM sqlite_sequence WHERE name = 'inode'")
        template, inodes, dentries = list(values_of(like)), [], []
        for ino, (name, info) in enumerate(objects.items(), last + 1):
            for column, value in (
                ("ino", ino), ("size", info.size), ("remote_size", info.size), ("remote_key", info.key),
                ("remote_etag", info.etag), ("mtime_ns", info.last_modified_ns), ("ctime_ns", info.last_modified_ns),
                ("remote_modified_ns", info.last_modified_ns),
            ):  # fmt: skip
                template[_PLACES[column]] = value
            inodes.append(tuple(template))
            dentries.append((parent, name, ino, None))
        self._database.write_many(INSERT, inodes)
        self._database.write_many("INSERT INTO dentry VALUES (?, ?, ?, ?)", dentries)
        self._dentries.listed(parent, objects)

    def children(self, parent: Ino, after: Any, limit: int) -> Sequence[Child]:
        """Of a directory, by name, those after the column `after` ("": from the first)."""
        rows = self._database.rows(_CHILDREN, parent, after, limit)
        return [
            Child(name, Entry(parent, from_column(name), component), ino, mode) for name, component, ino, mode in rows
        ]
