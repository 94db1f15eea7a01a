"""Many HEADs at once: how many, what becomes of lost replies, silence and close, and what is handed on together."""

import gc
import threading
import time
import weakref
from collections.abc import Mapping
from itertools import islice

import pytest

from s3mount.errors import Denied, Missing, StoreError, Throttled, Unreachable
from s3mount.model import ObjectInfo, ObjectKey
from s3mount.store.heads import AT_ONCE_MAX
from s3mount.store.retry import ATTEMPTS_MAX
from s3mount.store.s3 import S3Store, open_store
from s3mount.store.s3_errors import Silent
from s3mount.store.settings import StoreSettings
from tests.unit.store.conftest import Endpoint, Reply, error_reply

HEADERS = {"ETag": '"e"', "Content-Length": "5", "Last-Modified": "Thu, 01 Jan 1970 00:00:01 GMT"}
FOUND = Reply(headers=HEADERS)
LOST = Reply(status=0)


class _Asked:
    def __init__(self, store: S3Store, count: int) -> None:
        self.heads: dict[ObjectKey, ObjectInfo | StoreError] = {}
        self.gifts = 0
        self._store = store
        self._left = iter([ObjectKey(f"k{n}") for n in range(count)])

    def run(self) -> "_Asked":
        self._store.head_many(lambda count: list(islice(self._left, count)), self._give)
        return self

    def _give(self, heads: Mapping[ObjectKey, ObjectInfo | StoreError]) -> None:
        self.heads.update(heads)
        self.gifts += 1

    def kinds(self) -> set[type]:
        return set(map(type, self.heads.values()))


def test_many_are_under_way_and_no_more_than_that(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [Reply(headers=HEADERS, delay_s=0.3)]
    asked = _Asked(store, 3 * AT_ONCE_MAX).run()
    assert (len(asked.heads), asked.kinds()) == (3 * AT_ONCE_MAX, {ObjectInfo})
    assert AT_ONCE_MAX // 4 < endpoint.most_at_once <= AT_ONCE_MAX
    assert asked.gifts < len(asked.heads), "what comes together is handed on together"


def test_a_lost_reply_is_asked_for_again(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [LOST, LOST, LOST, FOUND]
    assert _Asked(store, 5).run().kinds() == {ObjectInfo}


def test_what_stays_lost_is_told(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [LOST]
    assert _Asked(store, 2).run().kinds() == {Unreachable}


def test_s3_too_busy_is_tried_again_and_strain_is_told(endpoint: Endpoint) -> None:
    strains: list[int] = []
    settings = StoreSettings("bucket", "p/", endpoint_url=endpoint.url, request_deadline_s=6)
    store = open_store(settings, on_strain=lambda: strains.append(1))
    endpoint.replies = [Reply(status=503)]
    assert _Asked(store, 1).run().kinds() == {Throttled}
    assert len(strains) == ATTEMPTS_MAX
    store.close()


@pytest.mark.parametrize(("status", "kind"), [(404, Missing), (403, Denied)])
def test_a_refusal_is_told_at_once(store: S3Store, endpoint: Endpoint, status: int, kind: type[StoreError]) -> None:
    endpoint.replies = [Reply(status=status)]
    assert _Asked(store, 3).run().kinds() == {kind}
    assert len(endpoint.requests) == 3


def test_one_that_stays_silent_is_asked_for_once_more_and_holds_up_nobody(endpoint: Endpoint) -> None:
    store = open_store(StoreSettings("bucket", "p/", endpoint_url=endpoint.url, request_deadline_s=4))
    endpoint.replies = [Reply(headers=HEADERS, delay_s=10.0), FOUND]
    began_s = time.monotonic()
    assert _Asked(store, 3 * AT_ONCE_MAX).run().kinds() == {ObjectInfo}
    assert 2.0 <= time.monotonic() - began_s < 8.0
    assert len(endpoint.requests) == 3 * AT_ONCE_MAX + 1
    store.close()


def test_silence_ends_with_the_deadline(endpoint: Endpoint) -> None:
    store = open_store(StoreSettings("bucket", "p/", endpoint_url=endpoint.url, request_deadline_s=2))
    endpoint.replies = [Reply(headers=HEADERS, delay_s=10.0)]
    began_s = time.monotonic()
    assert _Asked(store, 4).run().kinds() == {Silent}
    assert 2.0 <= time.monotonic() - began_s < 6.0
    assert len(endpoint.requests) == 2 * 4
    store.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_metadata_that_is_not_utf8(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [Reply(headers=HEADERS | {"x-amz-meta-name": "caf\xe9"})]
    heads = _Asked(store, 6).run().heads.values()
    assert [head.metadata for head in heads if isinstance(head, ObjectInfo)] == [{"name": "caf\xe9"}] * 6


def test_close_ends_what_is_under_way(endpoint: Endpoint) -> None:
    store = open_store(StoreSettings("bucket", "p/", endpoint_url=endpoint.url))
    endpoint.replies = [Reply(headers=HEADERS, delay_s=3.0)]
    asked = _Asked(store, 5)
    asking = threading.Thread(target=asked.run)
    asking.start()
    while not endpoint.requests:
        time.sleep(0.01)
    began_s = time.monotonic()
    store.close()
    asking.join(5)
    assert time.monotonic() - began_s < 2.0
    assert asked.kinds() == {Unreachable}


def test_no_request_outlives_its_answer(store: S3Store, endpoint: Endpoint) -> None:
    """awscrt cannot shut down while one does; what refers to itself through it is beyond the collector's reach."""
    endpoint.replies = [LOST, FOUND]
    crt = store._sender.hot()
    _Asked(store, 20).run()
    gc.collect()
    assert not crt._in_flight
    shut_down = crt._client.shutdown_event if crt._client else threading.Event()
    crt_ref = weakref.ref(crt)
    store.close()
    del crt
    assert shut_down.wait(2.0)
    gc.collect()
    assert crt_ref() is None


def test_without_credentials_each_is_told(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    store = open_store(StoreSettings("bucket", "p/", endpoint_url=endpoint.url))
    assert _Asked(store, 3).run().kinds() == {Denied}
    store.close()


def test_an_error_document_is_no_answer(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [error_reply(500, "InternalError"), FOUND]
    assert _Asked(store, 1).run().kinds() == {ObjectInfo}
