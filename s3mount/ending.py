"""Ends pools of threads within a deadline: what hangs in a request is left behind, not waited for.

Called by whoever owns a pool, from one thread. Knows nothing of what the threads do.
"""

import threading
from concurrent.futures import ThreadPoolExecutor


def end_pool(pool: ThreadPoolExecutor, deadline_s: float) -> bool:
    """Begin nothing that is queued and wait for what runs. False: after `deadline_s` some of it still did, and an
    interpreter that ends in the usual way would wait for it."""
    ending = threading.Thread(target=lambda: pool.shutdown(wait=True, cancel_futures=True), name="ending", daemon=True)
    ending.start()
    ending.join(max(0.0, deadline_s))
    return not ending.is_alive()
