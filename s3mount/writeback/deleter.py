"""Deletes what tombstones name, a thousand keys a request, each only while it is the version that was removed here.

A tombstone waits while a live inode at its path is about to write that key (the PUT replaces the DELETE). One that
stands for a directory waits until nothing of ours is left below its prefix, so that the prefix does not show up again.
Where a directory lives on and a file has left its key (keys.py), its marker is owed, and that PUT replaces the DELETE.

What S3 has another version of is looked at. Ours, from a write whose outcome was never known: it is deleted as that
version. Somebody else's: it stays, and is shown again.
"""

import contextlib
import hashlib
import logging
import threading
from collections.abc import Mapping

from s3mount import keys
from s3mount.errors import Missing, PreconditionFailed, Rejected, StoreError
from s3mount.index.owed import Tombstone
from s3mount.model import ETag, ObjectKey
from s3mount.writeback.claims import Claims
from s3mount.writeback.context import PROBE_S, WriteBackContext, back_off_s

log = logging.getLogger(__name__)

BATCH = 1000
WAIT_FOR_PUT_NS = 1_000_000_000
# A directory is looked at again when something below it was deleted, and this often in case that was not by us.
WAIT_FOR_CHILDREN_NS = 2_000_000_000
REFUSED_MAX = 100_000
# Unless it is encrypted with a key of KMS or of the client, and then it is looked at.
EMPTY_ETAG = ETag(hashlib.md5(b"", usedforsecurity=False).hexdigest())


