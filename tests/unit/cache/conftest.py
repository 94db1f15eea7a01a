from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cache.support import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "cache")
    yield bench
    bench.store.hold.set()
    bench.cache.close()
