"""Sets of byte offsets kept as sorted, disjoint, non-touching half-open ranges. Pure arithmetic.

Called by the block files (which bytes are present, which are dirty) and by the write-back's part plan. No lock:
whoever owns an Extents guards it. Knows nothing of files or objects.
"""

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise


class Extents:
    """Kept as one flat list of boundaries [start, end, start, end, …]: an index is even at a start, odd at an end."""

    __slots__ = ("_bounds", "_total")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._bounds: list[int] = []
        self._total = 0
        for start, end in ranges:
            self.add(start, end)

    @classmethod
    def unpack(cls, packed: bytes) -> "Extents":
        """The inverse of `packed`. Raises ValueError for bytes that `packed` cannot have made."""
        if len(packed) % 16:
            raise ValueError(f"extents of {len(packed)} bytes")
        bounds = list(struct.unpack(f"<{len(packed) // 8}Q", packed))
        if any(left >= right for left, right in pairwise(bounds)):
            raise ValueError("extents out of order")
        extents = cls()
        extents._bounds = bounds
        extents._total = sum(bounds[1::2]) - sum(bounds[::2])
        return extents

    def packed(self) -> bytes:
        return struct.pack(f"<{len(self._bounds)}Q", *self._bounds)

    @property
    def total(self) -> int:
        """How many bytes are in the set."""
        return self._total

    @property
    def end(self) -> int:
        """One past the last byte; 0 when empty."""
        return self._bounds[-1] if self._bounds else 0

    def __bool__(self) -> bool:
        return bool(self._bounds)

    def __len__(self) -> int:
        return len(self._bounds) // 2

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._bounds[::2], self._bounds[1::2], strict=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Extents) and self._bounds == other._bounds

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Extents({list(self)})"

    def copy(self) -> "Extents":
        extents = Extents()
        extents._bounds = self._bounds.copy()
        extents._total = self._total
        return extents

    def add(self, start: int, end: int) -> int:
        """Put [start, end) in; returns how many of its bytes are new."""
        if start >= end:
            return 0
        bounds = self._bounds
        first = bisect_left(bounds, start)
        last = bisect_right(bounds, end)
        if first == last:
            if first % 2:
                return 0
            bounds[first:first] = (start, end)
            self._total += end - start
            return end - start
        replacement = ([start] if first % 2 == 0 else []) + ([end] if last % 2 == 0 else [])
        return self._replace(first, last, replacement)

    def remove(self, start: int, end: int) -> int:
        """Take [start, end) out; returns how many bytes were in."""
        if start >= end or not self._bounds:
            return 0
        bounds = self._bounds
        first = bisect_left(bounds, start)
        last = bisect_right(bounds, end)
        replacement = ([start] if first % 2 else []) + ([end] if last % 2 else [])
        return -self._replace(first, last, replacement)

    def _replace(self, first: int, last: int, replacement: list[int]) -> int:
        """Swap the boundaries [first, last); returns how the total changed. Ends count +, starts −; index `first`
        has the same parity before and after."""
        before = _signed_sum(self._bounds[first:last], first)
        after = _signed_sum(replacement, first)
        self._bounds[first:last] = replacement
        self._total += after - before
        return after - before

    def clip(self, end: int) -> int:
        """Take out everything at and after `end`; returns how many bytes were in."""
        return self.remove(end, self.end) if self._bounds and self._bounds[-1] > end else 0

    def clear(self) -> int:
        """Take everything out; returns how many bytes were in."""
        total = self._total
        self._bounds.clear()
        self._total = 0
        return total

    def covers(self, start: int, end: int) -> bool:
        """Whether all of [start, end) is in. An empty range is."""
        if start >= end:
            return True
        bounds = self._bounds
        if len(bounds) == 2:
            return bounds[0] <= start and end <= bounds[1]
        after = bisect_right(bounds, start)
        return after % 2 == 1 and end <= bounds[after]

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of [start, end) that are not in, in order."""
        return self._pieces(start, end, odd=0)

    def within(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of [start, end) that are in, in order."""
        return self._pieces(start, end, odd=1)

    def _pieces(self, start: int, end: int, odd: int) -> list[tuple[int, int]]:
        if start >= end:
            return []
        bounds = self._bounds
        first = bisect_right(bounds, start)
        last = bisect_left(bounds, end)
        edges = [start, *bounds[first:last], end]
        skip = (first % 2) ^ odd
        return list(zip(edges[skip::2], edges[skip + 1 :: 2], strict=False))

    def intersection(self, other: "Extents") -> "Extents":
        return Extents(piece for start, end in self for piece in other.within(start, end))


def _signed_sum(bounds: list[int], first: int) -> int:
    total = sum(bounds[1::2]) - sum(bounds[::2])
    return -total if first % 2 else total
