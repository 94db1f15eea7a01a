"""S3Store against scripted replies: what the wire carries, lost replies, lies and refusals no real server shows."""

import base64
import hashlib
import threading
import time

import pytest
from awscrt import checksums

from s3mount.errors import (
    Archived,
    Corrupt,
    Denied,
    Missing,
    PreconditionFailed,
    Rejected,
    StoreError,
    Throttled,
    Unreachable,
)
from s3mount.model import ETag, ObjectKey
from s3mount.store.base import ABSENT, matches
from s3mount.store.gets import HOT_BYTES_MAX
from s3mount.store.s3 import S3Store, open_store
from s3mount.store.settings import StoreSettings
from tests.unit.store.conftest import Endpoint, Reply, error_reply

KEY = ObjectKey("a")
OK_PUT = Reply(headers={"ETag": '"etag"'})


def _put(store: S3Store, body: bytes = b"body", **arguments: object) -> ETag:
    return store.put(KEY, body, metadata={"k": "v"}, content_type="text/x", **arguments)  # type: ignore[arg-type]


def test_put_on_the_wire(endpoint: Endpoint) -> None:
    settings = StoreSettings("bucket", "p/", endpoint_url=endpoint.url, storage_class="STANDARD_IA")
    store = open_store(settings)
    endpoint.replies = [OK_PUT]
    try:
        etag = store.put(
            ObjectKey("d e/+%é"), b"body", metadata={"k": "v"}, content_type="text/x", condition=matches(ETag("old"))
        )
    finally:
        store.close()
    (request,) = endpoint.requests
    assert etag == "etag"
    assert (request.method, request.path, request.body) == ("PUT", "/bucket/p/d%20e/%2B%25%C3%A9", b"body")
    expected = {
        "content-type": "text/x",
        "x-amz-meta-k": "v",
        "if-match": '"old"',
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
        "x-amz-checksum-crc64nvme": base64.b64encode(checksums.crc64nvme(b"body").to_bytes(8, "big")).decode(),
    }
    assert expected.items() <= request.headers.items()
    assert f"/{settings.region or 'us-east-1'}/s3/aws4_request" in request.headers["authorization"]


