"""How long a stat takes that the drive itself must answer, while it uploads what was written before.

The kernel would answer from what it remembers for a second; AT_STATX_FORCE_SYNC makes it ask.
"""

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

AT_FDCWD = -100
AT_STATX_FORCE_SYNC = 0x2000
STATX_BASIC_STATS = 0x7FF
PAUSE_S = 0.002
LOOK_S = 0.5

_libc = ctypes.CDLL(None, use_errno=True)


def stat_seconds(path: Path, is_over: Callable[[], bool], *, pause_s: float = PAUSE_S) -> list[float]:
    """Of each stat of `path`, one after the other, until `is_over`, which is asked twice a second."""
    buffer = ctypes.create_string_buffer(256)
    name = os.fsencode(path)
    taken: list[float] = []
    look_s = time.monotonic() + LOOK_S
    while True:
        started = time.perf_counter()
        if _libc.statx(AT_FDCWD, name, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, buffer):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
        taken.append(time.perf_counter() - started)
        if time.monotonic() > look_s:
            if is_over():
                return taken
            look_s = time.monotonic() + LOOK_S
        time.sleep(pause_s)


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
