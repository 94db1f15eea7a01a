"""A bench for each test; the options of Bench go in through the factory."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.bench import Bench


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(**options: object) -> Bench:
        folder = tmp_path / f"state{len(benches)}"
        folder.mkdir()
        benches.append(Bench(folder, **options))  # type: ignore[arg-type]
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()
