"""While much is loaded no garbage is looked for; afterwards it is."""

import gc
from collections.abc import Iterator

import pytest

from s3mount import garbage


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_none_is_looked_for_within_the_block() -> None:
    with garbage.left_alone():
        assert not gc.isenabled()
        with garbage.left_alone():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_is_looked_for_again_after_an_error() -> None:
    with pytest.raises(ValueError, match="no"), garbage.left_alone():
        raise ValueError("no")
    assert gc.isenabled()


def test_what_was_loaded_for_good_is_not_looked_through_and_garbage_counts_from_there_on() -> None:
    with garbage.left_alone():
        with garbage.loaded_for_good():
            assert not gc.isenabled()
        assert gc.get_freeze_count() > 0
        assert gc.isenabled()
    assert gc.isenabled()
