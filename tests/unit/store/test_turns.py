"""How many GETs are under way at once: few at first, more while that pays, fewer when S3 asks to slow down."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from s3mount.errors import Throttled, Unreachable
from s3mount.model import ETag, ObjectKey
from s3mount.store import concurrency, patience, turns
from s3mount.store.concurrency import LIMIT_FIRST, Concurrency, Phase
from s3mount.store.s3 import S3Store
from s3mount.store.turns import Turns
from tests.unit.store.conftest import Endpoint, Reply, error_reply

SIZE = 100
THREADS = 8
OBJECT = Reply(206, b"x" * SIZE, {"ETag": '"etag"'}, delay_s=0.01)


@contextmanager
def readers(store: S3Store) -> Iterator[None]:
    """Many threads that read, whatever S3 says."""
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            with contextlib.suppress(Throttled):
                store.get(ObjectKey("a"), start=0, end=SIZE, if_match=ETag("etag"))

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(THREADS):
            pool.submit(read)
        try:
            yield
        finally:
            is_over.set()


def until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_few_at_first_and_more_when_that_brings_more(
    store: S3Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(concurrency.WINDOWS_S, Phase.STARTING, 60.0)
    endpoint.replies = [OBJECT]
    with readers(store):
        until(lambda: len(endpoint.requests) > 5 * THREADS and endpoint.most_at_once == LIMIT_FIRST)
        monkeypatch.setitem(concurrency.WINDOWS_S, Phase.STARTING, 0.2)
        until(lambda: endpoint.most_at_once > LIMIT_FIRST)


def test_fewer_when_s3_asks_to_slow_down(store: S3Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what was too much, and no more for a while."""
    for phase in (Phase.STARTING, Phase.COOLING):
        monkeypatch.setitem(concurrency.WINDOWS_S, phase, 60.0)
    monkeypatch.setattr(concurrency, "COOL_S", 60.0)
    endpoint.replies = [error_reply(503, "SlowDown")]
    control = store._gets._turns._concurrency
    with readers(store):
        until(lambda: control.phase is Phase.COOLING)
        endpoint.replies = [OBJECT]
        begun = len(endpoint.requests)
        until(lambda: len(endpoint.requests) > begun + 4 * THREADS)  # those that were under way are over by then
        endpoint.most_at_once, begun = 0, len(endpoint.requests)
        until(lambda: len(endpoint.requests) > begun + 4 * THREADS)
        assert endpoint.most_at_once <= LIMIT_FIRST // 2


def test_uploads_are_not_slowed_down_by_gets_that_are(store: S3Store, endpoint: Endpoint) -> None:
    told: list[None] = []
    store._sender._on_strain = lambda: told.append(None)  # type: ignore[method-assign]
    endpoint.replies = [error_reply(503, "SlowDown")]
    with pytest.raises(Throttled):
        store.get(ObjectKey("a"), start=0, end=SIZE, if_match=ETag("etag"))
    assert not told
    with pytest.raises(Throttled):
        store.head(ObjectKey("a"))
    assert told


def test_nobody_waits_longer_for_a_turn_than_his_patience_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Turns(Concurrency(1))
    with one.turn(0), patience.limited(0.05), pytest.raises(Unreachable), one.turn(0):
        pass
    monkeypatch.setattr(turns, "TURN_WAIT_S_MAX", 0.05)
    with one.turn(0), pytest.raises(Unreachable), one.turn(0):
        pass
    with one.turn(0):
        pass


def test_a_request_that_failed_gives_its_turn_back() -> None:
    one = Turns(Concurrency(1))
    for _ in range(3):
        with pytest.raises(Throttled), one.turn(0):
            raise Throttled("slow down")
