"""ObjectStore in memory: exact where real servers are sloppy, so a test that fails on it is wrong about S3.

For tests above the store floor. Thread-safe: one lock, held over each whole operation. Keys are relative, as the
contract has them. The foreign_* methods act as another S3 client would: uncounted, behind s3mount's back.
"""

import hashlib
import itertools
import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from s3mount.clock import Clock, SystemClock
from s3mount.errors import Corrupt, Missing, PreconditionFailed, Rejected, StoreError, Unreachable
from s3mount.model import ETag, ObjectInfo, ObjectKey
from s3mount.store.base import (
    ANY,
    Body,
    Condition,
    ConditionKind,
    GiveHeads,
    GivePuts,
    ListPage,
    ObjectStore,
    PartInfo,
    Put,
    StoreProperties,
    TakeKeys,
    TakePuts,
    UploadInfo,
)
from s3mount.store.wire import check_metadata

DELETE_KEYS_MAX = 1000
HEADS_AT_ONCE = 16
PUTS_AT_ONCE = 16
_upload_numbers = itertools.count(1)  # over all stores: a copy of one must not give an id out again


@dataclass(frozen=True, slots=True)
class StoredObject:
    body: bytes
    etag: ETag
    metadata: Mapping[str, str]
    content_type: str
    last_modified_ns: int

    def info(self, key: ObjectKey, *, with_metadata: bool) -> ObjectInfo:
        shown = self.metadata if with_metadata else None
        return ObjectInfo(key, len(self.body), self.etag, self.last_modified_ns, shown)


@dataclass(frozen=True, slots=True)
class Upload:
    key: ObjectKey
    metadata: Mapping[str, str]
    content_type: str
    initiated_ns: int = 0
    parts: dict[int, bytes] = field(default_factory=dict)
    is_mostly_copied: bool = False


def head_one_by_one(head: Callable[[ObjectKey], ObjectInfo], take: TakeKeys, give: GiveHeads) -> None:
    """The contract's `head_many` where a HEAD takes no time."""

    def answer(key: ObjectKey) -> ObjectInfo | StoreError:
        try:
            return head(key)
        except StoreError as error:
            return error

    while keys := take(HEADS_AT_ONCE):
        give({key: answer(key) for key in keys})


def put_one_by_one(put: Callable[[Put], ETag], take: TakePuts, give: GivePuts) -> None:
    """The contract's `put_many` where a PUT takes no time."""
    while puts := list(take(PUTS_AT_ONCE)):
        give({each.key: put_outcome(put, each) for each in puts})


def put_outcome(put: Callable[[Put], ETag], each: Put) -> ETag | StoreError:
    try:
        return put(each)
    except StoreError as error:
        return error


