"""What this store makes of conditional writes, found out by trying, and what is done where it cannot be relied on.

Called by the recovery thread (probe), the workers (ensure), the conflict resolver (refused) and the deleter, with no
lock held.

Every write says which version it replaces, and every delete which one it means. A store that ignores that, or refuses
the right version as well (Ceph's gateway of old), is asked for the version right before the write instead: the last
writer may still win in between, so status says what was found.
"""

import logging
from enum import Enum

from s3mount.errors import Missing, PreconditionFailed, StoreError
from s3mount.index.index import Index
from s3mount.metadata import CONTENT_TYPE_FILE
from s3mount.model import ETag, ObjectInfo, ObjectKey
from s3mount.store.base import ANY, Condition, ConditionKind, ObjectStore, matches

log = logging.getLogger(__name__)

FACT = "conditional_writes"
TREE_FACT = "is_tree"
NO_ETAG = ETag("0" * 32)


class Support(Enum):
    """How the store treats the conditions of a write."""

    UNKNOWN = "unknown"  # not tried yet
    HONOURED = "honoured"
    IGNORED = "ignored"  # it writes whatever is there
    REFUSED = "refused"  # it answers "precondition failed" to the right version too


def try_condition(store: ObjectStore, name: str) -> Support:
    """HONOURED or IGNORED, found out by writing a key that nobody has, which ends in `name`, on the condition that it
    is a version nobody has. Where conditions hold, nothing is made. What a store makes all the same is deleted at
    once. Raises StoreError."""
    key = ObjectKey(f".s3mount-probe-{name}")
    try:
        store.put(key, b"", metadata={}, content_type=CONTENT_TYPE_FILE, condition=matches(NO_ETAG))
    except PreconditionFailed:
        return Support.HONOURED
    for error in store.delete({key: None}).values():
        raise error
    return Support.IGNORED


class Conditions:
    def __init__(self, store: ObjectStore, index: Index):
        self._store = store
        self._index = index
        self._support = Support(index.fact(FACT) or Support.UNKNOWN.value)
        self._deletes_refused = False
        self._is_tree = index.fact(TREE_FACT) is not None

    @property
    def is_tree(self) -> bool:
        """Whether the store shows directories that nobody made, and so perhaps refuses to make or delete those: markers
        have neither content nor versions there, and their conditions no use."""
        return self._is_tree

    def met_marker(self, there: ObjectInfo) -> None:
        """A marker was found where none was known. SeaweedFS shows one that it made for what is below, by an ETag that
        no upload can have: that of a multipart upload without parts."""
        if not self._is_tree and (not there.etag or there.etag.endswith("-0")):
            self._is_tree = True
            self._index.set_fact(TREE_FACT, "")

    @property
    def support(self) -> Support:
        return self._support

    def probe(self) -> None:
        """Ask once in the life of an index, with `try_condition`."""
        if self._support is not Support.UNKNOWN:
            return
        try:
            found = try_condition(self._store, self._index.uuid)
        except StoreError as error:
            log.info("whether conditional writes hold could not be tried: %s", error)
            return
        self._found(found)
        if found is Support.IGNORED:
            log.warning("this S3 server ignores conditional writes: when two write one key, the last may win")

    def refused(self) -> None:
        """The store refused a write on the version that is there."""
        if self._support is Support.HONOURED or self._support is Support.UNKNOWN:
            self._found(Support.REFUSED)
            log.warning("this S3 server refuses If-Match on the right version: versions are compared before each write")

    @property
    def may_condition_deletes(self) -> bool:
        """Whether a delete is to say which version it means."""
        return self._support is not Support.REFUSED and not self._deletes_refused

    @property
    def must_compare_deletes(self) -> bool:
        """Whether the version is to be looked at right before it is deleted: the store does not do so itself."""
        return self._support is Support.IGNORED or not self.may_condition_deletes

    def deletes_refused(self, error: StoreError) -> None:
        """The store refused to delete the version that is there. Believed until the mount ends: one refusal may have
        been of a version that came and went."""
        if not self._deletes_refused:
            self._deletes_refused = True
            log.warning("this S3 server refuses ETags in deletes: versions are compared before each delete (%s)", error)

    def _found(self, support: Support) -> None:
        self._support = support
        self._index.set_fact(FACT, support.value)

    def unasked(self, condition: Condition, *, is_marker: bool) -> Condition | None:
        """The condition to send; None where the store is not trusted with it, and is to be asked first."""
        if is_marker and self._is_tree:
            return ANY
        if condition.kind is ConditionKind.ANY or self._support in (Support.HONOURED, Support.UNKNOWN):
            return condition
        if self._support is Support.REFUSED and condition.kind is ConditionKind.ABSENT:
            return condition
        return None

    def ensure(self, key: ObjectKey, condition: Condition, *, is_marker: bool) -> Condition:
        """The condition to send. `is_marker`: what is written is a directory's. Raises PreconditionFailed where the
        store is not trusted with it and it does not hold, StoreError when that could not be found out."""
        sent = self.unasked(condition, is_marker=is_marker)
        if sent is not None:
            return sent
        try:
            there: ETag | None = self._store.head(key).etag
        except Missing:
            there = None
        if there != condition.etag:
            raise PreconditionFailed(f"{key!r} is not the version it was")
        return ANY
