"""Components that a listing has shown: exactly those, in whatever order they came."""

import random

from s3mount.remote.seen import SeenComponents


def test_what_was_added_is_in() -> None:
    dice = random.Random(5)
    names = [f"{dice.randrange(1 << 40)}é" for _ in range(5000)]
    seen = SeenComponents()
    for name in names[:2500]:
        seen.add(name)
    assert all(name in seen for name in names[:2500])
    assert not any(name in seen for name in names[2500:])
    for name in names[2500:]:
        seen.add(name)
    assert all(name in seen for name in names)
    assert "" not in seen
