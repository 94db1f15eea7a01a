"""Many PUTs at once: what becomes of lost replies, refusals, silence, close, and of the bandwidth."""

import gc
import threading
import time
from collections.abc import Mapping
from itertools import islice

import pytest

from s3mount.bandwidth import Bandwidth, Rates
from s3mount.errors import Denied, PreconditionFailed, Rejected, StoreError, Throttled, Unreachable
from s3mount.model import ETag, ObjectKey
from s3mount.store.base import ANY, Condition, Put, matches
from s3mount.store.puts import AT_ONCE_MAX
from s3mount.store.retry import ATTEMPTS_MAX
from s3mount.store.s3 import S3Store, open_store
from s3mount.store.s3_errors import Silent
from s3mount.store.settings import StoreSettings
from tests.unit.store.conftest import Endpoint, Reply, error_reply

MADE = Reply(headers={"ETag": '"e"'})
LOST = Reply(status=0)
OF_E = matches(ETag("e"))


class _Putting:
    def __init__(self, store: S3Store, count: int, condition: Condition = ANY, body: bytes = b"body") -> None:
        self.made: dict[ObjectKey, ETag | StoreError] = {}
        self.gifts = 0
        self._store = store
        self._left = iter([Put(ObjectKey(f"k{n}"), body, {"a": "b"}, "text/plain", condition) for n in range(count)])

    def run(self) -> "_Putting":
        self._store.put_many(lambda count: list(islice(self._left, count)), self._give)
        return self

    def _give(self, made: Mapping[ObjectKey, ETag | StoreError]) -> None:
        self.made.update(made)
        self.gifts += 1

    def kinds(self) -> set[type]:
        return set(map(type, self.made.values()))


def test_each_says_what_one_alone_says(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [MADE]
    store.put(ObjectKey("k0"), b"body", metadata={"a": "b"}, content_type="text/plain", condition=OF_E)
    _Putting(store, 1, OF_E).run()
    alone, of_many = endpoint.requests
    for headers in (alone.headers, of_many.headers):
        for name in ("authorization", "x-amz-date", "amz-sdk-invocation-id"):
            headers.pop(name, None)
    assert alone == of_many


def test_many_are_under_way_and_no_more_than_that(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [Reply(headers={"ETag": '"e"'}, delay_s=0.3)]
    putting = _Putting(store, 3 * AT_ONCE_MAX).run()
    assert (len(putting.made), putting.kinds()) == (3 * AT_ONCE_MAX, {str})
    assert AT_ONCE_MAX // 4 < endpoint.most_at_once <= AT_ONCE_MAX
    assert putting.gifts < len(putting.made), "what comes together is handed on together"


def test_a_lost_reply_is_tried_again(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [LOST, LOST, LOST, MADE]
    assert _Putting(store, 5).run().kinds() == {str}


@pytest.mark.parametrize("first", [LOST, Reply(status=500)])
def test_a_write_refused_after_its_reply_was_lost_has_no_known_outcome(
    store: S3Store, endpoint: Endpoint, first: Reply
) -> None:
    endpoint.replies = [first, error_reply(412, "PreconditionFailed")]
    (error,) = _Putting(store, 1, OF_E).run().made.values()
    assert isinstance(error, StoreError)
    assert error.temporary, "it may have been refused because of itself"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error_reply(412, "PreconditionFailed"), PreconditionFailed),
        (error_reply(404, "NoSuchKey"), PreconditionFailed),
        (error_reply(403, "AccessDenied"), Denied),
    ],
)
def test_a_refusal_is_told_at_once(store: S3Store, endpoint: Endpoint, reply: Reply, kind: type[StoreError]) -> None:
    endpoint.replies = [reply]
    assert _Putting(store, 3, OF_E).run().kinds() == {kind}
    assert len(endpoint.requests) == 3


def test_s3_too_busy_is_tried_again_and_strain_is_told(endpoint: Endpoint) -> None:
    strains: list[int] = []
    settings = StoreSettings("bucket", "p/", endpoint_url=endpoint.url, request_deadline_s=6)
    store = open_store(settings, on_strain=lambda: strains.append(1))
    endpoint.replies = [Reply(status=503)]
    assert _Putting(store, 1).run().kinds() == {Throttled}
    assert len(strains) == ATTEMPTS_MAX
    store.close()


def test_one_that_stays_silent_holds_up_nobody(endpoint: Endpoint) -> None:
    store = open_store(StoreSettings("bucket", "p/", endpoint_url=endpoint.url, request_deadline_s=2))
    endpoint.replies = [Reply(headers={"ETag": '"e"'}, delay_s=6.0), MADE]
    began_s = time.monotonic()
    putting = _Putting(store, 3 * AT_ONCE_MAX).run()
    assert time.monotonic() - began_s < 6.0
    assert [kind for kind in map(type, putting.made.values()) if kind is not str] == [Silent]
    store.close()


def test_metadata_that_cannot_travel_is_refused(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [MADE]
    found: dict[ObjectKey, ETag | StoreError] = {}
    puts = iter([Put(ObjectKey("a"), b"", {"a": "\n"}, "text/plain"), Put(ObjectKey("b"), b"", {}, "text/plain")])
    store.put_many(lambda count: list(islice(puts, count)), found.update)
    assert {key: type(outcome) for key, outcome in found.items()} == {"a": Rejected, "b": str}


def test_bodies_keep_below_the_bandwidth(endpoint: Endpoint) -> None:
    bandwidth = Bandwidth(((0, Rates(up=100 << 10)),))
    store = open_store(StoreSettings("bucket", endpoint_url=endpoint.url, bandwidth=bandwidth))
    endpoint.replies = [MADE]
    began_s = time.monotonic()
    assert _Putting(store, 5, body=bytes(25 << 10)).run().kinds() == {str}
    assert 0.6 < time.monotonic() - began_s < 3.0, "five quarters of a second's worth, the first after a pause"
    store.close()


def test_close_ends_what_is_under_way_and_what_waits_for_its_turn(endpoint: Endpoint) -> None:
    bandwidth = Bandwidth(((0, Rates(up=1 << 10)),))
    store = open_store(StoreSettings("bucket", endpoint_url=endpoint.url, bandwidth=bandwidth))
    endpoint.replies = [Reply(headers={"ETag": '"e"'}, delay_s=3.0)]
    putting = _Putting(store, 5, body=bytes(50 << 10))
    thread = threading.Thread(target=putting.run)
    thread.start()
    while not endpoint.requests:
        time.sleep(0.01)
    began_s = time.monotonic()
    store.close()
    thread.join(5)
    assert time.monotonic() - began_s < 2.0
    assert (len(putting.made), putting.kinds()) == (5, {Unreachable})


def test_no_request_outlives_its_answer(store: S3Store, endpoint: Endpoint) -> None:
    """awscrt cannot shut down while one does."""
    endpoint.replies = [LOST, error_reply(412, "PreconditionFailed"), MADE]
    crt = store._sender.hot()
    _Putting(store, 20, OF_E).run()
    gc.collect()
    assert not crt._in_flight
