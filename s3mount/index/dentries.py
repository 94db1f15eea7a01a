"""Names: (parent, name) -> ino, the way back from ino to path, and the link counts that follow from them."""

from collections.abc import Iterator
from dataclasses import replace

from cachetools import LRUCache

from s3mount import keys
from s3mount.index.database import Database
from s3mount.index.inodes import Inodes
from s3mount.model import ROOT_INO, Ino, Inode, ObjectKey

CACHED_DENTRIES_MAX = 200_000


class Dentries:
    def __init__(self, database: Database, inodes: Inodes):
        self._database = database
        self._inodes = inodes
        self._cache: LRUCache[tuple[Ino, str], Ino] = LRUCache(CACHED_DENTRIES_MAX)
        self._parents: LRUCache[Ino, tuple[Ino, str]] = LRUCache(CACHED_DENTRIES_MAX)
        database.on_rollback(self._cache.clear)
        database.on_rollback(self._parents.clear)

    def lookup(self, parent: Ino, name: str) -> Ino | None:
        with self._database.locked():
            ino = self._cache.get((parent, name))
            if ino is None:
                row = self._database.row("SELECT ino FROM dentry WHERE parent = ? AND name = ?", parent, name)
                if row is None:
                    return None
                ino = self._cache[parent, name] = Ino(row[0])
            return ino

    def children(self, parent: Ino) -> list[tuple[str, Ino]]:
        return self._database.rows("SELECT name, ino FROM dentry WHERE parent = ? ORDER BY name", parent)

    def is_empty(self, parent: Ino) -> bool:
        return self._database.row("SELECT 1 FROM dentry WHERE parent = ? LIMIT 1", parent) is None

    def add(self, parent: Ino, name: str, inode: Inode) -> None:
        """Give `inode` a name. Its own link count is the caller's; a subdirectory counts for its parent."""
        with self._database.locked():
            self._database.write("INSERT INTO dentry VALUES (?, ?, ?)", parent, name, inode.ino)
            self._cache[parent, name] = inode.ino
            self._parents[inode.ino] = (parent, name)
            self._count_subdirectory(parent, inode, +1)

    def remove(self, parent: Ino, name: str, inode: Inode) -> None:
        with self._database.locked():
            self._database.write("DELETE FROM dentry WHERE parent = ? AND name = ?", parent, name)
            self._cache.pop((parent, name), None)
            self._parents.pop(inode.ino, None)
            self._count_subdirectory(parent, inode, -1)

    def _count_subdirectory(self, parent: Ino, inode: Inode, change: int) -> None:
        if inode.is_dir:
            above = self._inodes.get(parent)
            self._inodes.update(replace(above, nlink=above.nlink + change))

    def place(self, ino: Ino) -> tuple[Ino, str] | None:
        """(parent, name) of an inode; None for the root and for orphans."""
        with self._database.locked():
            found = self._parents.get(ino)
            if found is None:
                row = self._database.row("SELECT parent, name FROM dentry WHERE ino = ? LIMIT 1", ino)
                if row is None:
                    return None
                found = self._parents[ino] = (Ino(row[0]), row[1])
            return found

    def ancestors(self, ino: Ino) -> Iterator[Ino]:
        """The directories above `ino`, its parent first, the root last."""
        place = self.place(ino)
        while place is not None:
            yield place[0]
            place = self.place(place[0])

    def path_key(self, inode: Inode) -> ObjectKey | None:
        """The key that the inode's path stands for; None for an orphan (or for something below one)."""
        with self._database.locked():
            names: list[str] = []
            ino = inode.ino
            while ino != ROOT_INO:
                place = self.place(ino)
                if place is None:
                    return None
                ino = place[0]
                names.append(place[1])
            key = "/".join(reversed(names))
            return ObjectKey(f"{key}/" if inode.is_dir and key else key)

    def written_key(self, inode: Inode) -> ObjectKey | None:
        """Where a move of the directories above expects this: for a directory its remote key, or, while it has none,
        and for everything else, its name below the written key of its parent. None for an orphan and below one."""
        with self._database.locked():
            parts: list[str] = []
            while not inode.is_dir or inode.remote_key is None:
                place = self.place(inode.ino)
                if place is None:
                    return None
                parts.append(f"{place[1]}/" if inode.is_dir else place[1])
                inode = self._inodes.get(place[0])
            return ObjectKey(inode.remote_key + "".join(reversed(parts)))

    def resolve_key(self, key: ObjectKey) -> Inode | None:
        """The inode whose path stands for `key` now, by the index alone."""
        with self._database.locked():
            ino = ROOT_INO
            for name in keys.split_path(key):
                child = self.lookup(ino, name)
                if child is None:
                    return None
                ino = child
            inode = self._inodes.get(ino)
            return inode if inode.is_dir == (key.endswith("/") or key == keys.ROOT_KEY) else None
