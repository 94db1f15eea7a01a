"""Random copies of whole files between writes, renames, removals, lost replies and new runs, each step compared with a
dictionary (P1, P5)."""

import os
import random
from collections.abc import Callable

import pytest

from s3mount.vfs import space
from tests.faults.bench import Bench
from tests.faults.test_whole_copies import copy, forget
from tests.support.faulty_store import Moment

SEED = int(os.environ.get("S3MOUNT_COPY_SEED", "0"))
SEEDS = [SEED] if SEED else range(1, int(os.environ.get("S3MOUNT_COPY_SEEDS", "6")) + 1)
STEPS = 60
NAMES = "abcd"
Model = dict[str, bytes]


def write(bench: Bench, model: Model, dice: random.Random) -> None:
    name, data = dice.choice(NAMES), dice.randbytes(dice.randrange(1, 9000))
    bench.write(f"/{name}", data)
    model[name] = data + model.get(name, b"")[len(data) :]


def copied(bench: Bench, model: Model, dice: random.Random) -> None:
    source, target = dice.choice(sorted(model)), dice.choice(NAMES)
    if source == target:
        return
    if dice.random() < 0.7:
        forget(bench, f"/{source}")
    if dice.random() < 0.3:
        bench.store.fail("copy", target, moment=dice.choice(list(Moment)))
    bench.store.calls.clear()
    copy(bench, f"/{source}", f"/{target}", os.O_TRUNC if target in model else os.O_CREAT)
    bench.store.heal()
    model[target] = model[source]


def rename(bench: Bench, model: Model, dice: random.Random) -> None:
    old, new = dice.choice(sorted(model)), dice.choice(NAMES)
    bench.fs.rename(f"/{old}", f"/{new}")
    model[new] = model.pop(old)


def remove(bench: Bench, model: Model, dice: random.Random) -> None:
    name = dice.choice(sorted(model))
    bench.fs.unlink(f"/{name}")
    del model[name]


def truncate(bench: Bench, model: Model, dice: random.Random) -> None:
    name, size = dice.choice(sorted(model)), dice.choice([0, 1, 5000])
    bench.fs.truncate(f"/{name}", size)
    model[name] = model[name][:size].ljust(size, b"\0")


def again(bench: Bench, model: Model, dice: random.Random) -> None:
    """A new run, with the index or without."""
    if dice.random() < 0.5:
        bench.restart()
    else:
        bench.drain()
        bench.start_empty()


ACTS: list[Callable[[Bench, Model, random.Random], None]] = [write, copied, copied, copied, rename, remove, truncate]


@pytest.mark.parametrize("seed", SEEDS)
def test_copies_between_other_changes(
    make_bench: Callable[..., Bench], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"S3MOUNT_COPY_SEED={seed}")
    dice = random.Random(seed)
    monkeypatch.setattr(space, "WHOLE_BYTES_MIN", 1)
    bench, model = make_bench(delay_s=dice.choice([0.0, 3600.0])), Model()
    copies = 0
    for _ in range(STEPS):
        act = dice.choice(ACTS) if model else write
        act = again if dice.random() < 0.03 else act
        act(bench, model, dice)
        copies += act is copied and bench.store.count("copy") > 0
        assert bench.tree() == model, act.__name__
    assert copies, "no file was copied in the bucket"
    bench.check(model)
    assert not bench.oddities()
    bench.start_empty()
    bench.check(model)
