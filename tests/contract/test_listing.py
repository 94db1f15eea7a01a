"""list_page: what is listed, how it is cut into pages, and that it is up to date."""

import pytest

from s3mount.model import ObjectKey
from tests.contract.conftest import PREFIX, Subject
from tests.support.memory_store import MemoryStore


def test_lists_objects_and_prefixes(subject: Subject) -> None:
    for name in ("a", "b/1", "b/2", "c/d/e", "f"):
        subject.put(name)
    found = subject.list_all()
    assert sorted(o.key for o in found.objects) == [subject.key("a"), subject.key("f")]
    assert sorted(found.prefixes) == [subject.key("b/"), subject.key("c/")]


def test_lists_everything_below_without_a_delimiter(subject: Subject) -> None:
    names = ["a", "b/1", "b/2", "c/d/e"]
    for name in names:
        subject.put(name)
    found = subject.list_all(delimiter="")
    assert sorted(o.key for o in found.objects) == [subject.key(name) for name in names]
    assert list(found.prefixes) == []


def test_listed_objects_are_those_of_head(subject: Subject) -> None:
    etag = subject.put("a", b"12345")
    (listed,) = subject.list_all().objects
    head = subject.store.head(subject.key("a"))
    assert (listed.key, listed.size, listed.etag, listed.metadata) == (subject.key("a"), 5, etag, None)
    assert listed.last_modified_ns // 1_000_000_000 == head.last_modified_ns // 1_000_000_000


def test_a_key_equal_to_the_prefix_is_among_the_objects(subject: Subject) -> None:
    subject.put("d/", b"")
    subject.put("d/x")
    assert subject.names("d/") == ["d/", "d/x"]
    assert subject.names() == ["d/"]
    assert subject.list_all().objects == []


def test_prefix_need_not_end_at_a_delimiter(subject: Subject) -> None:
    for name in ("photo-1", "photo-2/x", "other"):
        subject.put(name)
    assert subject.names("photo") == ["photo-1", "photo-2/"]


def test_nothing_below_is_an_empty_page(subject: Subject) -> None:
    page = subject.store.list_page(subject.key("nothing/"))
    assert (list(page.objects), list(page.prefixes), page.next_token) == ([], [], None)


def test_lists_what_was_written_and_not_what_was_deleted(subject: Subject) -> None:
    subject.put("stays")
    for number in range(20):
        subject.put(f"{number:02}")
        assert len(subject.list_all().objects) == number + 2
    for number in range(20):
        subject.store.delete({subject.key(f"{number:02}"): None})
        assert len(subject.list_all().objects) == 20 - number


def test_an_object_beside_a_prefix_of_its_name(subject: Subject) -> None:
    subject.put("a", b"object")
    subject.put("a/b", b"below")
    found = subject.list_all()
    assert [o.key for o in found.objects] == [subject.key("a")]
    assert list(found.prefixes) == [subject.key("a/")]
    assert subject.read("a") == b"object"


def test_odd_slashes_are_kept(subject: Subject) -> None:
    subject.put("a//b", b"double")
    subject.put("a/./c", b"dot")
    assert subject.names(delimiter="") == ["a/./c", "a//b"]
    assert (subject.read("a//b"), subject.read("a/./c")) == (b"double", b"dot")


def test_directory_marker_keeps_its_metadata(subject: Subject) -> None:
    subject.store.put(subject.key("d/"), b"", metadata={"mode": "16877"}, content_type="application/x-directory")
    assert subject.store.head(subject.key("d/")).metadata == {"mode": "16877"}


def test_a_prefix_is_gone_with_its_last_object(subject: Subject) -> None:
    subject.put("d/x")
    subject.store.delete({subject.key("d/x"): None})
    assert subject.names() == []


def test_objects_come_in_byte_order(subject: Subject) -> None:
    names = ["a-", "a.txt", "a/1", "a0", "b"]
    for name in reversed(names):
        subject.put(name)
    found = subject.list_all(delimiter="")
    assert [o.key for o in found.objects] == [subject.key(name) for name in names]


def test_more_than_a_page(subject: Subject) -> None:
    names = [f"f{number:04}" for number in range(1005)] + [f"d{number}/x" for number in range(3)]
    for name in names:
        subject.put(name, b"x")
    first = subject.store.list_page(subject.folder)
    assert first.next_token is not None
    assert len(first.objects) + len(first.prefixes) <= 1000
    assert subject.names() == sorted([*names[:1005], "d0/", "d1/", "d2/"])


@pytest.mark.parametrize("page_size", [1, 2, 3])
def test_small_pages_lose_and_repeat_nothing(page_size: int) -> None:
    store = MemoryStore(page_size=page_size)
    for name in ("a", "b/1", "b/2", "b0", "c/", "c/d/e", "é", "\U0010ffff/x"):
        store.foreign_put(name, b"x")
    found, token = [], None
    while True:
        page = store.list_page(ObjectKey(""), token=token)
        found += [*(o.key for o in page.objects), *page.prefixes]
        token = page.next_token
        if token is None:
            break
        assert len(page.objects) + len(page.prefixes) == page_size
    assert sorted(found) == ["a", "b/", "b0", "c/", "é", "\U0010ffff/"]


def test_keys_are_relative_to_the_mounted_prefix(subject: Subject) -> None:
    if subject.server is None:
        assert not subject.store.properties.has_root_key
        return
    assert subject.store.properties.has_root_key
    subject.put("a")
    found = subject.server.client.list_objects_v2(Bucket=subject.bucket, Prefix=PREFIX + subject.folder)
    assert [o["Key"] for o in found["Contents"]] == [PREFIX + subject.key("a")]
    assert subject.folder in subject.store.list_page(ObjectKey("")).prefixes


def test_keys_below_a_directory_follow_each_other(subject: Subject) -> None:
    """Over pages, and from a directory's key on: a walk (remote/walk.py) lives by it."""
    directories = [f"d{n}{end}/{sub}" for n in range(4) for end in ("", "-x", ".t") for sub in ("", "s/")]
    names = [f"{directory}{f}" for directory in directories for f in range(50)]
    names += [f"d{n}.t.gz" for n in range(4)]
    for name in names:
        subject.put(name, b"x")
    for after in (None, subject.key("d1/")):
        found: list[str] = []
        token: str | None = None
        while True:
            page = subject.store.list_page(subject.folder, delimiter="", token=token, after=after)
            found += [info.key.removeprefix(subject.folder) for info in page.objects]
            token = page.next_token
            if token is None:
                break
        assert len(found) == len(set(found))
        for directory in directories:
            at = [number for number, name in enumerate(found) if name.startswith(directory)]
            assert not at or at == list(range(at[0], at[-1] + 1))
            assert len(at) in (0, sum(name.startswith(directory) for name in names))
        wanted = names if after is None else [name for name in names if name.startswith(("d1/", "d2", "d3"))]
        assert set(wanted) <= set(found)
        assert after is None or not any(name.startswith("d0/") for name in found)
