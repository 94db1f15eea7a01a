"""head_many: each sentence of store/base.py about it."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import pytest

from s3mount.errors import Missing, StoreError
from s3mount.model import ObjectInfo, ObjectKey
from tests.contract.conftest import Subject

FILES = 70


def _asked(subject: Subject, keys: Iterator[ObjectKey]) -> dict[ObjectKey, ObjectInfo | StoreError]:
    found: dict[ObjectKey, ObjectInfo | StoreError] = {}

    def give(heads: Mapping[ObjectKey, ObjectInfo | StoreError]) -> None:
        assert heads
        assert not heads.keys() & found.keys(), "each is told once"
        found.update(heads)

    subject.store.head_many(lambda count: list(islice(keys, count)), give)
    return found


def test_each_comes_to_what_head_says(subject: Subject) -> None:
    names = [f"f{n}" for n in range(FILES)]
    for name in names:
        subject.foreign_put(name, name.encode(), {"name": name})
    found = _asked(subject, iter([subject.key(name) for name in [*names, "nothing"]]))
    assert isinstance(found.pop(subject.key("nothing")), Missing)
    assert found == {key: subject.store.head(key) for key in map(subject.key, names)}


def test_every_request_is_counted(subject: Subject) -> None:
    for n in range(5):
        subject.put(f"f{n}")
    before = subject.store.request_counts().get("HeadObject", 0)
    _asked(subject, iter([subject.key(f"f{n}") for n in range(5)]))
    assert subject.store.request_counts()["HeadObject"] == before + 5


def test_nothing_to_ask_for(subject: Subject) -> None:
    assert _asked(subject, iter(())) == {}


def test_keys_that_come_later_are_taken(subject: Subject) -> None:
    """Whoever takes none now may take more as long as something is under way, and is asked in the calling thread."""
    for name in ("first", "second"):
        subject.put(name)
    found: list[ObjectKey] = []
    wanted, threads = [subject.key("first")], set[int]()

    def take(count: int) -> Sequence[ObjectKey]:
        threads.add(threading.get_ident())
        taken, wanted[:] = wanted[:count], wanted[count:]
        return taken

    def give(heads: Mapping[ObjectKey, ObjectInfo | StoreError]) -> None:
        threads.add(threading.get_ident())
        found.extend(heads)
        if subject.key("second") not in found:
            wanted.append(subject.key("second"))

    subject.store.head_many(take, give)
    assert found == [subject.key("first"), subject.key("second")]
    assert threads == {threading.get_ident()}


def test_what_the_caller_raises_goes_through_and_the_store_goes_on(subject: Subject) -> None:
    for n in range(5):
        subject.put(f"f{n}")
    keys = [subject.key(f"f{n}") for n in range(5)]
    left = iter(keys)

    def give(heads: Mapping[ObjectKey, ObjectInfo | StoreError]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        subject.store.head_many(lambda count: list(islice(left, count)), give)
    assert _asked(subject, iter(keys)).keys() == set(keys)
