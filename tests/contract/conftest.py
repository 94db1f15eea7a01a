"""The stores that the contract is tried on, and what is known to be wrong with the servers behind them."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from s3mount.model import ETag, ObjectInfo, ObjectKey
from s3mount.store.base import ListPage, ObjectStore
from s3mount.store.s3 import open_store
from s3mount.store.settings import StoreSettings
from tests.support.memory_store import MemoryStore
from tests.support.s3_server import S3Server

PREFIX = "mounted/here +%/"
KINDS = ("memory", "seaweedfs", "ministack")

# Each entry must fail: a server that was mended makes its test fail here, and the entry goes.
DEVIATIONS: Mapping[tuple[str, str], str] = {
    ("seaweedfs", "test_odd_slashes_are_kept"): "keys are paths in a file system: '//' and '.' are merged or refused",
    ("seaweedfs", "test_directory_marker_keeps_its_metadata"): "'dir/' is a directory, which has no user metadata",
    ("seaweedfs", "test_a_prefix_is_gone_with_its_last_object"): "the directory stays, and is listed, after its files",
    ("seaweedfs", "test_objects_come_in_byte_order"): "lists a directory tree depth first",
    ("seaweedfs", "test_delete_alone_of_a_version_that_is_gone_succeeds"): "412 for nothing there; allowed by contract",
    ("ministack", "test_copy_absent"): "ignores conditions on the target of CopyObject; best effort by contract",
}


@dataclass
class Subject:
    """A store under test, a key prefix ("folder/") of the test's own in it, and the other client of its bucket."""

    kind: str
    store: ObjectStore
    folder: ObjectKey
    server: S3Server | None
    bucket: str

    def key(self, name: str) -> ObjectKey:
        return ObjectKey(self.folder + name)

    def put(self, name: str, body: bytes = b"body") -> ETag:
        return self.store.put(self.key(name), body, metadata={}, content_type="text/plain")

    def read(self, name: str) -> bytes:
        info = self.store.head(self.key(name))
        return self.store.get(info.key, start=0, end=info.size, if_match=info.etag)

    def list_all(self, prefix: str = "", *, delimiter: str = "/") -> ListPage:
        """All pages as one, names relative to the folder."""
        objects: list[ObjectInfo] = []
        prefixes: list[ObjectKey] = []
        token: str | None = None
        for _ in range(100):
            page = self.store.list_page(self.key(prefix), delimiter=delimiter, token=token)
            objects += page.objects
            prefixes += page.prefixes
            token = page.next_token
            if token is None:
                return ListPage(objects, prefixes, None)
        raise AssertionError("the listing does not end")

    def names(self, prefix: str = "", *, delimiter: str = "/") -> list[str]:
        found = self.list_all(prefix, delimiter=delimiter)
        return sorted(key.removeprefix(self.folder) for key in (*(o.key for o in found.objects), *found.prefixes))

    def foreign_put(self, name: str, body: bytes, metadata: Mapping[str, str] | None = None) -> None:
        if isinstance(self.store, MemoryStore):
            self.store.foreign_put(self.key(name), body, metadata)
        else:
            assert self.server is not None
            self.server.client.put_object(
                Bucket=self.bucket, Key=PREFIX + self.key(name), Body=body, Metadata=metadata or {}
            )


@pytest.fixture(scope="session", autouse=True)
def _credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in S3Server("", "", None).environment().items():  # type: ignore[arg-type]
            patch.setenv(name, value)
        yield


@dataclass
class Opened:
    store: ObjectStore
    server: S3Server | None = None
    bucket: str = ""


@pytest.fixture(scope="session", params=KINDS)
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    if request.param == "memory":
        yield Opened(MemoryStore())
        return
    server: S3Server = request.getfixturevalue("seaweed" if request.param == "seaweedfs" else "ministack")
    bucket = server.make_bucket()
    store = open_store(StoreSettings(bucket, PREFIX, endpoint_url=server.endpoint_url, request_deadline_s=20))
    try:
        yield Opened(store, server, bucket)
    finally:
        store.close()


_folder_numbers = itertools.count(1)


@pytest.fixture
def subject(request: pytest.FixtureRequest, opened: Opened) -> Subject:
    kind = opened.server.name if opened.server else "memory"
    reason = DEVIATIONS.get((kind, request.node.originalname))
    if reason is not None:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    return Subject(kind, opened.store, ObjectKey(f"t{next(_folder_numbers)}/"), opened.server, opened.bucket)
