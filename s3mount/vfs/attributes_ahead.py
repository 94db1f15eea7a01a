"""Asks for the attributes of files in the directories that are read next, where a tree is being walked.

Called by directories.py for each directory that is read from its start, under no lock. Without it a walk would wait for
a HEAD or two in every directory, however small. It costs no more requests than the walk would send, but for FILES_MAX
where it ends early. While files are opened it keeps still: their GETs bring the attributes (prefetch.py).
"""

import threading
from typing import NamedTuple

from cachetools import LRUCache

from s3mount.clock import Clock
from s3mount.index.index import Index
from s3mount.model import Ino
from s3mount.remote.attributes import AttributeReader
from s3mount.vfs.prefetch import Prefetch

FILES_MAX = 64
# Two directories beside each other, read within this time, are a walk.
HABIT_S = 10.0
PARENTS_MAX = 1000


class _Read(NamedTuple):
    """Which directory of a parent was read last."""

    ino: Ino
    at_s: float
    is_walk: bool


class AttributesAhead:
    def __init__(self, index: Index, attributes: AttributeReader, prefetch: Prefetch, clock: Clock) -> None:
        self._index = index
        self._attributes = attributes
        self._prefetch = prefetch
        self._clock = clock
        self._lock = threading.Lock()
        self._lately: LRUCache[Ino, _Read] = LRUCache(PARENTS_MAX)

    def listed(self, directory: Ino, *, has_directories: bool) -> None:
        """It is read from its start."""
        place = self._index.dentries.place(directory)
        if place is None or not self._is_walk(directory, place[0]) or self._prefetch.is_reading:
            return
        parent, name = (directory, "") if has_directories else place
        self._attributes.prefetch(self._index.dentries.unmet_beyond(parent, name, FILES_MAX))

    def _is_walk(self, directory: Ino, parent: Ino) -> bool:
        above = self._index.dentries.place(parent)
        now_s = self._clock.monotonic_s()
        with self._lock:
            beside = self._lately.get(parent)
            around = None if above is None else self._lately.get(above[0])
            is_walk = beside is not None and beside.ino != directory and beside.at_s + HABIT_S > now_s
            is_walk |= around is not None and around.ino == parent and around.is_walk and around.at_s + HABIT_S > now_s
            self._lately[parent] = _Read(directory, now_s, is_walk)
        return is_walk
