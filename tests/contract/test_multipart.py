"""Multipart uploads: invisible until complete, atomic, conditioned; and parts copied from other objects."""

import random
import time

import pytest

from s3mount.errors import Missing, PreconditionFailed, StoreError
from s3mount.model import ETag
from s3mount.store.base import ABSENT, PartInfo, matches
from tests.contract.conftest import Subject

PART_BYTES = 5 << 20


def _begin(subject: Subject, name: str) -> str:
    return subject.store.create_multipart(subject.key(name), metadata={"k": "v"}, content_type="text/plain")


def _upload(subject: Subject, name: str, *parts: bytes) -> tuple[str, list[ETag]]:
    upload_id = _begin(subject, name)
    etags = [subject.store.upload_part(subject.key(name), upload_id, i, part) for i, part in enumerate(parts, start=1)]
    return upload_id, etags


@pytest.mark.parametrize("seed", [1])
def test_parts_become_the_object(subject: Subject, seed: int) -> None:
    first = random.Random(seed).randbytes(PART_BYTES)
    upload_id, etags = _upload(subject, "a", first, b"the rest")
    with pytest.raises(Missing):
        subject.store.head(subject.key("a"))
    assert subject.names() == []
    etag = subject.store.complete_multipart(subject.key("a"), upload_id, etags)
    info = subject.store.head(subject.key("a"))
    assert (info.etag, info.size, info.metadata) == (etag, PART_BYTES + 8, {"k": "v"})
    assert subject.read("a") == first + b"the rest"
    assert [o.etag for o in subject.list_all().objects] == [etag]


def test_the_same_number_again_replaces_the_part(subject: Subject) -> None:
    upload_id, _ = _upload(subject, "a", b"wrong")
    etag = subject.store.upload_part(subject.key("a"), upload_id, 1, memoryview(b"right"))
    subject.store.complete_multipart(subject.key("a"), upload_id, [etag])
    assert subject.read("a") == b"right"


def test_parts_in_any_order(subject: Subject) -> None:
    upload_id = _begin(subject, "a")
    last = subject.store.upload_part(subject.key("a"), upload_id, 2, b"2")
    first = subject.store.upload_part(subject.key("a"), upload_id, 1, b"1" * PART_BYTES)
    subject.store.complete_multipart(subject.key("a"), upload_id, [first, last])
    assert subject.read("a") == b"1" * PART_BYTES + b"2"


def test_wrong_part_etag_is_refused(subject: Subject) -> None:
    upload_id, _ = _upload(subject, "a", b"part")
    with pytest.raises(StoreError) as caught:
        subject.store.complete_multipart(subject.key("a"), upload_id, [ETag("0" * 32)])
    assert not caught.value.temporary
    with pytest.raises(Missing):
        subject.store.head(subject.key("a"))


