"""What s3mount's modules find under `threading`, `time` and `concurrent.futures` while they run in a World.

Every lock is a place where another task may have its turn. A lock that is held where S3 is called is told by
`assert_no_lock_held` (locks.py allows none).
"""

import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from types import SimpleNamespace
from typing import Any

import pytest

from s3mount.store import concurrency, patience
from tests.simulation.tasks import World
from tests.support import faulty_store

# One in so many locks that are free is a turn for the others.
LOCKS_A_TURN = 8


class SimClock:
    def __init__(self, world: World) -> None:
        self._world = world

    def now_ns(self) -> int:
        return int((self._world.now_s - self._world.set_back_s) * 1e9)

    def monotonic_s(self) -> float:
        return self._world.now_s


class SimLock:
    """A Lock, or with `is_reentrant` an RLock."""

    def __init__(self, world: World, *, is_reentrant: bool = False) -> None:
        self._world = world
        self._is_reentrant = is_reentrant
        self._owner: object = None
        self._depth = 0

    def _is_free(self) -> bool:
        return self._owner is None or (self._is_reentrant and self._owner is self._world.current)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        world = self._world
        if world.current.name != "main" and not world.is_over:
            if blocking and world.dice.randrange(LOCKS_A_TURN) == 0:
                world.switch()
            if not self._is_free():
                if not blocking:
                    return False
                if not world.wait(lambda: self._owner is None, None if timeout < 0 else timeout):
                    return False
        self._owner = world.current
        self._depth += 1
        if self._depth == 1:
            world.current.locks.append(self)
        return True

    def release(self) -> None:
        self._depth -= 1
        if self._depth <= 0:
            self._depth = 0
            self._owner = None
            if self in self._world.current.locks:
                self._world.current.locks.remove(self)

    def locked(self) -> bool:
        return self._owner is not None

    def __enter__(self) -> "SimLock":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class SimCondition:
    def __init__(self, world: World, lock: SimLock | None = None) -> None:
        self._world = world
        self._lock = lock or SimLock(world, is_reentrant=True)
        self._notices = 0
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def __enter__(self) -> "SimCondition":
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        seen = self._notices
        self._lock.release()
        try:
            return self._world.wait(lambda: self._notices != seen, timeout)
        finally:
            self._lock.acquire()

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        end_s = None if timeout is None else self._world.now_s + timeout
        while not predicate():
            left_s = None if end_s is None else end_s - self._world.now_s
            if left_s is not None and left_s <= 0:
                return False
            self.wait(left_s)
        return True

    def notify_all(self) -> None:
        self._notices += 1

    notify = notify_all


class SimEvent:
    def __init__(self, world: World) -> None:
        self._world = world
        self._flag = False

    def set(self) -> None:
        self._flag = True

    def clear(self) -> None:
        self._flag = False

    def is_set(self) -> bool:
        return self._flag

    def wait(self, timeout: float | None = None) -> bool:
        return self._flag or self._world.wait(self.is_set, timeout)


class SimSemaphore:
    def __init__(self, world: World, value: int = 1) -> None:
        self._world = world
        self._value = value

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        if not self._value and not (blocking and self._world.wait(lambda: self._value > 0, timeout)):
            return False
        self._value -= 1
        return True

    def release(self) -> None:
        self._value += 1

    def __enter__(self) -> "SimSemaphore":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class SimThread:
    def __init__(
        self, world: World, target: Callable[..., object], args: tuple[Any, ...] = (), name: str = "", **_: object
    ) -> None:
        self._world = world
        self._run = lambda: target(*args)
        self._name = name
        self._state = "new"

    def start(self) -> None:
        self._state = "runs"
        self._world.spawn(self._name, self._body)

    def _body(self) -> None:
        try:
            self._run()
        finally:
            self._state = "ended"

    def is_alive(self) -> bool:
        return self._state == "runs"

    def join(self, timeout: float | None = None) -> None:
        if self.is_alive():
            self._world.wait(lambda: not self.is_alive(), timeout)


