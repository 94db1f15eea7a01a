"""Finds who reads the files of a directory in order, and says which files to fetch before they are asked for. Pure.

Called by prefetch.py, from any thread. A tour is one directory as it was last listed. Its files are read in order when
each opened one follows the one before, a few left out at most. Three in a row are a streak. It goes on in the next
directory that is listed, so that a tree is copied at one pace whatever the size of its directories; any other open
ends it.
"""

import threading
from collections.abc import Sequence

from cachetools import LRUCache

from s3mount.model import Ino

# Larger files have a read-ahead of their own.
FILE_BYTES_MAX = 1 << 20
FILES_MAX = 256
TOURS_MAX = 8
STREAK_MIN = 3
LEFT_OUT_MAX = 4
# A streak is over, and a fetched file counts as unwanted, when nothing was opened for so long.
STREAK_S_MAX = 10.0
AHEAD_S_MAX = 30.0


class _Tour:
    """`files`: inode and size, in order. `at`: the one opened last. `fetched`: those before it need no fetch."""

    def __init__(self) -> None:
        self.files: list[tuple[Ino, int]] = []
        self.places: dict[Ino, int] = {}
        self.at = -1
        self.fetched = 0

    def extend(self, files: Sequence[tuple[Ino, int]]) -> None:
        self.places |= {ino: place for place, (ino, _) in enumerate(files, len(self.files))}
        self.files += files


class Tours:
    def __init__(self, bytes_max: int) -> None:
        """`bytes_max`: of what is fetched and was not opened yet; 0 for nothing at all."""
        self.bytes_max = bytes_max
        self._lock = threading.Lock()
        self._tours: LRUCache[Ino, _Tour] = LRUCache(TOURS_MAX)
        self._streak = 0
        self._opened_s = float("-inf")
        # In order of the moment at which they were said: size and moment.
        self._ahead: dict[Ino, tuple[int, float]] = {}
        self._ahead_bytes = 0

    def listed(
        self, directory: Ino, files: Sequence[tuple[Ino, int]], now_s: float, *, is_start: bool = True
    ) -> list[Ino]:
        """A program lists `directory`, which has these files, in this order: from its start on, or after those told
        before. Returns those to fetch now."""
        with self._lock:
            if not self.is_open_lately(now_s):
                self._streak = 0
            tour = None if is_start else self._tours.get(directory)
            if tour is None:
                tour = self._tours[directory] = _Tour()
            tour.extend(files)
            return self._next(tour, now_s)

    def opened(self, directory: Ino, ino: Ino, now_s: float) -> list[Ino]:
        """A program opens a file to read it. Returns those to fetch now."""
        with self._lock:
            self._arrive(ino)
            self._opened_s = now_s
            tour = self._tours.get(directory)
            place = tour.places.get(ino) if tour is not None else None
            if tour is None or place is None:
                self._streak = 0
                return []
            if place == tour.at:
                return []
            in_order = tour.at < place <= tour.at + 1 + LEFT_OUT_MAX
            self._streak = self._streak + 1 if in_order else 0
            tour.at = place
            tour.fetched = max(tour.fetched, place + 1)
            return self._next(tour, now_s)

    def is_open_lately(self, now_s: float) -> bool:
        """Whether a program opened a file a moment ago."""
        return now_s - self._opened_s <= STREAK_S_MAX

    def _next(self, tour: _Tour, now_s: float) -> list[Ino]:
        if self._streak < STREAK_MIN:
            return []
        for ino, (_, since_s) in list(self._ahead.items()):
            if now_s - since_s <= AHEAD_S_MAX:
                break
            self._arrive(ino)
        found: list[Ino] = []
        # The further the streak, the further ahead.
        stop = min(len(tour.files), tour.at + 1 + 2 * self._streak)
        while tour.fetched < stop and len(self._ahead) < FILES_MAX:
            ino, size = tour.files[tour.fetched]
            if 0 < size <= FILE_BYTES_MAX and ino not in self._ahead:
                if self._ahead_bytes + size > self.bytes_max:
                    break
                self._ahead[ino] = size, now_s
                self._ahead_bytes += size
                found.append(ino)
            tour.fetched += 1
        return found

    def _arrive(self, ino: Ino) -> None:
        size, _ = self._ahead.pop(ino, (0, 0.0))
        self._ahead_bytes -= size
