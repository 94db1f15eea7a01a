"""Words to sizes and durations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.amounts import parse_duration, parse_size
from s3mount.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("0", 0), ("12", 12), ("12B", 12), ("500M", 500 << 20), ("10GiB", 10 << 30), ("1.5k", 1536), ("0.0009k", 0)),
        *(("2MB", 2_000_000), ("1 TiB", 1 << 40), ("3g", 3 << 30)),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1", "1X", "GiB", "1iB", "1e9", "10 Gi B", "inf"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=1 << 62))
def test_a_plain_number_is_that_many_bytes(count: int) -> None:
    assert parse_size(str(count)) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("0", 0), ("90", 90), ("1.5 s", 1.5), ("2d", 172800)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-1s", "1w", "nan", "inf", "400d", "1 2"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text)
