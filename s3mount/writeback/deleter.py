"""Deletes what tombstones name, a thousand keys a request.

A tombstone waits while a live inode at its path is about to write that key (the PUT replaces the DELETE). One that
stands for a directory waits until nothing of ours is left below its prefix, so that the prefix does not show up again.
"""

import logging
import threading
from collections.abc import Mapping

from s3mount import keys
from s3mount.errors import Missing, StoreError
from s3mount.model import ObjectKey
from s3mount.writeback.claims import Claims
from s3mount.writeback.context import PROBE_S, WriteBackContext, back_off_s

log = logging.getLogger(__name__)

BATCH = 1000
WAIT_FOR_PUT_NS = 1_000_000_000
WAIT_FOR_CHILDREN_NS = 200_000_000
REFUSED_MAX = 100_000


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
        wanted = [tombstone.key for tombstone in self._index.tombstones.due(now_ns, BATCH) if self._take(tombstone.key)]
        if not wanted:
            return False
        try:
            # A power cut must not bring back an index that still counts on what is deleted now.
            self._index.commit_durably()
            refused = self._context.store.delete(wanted)
        except StoreError as error:
            self._postpone(wanted, error)
        else:
            self._failures = 0
            self._record(wanted, refused)
        finally:
            self._claims.release(None, wanted)
        return len(wanted) == BATCH

    def _take(self, key: ObjectKey) -> bool:
        """Claim the key, so that no upload to it begins, and then see whether it may go now."""
        if not self._claims.claim(None, [key]):
            return False
        try:
            is_taken = self._is_ready(key)
        except StoreError as error:
            self._postpone([key], error)
            is_taken = False
        if not is_taken:
            self._claims.release(None, [key])
        return is_taken

    def _is_ready(self, key: ObjectKey) -> bool:
        now_ns = self._context.clock.now_ns()
        tombstone = self._index.tombstones.find(key)
        if tombstone is None:
            return False
        if self._is_replaced(key):
            self._index.tombstones.set_due([key], now_ns + WAIT_FOR_PUT_NS)
            return False
        if self._is_above_ours(key):
            self._index.tombstones.set_due([key], now_ns + WAIT_FOR_CHILDREN_NS)
            return False
        owner = self._index.inodes.with_remote_key(key)
        if owner is not None and owner.is_file and owner.nlink:
            self._index.tombstones.remove([key])  # written again since: it is somebody's
            return False
        if tombstone.etag is None and not key.endswith("/") and not self._may_be_ours(key):
            self._record([key], {})
            return False
        return True

    def _may_be_ours(self, key: ObjectKey) -> bool:
        """Of a write without a known outcome: what is there may be someone else's, who came first."""
        try:
            return self._context.is_own_write(self._context.store.head(key))
        except Missing:
            return False

    def _is_replaced(self, key: ObjectKey) -> bool:
        live = self._index.dentries.resolve_key(key)
        return live is not None and live.is_owed

    def _is_above_ours(self, key: ObjectKey) -> bool:
        return key.endswith("/") and (
            self._index.inodes.has_remote_below(key, keys.range_end(key)) or self._index.tombstones.has_below(key)
        )

    def is_stuck(self) -> bool:
        """Whether all that is left to delete is refused, or waits for work that is owed."""
        with self._lock:
            refused = set(self._refused)
        return all(
            key in refused or self._is_replaced(key) or self._is_above_ours(key)
            for key in self._index.tombstones.some(REFUSED_MAX)
        )

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
                if len(self._refused) < REFUSED_MAX:
                    self._refused.setdefault(key, (str(error), now_ns))
        for key, error in errors.items():
            log.error("%r cannot be deleted from the bucket: %s", key, error)

    def _postpone(self, wanted: list[ObjectKey], error: StoreError) -> None:
        self._failures += 1
        wait_s = min(PROBE_S, back_off_s(self._failures))
        self._index.tombstones.set_due(wanted, self._context.clock.now_ns() + int(wait_s * 1e9))
        log.warning("deleting %d objects failed, again in %.0f s: %s", len(wanted), wait_s, error)
        if not error.temporary:
            self._record(wanted, dict.fromkeys(wanted, error))

    def refused(self) -> list[tuple[ObjectKey, str, int]]:
        """(key, cause, since) of deletions that S3 refuses."""
        with self._lock:
            refused = list(self._refused.items())
        return [(key, *why) for key, why in refused if self._index.tombstones.find(key) is not None]

    def forget_refusals(self) -> None:
        with self._lock:
            self._refused.clear()
