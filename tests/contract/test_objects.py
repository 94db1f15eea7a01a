"""put, get, head, copy, delete: each sentence of store/base.py about them."""

import random
import threading
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest

from s3mount.errors import Corrupt, Missing, PreconditionFailed, Rejected
from s3mount.model import ETag
from s3mount.store.base import ABSENT, ANY, Condition, matches
from tests.contract.conftest import Subject

ODD_NAMES = [
    "with space",
    " leading and trailing ",
    "plus+plus",
    "percent%41%",
    "hash#question?amp&equals=",
    "semi;colon:at@dollar$comma,",
    "quotes'\"`<>",
    "(brackets)[]{}!*~^|",
    ".hidden",
    "...",
    "..data",
    unicodedata.normalize("NFC", "Ünïcode-é"),
    unicodedata.normalize("NFD", "Ünïcode-é"),
    "日本語",
    "emoji 🙂",
    "tab\tname",
    "newline\nname",
    "control\x01name",
    "del\x7fname",
    "x" * 255,
    "é" * 127,
]


def test_what_is_put_is_read_back(subject: Subject) -> None:
    etag = subject.put("a", b"0123456789")
    info = subject.store.head(subject.key("a"))
    assert (info.key, info.size, info.etag) == (subject.key("a"), 10, etag)
    assert subject.store.get(info.key, start=0, end=10, if_match=etag) == b"0123456789"


@pytest.mark.parametrize("body", [b"bytes", bytearray(b"array"), memoryview(b"xviewx")[1:5]], ids=type)
def test_put_takes_each_kind_of_body(subject: Subject, body: bytes | bytearray | memoryview) -> None:
    subject.store.put(subject.key("a"), body, metadata={}, content_type="text/plain")
    assert subject.read("a") == bytes(body)


def test_body_is_free_after_put(subject: Subject) -> None:
    body = bytearray(b"before")
    subject.store.put(subject.key("a"), body, metadata={}, content_type="text/plain")
    body[:] = b"after!"
    assert subject.read("a") == b"before"


def test_empty_object(subject: Subject) -> None:
    etag = subject.put("empty", b"")
    info = subject.store.head(subject.key("empty"))
    assert (info.size, info.etag) == (0, etag)
    assert subject.store.get(info.key, start=0, end=0, if_match=etag) == b""


@pytest.mark.parametrize("seed", [1])
def test_large_body(subject: Subject, seed: int) -> None:
    body = random.Random(seed).randbytes(5 << 20)
    etag = subject.put("large", body)
    assert subject.store.get(subject.key("large"), start=0, end=len(body), if_match=etag) == body


def test_head_shows_metadata_with_names_in_lower_case(subject: Subject) -> None:
    metadata = {"mode": "33188", "MixedCase": "Value kept As is", "mtime": "-1.000000001"}
    subject.store.put(subject.key("a"), b"x", metadata=metadata, content_type="text/plain")
    shown = subject.store.head(subject.key("a")).metadata
    assert shown == {"mode": "33188", "mixedcase": "Value kept As is", "mtime": "-1.000000001"}


def test_head_shows_when_the_object_was_made(subject: Subject) -> None:
    before_ns = time.time_ns()
    subject.put("a")
    assert abs(subject.store.head(subject.key("a")).last_modified_ns - before_ns) < 5_000_000_000


@pytest.mark.parametrize("value", ["é", "line\nbreak", "nul\0"])
def test_metadata_that_is_not_printable_ascii_is_rejected(subject: Subject, value: str) -> None:
    with pytest.raises(Rejected):
        subject.store.put(subject.key("a"), b"x", metadata={"name": value}, content_type="text/plain")
    with pytest.raises(Rejected):
        subject.store.create_multipart(subject.key("a"), metadata={"name": value}, content_type="text/plain")


def test_foreign_metadata_is_shown(subject: Subject) -> None:
    subject.foreign_put("a", b"x", {"Made-By": "someone else"})
    assert subject.store.head(subject.key("a")).metadata == {"made-by": "someone else"}


