"""The retry policy by itself."""

import threading
import time

import pytest

from s3mount.errors import Denied, PreconditionFailed, StoreError, Throttled, Unreachable
from s3mount.store import retry
from s3mount.store.retry import ATTEMPTS_MAX, Attempts


def _run(*outcomes: StoreError, deadline_s: float = 10.0, stopping: threading.Event | None = None) -> int:
    """How many tries it took; each outcome fails one try."""
    left = list(outcomes)
    tries = 0

    def request() -> int:
        nonlocal tries
        tries += 1
        if left:
            raise left.pop(0)
        return tries

    return Attempts(deadline_s, stopping or threading.Event()).run(request)


@pytest.mark.parametrize("failures", range(ATTEMPTS_MAX))
def test_temporary_errors_are_tried_again(failures: int) -> None:
    assert _run(*[Throttled("t")] * failures) == failures + 1


def test_the_last_error_is_raised() -> None:
    with pytest.raises(Throttled):
        _run(*[Unreachable("u")] * (ATTEMPTS_MAX - 1), Throttled("t"))


def test_permanent_errors_are_raised_at_once() -> None:
    with pytest.raises(Denied):
        _run(Throttled("t"), Denied("d"))


def test_precondition_after_a_lost_reply_is_the_lost_reply() -> None:
    with pytest.raises(Unreachable, match="u"):
        _run(Unreachable("u"), Throttled("t"), PreconditionFailed("p"))
    with pytest.raises(PreconditionFailed):
        _run(Throttled("t"), PreconditionFailed("p"))


def test_no_try_begins_in_the_second_half_of_the_deadline() -> None:
    tries = 0

    def request() -> None:
        nonlocal tries
        tries += 1
        time.sleep(0.06)
        raise Throttled("t")

    with pytest.raises(Throttled):
        Attempts(0.1, threading.Event()).run(request)
    assert tries == 1


def test_one_try_follows_one_that_took_all_of_its_time() -> None:
    tries = 0

    def request() -> None:
        nonlocal tries
        tries += 1
        time.sleep(attempts.attempt_timeout_s)
        raise Unreachable("silent")

    attempts = Attempts(1.0, threading.Event(), retries_silence=True)
    with pytest.raises(Unreachable):
        attempts.run(request)
    assert tries == 2


def test_stopping_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "DELAY_S_FIRST", 5.0)
    stopping = threading.Event()
    stopping.set()
    started = time.monotonic()
    with pytest.raises(Throttled):
        _run(Throttled("t"), deadline_s=60, stopping=stopping)
    assert time.monotonic() - started < 1
