"""Uploads give way to whoever changes files, for a moment, and never to somebody who waits for them."""

import pytest

from s3mount.writeback.pace import HOLD_S_MAX, QUIET_S, Pace

SECOND_NS = 10**9
START_S = 1000.0


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.s = START_S
        self.is_hurried = False
        self.pace = Pace(self, lambda: self.is_hurried)

    def now_ns(self) -> int:
        return int(self.s * SECOND_NS)

    def monotonic_s(self) -> float:
        return self.s

    def write_for(self, duration_s: float, due_s: float) -> list[float]:
        """Change something all the time; returns when it was that uploads were let run."""
        let: list[float] = []
        end_s = self.s + duration_s
        while self.s < end_s:
            self.pace.note_change()
            self.s += QUIET_S / 2
            if not self.pace.gives_way(int(due_s * SECOND_NS)):
                let.append(self.s)
        return let


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_what_is_due_waits_for_a_pause(hands: Hands) -> None:
    assert hands.write_for(1.0, due_s=START_S) == []
    hands.s += QUIET_S
    assert not hands.pace.gives_way(int(START_S * SECOND_NS))


def test_it_waits_no_longer_than_the_limit_after_it_was_due(hands: Hands) -> None:
    let = hands.write_for(2 * HOLD_S_MAX, due_s=START_S + 1)
    assert let[0] == pytest.approx(START_S + 1 + HOLD_S_MAX, abs=QUIET_S)


def test_once_uploads_run_they_run_until_nothing_is_due(hands: Hands) -> None:
    assert not hands.pace.gives_way(hands.now_ns())
    assert hands.write_for(1.0, due_s=START_S)
    hands.pace.gives_way(hands.now_ns() + SECOND_NS)
    assert hands.write_for(1.0, due_s=hands.s) == []


def test_whoever_waits_for_uploads_is_not_made_to_wait_longer(hands: Hands) -> None:
    assert hands.write_for(0.2, due_s=START_S) == []
    hands.is_hurried = True
    assert hands.write_for(0.2, due_s=START_S)


def test_uploads_of_a_drive_on_which_nothing_changes_are_not_held(hands: Hands) -> None:
    assert not hands.pace.gives_way(hands.now_ns())
