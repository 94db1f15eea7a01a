"""One request where several threads want the same answer."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future

from s3mount.store import patience

WAIT_S_MAX = 300.0


class Flights:
    """Runs a function once per key at a time; those who come while it runs share its outcome."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Hashable, Future[None]] = {}

    def run(self, key: Hashable, function: Callable[[], None]) -> bool:
        """False when it was running already, and may have begun before what the caller wants to see. Raises what
        `function` raised, to all who waited; TimeoutError when the caller's patience ends, or after WAIT_S_MAX."""
        with self._lock:
            running = self._running.get(key)
            if running is None:
                self._running[key] = Future()
        if running is not None:
            patience.wait(running, WAIT_S_MAX)
            return False
        try:
            function()
        except BaseException as error:
            self.end(key, error)
            raise
        self.end(key)
        return True

    def is_running(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._running

    def begin(self, key: Hashable) -> bool:
        """What `run` would run is done by the caller, who tells by `end` when it is over. False when it is running
        already."""
        with self._lock:
            if key in self._running:
                return False
            self._running[key] = Future()
            return True

    def end(self, key: Hashable, error: BaseException | None = None) -> None:
        with self._lock:
            mine = self._running.pop(key)
        if error is None:
            mine.set_result(None)
        else:
            mine.set_exception(error)
