"""What the cache asks of the index: one row per inode that says which bytes its block file holds.

The index fulfils it (index/cache_entries.py); the cache calls it, from many threads, under a block file's lock at
most. An entry call may take the index lock, the last in the order, and calls nothing back.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from s3mount.model import CacheRow, Ino


class CacheEntries(Protocol):
    def load(self, ino: Ino) -> CacheRow | None:
        """The row last saved, or None."""

    def save(self, ino: Ino, row: CacheRow, seals: Mapping[int, bytes]) -> None:
        """Insert or replace the row, and do as `save_seals`, all or nothing; durable against kill -9 on return."""

    def load_seals(self, ino: Ino) -> Sequence[tuple[int, bytes]]:
        """(segment, bytes last saved) for each segment that has a row."""

    def save_seals(self, ino: Ino, seals: Mapping[int, bytes]) -> None:
        """Insert or replace the rows of these segments; b"" removes one. Durable against kill -9 on return."""

    def remove(self, ino: Ino) -> None:
        """Drop the row if there is one, and the seals; durable against kill -9 on return."""

    def commit_durably(self) -> None:
        """Everything committed to the index before this call survives power loss when it returns."""

    def total_bytes(self) -> int:
        """The sum of present_size over all rows."""

    def file_size(self, ino: Ino) -> int:
        """The size of the file as last committed, 0 when the inode is gone. A file is cut there before it is cut in the
        cache, and grows there after, so bytes below it that neither cache nor bucket has are lost."""

    def holes(self) -> Sequence[tuple[Ino, bytes]]:
        """(inode, holes) of each row with any."""

    def least_recently_used(self, limit: int) -> Sequence[Ino]:
        """The inodes with present_size > 0, smallest used_ns first, at most `limit`."""
