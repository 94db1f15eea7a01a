"""One thread for everything: tasks that take turns, in an order that a seed decides, on a clock of their own.

A task is a greenlet. It gives up its turn where it waits (for a lock, an event, a future, a time) and where it asks for
a turn of the others (`switch`). So a run is the same each time, to the last write on the disk, and a wait of an hour
takes no time. threads.py makes s3mount's threads and locks out of this.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from greenlet import GreenletExit, getcurrent, greenlet

TICK_S = 1e-5
TURNS_MAX = 2_000_000


class Deadlock(Exception):
    """Nobody can go on, and no time that passes will change it."""


class Ended(GreenletExit):
    """The world ended while the task waited: it unwinds, and nothing that it does on the way counts."""


@dataclass(eq=False)
class Task:
    """`ready`: what it waits for; `until_s`: or for this time, whichever comes first."""

    name: str
    body: greenlet
    ready: Callable[[], bool] | None = None
    until_s: float | None = None
    locks: list[object] = field(default_factory=list)
    locals: dict[int, dict[str, object]] = field(default_factory=dict)


class World:
    def __init__(self, dice: random.Random, now_s: float) -> None:
        self.now_s = now_s
        self.set_back_s = 0.0  # how far the clock on the wall is behind
        self.dice = dice
        self.is_over = False
        self.turns = 0
        self._tasks: list[Task] = []
        self._main = Task("main", getcurrent())
        self._current = self._main
        self._failure: BaseException | None = None

    @property
    def current(self) -> Task:
        return self._current

    def spawn(self, name: str, function: Callable[[], object]) -> Task:
        def body() -> None:
            try:
                if not self.is_over:
                    function()
            except GreenletExit:
                pass
            except BaseException as error:  # noqa: BLE001 - told to whoever runs the world
                self._failure = self._failure or error
            finally:
                self._tasks.remove(task)

        task = Task(name, greenlet(body, parent=self._main.body))
        self._tasks.append(task)
        return task

    # -- for the tasks -------------------------------------------------------------------------------------------

    def switch(self) -> None:
        """Let others have a turn."""
        self.wait(None, None)

    def wait(self, ready: Callable[[], bool] | None, timeout_s: float | None) -> bool:
        """Return when `ready()` holds, or after so many seconds; whether it holds. None: in any later turn."""
        task = self._current
        assert task is not self._main, "only tasks wait"
        if self.is_over:
            raise Ended
        task.ready = ready
        task.until_s = None if timeout_s is None else self.now_s + max(0.0, timeout_s)
        self._main.body.switch()
        if self.is_over:
            raise Ended
        return ready is None or ready()

    def sleep(self, seconds: float) -> None:
        self.wait(lambda: False, seconds)

    # -- for the test --------------------------------------------------------------------------------------------

    def run(self, until: Callable[[], bool]) -> None:
        """Give turns until `until()` holds. Raises what a task raised, and Deadlock."""
        while not until():
            task = self._next()
            self.turns += 1
            assert self.turns < TURNS_MAX, f"no end in sight: {[each.name for each in self._tasks]}"
            self.now_s += TICK_S
            self._resume(task)
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure

    def _next(self) -> Task:
        able = [task for task in self._tasks if self._is_able(task)]
        if not able:
            times = [task.until_s for task in self._tasks if task.until_s is not None]
            if not times:
                raise Deadlock(str([(task.name, task.ready) for task in self._tasks]))
            self.now_s = max(self.now_s, min(times))
            able = [task for task in self._tasks if self._is_able(task)]
        return self.dice.choice(able)

    def _is_able(self, task: Task) -> bool:
        if task.until_s is not None and task.until_s <= self.now_s:
            return True
        return task.ready is None if task.until_s is None and task.ready is None else bool(task.ready and task.ready())

    def _resume(self, task: Task) -> None:
        self._current = task
        try:
            task.body.switch()
        finally:
            self._current = self._main

    def end(self) -> None:
        """Everything that still waits unwinds: as far as the disk and the bucket go, it has died before."""
        self.is_over = True
        for task in list(self._tasks):
            if not task.body.dead:
                self._resume(task)
        self._tasks.clear()