class MemoryStore:
    def __init__(
        self, *, clock: Clock | None = None, page_size: int = 1000, properties: StoreProperties | None = None
    ) -> None:
        self.page_size = page_size  # objects and prefixes together
        self._clock = clock or SystemClock()
        self._properties = properties or StoreProperties()
        self._lock = threading.RLock()
        self._objects: dict[ObjectKey, StoredObject] = {}
        self._sorted_keys: list[ObjectKey] | None = None
        self._uploads: dict[str, Upload] = {}
        self._counts: Counter[str] = Counter()
        self._is_closed = False

    def objects(self) -> dict[ObjectKey, StoredObject]:
        with self._lock:
            return dict(self._objects)

    def uploads(self) -> dict[str, Upload]:
        """Neither completed nor aborted."""
        with self._lock:
            return dict(self._uploads)

    def foreign_put(self, key: str, body: bytes, metadata: Mapping[str, str] | None = None) -> ETag:
        with self._lock:
            return self._store(ObjectKey(key), body, _md5(body), metadata or {}, "binary/octet-stream")

    def foreign_delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(ObjectKey(key), None)
            self._sorted_keys = None

    @property
    def properties(self) -> StoreProperties:
        return self._properties

    def request_counts(self) -> Mapping[str, int]:
        with self._lock:
            return dict(self._counts)

    def check_access(self) -> None:
        with self._lock:
            self._count("ListObjectsV2")

    def list_page(
        self, prefix: ObjectKey, *, delimiter: str = "/", token: str | None = None, after: ObjectKey | None = None
    ) -> ListPage:
        with self._lock:
            self._count("ListObjectsV2")
            if self._sorted_keys is None:
                # Code points sort as their UTF-8 bytes do, which is S3's order.
                self._sorted_keys = sorted(self._objects)
            keys, objects, prefixes = self._sorted_keys, list[ObjectInfo](), list[ObjectKey]()
            # A token is the key the page begins with.
            at = (
                bisect_left(keys, token)
                if token
                else max(bisect_left(keys, prefix), 0 if after is None else bisect_right(keys, after))
            )
            while at < len(keys) and keys[at].startswith(prefix):
                if len(objects) + len(prefixes) == self.page_size:
                    return ListPage(objects, prefixes, keys[at])
                cut = keys[at].find(delimiter, len(prefix)) if delimiter else -1
                if cut < 0:
                    objects.append(self._objects[keys[at]].info(keys[at], with_metadata=False))
                    at += 1
                else:
                    prefixes.append(ObjectKey(keys[at][: cut + len(delimiter)]))
                    while at < len(keys) and keys[at].startswith(prefixes[-1]):
                        at += 1
            return ListPage(objects, prefixes, None)

    def head(self, key: ObjectKey) -> ObjectInfo:
        with self._lock:
            self._count("HeadObject")
            return self._find(key).info(key, with_metadata=True)

    def head_many(self, take: TakeKeys, give: GiveHeads) -> None:
        head_one_by_one(self.head, take, give)

    def get(self, key: ObjectKey, *, start: int, end: int, if_match: ETag) -> bytes:
        if start >= end:
            return b""
        with self._lock:
            self._count("GetObject")
            body = self._find_version(key, if_match).body
        if end > len(body):
            raise Corrupt(f"{len(body)} bytes are fewer than {end} ({key!r})")
        return body[start:end]

    def get_whole(self, key: ObjectKey, *, size: int, if_match: ETag) -> tuple[ObjectInfo, bytes]:
        with self._lock:
            self._count("GetObject")
            found = self._find_version(key, if_match)
        if size != len(found.body):
            raise Corrupt(f"{len(found.body)} bytes are not {size} ({key!r})")
        return found.info(key, with_metadata=True), found.body

    def put(
        self, key: ObjectKey, body: Body, *, metadata: Mapping[str, str], content_type: str, condition: Condition = ANY
    ) -> ETag:
        check_metadata(metadata)
        with self._lock:
            self._count("PutObject")
            self._check(key, condition)
            return self._store(key, bytes(body), _md5(body), metadata, content_type)

    def put_many(self, take: TakePuts, give: GivePuts) -> None:
        put_one_by_one(lambda put: put_with(self, put), take, give)

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
        check_metadata(metadata)
        with self._lock:
            self._count("CopyObject")
            body = self._find_version(source, source_etag).body
            self._check(target, condition)
            return self._store(target, body, _md5(body), metadata, content_type)

    def delete(self, versions: Mapping[ObjectKey, ETag | None]) -> Mapping[ObjectKey, StoreError]:
        failed: dict[ObjectKey, StoreError] = {}
        with self._lock:
            for at, (key, etag) in enumerate(versions.items()):
                if at % DELETE_KEYS_MAX == 0:
                    self._count("DeleteObjects")
                there = self._objects.get(key)
                if etag is not None and there is not None and there.etag != etag:
                    failed[key] = PreconditionFailed(f"{key!r} is {there.etag}, not {etag}")
                else:
                    self.foreign_delete(key)
        return failed

    def create_multipart(
        self, key: ObjectKey, *, metadata: Mapping[str, str], content_type: str, is_mostly_copied: bool = False
    ) -> str:
        check_metadata(metadata)
        with self._lock:
            self._count("CreateMultipartUpload")
            upload_id = f"upload-{next(_upload_numbers)}"
            self._uploads[upload_id] = Upload(
                key, _lowered(metadata), content_type, self._clock.now_ns(), is_mostly_copied=is_mostly_copied
            )
            return upload_id

    def upload_part(self, key: ObjectKey, upload_id: str, number: int, body: Body) -> ETag:
        with self._lock:
            self._count("UploadPart")
            self._find_upload(key, upload_id).parts[number] = bytes(body)
            return _md5(body)

    def copy_part(
        self, key: ObjectKey, upload_id: str, number: int, *, source: ObjectKey, source_etag: ETag, start: int, end: int
    ) -> ETag:
        with self._lock:
            self._count("UploadPartCopy")
            upload = self._find_upload(key, upload_id)
            body = self._find_version(source, source_etag).body
            if not 0 <= start < end <= len(body):
                raise Rejected(f"[{start}, {end}) is not within {source!r}")
            upload.parts[number] = body[start:end]
            return _md5(body[start:end])

    def list_parts(self, key: ObjectKey, upload_id: str) -> Sequence[PartInfo]:
        with self._lock:
            self._count("ListParts")
            parts = sorted(self._find_upload(key, upload_id).parts.items())
            return [PartInfo(number, len(body), _md5(body)) for number, body in parts]

    def list_multiparts(self, prefix: ObjectKey) -> Sequence[UploadInfo]:
        with self._lock:
            self._count("ListMultipartUploads")
            return [
                UploadInfo(upload.key, upload_id, upload.initiated_ns)
                for upload_id, upload in self._uploads.items()
                if upload.key.startswith(prefix)
            ]

    def complete_multipart(
        self, key: ObjectKey, upload_id: str, parts: Sequence[ETag], *, condition: Condition = ANY
    ) -> ETag:
        with self._lock:
            self._count("CompleteMultipartUpload")
            upload = self._find_upload(key, upload_id)
            bodies = [upload.parts.get(number, b"") for number in range(1, len(parts) + 1)]
            if not parts or [_md5(body) for body in bodies] != list(parts):
                raise Rejected(f"InvalidPart: {key!r}")
            if any(len(body) < self._properties.part_bytes_min for body in bodies[:-1]):
                raise Rejected(f"EntityTooSmall: {key!r}")
            self._check(key, condition)
            del self._uploads[upload_id]
            etag = ETag(f"{_md5(b''.join(map(bytes.fromhex, parts)))}-{len(parts)}")
            return self._store(key, b"".join(bodies), etag, upload.metadata, upload.content_type)

    def abort_multipart(self, key: ObjectKey, upload_id: str) -> None:
        with self._lock:
            self._count("AbortMultipartUpload")
            self._uploads.pop(upload_id, None)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True

    def _count(self, operation: str) -> None:
        if self._is_closed:
            raise Unreachable("the store is closed")
        self._counts[operation] += 1

    def _store(self, key: ObjectKey, body: bytes, etag: ETag, metadata: Mapping[str, str], content_type: str) -> ETag:
        if key not in self._objects:
            self._sorted_keys = None
        now_ns = self._clock.now_ns() // 10**9 * 10**9  # HEAD shows whole seconds
        self._objects[key] = StoredObject(body, etag, _lowered(metadata), content_type, now_ns)
        return etag

    def _find(self, key: ObjectKey) -> StoredObject:
        if (found := self._objects.get(key)) is None:
            raise Missing(f"no object {key!r}")
        return found

    def _find_version(self, key: ObjectKey, etag: ETag) -> StoredObject:
        if (found := self._find(key)).etag != etag:
            raise PreconditionFailed(f"{key!r} is {found.etag}, not {etag}")
        return found

    def _find_upload(self, key: ObjectKey, upload_id: str) -> Upload:
        upload = self._uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise Missing(f"no upload {upload_id!r} of {key!r}")
        return upload

    def _check(self, key: ObjectKey, condition: Condition) -> None:
        actual = self._objects[key].etag if key in self._objects else None
        if condition.kind is ConditionKind.ABSENT and actual is not None:
            raise PreconditionFailed(f"{key!r} exists")
        if condition.kind is ConditionKind.MATCHES and actual != condition.etag:
            raise PreconditionFailed(f"{key!r} is {actual}, not {condition.etag}")


def put_with(store: ObjectStore, put: Put) -> ETag:
    """One of many as one alone."""
    if put.source is not None:
        return store.copy(
            put.source.key, put.key, source_etag=put.source.etag, metadata=put.metadata,
            content_type=put.content_type, condition=put.condition,
        )  # fmt: skip
    return store.put(put.key, put.body, metadata=put.metadata, content_type=put.content_type, condition=put.condition)


def _md5(body: Body) -> ETag:
    return ETag(hashlib.md5(body, usedforsecurity=False).hexdigest())


def _lowered(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in metadata.items()}
