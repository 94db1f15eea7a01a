"""An index that walks have filled equals one that listings of each directory have filled, whatever the keys are and
whatever others do in between (P9). `pytest --hypothesis-seed=N` repeats a run whose seed pytest printed."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3mount.model import ROOT_INO, Ino
from s3mount.remote import followed, walk
from s3mount.remote.refresh import Refresher
from tests.faults.bench import Bench
from tests.support.entries import all_entries
from tests.support.memory_store import MemoryStore

EXAMPLES = int(os.environ.get("S3MOUNT_WALK_EXAMPLES", "15"))
pytestmark = pytest.mark.timeout(60 + 2 * EXAMPLES)
PARTS = st.sampled_from(["a", "b", "a-", "a.t", "a%key", "", "..", "é", "b0", "x" * 300])
KEYS = st.builds(
    lambda parts, is_marker: "/".join(parts) + "/" * is_marker,
    st.lists(PARTS, min_size=1, max_size=5).filter(lambda parts: any(parts)),
    st.sampled_from([0, 0, 0, 1]),
)
CHANGES = st.lists(st.tuples(KEYS, st.booleans()), max_size=12)

Shape = dict[str, tuple[str | None, str | None, bool]]


def shape(bench: Bench) -> Shape:
    """Path to (key, ETag, whether it is listed), by walking the tree; and nothing else is in the index."""
    found: Shape = {}

    def descend(ino: Ino, path: str) -> None:
        fh = bench.drive.filesystem.opendir(ino)
        entries = all_entries(bench.drive.filesystem, fh)
        bench.drive.filesystem.releasedir(fh)
        for entry in entries:
            inode = bench.index.inodes.get(entry.attr.ino)
            if inode.is_dir:
                descend(inode.ino, f"{path}/{entry.name}")
                inode = bench.index.inodes.get(inode.ino)
            found[f"{path}/{entry.name}"] = (inode.remote_key, inode.remote_etag, inode.is_listed)

    descend(ROOT_INO, "")
    return found


def open_bench(folder: str, memory: MemoryStore) -> Bench:
    return Bench(Path(tempfile.mkdtemp(dir=folder)), is_over=memory)


def walking(bench: Bench) -> None:
    """From now on every directory that is asked for begins a walk, and has been asked for often."""
    lister = bench.drive.lister
    lister._walks._is_habit = lambda parent, ino: True  # type: ignore[method-assign]
    lister._walks._saved = 1e9


def change(memory: MemoryStore, changes: list[tuple[str, bool]]) -> None:
    for key, is_put in changes:
        if is_put:
            memory.foreign_put(key, b"" if key.endswith("/") else b"changed")
        else:
            memory.foreign_delete(key)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=st.lists(KEYS, max_size=30), changes=CHANGES, page_size=st.sampled_from([1, 2, 3, 7, 1000]))
def test_walks_find_what_listings_find(first: list[str], changes: list[tuple[str, bool]], page_size: int) -> None:
    memory = MemoryStore(page_size=page_size)
    for number, key in enumerate(first):
        memory.foreign_put(key, b"" if key.endswith("/") else str(number).encode())
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="s3mount-walks-") as folder:
        patch.setattr(walk, "LINGER_S", 0.05)
        walked, listed = open_bench(folder, memory), open_bench(folder, memory)
        try:
            for is_changed in (False, True):
                if is_changed:
                    change(memory, changes)
                    walked.restart()
                    listed.restart()
                listed.drive.lister._walks._is_possible = False
                walking(walked)
                assert shape(walked) == shape(listed)
                if not is_changed:
                    has_walked = walked.store.count("walk_page") > 0
                    has_depth = any(key.strip("/").count("/") for key in first)
                    assert has_walked or not has_depth
                assert not listed.store.count("walk_page")
                assert not walked.oddities()
        finally:
            walked.close()
            listed.close()


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    first=st.lists(KEYS, max_size=30), changes=CHANGES, page_size=st.sampled_from([1, 2, 3, 7, 1000]),
    pages_max=st.sampled_from([1, 64]),
)  # fmt: skip
def test_a_refresh_finds_what_listings_find(
    first: list[str], changes: list[tuple[str, bool]], page_size: int, pages_max: int
) -> None:
    """The drive has seen all; then others change it, and nothing but the refresh asks."""
    memory = MemoryStore(page_size=page_size)
    for number, key in enumerate(first):
        memory.foreign_put(key, b"" if key.endswith("/") else str(number).encode())
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="s3mount-walks-") as folder:
        patch.setattr(walk, "LINGER_S", 0.05)
        patch.setattr(walk, "PAGES_MAX", pages_max)
        patch.setattr(followed, "LISTED_ALONE_MIN", 1)
        refreshed, listed = open_bench(folder, memory), open_bench(folder, memory)
        try:
            for bench in (refreshed, listed):
                bench.drive.lister._walks._is_possible = False
                shape(bench)
            change(memory, changes)
            refreshed.drive.lister._walks._is_possible = True
            refreshed.drive.lister._walks._saved = 1e9
            Refresher(refreshed.index, refreshed.drive.lister, on_listed=lambda count: None).refresh([], recursive=True)
            listed.restart()
            listed.drive.lister._walks._is_possible = False
            assert shape(refreshed) == shape(listed)
            assert not refreshed.oddities()
        finally:
            refreshed.close()
            listed.close()
