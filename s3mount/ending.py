"""Ends pools of threads within a deadline, and processes at once: what hangs in a request is left behind.

Called by whoever owns a pool, and last of all by a process' main thread. Knows nothing of what the threads do.
"""

import os
import sys
import threading
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_EXIT_UNSAID: Final = 1


def end_process(code: int) -> NoReturn:
    """End with `code`, or with 1 instead of 0 when not all could be printed that was to be.

    The interpreter's own end would wait for threads that hang in requests, and take all that was loaded apart piece by
    piece: a quarter of what a short command costs, and more of a mount. Whatever must be closed is closed by now."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or _EXIT_UNSAID
    os._exit(code)


def end_pool(pool: "ThreadPoolExecutor", deadline_s: float) -> bool:
    """Begin nothing that is queued and wait for what runs. False: after `deadline_s` some of it still did, and an
    interpreter that ends in the usual way would wait for it."""
    ending = threading.Thread(target=lambda: pool.shutdown(wait=True, cancel_futures=True), name="ending", daemon=True)
    ending.start()
    ending.join(max(0.0, deadline_s))
    return not ending.is_alive()
