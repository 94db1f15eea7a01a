"""Sizes and durations as a person writes them: 10GiB, 90s. Pure.

Used by config.py, and by every command that takes a time-out: apart from config.py, so that they start without it.
"""

import re
from typing import Final

from s3mount.errors import UsageError

DURATION_S_MAX: Final = 366 * 86400.0

_SIZE = re.compile(r"(\d+)(?:\.(\d+))?\s*(?:([KMGTP])(i?B)?|B)?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", re.IGNORECASE)
_DURATION_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(text: str) -> int:
    """A size in bytes, rounded down. K, M, G, T and KiB, MiB, … are powers of 1024; KB, MB, … powers of 1000. Raises
    UsageError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a size: write for example 10GiB or 500M")
    whole, decimals, unit, suffix = match.groups(default="")
    base = 1000 if suffix.upper() == "B" else 1024
    unit_bytes: int = base ** ("KMGTP".index(unit.upper()) + 1) if unit else 1
    scale: int = 10 ** len(decimals)
    return int(whole + decimals) * unit_bytes // scale


def parse_duration(text: str) -> float:
    """A duration in seconds: a number with ms, s, m, h or d; seconds without. Raises UsageError."""
    match = _DURATION.fullmatch(text.strip())
    seconds = -1.0 if match is None else float(match[1]) * _DURATION_UNITS_S[(match[2] or "s").lower()]
    if not 0 <= seconds <= DURATION_S_MAX:
        raise UsageError(f"{text!r} is not a duration: write for example 1s, 500ms or 2m (at most a year)")
    return seconds