def test_head_and_get_of_nothing_are_missing(subject: Subject) -> None:
    with pytest.raises(Missing):
        subject.store.head(subject.key("nothing"))
    with pytest.raises(Missing):
        subject.store.get(subject.key("nothing"), start=0, end=1, if_match=ETag("0" * 32))


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 10), (3, 7), (9, 10), (5, 5)])
def test_get_returns_exactly_the_range(subject: Subject, start: int, end: int) -> None:
    etag = subject.put("a", b"0123456789")
    assert subject.store.get(subject.key("a"), start=start, end=end, if_match=etag) == b"0123456789"[start:end]


@pytest.mark.parametrize(("start", "end"), [(5, 11), (10, 11)])
def test_get_past_the_end_is_corrupt(subject: Subject, start: int, end: int) -> None:
    etag = subject.put("a", b"0123456789")
    with pytest.raises(Corrupt):
        subject.store.get(subject.key("a"), start=start, end=end, if_match=etag)


def test_get_of_another_version_fails(subject: Subject) -> None:
    old = subject.put("a", b"old version")
    new = subject.put("a", b"new version")
    assert old != new
    with pytest.raises(PreconditionFailed):
        subject.store.get(subject.key("a"), start=2, end=5, if_match=old)
    assert subject.store.get(subject.key("a"), start=0, end=3, if_match=new) == b"new"


def test_get_whole_brings_metadata_and_all_bytes(subject: Subject) -> None:
    key = subject.key("a")
    etag = subject.store.put(key, b"0123456789", metadata={"mode": "33188"}, content_type="text/plain")
    info, data = subject.store.get_whole(key, size=10, if_match=etag)
    assert data == b"0123456789"
    assert info == subject.store.head(subject.key("a"))
    with pytest.raises(PreconditionFailed):
        subject.store.get_whole(key, size=10, if_match=ETag("0" * 32))
    with pytest.raises(Missing):
        subject.store.get_whole(subject.key("nothing"), size=10, if_match=etag)
    with pytest.raises(Corrupt):
        subject.store.get_whole(key, size=9, if_match=etag)


@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: ascii(name)[:20])
def test_odd_names(subject: Subject, name: str) -> None:
    etag = subject.store.put(subject.key(name), name.encode(), metadata={"k": "v"}, content_type="text/plain")
    assert subject.store.head(subject.key(name)).metadata == {"k": "v"}
    assert subject.store.get(subject.key(name), start=0, end=len(name.encode()), if_match=etag) == name.encode()
    assert subject.names() == [name]
    subject.store.copy(subject.key(name), subject.key("copy"), source_etag=etag, metadata={}, content_type="text/plain")
    assert subject.read("copy") == name.encode()
    assert subject.store.delete({subject.key(name): None}) == {}
    assert subject.names() == ["copy"]


def test_names_differing_in_normal_form_are_different(subject: Subject) -> None:
    names = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    for name in names:
        subject.put(name, name.encode())
    assert subject.names() == sorted(names)
    assert [subject.read(name) for name in names] == [name.encode() for name in names]


def test_put_absent(subject: Subject) -> None:
    def put(body: bytes) -> ETag:
        return subject.store.put(subject.key("a"), body, metadata={}, content_type="text/plain", condition=ABSENT)

    put(b"first")
    with pytest.raises(PreconditionFailed):
        put(b"second")
    assert subject.read("a") == b"first"


def test_put_matches(subject: Subject) -> None:
    def put(body: bytes, condition: Condition) -> ETag:
        return subject.store.put(subject.key("a"), body, metadata={}, content_type="text/plain", condition=condition)

    first = put(b"first", ANY)
    second = put(b"second", matches(first))
    with pytest.raises(PreconditionFailed):
        put(b"third", matches(first))
    assert subject.read("a") == b"second"
    put(b"fourth", matches(second))
    assert subject.read("a") == b"fourth"