class SimLocal:
    def __init__(self, world: World) -> None:
        object.__setattr__(self, "_world", world)

    def _mine(self) -> dict[str, object]:
        return self._world.current.locals.setdefault(id(self), {})  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> object:
        try:
            return self._mine()[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: object) -> None:
        self._mine()[name] = value

    def __delattr__(self, name: str) -> None:
        self._mine().pop(name, None)


class SimPool:
    """As many tasks at once as the pool has threads; the queued ones in their order."""

    def __init__(self, world: World, max_workers: int, **_: object) -> None:
        self._world = world
        self._size = self._free = max_workers
        self._queued: list[tuple[Future[Any], Callable[[], object]]] = []
        self._is_shut = False

    def submit(self, function: Callable[..., Any], *args: Any, **named: Any) -> "Future[Any]":
        if self._is_shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[Any] = sim_future(self._world)
        self._queued.append((future, lambda: function(*args, **named)))
        if self._free:
            self._free -= 1
            self._world.spawn(f"pool:{getattr(function, '__name__', '?')}", self._serve)
        return future

    def _serve(self) -> None:
        try:
            while self._queued:
                future, run = self._queued.pop(0)
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    future.set_result(run())
                except Exception as error:  # noqa: BLE001 - the future's to tell
                    future.set_exception(error)
        finally:
            self._free += 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._is_shut = True
        if cancel_futures:
            for future, _ in self._queued:
                future.cancel()
        if wait:
            self._world.wait(lambda: self._free == self._size, None)


def sim_future(world: World) -> "Future[Any]":
    future: Future[Any] = Future()
    real = future.result

    def result(timeout: float | None = None) -> Any:
        if not future.done() and not world.wait(future.done, timeout):
            raise FutureTimeoutError
        return real(0)

    future.result = result  # type: ignore[method-assign]
    return future


def wait_futures(
    world: World,
    futures: Iterable["Future[Any]"],
    timeout: float | None = None,
    return_when: str = "ALL_COMPLETED",
) -> tuple[set["Future[Any]"], set["Future[Any]"]]:
    wanted = list(futures)
    enough = any if return_when == "FIRST_COMPLETED" else all
    if wanted and not enough(each.done() for each in wanted):
        world.wait(lambda: enough(each.done() for each in wanted), timeout)
    done = [each for each in wanted if each.done()]
    return set(done), set(wanted).difference(done)


def assert_no_lock_held(world: World) -> None:
    assert not world.current.locks, f"{world.current.name} calls S3 with a lock held"


def install(world: World, patch: pytest.MonkeyPatch) -> None:
    """From here on s3mount's modules start tasks instead of threads, and ask this world for the time."""

    def made(kind: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **named: kind(world, *args, **named)

    fake_threading = SimpleNamespace(
        Lock=made(SimLock), RLock=lambda: SimLock(world, is_reentrant=True), Condition=made(SimCondition),
        Event=made(SimEvent), BoundedSemaphore=made(SimSemaphore), Thread=made(SimThread), local=made(SimLocal),
    )  # fmt: skip
    clock = SimClock(world)
    fake_time = SimpleNamespace(
        monotonic=clock.monotonic_s, time=clock.monotonic_s, time_ns=clock.now_ns, sleep=world.sleep,
        localtime=time.gmtime, strftime=time.strftime,
    )  # fmt: skip
    replaced = {
        "threading": fake_threading, "time": fake_time, "ThreadPoolExecutor": made(SimPool),
        "Future": lambda: sim_future(world), "wait": made(wait_futures), "SystemClock": lambda: clock,
    }  # fmt: skip
    for name, module in list(sys.modules.items()):
        is_ours = name.startswith("s3mount.") and not name.startswith(("s3mount.clock", "s3mount.store"))
        if is_ours or name == faulty_store.__name__:
            for attribute, value in replaced.items():
                if attribute in vars(module):
                    patch.setattr(module, attribute, value)
    # The parts of store/ that count with a store in memory: how many requests may run, and how long one is waited for.
    patch.setattr(concurrency, "time", fake_time)
    patch.setattr(patience, "time", fake_time)
