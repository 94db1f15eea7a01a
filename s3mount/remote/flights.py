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
                mine = self._running[key] = Future()
        if running is not None:
            patience.wait(running, WAIT_S_MAX)
            return False
        try:
            function()
        except BaseException as error:
            self._finish(key)
            mine.set_exception(error)
            raise
        self._finish(key)
        mine.set_result(None)
        return True

    def is_running(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._running

    def _finish(self, key: Hashable) -> None:
        with self._lock:
            del self._running[key]
