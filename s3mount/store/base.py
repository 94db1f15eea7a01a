"""The contract between s3mount and an object store, method by method. tests/contract holds every sentence.

Called by the cache (get), the write-back loop (put, copy, delete, multipart) and the listing code (list, head),
from many threads at once. Never called with a lock held. Keys are relative to the mounted prefix: bucket and
prefix are known here and nowhere above.

Every method raises StoreError and nothing else, within the deadline the store was built with. `temporary` errors
were already retried a few times below; a caller that goes on retrying brings its own back-off. A method that
raised a temporary error may all the same have taken effect (the reply was lost).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from s3mount.errors import StoreError
from s3mount.model import ETag, ObjectInfo, ObjectKey

Body = bytes | bytearray | memoryview

# Returns at most so many keys.
TakeKeys = Callable[[int], Sequence[ObjectKey]]
GiveHeads = Callable[[Mapping[ObjectKey, ObjectInfo | StoreError]], None]


class ConditionKind(Enum):
    ANY = "any"
    ABSENT = "absent"
    MATCHES = "matches"


class Condition(NamedTuple):
    """What must hold at the target key for a write to take effect; else PreconditionFailed and nothing changed.

    S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """

    kind: ConditionKind
    etag: ETag | None = None


ANY = Condition(ConditionKind.ANY)
ABSENT = Condition(ConditionKind.ABSENT)


def matches(etag: ETag) -> Condition:
    return Condition(ConditionKind.MATCHES, etag)


class Source(NamedTuple):
    """The version of an object that is copied."""

    key: ObjectKey
    etag: ETag


class Put(NamedTuple):
    """An object that is to be made, of these bytes or as a copy: the arguments of `put`, or with a `source` of `copy`,
    without bytes."""

    key: ObjectKey
    body: Body
    metadata: Mapping[str, str]
    content_type: str
    condition: Condition = ANY
    source: Source | None = None


TakePuts = Callable[[int], Iterable[Put]]
GivePuts = Callable[[Mapping[ObjectKey, ETag | StoreError]], None]


class StoreProperties(NamedTuple):
    """What this store can do. `has_root_key`: the mounted root has a key of its own (a prefix was given)."""

    has_root_key: bool = False
    part_bytes_min: int = 5 << 20
    part_count_max: int = 10_000
    put_bytes_max: int = 5 << 30
    copy_bytes_max: int = 5 << 30
    object_bytes_max: int = 5 << 40


class ListPage(NamedTuple):
    """One page of a listing, in the store's own order. Objects and prefixes are never to be merged by that order:
    some stores list in directory-tree order. Without a delimiter, and in all stores we know but S3's directory buckets,
    the keys below any directory follow each other."""

    objects: Sequence[ObjectInfo]
    prefixes: Sequence[ObjectKey]
    next_token: str | None


class PartInfo(NamedTuple):
    """A part that a multipart upload holds, as ListParts shows it."""

    number: int
    size: int
    etag: ETag


class UploadInfo(NamedTuple):
    """A multipart upload that is neither completed nor aborted. `initiated_ns`: by the server's clock."""

    key: ObjectKey
    upload_id: str
    initiated_ns: int


