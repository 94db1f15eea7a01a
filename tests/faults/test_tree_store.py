"""A store that is a tree of directories (SeaweedFS): those that nobody made have an ETag, and no delete may name it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from s3mount.errors import PreconditionFailed, StoreError
from s3mount.model import ETag, ObjectInfo, ObjectKey
from tests.faults.bench import Bench
from tests.support.faulty_store import Moment
from tests.support.memory_store import MemoryStore

NO_PARTS = ETag("d41d8cd98f00b204e9800998ecf8427e-0")


class TreeStore(MemoryStore):
    """A directory that nobody made stays until it is deleted, also when there is nothing in it any more."""

    def __init__(self, page_size: int) -> None:
        super().__init__(page_size=page_size)
        self._made: set[ObjectKey] = set()

    def head(self, key: ObjectKey) -> ObjectInfo:
        self._note_directories()
        if key in self._made and key not in self.objects():
            return ObjectInfo(key, 0, NO_PARTS, 0, {})
        return super().head(key)

    def delete(self, versions: Mapping[ObjectKey, ETag | None]) -> Mapping[ObjectKey, StoreError]:
        self._note_directories()
        named = {key for key in self._made & versions.keys() - self.objects().keys() if versions[key] is not None}
        self._made -= versions.keys() - named
        failed = super().delete({key: etag for key, etag in versions.items() if key not in named})
        return {**failed, **{key: PreconditionFailed(f"{key!r} is a directory") for key in named}}

    def _note_directories(self) -> None:
        for key in self.objects():
            above = key.split("/")[:-1]
            self._made |= {ObjectKey("/".join(above[: depth + 1]) + "/") for depth in range(len(above))}


class TreeBench(Bench):
    def make_store(self) -> MemoryStore:
        return TreeStore(self.page_size)


@pytest.mark.parametrize("is_removed", [False, True])
def test_its_own_directories_do_not_end_conditional_deletes(tmp_path: Path, *, is_removed: bool) -> None:
    """Else each file that is removed later costs a HEAD, and what others write after that HEAD is lost."""
    bench = TreeBench(tmp_path)
    try:
        for key in ("t/d/a", "t/d/b", "u/c"):
            bench.memory.foreign_put(key, b"old")
        assert bench.tree() == bench.bucket()
        for directory in ("/t", "/t/d"):
            bench.fs.getattr(directory)
        if is_removed:
            for name in ("a", "b"):
                bench.fs.unlink(f"/t/d/{name}")
            bench.fs.rmdir("/t/d")
            bench.fs.rmdir("/t")
        else:
            bench.fs.rename("/t", "/moved")
        bench.drain()
        heads = bench.store.count("head")

        def put(operation: str, _: str, moment: Moment) -> None:
            if (operation, moment) == ("delete", Moment.BEFORE):
                bench.memory.foreign_put("u/c", b"theirs")

        bench.store.watch = put
        bench.fs.unlink("/u/c")
        bench.drain()
        assert bench.bucket()["u/c"] == b"theirs"
        assert bench.store.count("head") == heads + 1, "to judge what the delete was refused for"
    finally:
        bench.close()