class Deleter:
    def __init__(self, context: WriteBackContext, claims: Claims):
        self._context = context
        self._index = context.index
        self._claims = claims
        self._lock = threading.Lock()
        self._failures = 0
        # Halved when a request fails, for a slow store may not answer one of a thousand keys in time; then grown again.
        self._batch = BATCH
        self._refused: dict[ObjectKey, tuple[str, int]] = {}

    def run(self) -> bool:
        """Delete one batch of what is due; True when there may be more. Never raises StoreError: what failed is due
        again later."""
        versions: dict[ObjectKey, ETag | None] = {}
        batch = self._batch
        try:
            for tombstone in self._index.tombstones.due(self._context.clock.now_ns(), batch):
                if not self._take(tombstone.key, versions):
                    break
            if versions:
                # A power cut must not bring back an index that still counts on what is deleted now.
                self._index.commit_durably()
                self._send(versions)
        finally:
            self._claims.release(None, versions)
        return len(versions) == batch

    def _take(self, key: ObjectKey, versions: dict[ObjectKey, ETag | None]) -> bool:
        """Claim the key, so that no upload to it begins, and then see whether it may go now: if so it is added to
        `versions`. False when S3 cannot be asked."""
        if not self._claims.claim(None, [key]):
            return True
        wanted = None
        try:
            wanted = self._find_ready(key)
        except StoreError as error:
            self._postpone([key], error)
            return not error.temporary
        else:
            if wanted is not None:
                versions[key] = wanted.etag
            return True
        finally:
            if wanted is None:
                self._claims.release(None, [key])

    def _find_ready(self, key: ObjectKey) -> Tombstone | None:
        """The tombstone of `key` if it may go now, with the version that the DELETE is to name."""
        now_ns = self._context.clock.now_ns()
        tombstone = self._index.tombstones.find(key)
        if tombstone is None:
            return None
        if self._is_replaced(key):
            self._index.tombstones.set_due([key], now_ns + WAIT_FOR_PUT_NS)
            return None
        if self._is_above_ours(key):
            self._index.tombstones.set_due([key], now_ns + WAIT_FOR_CHILDREN_NS)
            return None
        owner = self._index.inodes.with_remote_key(key, is_dir=False)
        if owner is not None and owner.nlink:
            self._index.tombstones.remove([key])  # written again since: it is somebody's
            return None
        if keys.is_dir_key(key):
            if self._owe_marker(key):
                return None
            if self._context.conditions.is_tree:
                return tombstone._replace(etag=None)
            tombstone = tombstone._replace(etag=tombstone.etag or EMPTY_ETAG)
        conditions = self._context.conditions
        if tombstone.etag is None or conditions.must_compare_deletes:
            etag = self._look(key, tombstone.etag)
            return None if etag is None else tombstone._replace(etag=etag if conditions.may_condition_deletes else None)
        return tombstone

    def _look(self, key: ObjectKey, meant: ETag | None) -> ETag | None:
        """The version at `key` if it may be deleted: the one that was meant, or another writing of ours, whose outcome
        was never known. Of one that is gone, or someone else's, the tombstone is removed."""
        try:
            there = self._context.store.head(key)
        except Missing:
            self._record([key], {})
            return None
        if keys.is_marker(there):
            self._context.conditions.met_marker(there)
            return there.etag  # whoever made it, there is no content to lose
        if there.etag == meant or self._context.is_own_write(there):
            return there.etag
        self._spare(key)
        return None

    def _spare(self, key: ObjectKey) -> None:
        """Someone else's version stays, and is shown at the next use of its directory."""
        with self._index.transaction():  # whoever finds the tombstone gone lists the directory anew
            self._record([key], {})
            for above in [*reversed(keys.ancestor_keys(key)), keys.ROOT_KEY]:
                directory = self._index.inodes.with_remote_key(above, is_dir=True)
                if directory is not None:
                    self._context.lister.invalidate(directory.ino)
                    break
        log.warning("%r was written by someone else since its removal here: their version stays", key)

    def _send(self, versions: Mapping[ObjectKey, ETag | None]) -> None:
        try:
            errors = self._context.store.delete(versions)
        except (PreconditionFailed, Rejected) as error:
            errors = dict.fromkeys(versions, error)
        except StoreError as error:
            self._batch = max(1, len(versions) // 2)
            self._postpone(list(versions), error)
            return
        self._batch = min(BATCH, self._batch + max(1, self._batch // 4))
        conditional = {key: etag for key, etag in versions.items() if key in errors and etag is not None}
        rejected = {key: etag for key, etag in conditional.items() if isinstance(errors[key], Rejected)}
        outdated = {key: etag for key, etag in conditional.items() if isinstance(errors[key], PreconditionFailed)}
        passing = [key for key, error in errors.items() if error.temporary]
        self._record([key for key in versions if key not in errors], {})
        if passing:
            self._postpone(passing, errors[passing[0]])
        else:
            self._failures = 0
        for key, etag in outdated.items():
            self._meet(key, etag, errors[key])
        settled = {*passing, *outdated}
        if self._goes_without_etag(rejected):
            self._context.conditions.deletes_refused(errors[next(iter(rejected))])
            settled.update(rejected)  # still due, and sent without an ETag from now on
        self._record([], {key: error for key, error in errors.items() if key not in settled})

    def _meet(self, key: ObjectKey, sent: ETag, error: StoreError) -> None:
        """S3 says that `key` is another version than the one it was sent."""
        try:
            there = self._look(key, sent)
        except StoreError as failure:
            self._postpone([key], failure)
            return
        if there == sent and keys.is_dir_key(key) and self._context.conditions.is_tree:
            return  # a directory that nobody made, by an ETag that no delete can name: still due, and sent without it
        if there == sent:
            self._context.conditions.deletes_refused(error)
        elif there is not None:
            self._index.tombstones.put(key, there, self._context.clock.now_ns())

    def _goes_without_etag(self, rejected: Mapping[ObjectKey, ETag]) -> bool:
        """Whether it is the ETag that the store refuses: the first of these that may be deleted is, without one."""
        with contextlib.suppress(StoreError):
            for key, etag in rejected.items():
                if self._look(key, etag) is not None:
                    return not self._context.store.delete({key: None})
        return False

    def _is_replaced(self, key: ObjectKey) -> bool:
        live = self._index.dentries.resolve_key(key)
        if live is not None and live.is_dir and not live.is_owed:
            live = self._index.dentries.own_file(live.ino)
        return live is not None and live.is_owed

    def _is_above_ours(self, key: ObjectKey) -> bool:
        """Whether it stands for a directory that is none here, with something of ours left below it or at its key."""
        if not keys.is_dir_key(key) or self._index.dentries.resolve_key(key) is not None:
            return False
        inodes = self._index.inodes
        return (
            inodes.with_remote_key(key, is_dir=False) is not None
            or inodes.has_remote_below(key, keys.range_end(key))
            or self._index.tombstones.has_below(key)
        )

    def _owe_marker(self, key: ObjectKey) -> bool:
        """Whether there is a directory at `key`; it owes its marker then."""
        now_ns = self._context.clock.now_ns()
        with self._index.transaction():
            directory = self._index.dentries.resolve_key(key)
            if directory is None or directory.is_kept_here:
                return False
            owing = directory._replace(meta_generation=directory.meta_generation + 1, due_ns=now_ns)
            self._index.inodes.update(owing)
            self._index.tombstones.set_due([key], now_ns + WAIT_FOR_PUT_NS)
        return True

    def is_stuck(self) -> bool:
        """Whether all that is left to delete is refused, or waits for work that is owed."""
        with self._lock:
            refused = set(self._refused)
        return all(
            key in refused or self._is_replaced(key) or self._is_above_ours(key)
            for key in self._index.tombstones.some(REFUSED_MAX)
        )

    def _record(self, done: list[ObjectKey], errors: Mapping[ObjectKey, StoreError]) -> None:
        now_ns = self._context.clock.now_ns()
        with self._index.transaction():
            self._context.guard.note(done)
            self._index.tombstones.remove(done)
            self._index.tombstones.set_due({above for key in done for above in keys.ancestor_keys(key)}, now_ns)
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
            self._record([], dict.fromkeys(wanted, error))

    def refused(self) -> list[tuple[ObjectKey, str, int]]:
        """(key, cause, since) of deletions that S3 refuses."""
        with self._lock:
            refused = list(self._refused.items())
        return [(key, *why) for key, why in refused if self._index.tombstones.find(key) is not None]

    def forget_refusals(self) -> None:
        with self._lock:
            self._refused.clear()
