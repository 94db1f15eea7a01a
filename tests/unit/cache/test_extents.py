from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.cache.extents import Extents

SIZE = 40
ranges = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE))
steps = st.lists(st.tuples(st.sampled_from(["add", "remove", "clip"]), ranges), max_size=30)


def as_set(pieces: list[tuple[int, int]]) -> set[int]:
    return {byte for start, end in pieces for byte in range(start, end)}


@settings(max_examples=300, deadline=None)
@given(steps, ranges)
def test_extents_are_a_set_of_integers(steps: list[tuple[str, tuple[int, int]]], probe: tuple[int, int]) -> None:
    extents, model = Extents(), set[int]()
    for step, (start, end) in steps:
        before = len(model)
        if step == "add":
            model |= set(range(start, end))
            assert extents.add(start, end) == len(model) - before
        elif step == "remove":
            model -= set(range(start, end))
            assert extents.remove(start, end) == before - len(model)
        else:
            model = {byte for byte in model if byte < start}
            assert extents.clip(start) == before - len(model)
        pieces = list(extents)
        assert as_set(pieces) == model
        assert all(left[1] < right[0] for left, right in pairwise(pieces))
        assert extents.total == len(model)
        assert extents.end == max(model, default=-1) + 1
    wanted = set(range(*probe))
    assert extents.covers(*probe) == (wanted <= model)
    assert as_set(extents.missing(*probe)) == wanted - model
    assert as_set(extents.within(*probe)) == wanted & model
    assert all(start < end for start, end in extents.missing(*probe) + extents.within(*probe))
    assert Extents.unpack(extents.packed()) == extents
    assert extents.copy() == extents


@given(st.lists(ranges, max_size=6), st.lists(ranges, max_size=6))
def test_intersection(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    both = Extents(left).intersection(Extents(right))
    assert as_set(list(both)) == as_set(list(left)) & as_set(list(right))
    assert both.total == len(as_set(list(both)))


@pytest.mark.parametrize("packed", [b"\1", b"\0" * 8, b"\0" * 16, b"\5" + b"\0" * 15])
def test_unpack_refuses_what_packed_cannot_make(packed: bytes) -> None:
    with pytest.raises(ValueError, match="extents"):
        Extents.unpack(packed)
