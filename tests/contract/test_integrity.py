"""Bytes that change on their way to S3 are refused by it. Real servers only: in memory there is no way."""

import hashlib
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from s3mount.errors import Corrupt, StoreError
from s3mount.model import ObjectKey
from s3mount.store.gets import HOT_BYTES_MAX
from s3mount.store.part_sums import PartChecksum, PartSums
from s3mount.store.s3 import S3Store, open_store
from s3mount.store.settings import StoreSettings
from tests.support.s3_server import S3Server

KEY = ObjectKey("a")


@pytest.fixture(params=["seaweed", "ministack"])
def store(request: pytest.FixtureRequest) -> Iterator[S3Store]:
    server: S3Server = request.getfixturevalue(request.param)
    opened = open_store(StoreSettings(server.make_bucket(), endpoint_url=server.endpoint_url, request_deadline_s=4))
    yield opened
    opened.close()


def test_put(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    good = store.put(KEY, b"good", metadata={}, content_type="text/plain")
    monkeypatch.setattr("s3mount.store.puts.checksums", SimpleNamespace(crc64nvme=lambda _: 12345))
    with pytest.raises(Corrupt):
        store.put(KEY, b"bad", metadata={}, content_type="text/plain")
    assert store.head(KEY).etag == good


def test_part(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = store.create_multipart(KEY, metadata={}, content_type="text/plain")
    other = hashlib.md5(b"other", usedforsecurity=False)
    monkeypatch.setattr("s3mount.store.part_sums.hashlib", SimpleNamespace(md5=lambda *_, **__: other))
    monkeypatch.setattr("s3mount.store.part_sums.checksums", SimpleNamespace(crc64nvme=lambda _: 12345))
    with pytest.raises(StoreError):
        store.upload_part(KEY, upload_id, 1, b"bad")
    store.abort_multipart(KEY, upload_id)


def test_part_of_an_upload_begun_by_another_process(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = store.create_multipart(KEY, metadata={}, content_type="text/plain")
    store._part_sums = PartSums()
    etag = store.upload_part(KEY, upload_id, 1, b"good")
    other = hashlib.md5(b"other", usedforsecurity=False)
    with monkeypatch.context() as patch:
        patch.setattr("s3mount.store.part_sums.hashlib", SimpleNamespace(md5=lambda *_, **__: other))
        with pytest.raises(StoreError):
            store.upload_part(KEY, upload_id, 1, b"bad")
    store.complete_multipart(KEY, upload_id, [etag])
    assert store.head(KEY).size == 4


def test_which_kind_a_server_takes(store: S3Store, request: pytest.FixtureRequest) -> None:
    """ministack takes CRC64NVME for parts only: found out at the first upload, and nothing of it stays."""
    seaweed = "seaweed" in request.node.callspec.id
    for _ in range(2):
        upload_id = store.create_multipart(KEY, metadata={}, content_type="text/plain")
        etag = store.upload_part(KEY, upload_id, 1, b"good")
        store.complete_multipart(KEY, upload_id, [etag])
    assert store._part_sums.kind is (PartChecksum.CRC64NVME if seaweed else PartChecksum.MD5)
    counts = store.request_counts()
    assert (counts["CreateMultipartUpload"], counts.get("AbortMultipartUpload", 0)) == ((2, 0) if seaweed else (3, 1))


def test_whole(seaweed: S3Server) -> None:
    """The object is refused when it is not what the parts were; the attempt after that has its parts checked only."""
    store = open_store(StoreSettings(seaweed.make_bucket(), endpoint_url=seaweed.endpoint_url, request_deadline_s=4))
    base = store.put(KEY, b"base" * (2 << 20), metadata={}, content_type="text/plain")
    for is_wrong in (False, True):
        upload_id = store.create_multipart(KEY, metadata={}, content_type="text/plain")
        first = store.copy_part(KEY, upload_id, 1, source=KEY, source_etag=base, start=0, end=6 << 20)
        last = store.upload_part(KEY, upload_id, 2, b"end")
        assert store._part_sums.whole_arguments(upload_id, 2)
        if is_wrong:
            store._part_sums.copied(upload_id, 1, 6 << 20, "AAAAAAAAAAA=")
            with pytest.raises(Corrupt):
                store.complete_multipart(KEY, upload_id, [first, last])
            assert store.head(KEY).etag == base
            assert store._part_sums.kind is PartChecksum.MD5
        else:
            base = store.complete_multipart(KEY, upload_id, [first, last])
    store.close()


def test_parts_of_what_is_mostly_copied(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent is checked as ever; S3 is asked for no checksum of the whole, for which it would read all of it."""
    base = store.put(KEY, b"base" * (2 << 20), metadata={}, content_type="text/plain")
    kind = store._part_sums.kind
    upload_id = store.create_multipart(KEY, metadata={}, content_type="text/plain", is_mostly_copied=True)
    first = store.copy_part(KEY, upload_id, 1, source=KEY, source_etag=base, start=0, end=6 << 20)
    other = hashlib.md5(b"other", usedforsecurity=False)
    with monkeypatch.context() as patch:
        patch.setattr("s3mount.store.part_sums.hashlib", SimpleNamespace(md5=lambda *_, **__: other))
        with pytest.raises(StoreError):
            store.upload_part(KEY, upload_id, 2, b"bad")
    last = store.upload_part(KEY, upload_id, 2, b"end")
    assert store._part_sums.whole_arguments(upload_id, 2) == {}
    etag = store.complete_multipart(KEY, upload_id, [first, last])
    size = (6 << 20) + 3
    assert store.get(KEY, start=size - 7, end=size, if_match=etag) == b"baseend"
    assert store._part_sums.kind is kind


@pytest.mark.parametrize("size", [10, HOT_BYTES_MAX + 1])
def test_get(store: S3Store, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    body = b"0123456789".ljust(size, b"x")
    etag = store.put(KEY, body, metadata={}, content_type="text/plain")
    assert store.get_whole(KEY, size=size, if_match=etag)[1] == body
    monkeypatch.setattr("s3mount.store.wire.checksums", SimpleNamespace(crc64nvme=lambda _: 12345))
    with pytest.raises(Corrupt):
        store.get_whole(KEY, size=size, if_match=etag)
    assert store.get(KEY, start=0, end=3, if_match=etag) == b"012"  # of a range S3 tells no checksum