def test_copy_part(subject: Subject) -> None:
    etag = subject.put("src 1", b"0123456789" * (PART_BYTES // 10 + 1))
    upload_id = _begin(subject, "a")
    key = subject.key("a")
    first = subject.store.copy_part(
        key, upload_id, 1, source=subject.key("src 1"), source_etag=etag, start=3, end=3 + PART_BYTES
    )
    second = subject.store.upload_part(key, upload_id, 2, b"new")
    subject.store.complete_multipart(key, upload_id, [first, second])
    assert subject.read("a") == (b"0123456789" * (PART_BYTES // 10 + 1))[3 : 3 + PART_BYTES] + b"new"


def test_copy_part_of_another_version_fails(subject: Subject) -> None:
    old = subject.put("source", b"old bytes")
    subject.put("source", b"new bytes")
    upload_id = _begin(subject, "a")
    with pytest.raises(PreconditionFailed):
        subject.store.copy_part(
            subject.key("a"), upload_id, 1, source=subject.key("source"), source_etag=old, start=0, end=5
        )


def test_copy_part_of_nothing_is_missing(subject: Subject) -> None:
    upload_id = _begin(subject, "a")
    with pytest.raises(Missing):
        subject.store.copy_part(
            subject.key("a"), upload_id, 1, source=subject.key("gone"), source_etag=ETag("0" * 32), start=0, end=5
        )


def test_complete_absent(subject: Subject) -> None:
    upload_id, etags = _upload(subject, "a", b"mine")
    subject.put("a", b"theirs")
    with pytest.raises(PreconditionFailed):
        subject.store.complete_multipart(subject.key("a"), upload_id, etags, condition=ABSENT)
    assert subject.read("a") == b"theirs"


def test_complete_matches(subject: Subject) -> None:
    base = subject.put("a", b"base")
    upload_id, etags = _upload(subject, "a", b"mine")
    subject.store.complete_multipart(subject.key("a"), upload_id, etags, condition=matches(base))
    assert subject.read("a") == b"mine"
    upload_id, etags = _upload(subject, "a", b"mine again")
    with pytest.raises(PreconditionFailed):
        subject.store.complete_multipart(subject.key("a"), upload_id, etags, condition=matches(base))
    assert subject.read("a") == b"mine"


def test_complete_matches_on_nothing(subject: Subject) -> None:
    upload_id, etags = _upload(subject, "a", b"mine")
    with pytest.raises(PreconditionFailed):
        subject.store.complete_multipart(subject.key("a"), upload_id, etags, condition=matches(ETag("0" * 32)))


def test_abort(subject: Subject) -> None:
    upload_id, etags = _upload(subject, "a", b"part")
    subject.store.abort_multipart(subject.key("a"), upload_id)
    subject.store.abort_multipart(subject.key("a"), upload_id)
    with pytest.raises(Missing):
        subject.store.complete_multipart(subject.key("a"), upload_id, etags)
    with pytest.raises(Missing):
        subject.store.upload_part(subject.key("a"), upload_id, 1, b"part")


def test_aborting_an_unknown_upload_is_no_error(subject: Subject) -> None:
    subject.store.abort_multipart(subject.key("a"), "0123456789abcdef0123456789abcdef")


def test_list_parts(subject: Subject) -> None:
    upload_id = _begin(subject, "a")
    assert list(subject.store.list_parts(subject.key("a"), upload_id)) == []
    last = subject.store.upload_part(subject.key("a"), upload_id, 3, b"three")
    first = subject.store.upload_part(subject.key("a"), upload_id, 1, b"1" * PART_BYTES)
    assert list(subject.store.list_parts(subject.key("a"), upload_id)) == [
        PartInfo(1, PART_BYTES, first),
        PartInfo(3, 5, last),
    ]


def test_list_parts_of_an_upload_that_is_over_is_missing(subject: Subject) -> None:
    upload_id, etags = _upload(subject, "a", b"part")
    subject.store.complete_multipart(subject.key("a"), upload_id, etags)
    aborted = _begin(subject, "b")
    subject.store.abort_multipart(subject.key("b"), aborted)
    for name, gone in (("a", upload_id), ("b", aborted), ("c", "0123456789abcdef0123456789abcdef")):
        with pytest.raises(Missing):
            subject.store.list_parts(subject.key(name), gone)


def test_list_multiparts_shows_what_is_under_way(subject: Subject) -> None:
    done, etags = _upload(subject, "list/a", b"part")
    subject.store.complete_multipart(subject.key("list/a"), done, etags)
    begun = {name: _begin(subject, name) for name in ("list/a", "list/b", "other")}
    found = {(info.key, info.upload_id): info for info in subject.store.list_multiparts(subject.key("list/"))}
    assert found.keys() == {(subject.key(name), begun[name]) for name in ("list/a", "list/b")}
    for info in found.values():
        assert abs(info.initiated_ns - time.time_ns()) < 120 * 10**9
    for name, upload_id in begun.items():
        subject.store.abort_multipart(subject.key(name), upload_id)
    assert list(subject.store.list_multiparts(subject.key("list/"))) == []
