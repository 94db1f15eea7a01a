"""The cache directory against its rows and seals, and the rows against the inodes.

Called by checker.py, with no lock held. Repairs drop only bytes that the bucket has, or that no inode owns.
"""

from collections.abc import Callable

from s3mount.check.context import CheckContext
from s3mount.check.findings import Finding, Kind
from s3mount.errors import S3mountError
from s3mount.model import Ino

PAGE = 1000


def check_cache(context: CheckContext, step: Callable[[], None]) -> list[Finding]:
    found: list[Finding] = []
    after = Ino(0)
    while inos := context.index.cache_entries.after(after, PAGE):
        for ino in inos:
            step()
            found += _check_row(context, ino)
        after = inos[-1]
    for ino in context.cache.files_without_rows():
        step()
        repair = "removed" if context.repairs and _discard_unowed(context, ino) else ""
        found.append(Finding(Kind.STRAY_FILE, context.path(ino), repair=repair))
    return found


def _check_row(context: CheckContext, ino: Ino) -> list[Finding]:
    if context.index.inodes.find(ino) is None:
        if context.is_live and context.cache.is_in_use(ino):
            return []  # given up when the removal survives power loss
        repair = "removed" if context.repairs and _discard_unowed(context, ino) else ""
        return [Finding(Kind.STRAY_ROW, f"inode {ino}", repair=repair)]
    try:
        if not context.cache.has_file(ino):
            repair = "corrected" if context.repairs and _discard_unowed(context, ino) else ""
            return [Finding(Kind.LOST_FILE, context.path(ino), repair=repair)]
        damage = context.cache.find_damage(ino)
        if context.repairs and any(not is_dirty for _, _, is_dirty in damage):
            context.cache.drop_damage(ino)
    except S3mountError as error:
        return [Finding(Kind.DAMAGED_DIRTY, context.path(ino), str(error))]
    return [
        Finding(
            Kind.DAMAGED_DIRTY if is_dirty else Kind.DAMAGED_CLEAN,
            context.path(ino),
            f"bytes {start} to {end}",
            "dropped, fetched again when needed" if context.repairs and not is_dirty else "",
        )
        for start, end, is_dirty in damage
    ]


def _discard_unowed(context: CheckContext, ino: Ino) -> bool:
    """Writers commit that content is owed before its first byte, under the same lock. What a power cut could bring back
    keeps its bytes until it cannot."""
    context.index.commit_durably()
    with context.locks.of(ino):
        inode = context.index.inodes.find(ino)
        if inode is not None and inode.content_owed:
            return False
        context.cache.discard(ino)
        return True
