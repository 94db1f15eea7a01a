"""How long the calling thread waits for S3: limited around a file operation, unlimited in the background.

Set by vfs, looked at wherever a thread waits for S3 or for another thread that does. A limit counts from the last sign
of life of S3, not from the beginning: what is slow is waited for, what is silent is not. All of a process shares the
sign of life, since one process serves one bucket. No lock: single reads and writes of floats.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")


class _Limit(threading.local):
    """`since_s`: when the operation of this thread began; `limit_s`: its patience, None for as long as it takes."""

    since_s = 0.0
    limit_s: float | None = None


class _Life:
    heard_s = 0.0


_limit = _Limit()
_life = _Life()


@contextmanager
def limited(limit_s: float) -> Iterator[None]:
    """Inside, this thread waits no longer than `limit_s` after the last sign of life. An outer limit stays."""
    if _limit.limit_s is not None:
        yield
        return
    _limit.since_s, _limit.limit_s = time.monotonic(), limit_s
    try:
        yield
    finally:
        _limit.limit_s = None


def heard() -> None:
    """S3 answered, or bytes of an answer came."""
    _life.heard_s = time.monotonic()


def left_s(at_most_s: float) -> float:
    """How long the calling thread may go on waiting, never more than `at_most_s`."""
    if _limit.limit_s is None:
        return at_most_s
    return min(at_most_s, max(0.0, max(_limit.since_s, _life.heard_s) + _limit.limit_s - time.monotonic()))


def wait(future: "Future[Result]", at_most_s: float) -> Result:
    """The outcome of what another thread does. Raises what it raised; TimeoutError when patience ends, or after
    `at_most_s` whatever S3 does."""
    deadline = time.monotonic() + at_most_s
    while True:
        try:
            return future.result(left_s(max(0.0, deadline - time.monotonic())))
        except FutureTimeoutError:
            if future.done() or left_s(max(0.0, deadline - time.monotonic())) <= 0.0:
                raise
