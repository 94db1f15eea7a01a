"""The process dies at each call to the store in turn, and a new drive takes over what it left (P1, P3).

Death is a copy of state folder and bucket as they are at that moment, with the index at rest: what kill -9 leaves. The
drive that is copied lives on, so one run gives every moment.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.faults.bench import KIB, MIB, Bench
from tests.support.faulty_store import Moment
from tests.support.memory_store import MemoryStore

Model = dict[str, bytes]
REBIRTHS_AT_ONCE = 8


def clone(memory: MemoryStore) -> MemoryStore:
    copy = MemoryStore()
    copy._objects = memory.objects()
    copy._uploads = {name: replace(upload, parts=dict(upload.parts)) for name, upload in memory.uploads().items()}
    return copy


@dataclass
class Death:
    label: str
    folder: Path
    memory: MemoryStore
    step: int


class Reborn(Bench):
    """A bench over what a death left."""

    def __init__(self, death: Death):
        self.memory = death.memory
        super().__init__(death.folder)

    def make_store(self) -> MemoryStore:
        return self.memory


@contextlib.contextmanager
def reborn(death: Death) -> Iterator[Bench]:
    bench = Reborn(death)
    try:
        yield bench
    finally:
        bench.close()


def together() -> Callable[[Bench, Model], None]:
    """What goes up in one batch, since nothing is due before all of it is there."""

    def act(bench: Bench, model: Model) -> None:
        bench.drive.writeback._configured_delay_ns = 3600 * 10**9
        if "h" not in bench.names():
            bench.mkdir("/h")
        for number in range(6):
            put(f"f{number}", b"%d" % (number + 10 * len(model)) * KIB)(bench, model)
        put("h/f", b"below %d" % len(model))(bench, model)

    return act


def rename(old: str, new: str) -> Callable[[Bench, Model], None]:
    def act(bench: Bench, model: Model) -> None:
        bench.fs.rename(f"/{old}", f"/{new}")
        for key in [key for key in model if key == old or key.startswith(f"{old}/")]:
            model[new + key[len(old) :]] = model.pop(key)

    return act


def put(key: str, data: bytes) -> Callable[[Bench, Model], None]:
    def act(bench: Bench, model: Model) -> None:
        bench.write(f"/{key}", data)
        model[key] = data

    return act


def remove(key: str) -> Callable[[Bench, Model], None]:
    def act(bench: Bench, model: Model) -> None:
        bench.fs.unlink(f"/{key}")
        del model[key]

    return act


def foreign(key: str, data: bytes) -> Callable[[Bench, Model], None]:
    """A directory with a file at its own key, of another tool."""

    def act(bench: Bench, model: Model) -> None:
        bench.memory.foreign_put(f"{key}/", data)
        bench.refresh()
        model[f"{key}/%key"] = data
        assert bench.tree() == model

    return act


def chmod(key: str, mode: int) -> Callable[[Bench, Model], None]:
    return lambda bench, model: bench.fs.chmod(f"/{key}", mode)


def directory(key: str) -> Callable[[Bench, Model], None]:
    return lambda bench, model: bench.mkdir(f"/{key}")


def rest(bench: Bench, model: Model) -> None:
    bench.drain()


SCRIPTS = {
    "files": [
        put("a", b"1" * KIB), put("b", b"2" * KIB), rest, rename("a", "c"), put("a", b"3" * KIB), remove("b"),
        put("b", b"4" * KIB), rest, rename("b", "t"), rename("c", "b"), rename("t", "c"), remove("a"),
    ],
    "directories": [
        directory("d"), put("d/x", b"x"), directory("d/s"), put("d/s/y", b"y"), rest, rename("d", "e"), directory("d"),
        put("d/x", b"new"), rename("e", "f"), put("f/z", b"z"), rest, remove("d/x"),
    ],
    "own files": [
        foreign("d", b"1" * KIB), foreign("r", b"5" * KIB), chmod("d", 0o700), chmod("d/%key", 0o600), put("d/x", b"x"),
        rest, rename("d", "e"), directory("d"), chmod("e", 0o710), rest, put("e/%key", b"2" * KIB),
        rename("e/%key", "d/y"), rest, remove("r/%key"), chmod("r", 0o711), rest, foreign("u", b"6"), rename("u", "v"),
        remove("v/%key"), rename("v", "w"),
    ],
    "together": [
        together(), rest, together(), rename("f3", "g3"), remove("f4"), rest,
    ],
    "large": [
        put("big", b"1" * (9 * MIB)), rest, rename("big", "huge"), put("big", b"2" * KIB), remove("huge"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("script", list(SCRIPTS))
def test_a_death_at_every_call(tmp_path: Path, script: str) -> None:
    (tmp_path / "alive").mkdir()
    bench = Bench(tmp_path / "alive")
    deaths: list[Death] = []
    models: list[Model] = [{}]

    def die(operation: str, key: str, moment: Moment) -> None:
        if operation == "list_page":
            return
        with bench.index.locked():
            folder = tmp_path / f"death{len(deaths)}"
            shutil.copytree(bench.folder, folder)
            label = f"{operation} {key} {moment.value}"
            deaths.append(Death(label, folder, clone(bench.memory), len(models) - 1))

    bench.store.watch = die
    model: Model = {}
    for act in SCRIPTS[script]:
        act(bench, model)
        models.append(dict(model))
    bench.drain()
    bench.close()
    assert len(deaths) >= 10
    with ThreadPoolExecutor(REBIRTHS_AT_ONCE) as pool:  # they wait more than they work
        list(pool.map(lambda death: check_rebirth(death, models), deaths))


def check_rebirth(death: Death, models: list[Model]) -> None:
    before = models[death.step]
    after = models[min(death.step + 1, len(models) - 1)]
    with reborn(death) as bench:
        bench.drain()
        bucket = bench.bucket()
        assert bucket == bench.tree(), death.label
        assert bench.conflicts() == 0, death.label
        for key in before.keys() & after.keys():
            if before[key] == after[key]:
                assert bucket.get(key) == before[key], f"{death.label}: {key}"
        assert bucket.keys() <= before.keys() | after.keys(), death.label
    # The drive's recovery is over when it is closed; it finds those too whose reply had not come.
    assert not death.memory.uploads(), death.label
