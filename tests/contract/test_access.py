"""What a person is told, and how soon, when the store cannot be used as configured. Real servers only."""

import socket
import time
from collections.abc import Iterator

import pytest

from s3mount.errors import BucketMissing, Denied, StoreError, Unreachable
from s3mount.model import ObjectKey
from s3mount.store import access
from s3mount.store.s3 import S3Store, open_store
from s3mount.store.settings import StoreSettings
from tests.support.s3_server import S3Server

CHECK_ACCESS_S_MAX = 8.0


@pytest.fixture
def stores() -> Iterator[list[S3Store]]:
    """Closes what a test puts in."""
    opened: list[S3Store] = []
    yield opened
    for store in opened:
        store.close()


def _check(stores: list[S3Store], bucket: str, endpoint_url: str, *, request_deadline_s: float = 10) -> StoreError:
    """The error that check_access ends in, which must be one line and in time."""
    stores.append(open_store(StoreSettings(bucket, endpoint_url=endpoint_url, request_deadline_s=request_deadline_s)))
    started = time.monotonic()
    with pytest.raises(StoreError) as caught:
        stores[-1].check_access()
    assert time.monotonic() - started < CHECK_ACCESS_S_MAX
    assert "\n" not in str(caught.value)
    return caught.value


def test_wrong_secret(seaweed: S3Server, stores: list[S3Store], monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = seaweed.make_bucket()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not the secret")
    error = _check(stores, bucket, seaweed.endpoint_url)
    assert isinstance(error, Denied)
    assert "secret key" in str(error)
    with pytest.raises(Denied):
        stores[0].put(ObjectKey("a"), b"x", metadata={}, content_type="text/plain")


def test_unknown_access_key(seaweed: S3Server, stores: list[S3Store], monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = seaweed.make_bucket()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    error = _check(stores, bucket, seaweed.endpoint_url)
    assert isinstance(error, Denied)
    assert "access key" in str(error)


def test_no_credentials(seaweed: S3Server, stores: list[S3Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = _check(stores, "bucket", seaweed.endpoint_url)
    assert isinstance(error, Denied)
    assert "AWS_ACCESS_KEY_ID" in str(error)
    with pytest.raises(Denied):
        stores[0].put(ObjectKey("a"), b"x", metadata={}, content_type="text/plain")


@pytest.mark.parametrize("kind", ["seaweed", "ministack"])
def test_missing_bucket(kind: str, request: pytest.FixtureRequest, stores: list[S3Store]) -> None:
    server: S3Server = request.getfixturevalue(kind)
    error = _check(stores, "no-such-bucket", server.endpoint_url)
    assert isinstance(error, BucketMissing)
    assert "no-such-bucket" in str(error)
    with pytest.raises(BucketMissing):
        stores[0].put(ObjectKey("a"), b"x", metadata={}, content_type="text/plain")


def test_nobody_listens(stores: list[S3Store]) -> None:
    error = _check(stores, "bucket", "http://127.0.0.1:1")
    assert isinstance(error, Unreachable)
    assert "http://127.0.0.1:1" in str(error)
    with pytest.raises(Unreachable):
        stores[0].put(ObjectKey("a"), b"x", metadata={}, content_type="text/plain")


def test_unknown_host(stores: list[S3Store]) -> None:
    assert isinstance(_check(stores, "bucket", "http://no-such-host.invalid"), Unreachable)


def test_endpoint_that_never_answers(stores: list[S3Store], monkeypatch: pytest.MonkeyPatch) -> None:
    assert access.ACCESS_DEADLINE_S < CHECK_ACCESS_S_MAX
    monkeypatch.setattr(access, "ACCESS_DEADLINE_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = _check(stores, "bucket", f"http://127.0.0.1:{silent.getsockname()[1]}", request_deadline_s=60)
    assert isinstance(error, Unreachable)


def test_requests_to_an_endpoint_that_never_answers_end(stores: list[S3Store]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = open_store(StoreSettings("bucket", endpoint_url=endpoint_url, request_deadline_s=1))
        stores.append(store)
        started = time.monotonic()
        with pytest.raises(Unreachable):
            store.put(ObjectKey("a"), b"x", metadata={}, content_type="text/plain")
        with pytest.raises(Unreachable):
            store.list_page(ObjectKey(""))
        assert time.monotonic() - started < 3
