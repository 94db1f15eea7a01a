"""put_many: each sentence of store/base.py about it."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import pytest

from s3mount.errors import Missing, PreconditionFailed, StoreError
from s3mount.model import ETag, ObjectKey
from s3mount.store.base import ABSENT, ANY, Condition, Put, Source, matches
from tests.contract.conftest import Subject

FILES = 70


def _put(subject: Subject, name: str, condition: Condition = ANY) -> Put:
    return Put(subject.key(name), name.encode(), {"name": name}, "text/plain", condition)


def _made(subject: Subject, puts: Iterator[Put]) -> dict[ObjectKey, ETag | StoreError]:
    found: dict[ObjectKey, ETag | StoreError] = {}

    def give(made: Mapping[ObjectKey, ETag | StoreError]) -> None:
        assert made
        assert not made.keys() & found.keys(), "each is told once"
        found.update(made)

    subject.store.put_many(lambda count: list(islice(puts, count)), give)
    return found


def test_each_makes_its_object(subject: Subject) -> None:
    names = [f"f{n}" for n in range(FILES)]
    made = _made(subject, iter([_put(subject, name, ABSENT) for name in names]))
    for name in names:
        head = subject.store.head(subject.key(name))
        assert (head.etag, head.size) == (made[subject.key(name)], len(name))
        assert head.metadata == {"name": name}
        body = subject.store.get(subject.key(name), start=0, end=len(name), if_match=head.etag)
        assert bytes(body) == name.encode()


def test_a_condition_that_does_not_hold_is_told_of_that_one_alone(subject: Subject) -> None:
    etag = subject.put("there")
    puts = [
        _put(subject, "new", ABSENT),
        _put(subject, "there", ABSENT),
        _put(subject, "gone", matches(etag)),
        _put(subject, "other", ABSENT),
    ]
    made = _made(subject, iter(puts))
    assert isinstance(made[subject.key("there")], PreconditionFailed)
    assert isinstance(made[subject.key("gone")], PreconditionFailed)
    assert {type(made[subject.key(name)]) for name in ("new", "other")} == {str}


def test_copies_among_them(subject: Subject) -> None:
    etag, other = subject.put("there", b"bytes"), subject.put("other", b"else")
    before = subject.store.request_counts().get("CopyObject", 0)

    def copy(name: str, source: str, version: ETag) -> Put:
        where = Source(subject.key(source), version)
        return Put(subject.key(name), b"", {"name": name}, "text/plain", ANY, where)

    copies = [
        copy("copied", "there", etag),
        copy("there", "there", etag),
        copy("of another version", "other", etag),
        copy("of nothing", "gone", etag),
        _put(subject, "put", ABSENT),
    ]
    made = _made(subject, iter(copies))
    assert isinstance(made[subject.key("of another version")], PreconditionFailed)
    assert isinstance(made[subject.key("of nothing")], Missing)
    for name in ("copied", "there"):
        head = subject.store.head(subject.key(name))
        assert (head.etag, head.metadata) == (made[subject.key(name)], {"name": name})
        assert bytes(subject.store.get(subject.key(name), start=0, end=5, if_match=head.etag)) == b"bytes"
    assert subject.store.head(subject.key("other")).etag == other
    assert subject.store.request_counts()["CopyObject"] == before + 4


def test_every_request_is_counted(subject: Subject) -> None:
    before = subject.store.request_counts().get("PutObject", 0)
    _made(subject, iter([_put(subject, f"f{n}") for n in range(5)]))
    assert subject.store.request_counts()["PutObject"] == before + 5


def test_nothing_to_put(subject: Subject) -> None:
    assert _made(subject, iter(())) == {}


def test_what_comes_later_is_taken(subject: Subject) -> None:
    """Whoever takes none now may take more as long as something is under way, and is asked in the calling thread."""
    made: list[ObjectKey] = []
    wanted, threads = [_put(subject, "first")], set[int]()

    def take(count: int) -> Sequence[Put]:
        threads.add(threading.get_ident())
        taken, wanted[:] = wanted[:count], wanted[count:]
        return taken

    def give(outcomes: Mapping[ObjectKey, ETag | StoreError]) -> None:
        threads.add(threading.get_ident())
        made.extend(outcomes)
        if subject.key("second") not in made:
            wanted.append(_put(subject, "second"))

    subject.store.put_many(take, give)
    assert made == [subject.key("first"), subject.key("second")]
    assert threads == {threading.get_ident()}


def test_what_the_caller_raises_goes_through_and_the_store_goes_on(subject: Subject) -> None:
    puts = [_put(subject, f"f{n}") for n in range(5)]
    left = iter(puts)

    def give(made: Mapping[ObjectKey, ETag | StoreError]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        subject.store.put_many(lambda count: list(islice(left, count)), give)
    assert _made(subject, iter(puts)).keys() == {put.key for put in puts}
