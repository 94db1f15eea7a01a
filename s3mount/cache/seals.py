"""Checksums over the present bytes of one block file: how damage on the local disk is told from content.

Owned by a BlockFile, called under its lock. Pure but for the bytes it asks for through a callable. Knows neither which
bytes are dirty nor what to do about damage: that is damage.py.

A seal is the CRC-32C of a range that lies within one block. Present bytes may have no seal (grown zeros, what a killed
process wrote and did not save): they are believed. Seals are kept in the index in rows of SEGMENT_BLOCKS blocks.

No state that a crash leaves behind may make good bytes look damaged, so:
- before bytes change, a saved row whose seals cover any of them is removed (`saved_over`, `forget_saved`); it is
  written again, with the seals of the new bytes, at the next save;
- a row counts only under the tag it was saved with (trust.py). After power loss, when bytes and rows may be of
  different times, there are no seals;
- a seal that reaches past the present bytes says nothing.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from awscrt.checksums import combine_crc32c, crc32c

from s3mount.cache.disk import Buffer

SEAL_BLOCK_BYTES = 128 << 10
SEGMENT_BLOCKS = 64
SEGMENT_BYTES = SEAL_BLOCK_BYTES * SEGMENT_BLOCKS
_CRC_BITS = 0xFFFFFFFF
_PACKED = struct.Struct("<III")

ReadBytes = Callable[[int, int], bytes]


class Seal(NamedTuple):
    """[start, end) had the checksum `crc`; `is_verified`: and it was seen to be so since the file was loaded."""

    start: int
    end: int
    crc: int
    is_verified: bool


class _Segment:
    __slots__ = ("blocks", "is_saved", "saved")

    def __init__(self, seals: list[Seal], *, is_saved: bool) -> None:
        self.blocks: dict[int, list[Seal]] = {}
        for seal in seals:
            self.blocks.setdefault(seal.start // SEAL_BLOCK_BYTES, []).append(seal)
        # The ranges that the row on disk speaks of.
        self.saved = [(seal.start, seal.end) for seal in seals]
        self.is_saved = is_saved


class Seals:
    __slots__ = ("_packed", "_segments")

    def __init__(self, packed: Mapping[int, bytes]) -> None:
        """`packed`: rows as `unsaved` gave them, by segment. A row that makes no sense counts as none."""
        self._packed = dict(packed)
        self._segments: dict[int, _Segment] = {}

    # -- looking -------------------------------------------------------------------------------------------------

    def over(self, start: int, end: int) -> list[Seal]:
        """The seals that cover any byte of [start, end), in order of their blocks."""
        return [
            seal
            for segment, number in self._blocks(start, end)
            for seal in segment.blocks.get(number, ())
            if seal.start < end and seal.end > start
        ]

    def unverified(self, start: int, end: int) -> list[Seal]:
        """Those of `over` that were not checked yet."""
        return [seal for seal in self.over(start, end) if not seal.is_verified]

    def _blocks(self, start: int, end: int) -> Iterator[tuple[_Segment, int]]:
        if start >= end:
            return
        first, last = start // SEGMENT_BYTES, (end - 1) // SEGMENT_BYTES
        numbers: list[int] | range = range(first, last + 1)
        if last - first > len(self._packed) + len(self._segments):
            numbers = sorted(n for n in {*self._packed, *self._segments} if first <= n <= last)
        for number in numbers:
            segment = self._find(number)
            if segment is not None:
                low = max(number * SEGMENT_BLOCKS, start // SEAL_BLOCK_BYTES)
                high = min((number + 1) * SEGMENT_BLOCKS, -(-end // SEAL_BLOCK_BYTES))
                for block in range(low, high):
                    yield segment, block

    def _find(self, number: int) -> _Segment | None:
        segment = self._segments.get(number)
        if segment is None and number in self._packed:
            segment = self._segments[number] = _Segment(_unpack(number, self._packed.pop(number)), is_saved=True)
        return segment

    def _get(self, number: int) -> _Segment:
        segment = self._find(number)
        if segment is None:
            segment = self._segments[number] = _Segment([], is_saved=True)
        return segment

    # -- changing ------------------------------------------------------------------------------------------------

    def cut(self, start: int, end: int, read: ReadBytes) -> None:
        """Nothing is said of [start, end) any more. What stays of a seal that is cut in two is read and sealed anew; if
        it was damaged, with seals that never match. Raises what `read` raises; nothing more is cut then."""
        for seal in self.over(start, end):
            if start <= seal.start and seal.end <= end:
                self.drop(seal)
                continue
            data = memoryview(read(seal.start, seal.end))
            self.drop(seal)
            is_good = crc32c(data) == seal.crc and len(data) == seal.end - seal.start
            for low, high in ((seal.start, min(start, seal.end)), (max(end, seal.start), seal.end)):
                if low < high:
                    crc = crc32c(data[low - seal.start : high - seal.start])
                    self._insert(Seal(low, high, crc if is_good else crc ^ _CRC_BITS, is_good))

    def add(self, start: int, data: Buffer) -> None:
        """Seal what was just written at `start`, where nothing is sealed."""
        view = memoryview(data)
        at = 0
        while at < len(view):
            stop = min(len(view), at + SEAL_BLOCK_BYTES - (start + at) % SEAL_BLOCK_BYTES)
            self._insert(Seal(start + at, start + stop, crc32c(view[at:stop]), True))
            at = stop

    def _insert(self, seal: Seal) -> None:
        """Joined with its neighbours of the same block, where those are verified too."""
        number = seal.start // SEAL_BLOCK_BYTES
        segment = self._get(number // SEGMENT_BLOCKS)
        segment.is_saved = False
        seals = segment.blocks.setdefault(number, [])
        for other in seals.copy() if seal.is_verified else ():
            if other.is_verified and other.end == seal.start:
                seals.remove(other)
                seal = Seal(other.start, seal.end, _joined(other, seal), True)
            elif other.is_verified and other.start == seal.end:
                seals.remove(other)
                seal = Seal(seal.start, other.end, _joined(seal, other), True)
        seals.append(seal)

    def checked(self, seal: Seal, *, holds: bool) -> None:
        """`seal` was compared with the bytes. One that does not hold is compared again at every use."""
        block = self._get(seal.start // SEGMENT_BYTES).blocks[seal.start // SEAL_BLOCK_BYTES]
        block[block.index(seal)] = seal._replace(is_verified=holds)

    def drop(self, seal: Seal) -> None:
        number = seal.start // SEAL_BLOCK_BYTES
        segment = self._get(number // SEGMENT_BLOCKS)
        segment.blocks[number].remove(seal)
        if not segment.blocks[number]:
            del segment.blocks[number]
        segment.is_saved = False

    def clear(self) -> None:
        """Nothing is said of anything, here and in the index."""
        self._packed.clear()
        self._segments.clear()

    # -- the rows ------------------------------------------------------------------------------------------------

    def saved_over(self, start: int, end: int) -> list[int]:
        """The segments whose saved row speaks of any byte of [start, end)."""
        found: dict[int, None] = {}
        for segment, block in self._blocks(start, end):
            number = block // SEGMENT_BLOCKS
            if number not in found and any(low < end and high > start for low, high in segment.saved):
                found[number] = None
        return list(found)

    def forget_saved(self, numbers: list[int]) -> None:
        """The rows of these segments are removed."""
        for number in numbers:
            segment = self._get(number)
            segment.saved, segment.is_saved = [], False

    def unsaved(self) -> dict[int, bytes]:
        """The rows to write, by segment; empty ones are to be removed."""
        return {number: _pack(number, segment) for number, segment in self._segments.items() if not segment.is_saved}

    def mark_saved(self) -> None:
        """What `unsaved` gave is written."""
        for segment in self._segments.values():
            if not segment.is_saved:
                segment.saved = [(seal.start, seal.end) for seals in segment.blocks.values() for seal in seals]
                segment.is_saved = True


def _joined(left: Seal, right: Seal) -> int:
    return combine_crc32c(left.crc, right.crc, right.end - right.start)  # type: ignore[no-any-return]


def _pack(number: int, segment: _Segment) -> bytes:
    base = number * SEGMENT_BYTES
    return b"".join(
        _PACKED.pack(seal.start - base, seal.end - base, seal.crc)
        for seals in segment.blocks.values()
        for seal in seals
    )


def _unpack(number: int, packed: bytes) -> list[Seal]:
    base = number * SEGMENT_BYTES
    usable = packed[: len(packed) - len(packed) % _PACKED.size]
    fields = [Seal(base + start, base + end, crc, False) for start, end, crc in _PACKED.iter_unpack(usable)]
    return [
        seal
        for seal in fields
        if base <= seal.start < seal.end <= base + SEGMENT_BYTES
        and seal.start // SEAL_BLOCK_BYTES == (seal.end - 1) // SEAL_BLOCK_BYTES
    ]
