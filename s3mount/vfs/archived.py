"""Files whose object S3 keeps in an archive: named in `status` from a read that it refused to the next that works.

Noted by fileio.py, asked by mount.py, from any thread. In memory only: the next read after a start finds out again. The
lock is a leaf. S3 names the state InvalidObjectState:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects.html
"""

import threading
from typing import NamedTuple

from cachetools import LRUCache

from s3mount.model import ETag, Ino, Inode

ARCHIVED_MAX = 10_000


class Refused(NamedTuple):
    """The read of `offset` in this version of the object, and when it was refused first."""

    ino: Ino
    etag: ETag | None
    offset: int
    cause: str
    since_ns: int


class ArchivedFiles:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: LRUCache[Ino, Refused] = LRUCache(ARCHIVED_MAX)

    def note(self, inode: Inode, offset: int, cause: str, now_ns: int) -> None:
        with self._lock:
            if inode.ino not in self._of:
                self._of[inode.ino] = Refused(inode.ino, inode.remote_etag, offset, cause, now_ns)

    def note_read(self, ino: Ino, start: int, end: int) -> None:
        """These bytes were read. Some may have been cached all the time: what was refused must be among them."""
        if not self._of:
            return
        with self._lock:
            refused = self._of.get(ino)
            if refused is not None and start <= refused.offset < end:
                del self._of[ino]

    def all(self) -> list[Refused]:
        with self._lock:
            return list(self._of.values())
