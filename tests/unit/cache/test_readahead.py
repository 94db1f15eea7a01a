from hypothesis import given
from hypothesis import strategies as st

from s3mount.cache.readahead import (
    BLOCK_BYTES,
    GRAIN_BYTES_MIN,
    NEVER,
    Access,
    ReadAhead,
    block_bytes_for,
    random_reach,
    unit,
)

KIB, MIB = 1 << 10, 1 << 20


@given(
    st.integers(1, 100 * MIB),
    st.integers(0, 100 * MIB),
    st.integers(1, 20 * MIB),
    st.sampled_from(Access),
    st.sampled_from([GRAIN_BYTES_MIN, MIB, BLOCK_BYTES]),
    st.sampled_from([GRAIN_BYTES_MIN, MIB, BLOCK_BYTES]),
)
def test_a_unit_begins_the_missing_range(
    size: int, start: int, length: int, access: Access, block: int, reach: int
) -> None:
    start %= size
    end = min(start + length, size)
    low, high = unit(start, end, object_size=size, block_bytes=block, access=access, reach=reach)
    assert 0 <= low <= start < high <= size
    assert high - low <= block


def test_units() -> None:
    def ask(
        start: int, end: int, access: Access, size: int = 100 * MIB, reach: int = GRAIN_BYTES_MIN
    ) -> tuple[int, int]:
        return unit(start, end, object_size=size, block_bytes=BLOCK_BYTES, access=access, reach=reach)

    assert ask(5, 6, Access.RANDOM, size=8 * MIB) == (0, 8 * MIB)
    assert ask(5, 6, Access.STARVED, size=8 * MIB) == (0, 128 * KIB)
    assert ask(5 * MIB, 5 * MIB + 1, Access.RANDOM) == (5 * MIB, 5 * MIB + 128 * KIB)
    assert ask(5 * MIB + 1, 7 * MIB, Access.RANDOM) == (5 * MIB, 7 * MIB)
    assert ask(5 * MIB + 1, 5 * MIB + 2, Access.RANDOM, reach=2 * MIB) == (4 * MIB, 6 * MIB)
    assert ask(5 * MIB, 5 * MIB + 1, Access.STARVED, reach=2 * MIB) == (5 * MIB, 5 * MIB + 128 * KIB)
    assert ask(5 * MIB, 5 * MIB + 1, Access.SEQUENTIAL, reach=512 * KIB) == (5 * MIB, 5 * MIB + 512 * KIB)
    assert ask(5 * MIB, 5 * MIB + 1, Access.SEQUENTIAL, reach=8 * MIB) == (5 * MIB, 8 * MIB)
    assert ask(5 * MIB, 7 * MIB, Access.SEQUENTIAL, reach=512 * KIB) == (5 * MIB, 7 * MIB)


def test_random_reads_grow_where_many_are_here() -> None:
    assert [random_reach(known * KIB) // KIB for known in (0, 128, 384, 512, 1024, 4096, 8192)] == [
        *(128, 128, 128, 256, 512, 2048, 4096)
    ]


def test_sequential_misses_get_twice_as_much_each_time() -> None:
    ahead = ReadAhead()
    windows = []
    for start in range(7):
        assert ahead.note(start * MIB, (start + 1) * MIB) is Access.SEQUENTIAL
        windows.append(ahead.window // KIB)
    assert windows == [512, 1024, 2048, 4096, 8192, 8192, 8192]
    ahead.note(100 * MIB, 101 * MIB)
    assert ahead.window == 512 * KIB


def test_read_ahead_grows_and_stops() -> None:
    ahead = ReadAhead()
    assert ahead.note(0, 100) is Access.SEQUENTIAL
    assert ahead.trigger == 512 * KIB
    spans = []
    for block in range(4):
        ahead.position = block * BLOCK_BYTES + 600 * KIB
        assert ahead.position > ahead.trigger
        spans.append(tuple(n // BLOCK_BYTES for n in ahead.advance(BLOCK_BYTES, 100 * BLOCK_BYTES)))
    assert spans == [(0, 2), (1, 4), (2, 7), (3, 8)]
    assert ahead.note(50 * BLOCK_BYTES, 50 * BLOCK_BYTES + 1) is Access.RANDOM
    assert ahead.trigger == NEVER
    assert ahead.note(50 * BLOCK_BYTES + 1, 50 * BLOCK_BYTES + 2) is Access.SEQUENTIAL
    assert ahead.advance(BLOCK_BYTES, 50 * BLOCK_BYTES + 9) == (50 * BLOCK_BYTES + 2, 50 * BLOCK_BYTES + 9)
    assert ahead.trigger == NEVER


def test_blocks_fit_a_small_cache() -> None:
    assert block_bytes_for(1 << 30) == BLOCK_BYTES
    assert block_bytes_for(8 * MIB) == MIB
    assert block_bytes_for(1) == GRAIN_BYTES_MIN
