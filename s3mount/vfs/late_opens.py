"""An open that came too late does not come too late again.

Between the kernel's lookup of a name and its open of the inode that was found, a rename over the name may take the
inode away. A local file system still opens it. Here the open raises Stale, upon which the kernel looks the name up
anew, once (do_filp_open in fs/namei.c): a program whose second try lost the same race would see ESTALE. So for GRACE_S
after an open that was late, files that lose their last name are held open.

Told by FileIO and FileSystem of what was late, by Namespace of names that go; a thread that lives as long as anything
is held lets go of it. Any thread; under the lock nothing but the open-file table is asked. Bounded: beyond HELD_MAX,
files go at once, as they do when no open was late.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable

from s3mount.clock import Clock
from s3mount.errors import FsError
from s3mount.model import Fh, Ino
from s3mount.vfs.handles import Handles

log = logging.getLogger(__name__)

GRACE_S = 2.0
HELD_MAX = 1000


class LateOpens:
    def __init__(self, handles: Handles, clock: Clock):
        self._handles = handles
        self._clock = clock
        self._lock = threading.Lock()
        # Held over taking and closing, so that nothing is between the two when a drain goes on.
        self._letting_go = threading.Lock()
        self._grace_ends_s = 0.0
        self._held: deque[tuple[float, Fh]] = deque()
        self._thread: threading.Thread | None = None
        self._is_closed = threading.Event()
        self._close_file: Callable[[Fh], None]

    def close_with(self, close_file: Callable[[Fh], None]) -> None:
        """How a file is closed, with no lock held. To be told before anything is noted."""
        self._close_file = close_file

    def note(self) -> None:
        """An open found its inode gone: another follows."""
        with self._lock:
            self._grace_ends_s = self._clock.monotonic_s() + GRACE_S
            if self._thread is None and not self._is_closed.is_set():
                self._thread = threading.Thread(target=self._run, name="late-opens", daemon=True)
                self._thread.start()

    def hold(self, ino: Ino) -> None:
        """The file is about to lose its last name. Inside the index transaction in which it does."""
        if self._thread is None:
            return
        with self._lock:
            now_s = self._clock.monotonic_s()
            if self._thread is None or now_s >= self._grace_ends_s or len(self._held) >= HELD_MAX:
                return
            self._held.append((now_s + GRACE_S, self._handles.open_file(ino, os.O_RDONLY)))

    def let_go(self) -> None:
        """Of all that is held, at once: what was removed is owed to the bucket on return. No lock may be held."""
        self._let_go(is_all=True)

    def _run(self) -> None:
        while True:
            is_closed = self._is_closed.wait(GRACE_S / 2)
            self._let_go(is_all=is_closed)
            with self._lock:
                is_over = is_closed or self._clock.monotonic_s() >= self._grace_ends_s
                if is_over and not self._held:
                    self._thread = None
                    return

    def _take(self, *, is_all: bool) -> list[Fh]:
        with self._lock:
            now_s = self._clock.monotonic_s()
            taken: list[Fh] = []
            while self._held and (is_all or self._held[0][0] <= now_s):
                taken.append(self._held.popleft()[1])
        return taken

    def _let_go(self, *, is_all: bool) -> None:
        with self._letting_go:
            for fh in self._take(is_all=is_all):
                try:
                    self._close_file(fh)
                except FsError as error:
                    log.warning("a removed file stays until the next mount: %s", error)

    def close(self, deadline_s: float) -> bool:
        """Let go of all that is held, and hold no more. False: that was not done by the deadline."""
        with self._lock:
            self._is_closed.set()
            thread = self._thread
        if thread is None:
            return True
        thread.join(max(0.0, deadline_s))
        return not thread.is_alive()
