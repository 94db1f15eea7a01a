"""Holes: ranges of a file that were lengthened over or punched here, and that take no room. Pure arithmetic.

Owned by a BlockFile, called under its lock. A hole is a part of what is present: it reads as zeros from the block
file, which is sparse there. Holes consist of whole blocks, as those of a local file system do, so that their number
stays below a file's size in blocks whatever is written between them.
"""

from collections.abc import Iterable

from s3mount.cache.extents import Extents
from s3mount.model import Ino, Seek

HOLE_BLOCK_BYTES = 4096


class Holes(Extents):
    __slots__ = ()

    def dig(self, start: int, end: int) -> None:
        """[start, end) takes no room from now on: the blocks that lie whole inside it."""
        self.add(-(-start // HOLE_BLOCK_BYTES) * HOLE_BLOCK_BYTES, end - end % HOLE_BLOCK_BYTES)

    def fill(self, start: int, end: int) -> None:
        """Some of [start, end) is written: every block that it touches takes room."""
        if self and start < end:
            self.remove(start - start % HOLE_BLOCK_BYTES, -(-end // HOLE_BLOCK_BYTES) * HOLE_BLOCK_BYTES)

    def seek(self, offset: int, size: int, wanted: Seek) -> int | None:
        """The first byte of a file of `size` at or after `offset` that is data, or in a hole; the end of every file
        counts as a hole. None: there is none."""
        if offset >= size:
            return None
        parts = self.missing(offset, size) if wanted is Seek.DATA else self.within(offset, size)
        if parts:
            return parts[0][0]
        return size if wanted is Seek.HOLE else None


class SparseFiles:
    """How much of each file is holes, for getattr, which must not wait for a block file. Any thread; one word each,
    so no lock."""

    def __init__(self, packed: Iterable[tuple[Ino, bytes]]):
        """`packed`: the holes of files as the rows have them."""
        self._hole_bytes = {ino: Extents.unpack(holes).total for ino, holes in packed}

    def hole_bytes(self, ino: Ino) -> int:
        return self._hole_bytes.get(ino, 0)

    def note(self, ino: Ino, size: int) -> None:
        if size:
            self._hole_bytes[ino] = size
        elif ino in self._hole_bytes:
            self._hole_bytes.pop(ino, None)
