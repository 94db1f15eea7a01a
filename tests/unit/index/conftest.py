"""An index in a fresh folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from s3mount.clock import SystemClock
from s3mount.index.index import Index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(tmp_path / "index.sqlite", SystemClock())
    index.ensure_root(0o040755, 0, 0, 1, has_key=False)
    yield index
    index.close()
