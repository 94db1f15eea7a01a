"""keys.py: names and keys."""

import pytest

from s3mount import keys
from s3mount.errors import InvalidArgument, NameTooLong
from s3mount.model import ObjectKey


@pytest.mark.parametrize("name", ["a", " ", "%+#?&=", ".hidden", "ü" * 127, "x" * 255, "a\nb", "…", "\udcff", "%key"])
def test_legal_names(name: str) -> None:
    keys.check_name(name)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("x" * 256, NameTooLong),
        ("ü" * 128, NameTooLong),
        ("\ud800", InvalidArgument),
        ("", InvalidArgument),
        (".", InvalidArgument),
        ("..", InvalidArgument),
        ("a/b", InvalidArgument),
        ("a\0b", InvalidArgument),
    ],
)
def test_illegal_names(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        keys.check_name(name)


def test_key_length() -> None:
    keys.check_key(ObjectKey("k" * 1024))
    with pytest.raises(NameTooLong):
        keys.check_key(ObjectKey("k" * 1025))


def test_joins() -> None:
    assert keys.split_path("/") == []
    assert keys.split_path("/a/b") == ["a", "b"]
    assert keys.child_key(ObjectKey("a/"), "b", is_dir=True) == "a/b/"
    assert keys.child_key(ObjectKey(""), "b", is_dir=False) == "b"
    assert keys.ancestor_keys(ObjectKey("a/b/c")) == ["a/", "a/b/"]
    assert keys.ancestor_keys(ObjectKey("a/b/")) == ["a/"]
    assert keys.ancestor_keys(ObjectKey("a")) == []
    assert keys.child_key(ObjectKey("a/"), "%2E%2E%key", is_dir=False) == "a/.."
    assert keys.child_key(ObjectKey("a/"), "caf\udce9", is_dir=False) == "a/caf%E9%name"


def test_empty_components() -> None:
    assert keys.split_key(ObjectKey("")) == []
    assert keys.split_key(ObjectKey("/")) == [""]
    assert keys.split_key(ObjectKey("//a")) == ["", "", "a"]
    assert keys.ancestor_keys(ObjectKey("/")) == []
    assert keys.ancestor_keys(ObjectKey("//")) == ["/"]
    assert keys.ancestor_keys(ObjectKey("a//b")) == ["a/", "a//"]


def test_range_end_bounds_all_keys_below() -> None:
    end = keys.range_end(ObjectKey("a/"))
    assert "a/" < "a/\x01" < "a/\U0010ffff" < end
    assert end < "b"
