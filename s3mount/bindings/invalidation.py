"""Tells the kernel to forget what it keeps of inodes and names that someone else has changed in the bucket.

fuse_session.py makes one for a mount and starts it when the kernel has accepted that; `note` is called by the drive,
from any thread and under its locks, so it only queues. The kernel is told from a thread of its own that holds nothing:
while it drops a name, or pages that are being read, it waits for requests in flight, and those may need the locks that
whoever noticed the change holds (fuse_lowlevel.h, fuse_lowlevel_notify_inval_entry).
"""

import errno
import logging
import queue
import threading
from collections.abc import Callable

from s3mount.model import Ino

log = logging.getLogger(__name__)

WAITING_MAX = 10_000
END_DEADLINE_S = 5.0
# What the kernel answers for an inode or a name that it does not know, and when the mount is gone.
NOTHING_TO_FORGET = (0, -errno.ENOENT, -errno.ENOTCONN, -errno.ENODEV, -errno.EBADF, -errno.ENOTDIR)


class Invalidation:
    def __init__(self, forget_inode: Callable[[Ino], int], forget_name: Callable[[Ino, str], int]):
        """Both return 0 or a negative errno."""
        self._forget_inode = forget_inode
        self._forget_name = forget_name
        self._waiting: queue.Queue[tuple[Ino, str | None] | None] = queue.Queue(WAITING_MAX)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="invalidation", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def note(self, ino: Ino, name: str | None) -> None:
        """An inode, or with `name` that name in it. Never blocks: what does not fit the queue is left to the timeouts
        that the kernel was given."""
        try:
            self._waiting.put_nowait((ino, name))
        except queue.Full:
            log.debug("too many changes at once to tell the kernel of ino %d", ino)

    def _work(self) -> None:
        while not self._is_ending.is_set():
            entry = self._waiting.get()
            if entry is None:
                return
            ino, name = entry
            status = self._forget_inode(ino) if name is None else self._forget_name(ino, name)
            if status not in NOTHING_TO_FORGET:
                log.info("the kernel would not forget ino %d, name %r: %s", ino, name, errno.errorcode.get(-status))

    def end(self) -> bool:
        """Tell the kernel of nothing more. False when it is being told at this moment, and does not return."""
        self._is_ending.set()
        if not self._thread.is_alive():
            return True
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            log.debug("the queue is full, so its thread is about to look whether it should end")
        self._thread.join(END_DEADLINE_S)
        return not self._thread.is_alive()
