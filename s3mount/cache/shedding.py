"""What of one block file may be given up for its room, and the two steps in which it goes.

Called by the evictor under the block file's lock. Holes take no room, so they stay.
"""

import logging
from collections.abc import Sequence

from s3mount.cache.blockfile import BlockFile
from s3mount.cache.readahead import GRAIN_BYTES_MIN, SLACK_BYTES
from s3mount.errors import IOFailure

log = logging.getLogger(__name__)

# A fetch costs a request whatever its size: of a file with no more than this present, no rest is kept.
EVICTED_WHOLE_BYTES_MAX = 1 << 20


def shrink_locked(file: BlockFile, wanted: int) -> list[tuple[int, int]]:
    """Take about `wanted` clean bytes out of `present`, from the start of the file (all of a small one), and save the
    row. Returns what was taken: its space is still in use until give_back_locked."""
    taken: list[tuple[int, int]] = []
    if not file.ground.disk.can_punch:
        if file.dirty or file.flights:
            return taken
        wanted = file.present.total  # all, so that the file can be unlinked
    if file.room_bytes <= EVICTED_WHOLE_BYTES_MAX:
        wanted = file.room_bytes
    for start, end in _evictable_locked(file):
        if wanted <= 0:
            break
        end = min(end, -(-(start + wanted) // GRAIN_BYTES_MIN) * GRAIN_BYTES_MIN)
        try:
            file.seals.cut(start, end, file.read_or_nothing_locked)
        except IOFailure as error:
            log.warning("cannot evict more: %s", error)
            break
        file.present.remove(start, end)
        taken.append((start, end))
        wanted -= end - start
    if taken:
        file.lazy.is_settled = False
        file.is_saved = False
        file.save_locked()
    return taken


def _evictable_locked(file: BlockFile) -> Sequence[tuple[int, int]]:
    clean = [
        part
        for extent in file.present
        for piece in file.dirty.missing(*extent)
        for part in (file.holes.missing(*piece) if file.holes else (piece,))
    ]
    if not file.flights:
        return clean
    # A reader is at work: only what lies behind it, all of it fetched before the requests under way.
    behind = min(file.ahead.position, *(flight.start for flight in file.flights)) - SLACK_BYTES
    return [(start, min(end, behind)) for start, end in clean if start < behind]


def give_back_locked(file: BlockFile, taken: Sequence[tuple[int, int]]) -> None:
    """Free the space of what shrink_locked took, where it was not filled again since. Raises OSError."""
    if not file.present and not file.dirty:
        file.lazy.unlink()
        return
    opened = file.lazy.opened(create=False)
    for extent in taken:
        for start, end in file.present.missing(*extent):
            if file.ground.disk.can_punch:
                opened.punch_hole(start, end)