def test_put_matches_on_nothing(subject: Subject) -> None:
    with pytest.raises(PreconditionFailed):
        subject.store.put(
            subject.key("a"), b"x", metadata={}, content_type="text/plain", condition=matches(ETag("0" * 32))
        )
    with pytest.raises(Missing):
        subject.store.head(subject.key("a"))


def test_one_of_many_puts_absent_wins(subject: Subject) -> None:
    barrier = threading.Barrier(8)

    def put(number: int) -> int | None:
        barrier.wait(timeout=10)
        try:
            subject.store.put(
                subject.key("a"), b"%d" % number, metadata={}, content_type="text/plain", condition=ABSENT
            )
        except PreconditionFailed:
            return None
        return number

    with ThreadPoolExecutor(8) as threads:
        winners = [number for number in threads.map(put, range(8)) if number is not None]
    assert len(winners) == 1
    assert subject.read("a") == b"%d" % winners[0]


def test_readers_see_all_of_the_old_or_all_of_the_new(subject: Subject) -> None:
    size = 200_000
    subject.put("a", b"0" * size)
    done = threading.Event()
    torn: list[bytes] = []

    def read() -> None:
        while not done.is_set():
            try:
                body = subject.read("a")
            except PreconditionFailed:
                continue
            if len(set(body)) != 1 or len(body) != size:
                torn.append(body)

    with ThreadPoolExecutor(4) as threads:
        readers = [threads.submit(read) for _ in range(3)]
        try:
            for number in range(1, 10):
                subject.put("a", b"%d" % number * size)
        finally:
            done.set()
        for reader in readers:
            reader.result(timeout=30)
    assert not torn


def test_puts_from_many_threads(subject: Subject) -> None:
    names = [f"{number:03}" for number in range(160)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda name: subject.put(name, name.encode()), names))
        assert list(threads.map(subject.read, names)) == [name.encode() for name in names]
    assert subject.names() == names


def test_copy_takes_the_bytes_and_new_metadata(subject: Subject) -> None:
    source_etag = subject.store.put(
        subject.key("a"), b"bytes", metadata={"old": "1", "both": "1"}, content_type="text/plain"
    )
    etag = subject.store.copy(
        subject.key("a"),
        subject.key("b"),
        source_etag=source_etag,
        metadata={"both": "2", "new": "2"},
        content_type="application/x-test",
    )
    info = subject.store.head(subject.key("b"))
    assert (info.etag, info.metadata) == (etag, {"both": "2", "new": "2"})
    assert subject.read("b") == subject.read("a") == b"bytes"


def test_copy_onto_itself_replaces_metadata(subject: Subject) -> None:
    old = subject.store.put(subject.key("a"), b"bytes", metadata={"v": "1"}, content_type="text/plain")
    new = subject.store.copy(
        subject.key("a"), subject.key("a"), source_etag=old, metadata={"v": "2"}, content_type="text/plain"
    )
    info = subject.store.head(subject.key("a"))
    assert (info.etag, info.metadata) == (new, {"v": "2"})
    assert subject.read("a") == b"bytes"


def test_copy_of_another_version_fails(subject: Subject) -> None:
    old = subject.put("a", b"old")
    subject.put("a", b"new")
    with pytest.raises(PreconditionFailed):
        subject.store.copy(subject.key("a"), subject.key("b"), source_etag=old, metadata={}, content_type="text/plain")
    with pytest.raises(Missing):
        subject.store.head(subject.key("b"))


def test_copy_of_nothing_is_missing(subject: Subject) -> None:
    with pytest.raises(Missing):
        subject.store.copy(
            subject.key("a"), subject.key("b"), source_etag=ETag("0" * 32), metadata={}, content_type="text/plain"
        )


def test_copy_absent(subject: Subject) -> None:
    etag = subject.put("a", b"new")
    subject.put("b", b"old")
    with pytest.raises(PreconditionFailed):
        subject.store.copy(
            subject.key("a"),
            subject.key("b"),
            source_etag=etag,
            metadata={},
            content_type="text/plain",
            condition=ABSENT,
        )
    assert subject.read("b") == b"old"


