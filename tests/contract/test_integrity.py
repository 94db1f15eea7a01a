"""Bytes that change on their way to S3 are refused by it. Real servers only: in memory there is no way."""

import hashlib
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from s3mount.errors import Corrupt, StoreError
from s3mount.model import ObjectKey
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
    monkeypatch.setattr("s3mount.store.s3.checksums", SimpleNamespace(crc64nvme=lambda _: 12345))
    with pytest.raises(Corrupt):
        store.put(KEY, b"bad", metadata={}, content_type="text/plain")
    assert store.head(KEY).etag == good


def test_part(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = store.create_multipart(KEY, metadata={}, content_type="text/plain")
    other = hashlib.md5(b"other", usedforsecurity=False)
    monkeypatch.setattr("s3mount.store.s3.hashlib", SimpleNamespace(md5=lambda *_, **__: other))
    with pytest.raises(StoreError):
        store.upload_part(KEY, upload_id, 1, b"bad")
    store.abort_multipart(KEY, upload_id)
