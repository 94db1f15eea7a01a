"""remote/guard.py: our own writes during a listing are told from foreign ones."""

from s3mount.model import ObjectKey
from s3mount.remote.guard import WriteGuard

KEY, OTHER = ObjectKey("a/b"), ObjectKey("a/c")


def test_a_write_during_the_listing_is_noted_for_it() -> None:
    guard = WriteGuard()
    with guard.listing() as began:
        assert not guard.is_noted(KEY, began)
        guard.note([KEY])
        assert guard.is_noted(KEY, began)
        assert guard.is_noted_below(ObjectKey("a/"), began)
        assert not guard.is_noted(OTHER, began)
        assert not guard.is_noted_below(ObjectKey("b/"), began)


def test_a_write_before_the_listing_is_not() -> None:
    guard = WriteGuard()
    with guard.listing() as first:
        guard.note([KEY])
        with guard.listing() as second:
            assert guard.is_noted(KEY, first)
            assert not guard.is_noted(KEY, second)


def test_nothing_is_remembered_without_a_listing() -> None:
    guard = WriteGuard()
    guard.note([KEY])
    with guard.listing() as began:
        assert not guard.is_noted(KEY, began)
        guard.note([KEY])
    with guard.listing() as again:
        assert not guard.is_noted(KEY, again)
