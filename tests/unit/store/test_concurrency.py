"""How many uploads are let go at once, beside a server whose speed the test decides, by a clock that it moves."""

import random
from collections.abc import Callable

import pytest

from s3mount.store.concurrency import COOL_S, LIMIT_FIRST, TABLE, Concurrency, Evidence, Phase


class Server:
    """Does `rate(at once)` requests a second; `busy_from`: with as many it asks to slow down."""

    def __init__(self, rate: Callable[[int], float], limit_max: int = 16, busy_from: int = 1000) -> None:
        self.now_s = 0.0
        self.rate = rate
        self.busy_from = busy_from
        self.control = Concurrency(limit_max, monotonic_s=lambda: self.now_s)

    def work(self, seconds: float, *, is_full: bool = True, size: int = 1000) -> list[int]:
        """The limits that there were."""
        limits = [self.control.limit]
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            limit = self.control.limit
            self.now_s += 1 / self.rate(limit)
            if is_full:
                self.control.note_full()
            if limit >= self.busy_from:
                self.control.strained()
            else:
                self.control.succeeded(size)
            if limits[-1] != self.control.limit:
                limits.append(self.control.limit)
        return limits


def test_every_phase_and_finding_has_a_row() -> None:
    assert TABLE.keys() == {(phase, found) for phase in Phase for found in Evidence}


def test_a_server_that_takes_more_the_more_at_once_gets_all_soon() -> None:
    server = Server(lambda limit: 20 * limit)
    assert server.work(3) == [LIMIT_FIRST, 8, 16]
    assert set(server.work(60)) == {16}


def test_a_server_at_its_best_with_few_is_not_given_many() -> None:
    server = Server(lambda limit: 20 * min(limit, 6))
    server.work(5)
    limits = server.work(120)
    assert min(limits) >= 4
    assert max(limits) <= 10


def test_a_server_that_does_less_with_more_gets_fewer() -> None:
    server = Server(lambda limit: 100 if limit <= 4 else 400 / limit)
    server.work(5)
    assert max(server.work(60)) <= 5


def test_too_busy_halves_once_for_a_crowd_and_grows_again_by_little() -> None:
    server = Server(lambda limit: 20 * limit)
    server.work(5)
    for _ in range(16):
        server.control.strained()
    assert (server.control.limit, server.control.phase) == (8, Phase.COOLING)
    assert server.work(COOL_S - 0.2) == [8]
    limits = server.work(10)
    assert limits == [8, 10, 12, 15, 16]


def test_what_is_too_busy_is_approached_from_below_again_and_again() -> None:
    server = Server(lambda limit: 20 * limit, busy_from=12)
    server.work(5)
    limits = server.work(120)
    assert max(limits) <= 12
    assert min(limits) >= 5


def test_never_below_one() -> None:
    server = Server(lambda limit: 20 * limit)
    for _ in range(10):
        server.now_s += COOL_S + 1
        server.control.strained()
    assert server.control.limit == 1
    server.work(30)
    assert server.control.limit == 16


@pytest.mark.parametrize("limit_max", [1, 2, 3, 5, 64])
def test_never_above_the_bound(limit_max: int) -> None:
    server = Server(lambda limit: 20 * limit, limit_max=limit_max)
    assert max(server.work(30)) == limit_max


def test_when_there_is_little_to_do_nothing_is_learnt() -> None:
    server = Server(lambda limit: 20 * limit)
    assert server.work(30, is_full=False) == [LIMIT_FIRST]


def test_large_files_on_a_slow_line_are_waited_for() -> None:
    """A window has as many ends as may be under way, however long that takes."""
    server = Server(lambda _: 0.1)
    server.work(25, size=8 << 20)
    assert server.control.limit == LIMIT_FIRST
    server.work(10, size=8 << 20)
    assert server.control.limit == 8


@pytest.mark.parametrize("seed", range(5))
def test_noise_does_not_keep_it_low_for_long(seed: int) -> None:
    dice = random.Random(seed)
    server = Server(lambda limit: 20 * limit * dice.uniform(0.5, 1.5))
    server.work(30)
    assert server.control.limit >= 8