def test_delete(subject: Subject) -> None:
    for name in ("a", "b", "c"):
        subject.put(name)
    assert subject.store.delete(dict.fromkeys([subject.key("a"), subject.key("b")])) == {}
    assert subject.names() == ["c"]


def test_deleting_what_does_not_exist_succeeds(subject: Subject) -> None:
    keys = [subject.key("a"), subject.key("no/such")]
    subject.put("a")
    assert subject.store.delete(dict.fromkeys(keys)) == {}
    assert subject.store.delete(dict.fromkeys(keys)) == {}
    assert subject.store.delete({}) == {}


@pytest.mark.parametrize("name", ["a", "control\x01"], ids=["in XML", "alone"])
def test_delete_of_a_version(subject: Subject, name: str) -> None:
    key = subject.key(name)
    old = subject.put(name, b"old")
    new = subject.put(name, b"new")
    failed = subject.store.delete({key: old, subject.key("none"): None})
    assert list(failed) == [key]
    assert isinstance(failed[key], PreconditionFailed)
    assert subject.read(name) == b"new"
    assert subject.store.delete({key: new}) == {}
    with pytest.raises(Missing):
        subject.store.head(key)


def test_delete_of_a_version_made_of_parts(subject: Subject) -> None:
    key = subject.key("a")
    upload_id = subject.store.create_multipart(key, metadata={}, content_type="text/plain")
    part = subject.store.upload_part(key, upload_id, 1, b"part")
    etag = subject.store.complete_multipart(key, upload_id, [part])
    assert list(subject.store.delete({key: part})) == [key]
    assert subject.store.delete({key: etag}) == {}
    with pytest.raises(Missing):
        subject.store.head(key)


def test_one_of_many_keys_is_another_version(subject: Subject) -> None:
    versions = {subject.key(f"{number:02}"): subject.put(f"{number:02}") for number in range(20)}
    subject.put("07", b"theirs")
    assert list(subject.store.delete(versions)) == [subject.key("07")]
    assert subject.names() == ["07"]


def test_delete_of_a_version_that_is_gone_succeeds(subject: Subject) -> None:
    versions = {subject.key("a"): subject.put("a")}
    assert subject.store.delete(versions) == {}
    assert subject.store.delete(versions) == {}


def test_delete_alone_of_a_version_that_is_gone_succeeds(subject: Subject) -> None:
    versions = {subject.key("control\x01"): subject.put("control\x01")}
    assert subject.store.delete(versions) == {}
    assert subject.store.delete(versions) == {}


def test_deletes_a_thousand_a_request(subject: Subject) -> None:
    for name in ("first", "last", "stays"):
        subject.put(name)
    keys = [subject.key("first"), *(subject.key(f"none-{i}") for i in range(1099)), subject.key("last")]
    before = subject.store.request_counts().get("DeleteObjects", 0)
    assert subject.store.delete(dict.fromkeys(keys)) == {}
    assert subject.store.request_counts()["DeleteObjects"] - before == 2
    assert subject.names() == ["stays"]


def test_requests_are_counted(subject: Subject) -> None:
    before = subject.store.request_counts()
    etag = subject.put("a", b"12345")
    subject.store.head(subject.key("a"))
    subject.store.get(subject.key("a"), start=0, end=5, if_match=etag)
    subject.store.list_page(subject.folder)
    subject.store.copy(subject.key("a"), subject.key("b"), source_etag=etag, metadata={}, content_type="text/plain")
    subject.store.delete(dict.fromkeys([subject.key("a"), subject.key("b")]))
    after = subject.store.request_counts()
    sent = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name)}
    operations = ("PutObject", "HeadObject", "GetObject", "ListObjectsV2", "CopyObject", "DeleteObjects")
    assert sent == dict.fromkeys(operations, 1)


def test_check_access_of_a_good_store(subject: Subject) -> None:
    subject.store.check_access()
