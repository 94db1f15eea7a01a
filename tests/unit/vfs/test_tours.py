"""tours.py: who reads a directory in order, and how much is fetched ahead of them."""

from s3mount.model import Ino
from s3mount.vfs.tours import AHEAD_S_MAX, FILE_BYTES_MAX, FILES_MAX, LEFT_OUT_MAX, STREAK_MIN, STREAK_S_MAX, Tours

A, B = Ino(1), Ino(2)
KIB = 1 << 10


def files(first: int, count: int, size: int = KIB) -> list[tuple[Ino, int]]:
    return [(Ino(number), size) for number in range(first, first + count)]


def on_streak(tours: Tours, listing: list[tuple[Ino, int]]) -> list[Ino]:
    """Directory A is listed and its first files are opened, until some are to be fetched."""
    assert tours.listed(A, listing, 0.0) == []
    for ino, _ in listing[: STREAK_MIN - 1]:
        assert tours.opened(A, ino, 0.0) == []
    return tours.opened(A, listing[STREAK_MIN - 1][0], 0.0)


def test_begins_with_the_third_in_order_and_goes_further_with_each() -> None:
    tours = Tours(1 << 30)
    assert on_streak(tours, files(100, 50)) == [Ino(103 + n) for n in range(2 * STREAK_MIN)]
    assert tours.opened(A, Ino(103), 0.0) == [Ino(109), Ino(110), Ino(111)]


def test_goes_on_in_the_next_directory_at_once() -> None:
    tours = Tours(1 << 30)
    on_streak(tours, files(100, STREAK_MIN))
    assert tours.listed(B, files(200, 50), 1.0) == [Ino(200 + n) for n in range(2 * STREAK_MIN)]


def test_a_large_directory_is_told_page_by_page() -> None:
    tours = Tours(1 << 30)
    assert tours.listed(A, files(100, 4), 0.0) == []
    assert tours.listed(A, files(104, 4), 0.0, is_start=False) == []
    for ino in (100, 101):
        assert tours.opened(A, Ino(ino), 0.0) == []
    assert tours.opened(A, Ino(102), 0.0) == [Ino(103 + n) for n in range(5)]


def test_not_after_a_pause() -> None:
    tours = Tours(1 << 30)
    on_streak(tours, files(100, STREAK_MIN))
    assert tours.listed(B, files(200, 50), STREAK_S_MAX + 1) == []


def test_some_may_be_left_out_but_not_more() -> None:
    for left_out in (LEFT_OUT_MAX, LEFT_OUT_MAX + 1):
        tours = Tours(1 << 30)
        on_streak(tours, files(100, 50))
        following = tours.opened(A, Ino(100 + STREAK_MIN + left_out), 0.0)
        assert bool(following) == (left_out == LEFT_OUT_MAX)


def test_any_other_order_ends_it() -> None:
    for stranger in (Ino(100), Ino(999)):
        tours = Tours(1 << 30)
        on_streak(tours, files(100, 50))
        assert tours.opened(A, stranger, 0.0) == []
        assert tours.listed(B, files(200, 50), 0.0) == []


def test_who_opens_a_file_twice_goes_on() -> None:
    tours = Tours(1 << 30)
    on_streak(tours, files(100, 50))
    tours.opened(A, Ino(102), 0.0)
    assert tours.opened(A, Ino(103), 0.0)


def test_large_and_empty_files_are_passed_by() -> None:
    tours = Tours(1 << 30)
    listing = [*files(100, STREAK_MIN), (Ino(200), FILE_BYTES_MAX + 1), (Ino(201), 0), (Ino(202), FILE_BYTES_MAX)]
    assert on_streak(tours, listing) == [Ino(202)]


def test_no_more_bytes_than_allowed_until_some_are_opened() -> None:
    tours = Tours(3 * KIB)
    assert on_streak(tours, files(100, 50)) == [Ino(103), Ino(104), Ino(105)]
    assert tours.opened(A, Ino(103), 0.0) == [Ino(106)]


def test_no_more_files_than_allowed() -> None:
    tours = Tours(1 << 30)
    fetched = len(on_streak(tours, files(100, 3 * FILES_MAX)))
    for number in range(103, 103 + FILES_MAX):
        fetched += len(tours.opened(A, Ino(number), 0.0))
        assert 103 + fetched - number <= FILES_MAX + 1


def test_what_nobody_opens_is_given_up_after_a_while() -> None:
    tours = Tours(3 * KIB)
    on_streak(tours, files(100, 50))
    assert tours.listed(B, files(200, 50), 1.0) == []
    late_s = AHEAD_S_MAX + 1
    for number in range(200, 200 + STREAK_MIN - 1):
        tours.opened(B, Ino(number), late_s)
    assert tours.opened(B, Ino(200 + STREAK_MIN - 1), late_s)


def test_off() -> None:
    assert on_streak(Tours(0), files(100, 50)) == []
