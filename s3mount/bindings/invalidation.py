"""Tells the kernel to forget what it keeps of inodes and names that someone else has changed in the bucket.

fuse_session.py makes one for a mount and starts it when the kernel has accepted that; `note` is called by the drive,
from any thread and under its locks, so it only queues. The kernel is told from a thread of its own that holds nothing:
while it drops a name, or pages that are being read, it waits for requests in flight, and those may need the locks that
whoever noticed the change holds (fuse_lowlevel.h, fuse_lowlevel_notify_inval_entry).
"""

import errno
import logging
from collections.abc import Callable

from s3mount.bindings.courier import Courier
from s3mount.model import Ino

log = logging.getLogger(__name__)

# What the kernel answers for an inode or a name that it does not know, and when the mount is gone.
NOTHING_TO_FORGET = (0, -errno.ENOENT, -errno.ENOTCONN, -errno.ENODEV, -errno.EBADF, -errno.ENOTDIR)

Entry = tuple[Ino, str | None]


class Invalidation:
    def __init__(self, forget_inode: Callable[[Ino], int], forget_name: Callable[[Ino, str], int]):
        """Both return 0 or a negative errno."""
        self._forget_inode = forget_inode
        self._forget_name = forget_name
        self._courier: Courier[Entry] = Courier(self._forget, name="invalidation", together_max=1)

    def start(self) -> None:
        self._courier.start()

    def note(self, ino: Ino, name: str | None) -> None:
        """An inode, or with `name` that name in it. Never blocks: what does not fit the queue is left to the timeouts
        that the kernel was given."""
        if not self._courier.send((ino, name)):
            log.debug("too many changes at once to tell the kernel of ino %d", ino)

    def _forget(self, entries: list[Entry]) -> None:
        for ino, name in entries:
            status = self._forget_inode(ino) if name is None else self._forget_name(ino, name)
            if status not in NOTHING_TO_FORGET:
                log.info("the kernel would not forget ino %d, name %r: %s", ino, name, errno.errorcode.get(-status))

    def end(self) -> bool:
        """Tell the kernel of nothing more. False when it is being told at this moment, and does not return."""
        return self._courier.end()
