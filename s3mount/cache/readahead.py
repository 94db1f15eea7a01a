"""What to ask the store for when a read misses: pure arithmetic, and the little state that finds a sequential reader.

Called by the fetcher under the block file's lock. Sends nothing.

Small objects come whole. Of large ones a sequential reader gets 512 KiB at its first read, so that who looks at a
head waits for no more, then twice as much each time up to a block; and blocks ahead of it: none at its first read, then
1, 2, 4. Random access gets what it needs, rounded to 128 KiB … 1 MiB; where half a block's worth of such reads is here
already, as much as half of what is here: a file that is read all over takes a quarter of the requests, for a tenth more
bytes, and one that is read here and there takes no more than it needs. When the cache has no room to keep more,
everybody gets only what they need.
"""

from enum import Enum

BLOCK_BYTES = 8 << 20
GRAIN_BYTES_MIN = 128 << 10
GRAIN_BYTES_MAX = 1 << 20
AHEAD_BLOCKS_MAX = 4
# The kernel sends the reads of one stream through several threads: they arrive out of order, this far apart at most.
SLACK_BYTES = 2 << 20
# A program that only looks at a file's head must not start read-ahead.
HEAD_BYTES = 512 << 10
NEVER = 1 << 63


class Access(Enum):
    SEQUENTIAL = "sequential"
    RANDOM = "random"
    STARVED = "starved"


def block_bytes_for(limit_bytes: int) -> int:
    """The block size in a cache of that limit: eight blocks fit even in a tiny one."""
    size = BLOCK_BYTES
    while size > GRAIN_BYTES_MIN and size * 8 > limit_bytes:
        size //= 2
    return size


def random_reach(known_bytes: int) -> int:
    """How much random access gets in a block of which `known_bytes` are here: a power of two."""
    reach = GRAIN_BYTES_MIN
    while reach * 4 <= known_bytes:
        reach *= 2
    return reach


def unit(start: int, end: int, *, object_size: int, block_bytes: int, access: Access, reach: int) -> tuple[int, int]:
    """The range to request for the missing [start, end), which begins in it: at most one block long, and it ends
    before `end` when more than one request is needed. `reach`: how much to ask for beyond what is missing: from `start`
    on when access is sequential, around it when it is random (a power of two)."""
    if access is not Access.STARVED and object_size <= block_bytes:
        return 0, object_size
    block_end = start - start % block_bytes + block_bytes
    if access is Access.SEQUENTIAL:
        low = start - start % GRAIN_BYTES_MIN
        return low, min(max(low + reach, end), block_end, object_size)
    grain = GRAIN_BYTES_MIN if access is Access.STARVED else min(reach, block_bytes)
    while grain < end - start and grain < min(GRAIN_BYTES_MAX, block_bytes):
        grain *= 2
    unit_start = start - start % grain
    return unit_start, min(-(-end // grain) * grain, block_end, object_size)


class ReadAhead:
    """Where one file's last read ended, and how far ahead of it to fetch. `window`: what a sequential miss gets."""

    __slots__ = ("blocks", "position", "trigger", "window")

    def __init__(self) -> None:
        self.position = 0
        self.blocks = 0
        self.trigger = NEVER
        self.window = HEAD_BYTES

    def note(self, start: int, end: int) -> Access:
        """A read of [start, end) misses; says which kind it is."""
        if not self.position - SLACK_BYTES <= start <= self.position + SLACK_BYTES:
            self.blocks = 0
            self.trigger = NEVER
            self.position = end
            self.window = HEAD_BYTES
            return Access.RANDOM
        if self.trigger == NEVER:
            self.trigger = start + HEAD_BYTES
        else:
            self.window = min(self.window * 2, BLOCK_BYTES)
        self.position = end
        return Access.SEQUENTIAL

    def advance(self, block_bytes: int, object_size: int) -> tuple[int, int]:
        """The reader passed `trigger`: the range ahead that should be present or on its way by now. May be empty."""
        self.blocks = min(self.blocks * 2 or 1, AHEAD_BLOCKS_MAX)
        next_block = -(-self.position // block_bytes) * block_bytes
        self.trigger = next_block if next_block < object_size else NEVER
        return min(self.position, object_size), min(next_block + self.blocks * block_bytes, object_size)