def test_part_on_the_wire(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [OK_PUT]
    assert store.upload_part(KEY, "id+/=", 7, b"body") == "etag"
    (request,) = endpoint.requests
    assert request.path == "/bucket/p/a?partNumber=7&uploadId=id%2B%2F%3D"
    assert request.headers["content-md5"] == base64.b64encode(hashlib.md5(b"body").digest()).decode()


@pytest.mark.parametrize(
    "failure", [error_reply(503, "SlowDown"), error_reply(500, "InternalError"), Reply(0)], ids=repr
)
def test_temporary_errors_are_retried_and_counted(store: S3Store, endpoint: Endpoint, failure: Reply) -> None:
    endpoint.replies = [failure, failure, OK_PUT]
    assert _put(store) == "etag"
    assert store.request_counts() == {"PutObject": 3}
    endpoint.replies = [failure, Reply(body=b"0123", headers={"Content-Length": "4"})]
    assert store.get(KEY, start=0, end=4, if_match=ETag("e")) == b"0123"
    assert store.request_counts() == {"PutObject": 3, "GetObject": 2}
    assert len(endpoint.requests) == 5


def test_counts_are_what_the_endpoint_saw(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [OK_PUT]
    _put(store)
    endpoint.replies = [error_reply(503, "SlowDown")]
    with pytest.raises(Throttled):
        _put(store)
    assert store.request_counts()["PutObject"] == len(endpoint.requests) > 2


def test_permanent_errors_are_not_retried(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [error_reply(403, "AccessDenied")]
    with pytest.raises(Denied):
        _put(store)
    with pytest.raises(Denied):
        store.list_page(KEY)
    assert len(endpoint.requests) == 2


def test_refusal_after_a_lost_reply_is_not_taken_for_a_conflict(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [Reply(0), error_reply(412, "PreconditionFailed")]
    with pytest.raises(Unreachable):
        _put(store, condition=ABSENT)


def test_runtime_s_own_retry_is_not_taken_for_a_conflict_either(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [OK_PUT]
    _put(store)  # a success lets the runtime retry once by itself
    endpoint.replies = [Reply(0), error_reply(412, "PreconditionFailed")]
    with pytest.raises(Unreachable):
        _put(store, condition=ABSENT)


def test_refusal_after_slow_down_is_a_conflict(store: S3Store, endpoint: Endpoint) -> None:
    slow_down = error_reply(503, "SlowDown")
    endpoint.replies = [slow_down, slow_down, error_reply(412, "PreconditionFailed")]
    with pytest.raises(PreconditionFailed):
        _put(store, condition=ABSENT)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("NoSuchKey", 404, PreconditionFailed),
        ("ConditionalRequestConflict", 409, Throttled),
        ("KeyTooLongError", 400, Rejected),
        ("BadDigest", 400, Corrupt),
    ],
)
def test_refused_conditional_put(
    store: S3Store, endpoint: Endpoint, code: str, status: int, kind: type[StoreError]
) -> None:
    endpoint.replies = [error_reply(status, code)]
    with pytest.raises(kind):
        _put(store, condition=matches(ETag("e")))


def test_complete_tells_a_missing_upload_from_a_missing_object(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [error_reply(404, "NoSuchUpload")]
    with pytest.raises(Missing):
        store.complete_multipart(KEY, "id", [ETag("e")], condition=matches(ETag("e")))
    endpoint.replies = [error_reply(404, "NoSuchKey")]
    with pytest.raises(PreconditionFailed):
        store.complete_multipart(KEY, "id", [ETag("e")], condition=matches(ETag("e")))


def test_error_inside_a_200_is_an_error(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [error_reply(200, "InternalError")]
    with pytest.raises(Unreachable):
        store.copy(KEY, KEY, source_etag=ETag("e"), metadata={}, content_type="text/x")
    with pytest.raises(Unreachable):
        store.complete_multipart(KEY, "id", [ETag("e")])
    with pytest.raises(Unreachable):
        store.copy_part(KEY, "id", 1, source=KEY, source_etag=ETag("e"), start=0, end=1)


@pytest.mark.parametrize(("promised", "kind"), [(10, Unreachable), (HOT_BYTES_MAX + 1, Corrupt)])
def test_body_cut_short(store: S3Store, endpoint: Endpoint, promised: int, kind: type[StoreError]) -> None:
    endpoint.replies = [Reply(206, b"01234", promised=promised)]
    with pytest.raises(kind):
        store.get(KEY, start=0, end=promised, if_match=ETag("e"))


# awscrt complains of such a header in its own thread.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_metadata_that_is_not_utf8_comes_with_the_whole_object(store: S3Store, endpoint: Endpoint) -> None:
    headers = {"x-amz-meta-note": "caf\xe9", "ETag": '"e"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
    endpoint.replies = [Reply(200, b"0123", headers=headers)]
    info, data = store.get_whole(KEY, size=4, if_match=ETag("e"))
    assert (info.metadata, info.size, data) == ({"note": "caf\xe9"}, 4, b"0123")


def test_body_of_another_length_is_corrupt(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [Reply(200, b"0123456789")]
    with pytest.raises(Corrupt):
        store.get(KEY, start=0, end=5, if_match=ETag("e"))


def test_write_without_an_etag_is_corrupt(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [Reply(200)]
    with pytest.raises(Corrupt):
        _put(store)


def test_head_reads_metadata_that_is_not_utf8(
    store: S3Store, endpoint: Endpoint, recwarn: pytest.WarningsRecorder
) -> None:
    headers = {
        "ETag": '"e"',
        "Content-Length": "5",
        "Last-Modified": "Thu, 01 Jan 1970 00:00:01 GMT",
        "x-amz-meta-name": "caf\xe9",
    }
    endpoint.replies = [Reply(headers=headers)]
    info = store.head(KEY)
    assert (info.key, info.size, info.etag, info.last_modified_ns) == (KEY, 5, "e", 1_000_000_000)
    assert info.metadata == {"name": "caf\xe9"}


def test_list_decodes_keys_and_times(store: S3Store, endpoint: Endpoint) -> None:
    entry = (
        "<Contents><Key>p/a%01%2B+b</Key><Size>3</Size><ETag>&quot;e&quot;</ETag>"
        "<LastModified>2026-01-02T03:04:05.678Z</LastModified></Contents>"
    )
    body = (
        "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
        f"<EncodingType>url</EncodingType>{entry}<CommonPrefixes><Prefix>p/d%0A/</Prefix></CommonPrefixes>"
        "</ListBucketResult>"
    )
    endpoint.replies = [Reply(body=body.encode())]
    page = store.list_page(ObjectKey(""))
    assert "encoding-type=url" in endpoint.requests[0].path
    assert (page.next_token, list(page.prefixes)) == ("t", ["d\n/"])
    (found,) = page.objects
    assert (found.key, found.etag, found.last_modified_ns) == ("a\x01+ b", "e", 1767323045_678_000_000)


@pytest.mark.parametrize("code", ["InvalidObjectState", "ObjectNotInActiveTierError"])
def test_an_archived_object_is_named_with_the_command_that_restores_it(
    store: S3Store, endpoint: Endpoint, code: str
) -> None:
    endpoint.replies = [error_reply(403, code)]
    etag = ETag("e")
    for call in (
        lambda: store.get(KEY, start=0, end=1, if_match=etag),
        lambda: store.copy(KEY, ObjectKey("b"), source_etag=etag, metadata={}, content_type="text/plain"),
        lambda: store.copy_part(ObjectKey("b"), "u", 1, source=KEY, source_etag=etag, start=0, end=1),
    ):
        with pytest.raises(Archived, match="restore-object --bucket bucket --key p/a --restore-request"):
            call()
    assert len(endpoint.requests) == 3  # never tried again: a person has to act


def test_delete_returns_what_failed(store: S3Store, endpoint: Endpoint) -> None:
    body = (
        b"<DeleteResult><Error><Key>p/a</Key><Code>AccessDenied</Code><Message>m</Message></Error>"
        b"<Error><Key>p/gone</Key><Code>NoSuchKey</Code></Error></DeleteResult>"
    )
    endpoint.replies = [Reply(body=body), Reply(204)]
    failed = store.delete(dict.fromkeys([KEY, ObjectKey("gone"), ObjectKey("b"), ObjectKey("c\x01")]))
    assert list(failed) == [KEY]
    assert isinstance(failed[KEY], Denied)
    assert store.request_counts() == {"DeleteObjects": 1, "DeleteObject": 1}
    assert endpoint.requests[1].path == "/bucket/p/c%01"
    assert b"ETag" not in endpoint.requests[0].body
    assert "if-match" not in endpoint.requests[1].headers


def test_delete_says_which_version_is_meant(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [
        Reply(body=b"<DeleteResult><Error><Key>p/a</Key><Code>PreconditionFailed</Code></Error></DeleteResult>"),
        error_reply(412, "PreconditionFailed"),
    ]
    odd = ObjectKey("c\x01")
    failed = store.delete({KEY: ETag("aa"), ObjectKey("b"): None, odd: ETag("cc")})
    assert set(failed) == {KEY, odd}
    assert all(isinstance(error, PreconditionFailed) for error in failed.values())
    listed = b"<Object><Key>p/a</Key><ETag>aa</ETag></Object><Object><Key>p/b</Key></Object>"
    assert listed in endpoint.requests[0].body
    assert endpoint.requests[1].headers["if-match"] == '"cc"'


def test_bucket_in_another_region_is_named(store: S3Store, endpoint: Endpoint) -> None:
    endpoint.replies = [error_reply(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1")]
    with pytest.raises(Rejected, match="region eu-west-1"):
        store.check_access()
    with pytest.raises(Rejected, match="region eu-west-1"):
        _put(store)


def test_silence_is_unreachable_in_time(endpoint: Endpoint) -> None:
    store = open_store(StoreSettings("bucket", endpoint_url=endpoint.url, request_deadline_s=1))
    endpoint.replies = [Reply(delay_s=1.5)]
    try:
        started = time.monotonic()
        with pytest.raises(Unreachable):
            _put(store, b"")
        assert time.monotonic() - started < 1.4
    finally:
        store.close()


def test_a_copy_is_waited_for_longer(endpoint: Endpoint) -> None:
    """S3 answers when it has copied, which may be five gigabytes."""
    store = open_store(StoreSettings("bucket", endpoint_url=endpoint.url, request_deadline_s=1))
    endpoint.replies = [Reply(body=b"<CopyObjectResult><ETag>e</ETag></CopyObjectResult>", delay_s=1.2)]
    try:
        assert store.copy(KEY, KEY, source_etag=ETag("e"), metadata={}, content_type="text/x") == "e"
        assert len(endpoint.requests) == 1
    finally:
        store.close()


def test_close_ends_what_is_in_flight(endpoint: Endpoint) -> None:
    store = open_store(StoreSettings("bucket", endpoint_url=endpoint.url))
    endpoint.replies = [Reply(delay_s=2)]
    outcomes: list[StoreError] = []

    def put() -> None:
        try:
            _put(store)
        except StoreError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=put) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(endpoint.requests) < 3:
        time.sleep(0.01)
    started = time.monotonic()
    store.close()
    for thread in threads:
        thread.join(1)
    assert time.monotonic() - started < 1
    assert [type(error) for error in outcomes] == [Unreachable] * 3
    for call in (lambda: _put(store), lambda: store.head(KEY), lambda: store.list_page(KEY)):
        with pytest.raises(Unreachable):
            call()
    store.close()


def test_unknown_profile_is_rejected(endpoint: Endpoint) -> None:
    with pytest.raises(Rejected, match="no-such-profile"):
        open_store(StoreSettings("bucket", endpoint_url=endpoint.url, profile="no-such-profile"))


@pytest.mark.parametrize("arguments", [{"prefix": "a"}, {"request_deadline_s": 0}, {"connections": 0}])
def test_settings_are_checked(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^a (prefix|store)"):
        StoreSettings("bucket", **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reply", "is_strain"),
    [
        (error_reply(503, "SlowDown"), True),
        (error_reply(429, ""), True),
        (Reply(delay_s=1), True),
        (error_reply(500, "InternalError"), False),
        (Reply(0), False),
        (error_reply(403, "AccessDenied"), False),
    ],
    ids=["slow down", "429", "silence", "500", "lost", "denied"],
)
def test_what_says_that_s3_is_too_busy(endpoint: Endpoint, reply: Reply, is_strain: bool) -> None:
    told: list[None] = []
    deadline_s = 1 if reply.delay_s else 20
    settings = StoreSettings("bucket", endpoint_url=endpoint.url, request_deadline_s=deadline_s)
    store = open_store(settings, on_strain=lambda: told.append(None))
    endpoint.replies = [reply]
    try:
        with pytest.raises(StoreError):
            _put(store)
    finally:
        store.close()
    assert bool(told) == is_strain