class ObjectStore(Protocol):
    @property
    def properties(self) -> StoreProperties: ...

    def request_counts(self) -> Mapping[str, int]:
        """How many S3 requests were sent, by S3 operation name ("PutObject"), retries included."""

    def check_access(self) -> None:
        """One cheap request that proves credentials, bucket and network. Raises Denied, BucketMissing, Unreachable."""

    def list_page(
        self, prefix: ObjectKey, *, delimiter: str = "/", token: str | None = None, after: ObjectKey | None = None
    ) -> ListPage:
        """Objects whose key starts with `prefix`, and the common prefixes up to `delimiter` ("" for none); of the first
        page (no `token`) only what follows `after` in the store's own order, where the store knows how to do that.
        A key equal to `prefix` (a directory's own marker) is among the objects. Lists what every write acknowledged
        before the call left behind."""

    def head(self, key: ObjectKey) -> ObjectInfo:
        """The object with its metadata. Raises Missing. Some stores answer for an implicit "dir/" too."""

    def head_many(self, take: TakeKeys, give: GiveHeads) -> None:
        """`head` of many keys, several under way at once. While there is room, `take` is asked for keys, again and
        again, none of them twice while it is under way. `give` is told what each came to, once, of those together that
        are known by then. Both are called in the calling thread. Returns when `take` has none and nothing is under way.
        Raises nothing but what they do, and what was under way then is cancelled."""

    def get(self, key: ObjectKey, *, start: int, end: int, if_match: ETag) -> Body:
        """Exactly the bytes [start, end) of that version. Raises PreconditionFailed when the object is another
        version by now, Missing when it is gone, Archived when it must be restored first, Corrupt or Unreachable when
        fewer bytes came than promised. What is returned is the caller's, and changes no more."""

    def get_whole(self, key: ObjectKey, *, size: int, if_match: ETag) -> tuple[ObjectInfo, Body]:
        """That version with its metadata and all of its `size` bytes, which are compared with the checksum that the
        store has of it. Raises what `get` does; Corrupt when it has another size."""

    def put(
        self, key: ObjectKey, body: Body, *, metadata: Mapping[str, str], content_type: str, condition: Condition = ANY
    ) -> ETag:
        """Make the object, atomically: readers see all of the old or all of the new. `body` is free after return."""

    def put_many(self, take: TakePuts, give: GivePuts) -> None:
        """`put` of many small objects and `copy` of many, several under way at once, as `head_many`: `take` is asked
        while there is room, and no key may be under way twice. Each comes to what `put` or `copy` returns or raises.
        What is under way when `take` or `give` raises is cancelled, and may have taken effect all the same."""

    def copy(
        self,
        source: ObjectKey,
        target: ObjectKey,
        *,
        source_etag: ETag,
        metadata: Mapping[str, str],
        content_type: str,
        condition: Condition = ANY,
    ) -> ETag:
        """Server-side copy of that version with new metadata, atomically; source and target may be the same key.
        Raises PreconditionFailed when the source is another version, Missing when it is gone, Archived. At most
        `copy_bytes_max`. `condition` is best effort: not every store checks it on a copy."""

    def delete(self, versions: Mapping[ObjectKey, ETag | None]) -> Mapping[ObjectKey, StoreError]:
        """Delete all of these keys, a thousand a request: one with an ETag only while it is that version, else
        PreconditionFailed for that key. Deleting what does not exist succeeds; with an ETag some stores call that
        PreconditionFailed too. Idempotent. Returns the keys that failed, each with its error; raises when a whole
        request failed (any of the keys may be gone). Some stores ignore the ETag, or refuse a request that has one."""

    def create_multipart(
        self, key: ObjectKey, *, metadata: Mapping[str, str], content_type: str, is_mostly_copied: bool = False
    ) -> str:
        """Begin a multipart upload, invisible to readers until complete; returns its upload id. `is_mostly_copied`:
        more of it will come by copy_part than by upload_part. Then its sent parts are checked, and the whole may not
        be: for that, a server without checksums of ranges must read all that it copies."""

    def upload_part(self, key: ObjectKey, upload_id: str, number: int, body: Body) -> ETag:
        """Put part `number` (from 1); the same number again replaces it."""

    def copy_part(
        self, key: ObjectKey, upload_id: str, number: int, *, source: ObjectKey, source_etag: ETag, start: int, end: int
    ) -> ETag:
        """Part `number` from bytes [start, end) of another object's version."""

    def list_parts(self, key: ObjectKey, upload_id: str) -> Sequence[PartInfo]:
        """The parts that the upload holds, by number. Raises Missing when there is no such upload (any more)."""

    def list_multiparts(self, prefix: ObjectKey) -> Sequence[UploadInfo]:
        """The uploads under way, anybody's, to keys that start with `prefix`."""

    def complete_multipart(
        self, key: ObjectKey, upload_id: str, parts: Sequence[ETag], *, condition: Condition = ANY
    ) -> ETag:
        """Make the object from parts 1…n, atomically. Not idempotent on every store: after a lost reply the upload
        id may be Missing though the object is there."""

    def abort_multipart(self, key: ObjectKey, upload_id: str) -> None:
        """Forget the upload and its parts. An unknown upload id is no error."""

    def close(self) -> None:
        """Release connections and threads. Calls in flight fail with Unreachable."""
