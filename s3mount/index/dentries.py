"""Names: (parent, name) -> ino, the way back from ino to path and key, and the link counts that follow from them.

A name tells the component of the key that it stands for (names.py), or its row does: `component`.
"""

from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cachetools import LRUCache

from s3mount import keys, names
from s3mount.errors import Exists
from s3mount.index.database import Database
from s3mount.index.inodes import Inodes
from s3mount.model import ROOT_INO, Ino, Inode, ObjectKey

CACHED_DENTRIES_MAX = 50_000  # 0.5 KB each
LONG_COMPONENTS_MAX = 10_000
UNKNOWN = Ino(-1)
# So many names after a directory are looked at to find directories.
BESIDE_MAX = 64
_UNMET_BEYOND = (
    "SELECT i.ino FROM (SELECT c.ino FROM"
    f" (SELECT ino FROM dentry WHERE parent = ? AND name > ? ORDER BY name LIMIT {BESIDE_MAX}) AS b"
    " CROSS JOIN dentry AS c ON c.parent = b.ino LIMIT ?) AS d"
    " CROSS JOIN inode AS i ON i.ino = d.ino WHERE i.metadata_known = 0"
)


class Entry(NamedTuple):
    """One name. `component`: None when the name tells it."""

    parent: Ino
    name: str
    component: str | None

    def key_component(self, *, is_dir: bool) -> str:
        return names.component_of(self.name, is_dir=is_dir) if self.component is None else self.component


def _to_column(name: str) -> str | bytes:
    """SQLite's text is UTF-8: a name of other bytes is a blob."""
    return name if names.is_utf8(name) else names.to_bytes(name)


def from_column(value: str | bytes) -> str:
    """A name as the table has it."""
    return value if isinstance(value, str) else names.from_bytes(value)


