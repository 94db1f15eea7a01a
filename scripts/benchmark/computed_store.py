"""An object store whose listing is computed: any number of objects, and memory for none of them.

Object n of `count` is `d/f`, with `per_directory` files in a directory. Its requests cost next to nothing, so what a
run takes is the drive's own. It can be listed, asked for metadata, deleted from and copied in, nothing else; what was
copied is not listed.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from s3mount.errors import Missing, Rejected, StoreError
from s3mount.model import ETag, ObjectInfo, ObjectKey
from s3mount.store.base import (
    ANY,
    Condition,
    GiveHeads,
    GivePuts,
    ListPage,
    Put,
    StoreProperties,
    TakeKeys,
    TakePuts,
    UploadInfo,
)

PAGE_KEYS = 1000
HEADS_AT_ONCE = 32
PUTS_AT_ONCE = 16
MODIFIED_NS = 1_700_000_000_000_000_000
SIZE = 4096
METADATA = {"mode": "33188", "uid": "0", "gid": "0", "mtime": "1700000000"}


def directory_name(number: int) -> str:
    return f"d{number:07}"


def file_name(number: int) -> str:
    return f"file-{number:08}.dat"


class _Keys(Sequence[str]):
    """All of them, in order."""

    def __init__(self, count: int, per_directory: int) -> None:
        self._count = count
        self._per_directory = per_directory

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: Any) -> Any:
        directory, file = divmod(number, self._per_directory)
        return f"{directory_name(directory)}/{file_name(file)}"


class ComputedStore:
    def __init__(self, count: int, per_directory: int) -> None:
        self._keys = _Keys(count, per_directory)
        self._per_directory = per_directory
        self._counts: Counter[str] = Counter()
        self._gone = bytearray(count)
        self._made: dict[str, ETag] = {}
        self.properties = StoreProperties()

    def request_counts(self) -> Mapping[str, int]:
        return dict(self._counts)

    def check_access(self) -> None:
        self._counts["ListObjectsV2"] += 1

    def list_page(
        self, prefix: ObjectKey, *, delimiter: str = "/", token: str | None = None, after: ObjectKey | None = None
    ) -> ListPage:
        self._counts["ListObjectsV2"] += 1
        keys = self._keys
        at = int(token) if token else max(bisect_left(keys, prefix), bisect_right(keys, after or ""))
        end = bisect_left(keys, prefix + "\U0010ffff")
        objects: list[ObjectInfo] = []
        prefixes: list[ObjectKey] = []
        while at < end and len(objects) + len(prefixes) < PAGE_KEYS:
            if self._gone[at]:
                at += 1
            elif delimiter and not prefix:
                directory = at // self._per_directory
                prefixes.append(ObjectKey(f"{directory_name(directory)}/"))
                at = (directory + 1) * self._per_directory
            else:
                objects.append(self._info(at, None))
                at += 1
        return ListPage(objects, prefixes, str(at) if at < end else None)

    def _info(self, number: int, metadata: Mapping[str, str] | None) -> ObjectInfo:
        return ObjectInfo(ObjectKey(self._keys[number]), SIZE, _etag(number), MODIFIED_NS, metadata)

    def _number(self, key: str) -> int | None:
        """Of an object that is there."""
        number = bisect_left(self._keys, key)
        is_there = number < len(self._keys) and self._keys[number] == key and not self._gone[number]
        return number if is_there else None

    def head(self, key: ObjectKey) -> ObjectInfo:
        self._counts["HeadObject"] += 1
        if key in self._made:
            return ObjectInfo(key, SIZE, self._made[key], MODIFIED_NS, METADATA)
        number = self._number(key)
        if number is None:
            raise Missing(f"no object {key!r}")
        return self._info(number, METADATA)

    def head_many(self, take: TakeKeys, give: GiveHeads) -> None:
        while keys := take(HEADS_AT_ONCE):
            give({key: self._answer(key) for key in keys})

    def _answer(self, key: ObjectKey) -> ObjectInfo | StoreError:
        try:
            return self.head(key)
        except Missing as error:
            return error

    def delete(self, versions: Mapping[ObjectKey, ETag | None]) -> Mapping[ObjectKey, StoreError]:
        self._counts["DeleteObjects"] += -(-len(versions) // PAGE_KEYS)
        for key in versions:
            number = self._number(key)
            if number is not None:
                self._gone[number] = 1
            self._made.pop(key, None)
        return {}

    def copy(
        self, source: ObjectKey, target: ObjectKey, *, source_etag: ETag, metadata: Mapping[str, str],
        content_type: str, condition: Condition = ANY,
    ) -> ETag:  # fmt: skip
        self._counts["CopyObject"] += 1
        self._made[target] = source_etag
        return source_etag

    def put(
        self, key: ObjectKey, body: Any, *, metadata: Mapping[str, str], content_type: str, condition: Condition = ANY
    ) -> ETag:
        """Directories only: empty objects."""
        self._counts["PutObject"] += 1
        if not key.endswith("/"):
            raise Rejected("this store takes no files")
        return ETag("d41d8cd98f00b204e9800998ecf8427e")

    def put_many(self, take: TakePuts, give: GivePuts) -> None:
        while puts := list(take(PUTS_AT_ONCE)):
            give({each.key: self._made_by(each) for each in puts})

    def _made_by(self, put: Put) -> ETag | StoreError:
        if put.source is not None:
            key, etag = put.source
            return self.copy(key, put.key, source_etag=etag, metadata=put.metadata, content_type=put.content_type)
        try:
            return self.put(put.key, put.body, metadata=put.metadata, content_type=put.content_type)
        except Rejected as error:
            return error

    def list_multiparts(self, prefix: ObjectKey) -> Sequence[UploadInfo]:
        return ()

    def close(self) -> None:
        pass


def _etag(number: int) -> ETag:
    return ETag(f"{number:032x}")
