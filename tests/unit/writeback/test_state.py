"""writeback/state.py: every combination of an inode's row and place has one next step."""

import stat
from typing import Any

import pytest

from s3mount.model import ETag, Ino, Inode, ObjectKey
from s3mount.writeback.state import Step, WriteState, next_step, write_state

FILE = Inode(Ino(7), stat.S_IFREG | 0o644, 0, 0, 10, 0, 0)
LINK = FILE._replace(mode=stat.S_IFLNK | 0o777, target="x")
DIR = FILE._replace(mode=stat.S_IFDIR | 0o755, nlink=2)
AT_KEY = {"remote_key": ObjectKey("a"), "remote_etag": ETag("e"), "remote_size": 10}
AT_DIR = {"remote_key": ObjectKey("a/"), "remote_etag": ETag("e")}
CONTENT = {"content_generation": 3, "content_uploaded": 2}
META = {"meta_generation": 3, "meta_uploaded": 2}


@pytest.mark.parametrize(
    ("inode", "path_key", "step"),
    [
        (FILE, "a", Step.NOTHING),
        (FILE._replace(**CONTENT), "a", Step.PUT),
        (FILE._replace(**CONTENT, **AT_KEY), "a", Step.PUT),
        (FILE._replace(**CONTENT, **AT_KEY), "b", Step.PUT),
        (FILE._replace(**CONTENT, **META, **AT_KEY), "b", Step.PUT),
        (FILE._replace(**META), "a", Step.PUT),
        (FILE._replace(**META, **AT_KEY), "a", Step.COPY),
        (FILE._replace(**META, **AT_KEY), "b", Step.COPY),
        (FILE._replace(**CONTENT), None, Step.NOTHING),
        (FILE._replace(**CONTENT, nlink=0), "a", Step.NOTHING),
        (LINK._replace(**CONTENT), "a", Step.PUT),
        (LINK._replace(**META, **AT_KEY), "b", Step.COPY),
        (DIR, "a/", Step.NOTHING),
        (DIR._replace(**META), "a/", Step.PUT_MARKER),
        (DIR._replace(**META, **AT_DIR), "a/", Step.PUT_MARKER),
        (DIR._replace(**META, **AT_DIR), "b/", Step.MOVE_DIRECTORY),
        (DIR._replace(**META, remote_key=ObjectKey("a/")), "b/", Step.MOVE_DIRECTORY),
    ],
)
def test_next_step(inode: Inode, path_key: str | None, step: Step) -> None:
    key = None if path_key is None else ObjectKey(path_key)
    assert next_step(inode, key, may_have_marker=True) is step


@pytest.mark.parametrize(
    ("inode", "path_key", "step"),
    [
        (DIR, "a/", Step.NOTHING),
        (DIR._replace(**META), "a/", Step.SETTLE),
        (DIR._replace(**META, **AT_DIR), "a/", Step.SETTLE),
        (DIR._replace(**META, **AT_DIR), "b/", Step.MOVE_DIRECTORY),
        (DIR._replace(**META, remote_key=ObjectKey("")), "", Step.SETTLE),
    ],
)
def test_a_directory_that_may_have_no_marker(inode: Inode, path_key: str, step: Step) -> None:
    assert next_step(inode, ObjectKey(path_key), may_have_marker=False) is step


@pytest.mark.parametrize(
    ("shadow", "primary", "step"),
    [
        (META, AT_KEY, Step.LINK),
        (META | AT_KEY, AT_KEY, Step.LINK),
        (META | CONTENT, AT_KEY, Step.LINK),
        (META, AT_KEY | META, Step.WAIT),
        (META, AT_KEY | CONTENT, Step.WAIT),
        (META, {}, Step.WAIT),
        ({}, AT_KEY, Step.NOTHING),
    ],
)
def test_a_shadow_waits_for_its_primary(shadow: dict[str, Any], primary: dict[str, Any], step: Step) -> None:
    row = FILE._replace(link_of=FILE.ino, **shadow)
    assert next_step(row, ObjectKey("b"), may_have_marker=False, primary=FILE._replace(**primary)) is step


@pytest.mark.parametrize("is_claimed", [False, True])
@pytest.mark.parametrize("is_parked", [False, True])
def test_write_state(is_claimed: bool, is_parked: bool) -> None:
    assert write_state(FILE, is_claimed=is_claimed, is_parked=is_parked) is WriteState.CLEAN
    dirty = FILE._replace(**CONTENT)
    expected = WriteState.UPLOADING if is_claimed else WriteState.PARKED if is_parked else WriteState.DIRTY
    assert write_state(dirty, is_claimed=is_claimed, is_parked=is_parked) is expected
