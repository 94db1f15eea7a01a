"""keys.py: names and keys."""

import pytest

from s3mount import keys
from s3mount.errors import InvalidArgument, InvalidName, NameTooLong
from s3mount.model import ObjectKey


@pytest.mark.parametrize("name", ["a", " ", "%+#?&=", ".hidden", "ü" * 127, "x" * 255, "a\nb", "…"])
def test_legal_names(name: str) -> None:
    keys.check_name(name)
    assert keys.is_listable(name)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("x" * 256, NameTooLong),
        ("ü" * 128, NameTooLong),
        ("\udcff", InvalidName),
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


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 256, "a\0"])
def test_keys_that_cannot_be_shown(name: str) -> None:
    assert not keys.is_listable(name)


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


def test_range_end_bounds_all_keys_below() -> None:
    end = keys.range_end(ObjectKey("a/"))
    assert "a/" < "a/\x01" < "a/\U0010ffff" < end
    assert end < "b"
