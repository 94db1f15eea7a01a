"""A bounded queue with a thread of its own: for news that must not hold up whoever has it.

Used by invalidation.py and winfsp_notification.py. `send` may be called under any lock; `deliver` runs on the courier's
thread, which holds nothing.
"""

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

WAITING_MAX = 10_000
END_DEADLINE_S = 5.0

T = TypeVar("T")


class Courier(Generic[T]):
    def __init__(self, deliver: Callable[[list[T]], None], *, name: str, together_max: int):
        """`deliver` is handed up to `together_max` entries in the order they were sent; it must not raise."""
        self._deliver = deliver
        self._together_max = together_max
        self._waiting: queue.Queue[T | None] = queue.Queue(WAITING_MAX)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def send(self, entry: T) -> bool:
        """Never blocks: False when the queue is full, and the entry is lost."""
        try:
            self._waiting.put_nowait(entry)
        except queue.Full:
            return False
        return True

    def _work(self) -> None:
        while not self._is_ending.is_set():
            entry = self._waiting.get()
            if entry is None:
                return
            together = [entry]
            while len(together) < self._together_max:
                try:
                    entry = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if entry is None:
                    break
                together.append(entry)
            self._deliver(together)

    def end(self) -> bool:
        """Deliver nothing more. False when something is being delivered at this moment, and that does not return."""
        self._is_ending.set()
        if not self._thread.is_alive():
            return True
        # With the queue full, the thread is about to look whether it should end.
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(END_DEADLINE_S)
        return not self._thread.is_alive()
