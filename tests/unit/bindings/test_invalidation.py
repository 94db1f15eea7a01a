"""What the kernel is told of others' changes: in order, without ever holding up who noticed them."""

import errno
import threading
from collections.abc import Iterator

import pytest

from s3mount.bindings import courier
from s3mount.bindings.invalidation import Invalidation
from s3mount.model import Ino

DEADLINE_S = 10.0


class Kernel:
    """Forgets what it is told to, once `lets_go` is set."""

    def __init__(self) -> None:
        self.told: list[tuple[Ino, str | None]] = []
        self.lets_go = threading.Event()
        self.is_asked = threading.Semaphore(0)

    def forget(self, ino: Ino, name: str | None = None) -> int:
        self.is_asked.release()
        assert self.lets_go.wait(DEADLINE_S)
        self.told.append((ino, name))
        return -errno.ENOENT


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.lets_go.set()


def test_inodes_and_names_are_told_in_order(kernel: Kernel) -> None:
    kernel.lets_go.set()
    invalidation = Invalidation(kernel.forget, kernel.forget)
    invalidation.note(Ino(1), None)
    invalidation.start()
    invalidation.note(Ino(2), "name")
    for _ in range(2):
        assert kernel.is_asked.acquire(timeout=DEADLINE_S)
    assert invalidation.end()
    assert kernel.told == [(1, None), (2, "name")]


def test_a_kernel_that_takes_its_time_holds_up_nobody(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "WAITING_MAX", 3)
    monkeypatch.setattr(courier, "END_DEADLINE_S", 0.05)
    invalidation = Invalidation(kernel.forget, kernel.forget)
    invalidation.start()
    invalidation.note(Ino(1), None)
    assert kernel.is_asked.acquire(timeout=DEADLINE_S)
    for number in range(10):
        invalidation.note(Ino(number), None)
    assert not invalidation.end()
    kernel.lets_go.set()
    monkeypatch.setattr(courier, "END_DEADLINE_S", DEADLINE_S)
    assert invalidation.end()
    assert kernel.told == [(1, None)]


def test_one_that_was_never_started_has_ended(kernel: Kernel) -> None:
    assert Invalidation(kernel.forget, kernel.forget).end()
