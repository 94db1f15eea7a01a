"""When failed uploads are tried again."""

from s3mount.model import Ino
from s3mount.writeback.setbacks import HURRY_PAUSE_NS, NS, Setbacks

NOW_NS = 1_000_000 * NS
PROBE_NS = 15 * NS


def test_twice_as_late_each_time_while_others_are_due_soon() -> None:
    setbacks = Setbacks()
    waits = [setbacks.postpone(Ino(7), NOW_NS, NOW_NS) - NOW_NS for _ in range(12)]
    assert waits == [n * NS for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300)]


def test_somebody_is_always_due_within_the_probe_time() -> None:
    setbacks = Setbacks()
    for _ in range(12):
        setbacks.postpone(Ino(7), NOW_NS, NOW_NS)
    assert setbacks.postpone(Ino(7), NOW_NS, None) == NOW_NS + PROBE_NS
    assert setbacks.postpone(Ino(7), NOW_NS, NOW_NS + PROBE_NS + 1) == NOW_NS + PROBE_NS
    assert setbacks.postpone(Ino(7), NOW_NS, NOW_NS + PROBE_NS) == NOW_NS + 300 * NS


def test_a_success_hurries_the_others_but_not_over_and_over() -> None:
    setbacks = Setbacks()
    for ino in (Ino(1), Ino(2)):
        for _ in range(12):
            setbacks.postpone(ino, NOW_NS, NOW_NS)
    setbacks.forget([Ino(1)])
    assert setbacks.hurry(NOW_NS) == [(2, NOW_NS)]
    assert setbacks.hurry(NOW_NS) == []
    setbacks.postpone(Ino(2), NOW_NS, NOW_NS)
    assert setbacks.hurry(NOW_NS) == [(2, NOW_NS + HURRY_PAUSE_NS)]
    assert setbacks.of(Ino(2)).failures == 13


def test_a_second_conflict_in_a_row_waits() -> None:
    setbacks = Setbacks()
    assert [setbacks.note_conflict(Ino(1)), setbacks.note_conflict(Ino(1))] == [False, True]
    setbacks.forget(None)
    assert not setbacks.note_conflict(Ino(1))
