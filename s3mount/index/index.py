"""The index as one thing: its tables, and the few changes that span them and must stay whole.

Called by remote/, writeback/ and vfs/. Every method is safe from any thread; those that read and then write are called
inside `transaction()`.
"""

import threading
from pathlib import Path

from s3mount.clock import Clock
from s3mount.errors import MountError
from s3mount.index.cache_entries import IndexedCacheEntries
from s3mount.index.database import Database, Transaction
from s3mount.index.dentries import Dentries
from s3mount.index.inodes import Inodes
from s3mount.index.listed import Listed
from s3mount.index.multiparts import Multiparts
from s3mount.index.owed import ParkedWork, Tombstones
from s3mount.keys import ROOT_KEY
from s3mount.model import ROOT_INO, Ino, Inode, ObjectKey

# More inodes than fit into the log between two of the checkpoints that make it durable.
INOS_UNSYNCED_MAX = 1 << 20
# More changes of one file than any run makes.
GENERATIONS_A_RUN = 1 << 40


class Index:
    def __init__(self, path: Path, clock: Clock):
        """Open or create. Raises MountError when the file cannot be used."""
        self._database = Database(path)
        self.inodes = Inodes(self._database, clock)
        self.dentries = Dentries(self._database, self.inodes)
        self.listed = Listed(self._database, self.inodes, self.dentries)
        self.tombstones = Tombstones(self._database)
        self.multiparts = Multiparts(self._database)
        self.parked = ParkedWork(self._database)
        self.cache_entries = IndexedCacheEntries(self._database)
        # A power cut takes rows back, but not the block files and objects with their numbers: give none out twice.
        self._database.write("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'inode'", INOS_UNSYNCED_MAX)
        run = int(self.fact("run") or 0) + 1
        self.set_fact("run", str(run))
        self._database.commit_durably()
        self._generation_floor = run * GENERATIONS_A_RUN
        self.uuid = self.fact("uuid") or ""

    def next_generation(self, inode: Inode) -> int:
        """Of its content: larger than any before, also than those that a power cut has taken back, since what was
        uploaded of them is still in the bucket."""
        return max(inode.content_generation + 1, self._generation_floor)

    def transaction(self) -> Transaction:
        """All or nothing, against every other user of the index; survives kill -9 once left."""
        return self._database.transaction()

    def locked(self) -> threading.RLock:
        """Against every other user of the index, for a change that is staged in memory only."""
        return self._database.locked()

    def commit_durably(self) -> None:
        """Return when all that was committed survives power loss."""
        self._database.commit_durably()

    def bind(self, source: str) -> None:
        """This index belongs to `source` (endpoint, bucket, prefix) from now on. Raises MountError, and is closed, when
        it belongs to another: what it owes must not go there, nor may that one's absence of objects be taken for
        deletions."""
        bound = self.fact("source")
        if bound is None:
            self.set_fact("source", source)
        elif bound != source:
            self.close()
            raise MountError(
                f"this cache directory belongs to {bound}, not to {source}: give another --cache-dir, "
                "or mount the one it belongs to"
            )

    def fact(self, name: str) -> str | None:
        row = self._database.row("SELECT value FROM fact WHERE name = ?", name)
        return None if row is None else row[0]

    def set_fact(self, name: str, value: str) -> None:
        """Durable against kill -9 on return, outside a transaction."""
        self._database.write("INSERT OR REPLACE INTO fact VALUES (?, ?)", name, value)

    def ensure_root(self, mode: int, uid: int, gid: int, now_ns: int, *, has_key: bool) -> None:
        """Make the root's row in a new index."""
        if self.inodes.find(ROOT_INO) is None:
            root = Inode(ROOT_INO, mode, uid, gid, 0, now_ns, now_ns, nlink=2)
            self.inodes.insert(root._replace(remote_key=ROOT_KEY, metadata_known=not has_key))

    def create(self, parent: Ino, name: str, inode: Inode, component: str | None = None) -> Inode:
        """Add an inode and its first name. Raises Exists, see Dentries.add."""
        inode = self.inodes.insert(inode)
        self.dentries.add(parent, name, inode, component)
        return inode

    def drop(self, inode: Inode, due_ns: int) -> None:
        """Forget an inode without names: what the bucket has (or may have) of it becomes tombstones."""
        etag_of: dict[ObjectKey, str | None] = {}
        if inode.attempt_key is not None and not self._is_object_of_another(inode, inode.attempt_key):
            etag_of[inode.attempt_key] = None
        if inode.remote_key is not None and not self._is_object_of_another(inode, inode.remote_key):
            etag_of[inode.remote_key] = inode.remote_etag
        for key, etag in etag_of.items():
            self.tombstones.put(key, etag, due_ns)  # type: ignore[arg-type]
        self.forget(inode.ino)

    def keep_written_key(self, directory: Inode) -> None:
        """A directory is about to get another path, itself or with one above: what was uploaded below it is to follow.
        Of no effect for one that has a key already, or that waited for another directory to leave its own."""
        key = self.dentries.written_key(directory)
        if directory.remote_key is None and key is not None and self.inodes.with_remote_key(key, is_dir=True) is None:
            self.inodes.update(directory._replace(remote_key=key))

    def abandon_attempt(self, inode: Inode, due_ns: int) -> None:
        """A write whose outcome is not known is not tried again at that key: what it may have left is nobody's."""
        key = inode.attempt_key
        if key not in (None, inode.remote_key) and not self._is_object_of_another(inode, key):
            self.tombstones.put(key, None, due_ns)

    def _is_object_of_another(self, inode: Inode, key: ObjectKey) -> bool:
        owner = self.inodes.with_remote_key(key, is_dir=inode.is_dir)
        return owner is not None and owner.ino != inode.ino and owner.nlink > 0

    def forget(self, ino: Ino) -> None:
        """Remove the row of an inode of which the bucket has nothing, or nothing that is ours to delete. The one of its
        cached bytes goes with them, when they are given up."""
        self.inodes.delete(ino)
        self.parked.remove(ino)

    def close(self) -> None:
        self._database.close()
