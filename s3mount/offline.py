"""A check of a state folder that no mount uses: opens index and cache as a mount would, and works on nothing owed.

Called by cli/check.py, one at a time in a process. The folder is locked meanwhile, so that no mount can begin.
"""

from collections.abc import Callable
from pathlib import Path

from s3mount.cache.filecache import FileCache
from s3mount.check.checker import check
from s3mount.check.context import CheckContext
from s3mount.check.findings import Finding
from s3mount.clock import SystemClock
from s3mount.drive import CACHE_NAME, INDEX_NAME, StateLock
from s3mount.errors import MountError
from s3mount.index.index import Index
from s3mount.locks import InodeLocks
from s3mount.store.base import ObjectStore
from s3mount.store.s3 import open_store
from s3mount.store.settings import StoreSettings


def check_bucket_of(
    state_dir: Path,
    *,
    repair: bool,
    bucket: str,
    prefix: str,
    endpoint_url: str | None,
    profile: str | None,
    region: str | None,
    addressing_style: str,
) -> list[Finding]:
    """Raises MountError when the folder is in use, was never mounted or belongs to another bucket; StoreError."""
    settings = StoreSettings(
        bucket=bucket,
        prefix=prefix,
        endpoint_url=endpoint_url,
        profile=profile,
        region=region,
        addressing_style=addressing_style,  # type: ignore[arg-type]  # the parser lets nothing else through
    )
    store = open_store(settings)
    try:
        store.check_access()
        return check_folder(store, state_dir, source=store.location, repair=repair)
    finally:
        store.close()


def check_folder(
    store: ObjectStore,
    state_dir: Path,
    *,
    source: str,
    repair: bool,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Finding]:
    """The same over any store, which stays the caller's to close."""
    if not (state_dir / INDEX_NAME).exists():
        raise MountError(f"there is no index in {state_dir}: nothing was mounted with these options yet")
    lock = StateLock(state_dir)
    try:
        clock = SystemClock()
        index = Index(state_dir / INDEX_NAME, clock)
        try:
            index.bind(source)
            cache = FileCache(
                state_dir / CACHE_NAME,
                store=store,
                entries=index.cache_entries,
                limit_bytes=0,
                clock=clock,
                is_evictable=lambda ino: (inode := index.inodes.find(ino)) is None or not inode.content_owed,
                on_pressure=lambda: None,
            )
            try:
                # Without a mount nothing is fresh: the next one lists every directory anyway.
                locks = InodeLocks()
                context = CheckContext(store, index, cache, locks, lambda _: None, is_live=False, repairs=repair)
                return check(context, progress)
            finally:
                cache.close()
        finally:
            index.close()
    finally:
        lock.release()
