"""Words to rates by the time of day."""

import pytest

from s3mount.amounts import parse_size
from s3mount.bandwidth import Bandwidth, Rates, parse_bandwidth
from s3mount.errors import UsageError

KIB, MIB = 1 << 10, 1 << 20


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("off", Rates()),
        ("10M", Rates(10 * MIB, 10 * MIB)),
        ("10M:off", Rates(10 * MIB, None)),
        ("off:1.5MiB", Rates(None, 3 * MIB // 2)),
        (" 100K:2MB ", Rates(100 * KIB, 2_000_000)),
    ],
)
def test_rates_of_all_day(text: str, rates: Rates) -> None:
    bandwidth = parse_bandwidth(text, parse_size)
    assert [bandwidth.at(minute) for minute in (0, 720, 1439)] == [rates] * 3
    assert bandwidth.is_limited == (rates != Rates())


def test_a_timetable() -> None:
    bandwidth = parse_bandwidth("10M:off@08:00,1M:4M 19:00,off", parse_size)
    assert bandwidth.at(0) == bandwidth.at(8 * 60 - 1) == Rates(10 * MIB, None)
    assert bandwidth.at(8 * 60) == bandwidth.at(19 * 60 - 1) == Rates(MIB, 4 * MIB)
    assert bandwidth.at(19 * 60) == bandwidth.at(24 * 60 - 1) == Rates()
    assert bandwidth.is_limited


def test_the_default_is_no_limit() -> None:
    assert not Bandwidth().is_limited


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "10M:", ":10M", "fast", "-1M", "0", "1000", "10M:1:2", "1M@", "1M@8", "1M@08:00", "1M@08:00,"),
        *("1M@24:00,off", "1M@08:60,off", "1M@00:00,off", "1M@19:00,off 08:00,1M", "1M@08:00,off 08:00,1M"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write"):
        parse_bandwidth(text, parse_size)
