"""A store that does not answer a delete of a thousand keys in time gets fewer at once, until it does."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from s3mount.errors import StoreError, Unreachable
from s3mount.model import ETag, ObjectKey
from s3mount.writeback import deleter
from tests.faults.bench import Bench
from tests.support.memory_store import MemoryStore

FILES = 300
ANSWERED_MAX = 40


class SlowStore(MemoryStore):
    def delete(self, versions: Mapping[ObjectKey, ETag | None]) -> Mapping[ObjectKey, StoreError]:
        if len(versions) > ANSWERED_MAX:
            raise Unreachable("no answer")
        return super().delete(versions)


class SlowBench(Bench):
    def make_store(self) -> MemoryStore:
        return SlowStore(page_size=self.page_size)


def test_a_delete_that_is_not_answered_is_sent_in_smaller_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleter, "back_off_s", lambda failures: 0.01)
    bench = SlowBench(tmp_path)
    try:
        for number in range(FILES):
            bench.memory.foreign_put(f"d/{number:03}", b"x")
        names = bench.names("/d")
        gate = bench.store.hold("delete")
        for name in names:
            bench.fs.unlink(f"/d/{name}")
        gate.wait_arrived()
        gate.open()
        assert bench.drive.drain(8, lambda backlog: None) == []
        assert bench.bucket() == {}
        deletes = bench.store.count("delete")
        assert deletes <= 3 * FILES / ANSWERED_MAX + 12, "and no more requests than that takes"
    finally:
        bench.close()
