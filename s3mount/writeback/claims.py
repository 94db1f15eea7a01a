"""Which inodes and keys a worker is at. One worker an inode, one request a key: a PUT and a DELETE of the same key are
never both in flight. The lock is a leaf."""

import threading
from collections.abc import Collection

from s3mount.model import Ino, ObjectKey


class Claims:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inos: set[Ino] = set()
        self._keys: set[ObjectKey] = set()

    def claim(self, ino: Ino | None, keys: Collection[ObjectKey]) -> bool:
        """All of them, or none and False."""
        with self._lock:
            if ino in self._inos or not self._keys.isdisjoint(keys):
                return False
            if ino is not None:
                self._inos.add(ino)
            self._keys.update(keys)
            return True

    def release(self, ino: Ino | None, keys: Collection[ObjectKey]) -> None:
        with self._lock:
            if ino is not None:
                self._inos.discard(ino)
            self._keys.difference_update(keys)

    def has_ino(self, ino: Ino) -> bool:
        return ino in self._inos

    def has_key(self, key: ObjectKey) -> bool:
        return key in self._keys

    def count(self) -> int:
        """How many inodes are being uploaded."""
        return len(self._inos)

    def is_empty(self) -> bool:
        return not self._inos and not self._keys
