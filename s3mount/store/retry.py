"""Quick retries of temporary errors: one policy for both S3 clients, which do not retry by themselves.

Called by S3Store around each request, from any thread; holds no state. Bridges a dropped connection or a short
"slow down", not an outage: going on after that is the caller's decision.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from s3mount.errors import Denied, PreconditionFailed, StoreError, Throttled
from s3mount.store import patience

Result = TypeVar("Result")

ATTEMPTS_MAX = 4
DELAY_S_FIRST = 0.1
DELAY_FACTOR = 4.0
# After a try's time is up it takes as long, at most, until that was noticed and the first pause is over.
SILENCE_SEEN_S = 0.3


class Attempts:
    """The tries of one call. `stopping` ends the waits between them at once. One try may take `attempt_timeout_s`.
    `retries_silence`: another one follows a try that took all of that, and ends by as much later as the pause took."""

    def __init__(self, deadline_s: float, stopping: threading.Event, *, retries_silence: bool = False) -> None:
        self.attempt_timeout_s = deadline_s / 2
        self._stopping = stopping
        self._failures = 0
        self._unanswered: StoreError | None = None
        now = time.monotonic()
        self._deadline = now + deadline_s
        # A try begun later would end after the deadline; with `retries_silence`, later than a silence may cost.
        self._last_start = now + self.attempt_timeout_s + (SILENCE_SEEN_S if retries_silence else 0.0)

    def extend(self, by_s: float) -> None:
        """So long was waited for something else than S3."""
        self._deadline += by_s
        self._last_start += by_s

    def remaining_s(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def run(self, request: Callable[[], Result]) -> Result:
        """The result of the first try that succeeds; raises what `judge` says of the last one otherwise."""
        while True:
            try:
                return request()
            except StoreError as error:
                judged, pause_s = self.judge(error)
                if judged is not error:
                    raise judged from error
                if pause_s is None or self._stopping.wait(pause_s):
                    raise

    def judge(self, error: StoreError) -> tuple[StoreError, float | None]:
        """After a try that failed with `error`: what the call has failed with if it was the last, and how long to wait
        before the next one, None when it was.

        A write that was refused for its condition after an earlier try of the same call lost its reply may have been
        refused because of itself: then that is the earlier, temporary error, which says so.
        """
        if isinstance(error, PreconditionFailed):
            return self._unanswered or error, None
        if not isinstance(error, Throttled | Denied):
            self._unanswered = error
        return error, self.pause_s(error)

    def pause_s(self, error: StoreError) -> float | None:
        """After a try that failed with `error`: how long to wait before the next one, None when it was the last."""
        pause_s = DELAY_S_FIRST * DELAY_FACTOR**self._failures * random.uniform(0.5, 1.0)
        self._failures += 1
        is_last = self._failures == ATTEMPTS_MAX or time.monotonic() + pause_s > self._last_start
        is_last = is_last or patience.left_s(pause_s) < pause_s or self._stopping.is_set()
        return pause_s if error.temporary and not is_last else None