class Dentries:
    def __init__(self, database: Database, inodes: Inodes):
        self._database = database
        self._inodes = inodes
        # None: there is no such name.
        self._cache: LRUCache[tuple[Ino, str], Ino | None] = LRUCache(CACHED_DENTRIES_MAX)
        self._entries: LRUCache[Ino, Entry] = LRUCache(CACHED_DENTRIES_MAX)
        # What hashed names stand for: a file that replaces one, or is made anew after it, gets the same key.
        self._long: LRUCache[str, str] = LRUCache(LONG_COMPONENTS_MAX)
        # Nearly every index has no such row, and its changes are spared the question.
        self.has_recorded = database.row("SELECT 1 FROM dentry WHERE component IS NOT NULL LIMIT 1") is not None
        database.on_rollback(self._cache.clear)
        database.on_rollback(self._entries.clear)

    def lookup(self, parent: Ino, name: str) -> Ino | None:
        with self._database.locked():
            ino = self._cache.get((parent, name), UNKNOWN)
            if ino is UNKNOWN:
                sql = "SELECT ino FROM dentry WHERE parent = ? AND name = ?"
                row = self._database.row(sql, parent, _to_column(name))
                ino = self._cache[parent, name] = None if row is None else Ino(row[0])
            return ino

    def listed(self, parent: Ino, names_: Iterable[str]) -> None:
        """Rows of these names were written by others of this folder: what is remembered of them is too old."""
        for name in names_:
            self._cache.pop((parent, name), None)

    def children(self, parent: Ino) -> list[tuple[str, Ino]]:
        sql = "SELECT name, ino FROM dentry WHERE parent = ? ORDER BY name"
        return [(from_column(name), ino) for name, ino in self._database.rows(sql, parent)]

    def inos(self, parent: Ino) -> "array[int]":
        """Who is in a directory, by name."""
        return self._database.column("SELECT ino FROM dentry WHERE parent = ? ORDER BY name", parent)

    def names_in(self, parent: Ino, inos: Iterable[Ino]) -> dict[Ino, str]:
        """The names that these have in `parent`."""
        sql = "SELECT ino, name FROM dentry INDEXED BY dentry_ino WHERE ino IN ({}) AND parent = ?"
        return {ino: from_column(name) for ino, name in self._database.rows_in(sql, inos, parent)}

    def unmet_beyond(self, parent: Ino, name: str, count: int) -> list[Ino]:
        """The first `count` entries of the directories that come after `name` in `parent`, of these whose attributes
        are not known."""
        return [Ino(ino) for (ino,) in self._database.rows(_UNMET_BEYOND, parent, _to_column(name), count)]

    def is_empty(self, parent: Ino) -> bool:
        return self._database.row("SELECT 1 FROM dentry WHERE parent = ? LIMIT 1", parent) is None

    def is_empty_in_bucket(self, parent: Ino) -> bool:
        """Whether nothing is in it but what is kept on this computer."""
        # From the last name on: what is kept here in great number begins with a dot, before nearly all other names.
        sql = (
            "SELECT 1 FROM dentry AS d CROSS JOIN inode AS i ON i.ino = d.ino WHERE d.parent = ?"
            " AND NOT (i.is_local AND i.remote_key IS NULL AND i.attempt_key IS NULL) ORDER BY d.name DESC LIMIT 1"
        )
        return self._database.row(sql, parent) is None

    def add(self, parent: Ino, name: str, inode: Inode, component: str | None = None) -> None:
        """Give `inode` a name, which stands for `component` of a key, or for what it tells. Its own link count is the
        caller's; a subdirectory counts for its parent. Raises Exists when another name stands for that already."""
        with self._database.locked():
            told = names.component_of(name, is_dir=inode.is_dir)
            if component is None:
                component = self._meant(parent, name, inode) or told
            if self._recorded(parent, component, is_dir=inode.is_dir) is not None:
                raise Exists(f"{name!r} is another name's object")
            entry = Entry(parent, name, None if component == told else component)
            self.has_recorded |= entry.component is not None
            self._database.write(
                "INSERT INTO dentry VALUES (?, ?, ?, ?)", parent, _to_column(name), inode.ino, entry.component
            )
            self._cache[parent, name] = inode.ino
            self._remember(inode.ino, entry)
            self._count_subdirectory(parent, inode, +1)

    def _meant(self, parent: Ino, name: str, inode: Inode) -> str | None:
        """What a new entry of this name is to be in the bucket, where the name alone does not tell."""
        if "%" not in name:
            return None
        if names.is_hashed(name):
            component = self._long.get(name)
            is_taken = component is not None and self.named(parent, component, is_dir=inode.is_dir) is not None
            return None if is_taken else component
        directory = None if inode.is_dir else names.beside(name)
        there = None if directory is None else self.lookup(parent, directory)
        if there is None or not self._inodes.get(there).is_dir or self.named(parent, directory or "", is_dir=False):
            return None
        return directory

    def _recorded(self, parent: Ino, component: str, *, is_dir: bool) -> tuple[str, Ino] | None:
        """The name that stands for this component without telling it."""
        if not self.has_recorded:
            return None
        # Without statistics SQLite would walk the directory.
        sql = "SELECT name, ino FROM dentry INDEXED BY dentry_component WHERE parent = ? AND component = ?"
        for name, ino in self._database.rows(sql, parent, component):
            if self._inodes.get(ino).is_dir == is_dir:
                return from_column(name), ino
        return None

    def named(self, parent: Ino, component: str, *, is_dir: bool) -> tuple[str, Ino] | None:
        """(name, ino) of the file, or of the directory, that this component of a key is in `parent`."""
        with self._database.locked():
            name = names.shown(component, is_dir=is_dir)
            ino = self.lookup(parent, name)
            if ino is not None and self._inodes.get(ino).is_dir == is_dir:
                entry = self._entry(ino)
                if entry is not None and entry.key_component(is_dir=is_dir) == component:
                    return name, ino
            return self._recorded(parent, component, is_dir=is_dir)

    def own_file(self, directory: Ino) -> Inode | None:
        """The file that has the directory's key in the bucket, which then has no marker (keys.py)."""
        with self._database.locked():
            found = self._recorded(directory, "", is_dir=False)  # no name tells the empty component of a file
            return None if found is None else self._inodes.get(found[1])

    def remove(self, parent: Ino, name: str, inode: Inode) -> None:
        with self._database.locked():
            if names.is_hashed(name):
                self._entry(inode.ino)  # what it stands for is remembered
            self._database.write("DELETE FROM dentry WHERE parent = ? AND name = ?", parent, _to_column(name))
            self._cache[parent, name] = None
            self._entries.pop(inode.ino, None)
            self._count_subdirectory(parent, inode, -1)

    def _count_subdirectory(self, parent: Ino, inode: Inode, change: int) -> None:
        if inode.is_dir:
            above = self._inodes.get(parent)
            self._inodes.update(above._replace(nlink=above.nlink + change))

    def _entry(self, ino: Ino) -> Entry | None:
        entry = self._entries.get(ino)
        if entry is None:
            row = self._database.row("SELECT parent, name, component FROM dentry WHERE ino = ? LIMIT 1", ino)
            if row is None:
                return None
            entry = Entry(Ino(row[0]), from_column(row[1]), row[2])
            self._remember(ino, entry)
        return entry

    def _remember(self, ino: Ino, entry: Entry) -> None:
        self._entries[ino] = entry
        if entry.component is not None and names.is_hashed(entry.name):
            self._long[entry.name] = entry.component

    def place(self, ino: Ino) -> tuple[Ino, str] | None:
        """(parent, name) of an inode; None for the root and for orphans."""
        with self._database.locked():
            entry = self._entry(ino)
            return None if entry is None else (entry.parent, entry.name)

    def component(self, inode: Inode) -> str:
        """Of a key, that the name of this inode (not an orphan) stands for."""
        with self._database.locked():
            entry = self._entry(inode.ino)
            assert entry is not None
            return entry.key_component(is_dir=inode.is_dir)

    def ancestors(self, ino: Ino) -> Iterator[Ino]:
        """The directories above `ino`, its parent first, the root last."""
        place = self.place(ino)
        while place is not None:
            yield place[0]
            place = self.place(place[0])

    def directories_above(self, ino: Ino) -> list[tuple[Inode, ObjectKey]]:
        """The directories above `ino`, its parent first, the root last, each with its path_key; of an orphan, or of
        something below one, none."""
        with self._database.locked():
            inos = list(self.ancestors(ino))
            if not inos or inos[-1] != ROOT_INO:
                return []
            found = [(self._inodes.get(ROOT_INO), ObjectKey(""))]
            for above in reversed(inos[:-1]):
                entry = self._entry(above)
                assert entry is not None
                found.append((self._inodes.get(above), ObjectKey(found[-1][1] + _part(entry, is_dir=True))))
            return found[::-1]

    def path_key(self, inode: Inode) -> ObjectKey | None:
        """The key that the inode's path stands for; None for an orphan (or for something below one)."""
        with self._database.locked():
            parts: list[str] = []
            ino, is_dir = inode.ino, inode.is_dir
            while ino != ROOT_INO:
                entry = self._entry(ino)
                if entry is None:
                    return None
                parts.append(_part(entry, is_dir=is_dir))
                ino, is_dir = entry.parent, True
            return ObjectKey("".join(reversed(parts)))

    def written_key(self, inode: Inode) -> ObjectKey | None:
        """Where a move of the directories above expects this: for a directory its remote key, or, while it has none,
        and for everything else, its name below the written key of its parent. None for an orphan and below one."""
        with self._database.locked():
            parts: list[str] = []
            while not inode.is_dir or inode.remote_key is None:
                entry = self._entry(inode.ino)
                if entry is None:
                    return None
                parts.append(_part(entry, is_dir=inode.is_dir))
                inode = self._inodes.get(entry.parent)
            return ObjectKey(inode.remote_key + "".join(reversed(parts)))

    def resolve_key(self, key: ObjectKey) -> Inode | None:
        """The inode whose path stands for `key` now, by the index alone; of two the directory."""
        with self._database.locked():
            ino = ROOT_INO
            components = keys.split_key(key)
            for depth, component in enumerate(components, start=1):
                found = self.named(ino, component, is_dir=depth < len(components) or key.endswith("/"))
                if found is None:
                    return None
                ino = found[1]
            return self._inodes.get(ino)


def _part(entry: Entry, *, is_dir: bool) -> str:
    component = entry.key_component(is_dir=is_dir)
    return f"{component}/" if is_dir else component
