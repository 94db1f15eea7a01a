"""Deletes what tombstones name, a thousand keys a request.

A tombstone waits while a live inode at its path is about to write that key (the PUT replaces the DELETE). One that
stands for a directory waits until nothing of ours is left below its prefix, so that the prefix does not show up again.
"""

import logging
import threading
from collections.abc import Mapping

from s3mount import keys
from s3mount.errors import StoreError
from s3mount.index.owed import Tombstone
from s3mount.model import ObjectKey
from s3mount.writeback.claims import Claims
from s3mount.writeback.context import WriteBackContext, back_off_s

log = logging.getLogger(__name__)

BATCH = 1000
WAIT_FOR_PUT_NS = 1_000_000_000
WAIT_FOR_CHILDREN_NS = 200_000_000
REFUSED_SHOWN_MAX = 1000


class Deleter:
    def __init__(self, context: WriteBackContext, claims: Claims):
        self._context = context
        self._index = context.index
        self._claims = claims
        self._lock = threading.Lock()
        self._failures = 0
        self._refused: dict[ObjectKey, tuple[str, int]] = {}

    def run(self) -> bool:
        """Delete one batch of what is due; True when there may be more. Never raises StoreError: what failed is due
        again later."""
        now_ns = self._context.clock.now_ns()
        batch = [tombstone for tombstone in self._index.tombstones.due(now_ns, BATCH) if self._is_ready(tombstone)]
        wanted = [tombstone.key for tombstone in batch if self._claims.claim(None, [tombstone.key])]
        if not wanted:
            return False
        try:
            refused = self._context.store.delete(wanted)
        except StoreError as error:
            self._postpone(wanted, error)
        else:
            self._failures = 0
            self._record(wanted, refused)
        finally:
            self._claims.release(None, wanted)
        return len(wanted) == BATCH

    def _is_ready(self, tombstone: Tombstone) -> bool:
        key, now_ns = tombstone.key, self._context.clock.now_ns()
        live = self._index.dentries.resolve_key(key)
        if live is not None and live.is_owed:
            self._index.tombstones.set_due([key], now_ns + WAIT_FOR_PUT_NS)
            return False
        if key.endswith("/") and (
            self._index.inodes.has_remote_below(key, keys.range_end(key)) or self._index.tombstones.has_below(key)
        ):
            self._index.tombstones.set_due([key], now_ns + WAIT_FOR_CHILDREN_NS)
            return False
        return True

    def _record(self, wanted: list[ObjectKey], refused: Mapping[ObjectKey, StoreError]) -> None:
        errors = refused
        done = [key for key in wanted if key not in errors]
        now_ns = self._context.clock.now_ns()
        with self._index.transaction():
            self._context.guard.note(done)
            self._index.tombstones.remove(done)
            self._index.tombstones.set_due(errors, now_ns + int(back_off_s(6) * 1e9))
        with self._lock:
            for key in done:
                self._refused.pop(key, None)
            for key, error in errors.items():
                if len(self._refused) < REFUSED_SHOWN_MAX:
                    self._refused.setdefault(key, (str(error), now_ns))
        for key, error in errors.items():
            log.error("%r cannot be deleted from the bucket: %s", key, error)

    def _postpone(self, wanted: list[ObjectKey], error: StoreError) -> None:
        self._failures += 1
        wait_s = back_off_s(self._failures)
        self._index.tombstones.set_due(wanted, self._context.clock.now_ns() + int(wait_s * 1e9))
        log.warning("deleting %d objects failed, again in %.0f s: %s", len(wanted), wait_s, error)
        if not error.temporary:
            self._record(wanted, dict.fromkeys(wanted, error))

    def refused(self) -> list[tuple[ObjectKey, str, int]]:
        """(key, cause, since) of deletions that S3 refuses."""
        with self._lock:
            return [(key, cause, since) for key, (cause, since) in self._refused.items()]

    def forget_refusals(self) -> None:
        with self._lock:
            self._refused.clear()
