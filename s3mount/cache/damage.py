"""Cached bytes that are not what was written: found by their seals, dropped if clean, refused if dirty.

Called by FileCache under the block file's lock, before bytes are read. The bucket has clean bytes, so those are
forgotten and fetched again. Nobody else has dirty ones: they stay where they are, and reading them raises Damaged, for
programs and for uploads alike, until they are overwritten, cut off or the file is removed.
"""

import logging
import threading

from awscrt.checksums import crc32c

from s3mount.cache.blockfile import BlockFile
from s3mount.cache.disk import disk_failure
from s3mount.cache.seals import Seal
from s3mount.errors import Damaged, IOFailure

log = logging.getLogger(__name__)


class DamageCount:
    """How many damaged ranges were met since the mount began, each once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dirty: set[tuple[int, int]] = set()
        self._clean = 0

    @property
    def total(self) -> int:
        return self._clean + len(self._dirty)

    def met(self, ino: int, start: int, *, is_dirty: bool) -> bool:
        """Count it; True when it was not met before."""
        with self._lock:
            if not is_dirty:
                self._clean += 1
                return True
            is_new = (ino, start) not in self._dirty
            self._dirty.add((ino, start))
            return is_new


def check_locked(file: BlockFile, start: int, end: int, count: DamageCount, *, again: bool = False) -> None:
    """On return no byte of [start, end) that is present is known to be damaged: clean damage is present no more.
    `again`: check also what was checked before. Raises Damaged for dirty bytes."""
    require_whole_locked(file, start, end)
    for seal in file.seals.over(start, end) if again else file.seals.unverified(start, end):
        if not file.present.covers(seal.start, seal.end):
            file.seals.drop(seal)
        elif not _holds_locked(file, seal):
            _damaged_locked(file, seal, count)
        elif not seal.is_verified:
            file.seals.checked(seal, holds=True)


def require_whole_locked(file: BlockFile, start: int, end: int) -> None:
    """Before [start, end) is read, or the file lengthened to `end`: dirty bytes past its length were lost in a power
    cut, and would read as zeros from then on. Raises Damaged."""
    if end > file.lazy.length and (lost := file.dirty.within(max(start, file.lazy.length), end)):
        raise Damaged(f"the cache file of inode {file.ino} has lost its bytes after {lost[0][0]}")


def damaged_locked(file: BlockFile) -> list[tuple[int, int, bool]]:
    """What is damaged of the whole file, each as (start, end, is dirty). Changes nothing."""
    return [
        (seal.start, seal.end, bool(file.dirty.within(seal.start, seal.end)))
        for extent in file.present
        for seal in file.seals.over(*extent)
        if file.present.covers(seal.start, seal.end) and not _holds_locked(file, seal)
    ]


def _holds_locked(file: BlockFile, seal: Seal) -> bool:
    """Raises IOFailure when the disk does not read dirty bytes now, which may pass; clean ones can be fetched."""
    try:
        return crc32c(file.read_locked(seal.start, seal.end)) == seal.crc  # type: ignore[no-any-return]
    except IOFailure as error:
        if file.dirty.within(seal.start, seal.end) and not isinstance(error, Damaged):
            raise
        log.warning("%s", error)
        return False


def _damaged_locked(file: BlockFile, seal: Seal, count: DamageCount) -> None:
    is_dirty = bool(file.dirty.within(seal.start, seal.end))
    is_new = count.met(file.ino, seal.start, is_dirty=is_dirty)
    what = f"the cache file of inode {file.ino} is damaged on disk at [{seal.start}, {seal.end})"
    if is_dirty:
        file.seals.checked(seal, holds=False)
        if is_new:
            log.error("%s; the bucket does not have these bytes", what)
        raise Damaged(f"{what}; the bucket does not have these bytes: write them again, or remove the file")
    log.warning("%s; fetched again", what)
    drop_locked(file, seal.start, seal.end)


def drop_locked(file: BlockFile, start: int, end: int) -> None:
    """The clean bytes of [start, end) are not what was fetched: present no more. Raises IOFailure."""
    file.seals.cut(start, end, file.read_or_nothing_locked)
    file.drop_locked(start, end)
    file.save_locked()
    if not file.present and not file.dirty:
        try:
            file.lazy.unlink()
        except OSError as error:
            raise disk_failure("remove", file.ino, error) from error
