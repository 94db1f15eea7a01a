"""How much of the line a mount may use, by the time of day: the words a person types for it, and what they mean. Pure.

`10M:off` is 10 MiB/s up and as much as there is down; one rate alone is for both. `10M:off@08:00,1M:4M 19:00,off`: so
from midnight, from eight o'clock on 1 MiB/s up and 4 MiB/s down, from seven in the evening without limit.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from s3mount.errors import UsageError

RATE_MIN: Final = 1024
MINUTES_A_DAY: Final = 24 * 60

_TIME: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


class Rates(NamedTuple):
    """Bytes per second; None: no limit."""

    up: int | None = None
    down: int | None = None


class Bandwidth(NamedTuple):
    """`timetable`: (minute of the day, rates from then on), in that order; the first begins at midnight."""

    timetable: tuple[tuple[int, Rates], ...] = ((0, Rates()),)

    def at(self, minute: int) -> Rates:
        """What holds in this minute of the day."""
        return [rates for start, rates in self.timetable if start <= minute][-1]

    @property
    def is_limited(self) -> bool:
        return any(rates != Rates() for _, rates in self.timetable)


UNLIMITED: Final = Bandwidth()


def parse_bandwidth(text: str, parse_size: Callable[[str], int]) -> Bandwidth:
    """`UP:DOWN[@HH:MM,UP:DOWN ...]`, or one rate for both. Raises UsageError."""
    first, has_times, rest = text.strip().partition("@")
    timetable = [(0, _parse_rates(first, parse_size))]
    words = rest.split()
    if has_times and not words:
        raise UsageError(f"{text!r} has no times after '@': write for example 10M:off@08:00,1M:4M 19:00,off")
    for word in words:
        moment, _, rates = word.partition(",")
        match = _TIME.fullmatch(moment)
        if match is None or not rates:
            raise UsageError(f"{word!r} is not a time and its limit: write for example 08:00,1M:4M")
        minute = int(match[1]) * 60 + int(match[2])
        if minute <= timetable[-1][0]:
            raise UsageError(f"{moment!r} is not later than what is before it: write the times of one day in order")
        timetable.append((minute, _parse_rates(rates, parse_size)))
    return Bandwidth(tuple(timetable))


def _parse_rates(text: str, parse_size: Callable[[str], int]) -> Rates:
    up, is_pair, down = text.partition(":")
    return Rates(_parse_rate(up, parse_size), _parse_rate(down if is_pair else up, parse_size))


def _parse_rate(text: str, parse_size: Callable[[str], int]) -> int | None:
    if text.strip().lower() == "off":
        return None
    try:
        rate = parse_size(text)
    except UsageError as error:
        raise UsageError(f"{text!r} is not a rate: write for example 10M (in a second), or off") from error
    if rate < RATE_MIN:
        raise UsageError(f"{text!r} is less than 1K in a second: write for example 10M, or off")
    return rate
