"""How much goes through a token bucket, by a clock that the test moves."""

import random

import pytest

from s3mount.amounts import parse_size
from s3mount.bandwidth import Bandwidth, Rates, parse_bandwidth
from s3mount.store.token_bucket import SAVED_S_MAX, Throttle

RATE = 1000


class Clock:
    """Sleeping moves it. `minute` is of the day."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.start_minute = 0
        self.is_over = False

    def wait(self, pause_s: float) -> bool:
        assert pause_s > 0
        self.now_s += pause_s
        return self.is_over

    def throttle(self, bandwidth: Bandwidth) -> Throttle:
        return Throttle(
            bandwidth, self.wait, monotonic_s=lambda: self.now_s,
            minute=lambda: (self.start_minute + int(self.now_s // 60)) % (24 * 60),
        )  # fmt: skip


@pytest.fixture
def clock() -> Clock:
    return Clock()


def both(rate: int | None) -> Bandwidth:
    return Bandwidth(((0, Rates(rate, rate)),))


def test_the_first_goes_at_once_and_the_next_waits_for_it(clock: Clock) -> None:
    up = clock.throttle(both(RATE)).up
    assert up.take(5000) == 0
    assert up.take(1) == pytest.approx(5)
    assert clock.now_s == pytest.approx(5)


def test_what_has_no_bytes_waits_for_nobody(clock: Clock) -> None:
    up = clock.throttle(both(RATE)).up
    up.take(5000)
    assert up.take(0) == 0


def test_directions_do_not_wait_for_each_other(clock: Clock) -> None:
    throttle = clock.throttle(both(RATE))
    throttle.up.take(5000)
    assert throttle.down.take(1) == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_rate_holds_whatever_the_sizes(clock: Clock, seed: int) -> None:
    dice = random.Random(seed)
    up = clock.throttle(both(RATE)).up
    sizes = [dice.randrange(1, 3000) for _ in range(200)]
    for size in sizes:
        up.take(size)
    assert sum(sizes[:-1]) / clock.now_s == pytest.approx(RATE)


def test_a_pause_saves_little(clock: Clock) -> None:
    up = clock.throttle(both(RATE)).up
    clock.now_s += 1000
    for _ in range(100):
        up.take(100)
    assert clock.now_s - 1000 >= (99 * 100 - RATE * SAVED_S_MAX) / RATE - 0.01


def test_without_a_limit_nobody_waits(clock: Clock) -> None:
    up = clock.throttle(both(None)).up
    assert [up.take(1 << 30) for _ in range(10)] == [0] * 10


def test_a_limit_that_ends_lets_all_go(clock: Clock) -> None:
    clock.start_minute = 59
    up = clock.throttle(parse_bandwidth("1K@01:00,off", parse_size)).up
    up.take(1 << 20)
    assert up.take(1 << 20) == pytest.approx(60, abs=1.1)
    assert up.take(1) == 0


def test_a_limit_that_begins_holds_for_what_comes_after(clock: Clock) -> None:
    clock.start_minute = 59
    up = clock.throttle(parse_bandwidth("off@01:00,1K", parse_size)).up
    up.take(1 << 30)
    clock.now_s += 60
    up.take(10 << 10)
    assert up.take(1) == pytest.approx(10, abs=SAVED_S_MAX)


def test_nobody_waits_for_what_is_over(clock: Clock) -> None:
    up = clock.throttle(both(RATE)).up
    up.take(1 << 30)
    clock.is_over = True
    assert up.take(1) <= 1
