"""Every row of the errno table in docs/semantics.md, on every driver; a refused call changes nothing.

`local` shows that a row is what Linux does. The docs hold the rows of errno_rows.py word for word.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.functional.conftest import FUSE_MISSING
from tests.functional.errno_rows import ELSEWHERE, ROWS, Row, Where, make_tree
from tests.support.fs_factory import REFERENCE
from tests.support.mount_process import MountProcess, serve_command
from tests.support.os_like import MountOs, OsLike, code_of, content

ROOT = Path(__file__).parents[2]
OPERATIONS = list(dict.fromkeys(row.operation for row in ROWS))
# The reference tree takes any size, and keeps no extended attributes.
WHOLE_DRIVES = ("inprocess-memory", "fuse-memory")


def applies(row: Row, fs: OsLike, driver: str) -> bool:
    if row.where is Where.KERNEL:
        return fs.root is not None
    if row.where is Where.KEPT:
        return driver in ("local", "fuse-memory")
    return row.where is Where.ALL or driver in WHOLE_DRIVES


def everything(fs: OsLike) -> dict[str, object]:
    """All that can be seen; times that a look may change left out."""
    found: dict[str, object] = {}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for name, attr in fs.scan(folder).items():
            path = f"{folder}/{name}".lstrip("/")
            what: object = None
            if stat.S_ISDIR(attr.mode):
                waiting.append(path)
            else:
                what = fs.readlink(path) if stat.S_ISLNK(attr.mode) else content(fs, path)
            found[path] = (replace(attr, atime_ns=0, ctime_ns=0), what)
    return found


@pytest.mark.parametrize("operation", OPERATIONS)
def test_rows(fs: OsLike, driver: str, operation: str) -> None:
    make_tree(fs)
    if operation.endswith("xattr") and driver in ("local", "fuse-memory"):
        os.setxattr(f"{fs.root}/g", "user.a", b"1")
    before = everything(fs)
    wrong: list[str] = []
    for row in ROWS:
        if row.operation == operation and applies(row, fs, driver):
            code = code_of(row.act, fs)
            found = errno.errorcode.get(code, "no error")
            if code != getattr(errno, row.code):  # two names may have one number
                wrong.append(f"{row.operation}, {row.condition}: {found}, not {row.code}")
    assert not wrong, "\n".join(wrong)
    assert everything(fs) == before


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[MountOs]:
    if FUSE_MISSING:
        pytest.skip("no /dev/fuse that this user may open")
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    command = [*serve_command(REFERENCE, tmp_path, mountpoint), "read_only"]
    with MountProcess(command, mountpoint, tmp_path / "log"):
        yield MountOs(mountpoint)


def test_a_read_only_mount(read_only: MountOs) -> None:
    root = str(read_only.root)
    changes = [
        lambda: read_only.open("new", os.O_CREAT | os.O_WRONLY),
        lambda: read_only.mkdir("new"),
        lambda: read_only.symlink("x", "new"),
        lambda: os.mkfifo(f"{root}/new"),
        lambda: read_only.chmod("", 0o700),
        lambda: read_only.chown("", 1, 1),
        lambda: read_only.utime("", 1, 1),
    ]
    assert [code_of(change) for change in changes] == [errno.EROFS] * len(changes)


def test_the_root_is_busy(fuse: Path) -> None:
    mountpoint = fuse.parent
    assert os.path.ismount(mountpoint)
    assert code_of(os.rmdir, mountpoint) == errno.EBUSY
    assert code_of(os.rename, mountpoint, mountpoint.with_name("elsewhere")) == errno.EBUSY


def test_the_docs_hold_the_same_rows() -> None:
    text = (ROOT / "docs" / "semantics.md").read_text()
    section = text.partition("\n## Errors\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    documented = [tuple(cells) for cells in lines if re.fullmatch("E[A-Z0-9]+", cells[-1])]
    assert documented == [(row.operation, row.condition, row.code) for row in [*ROWS, *ELSEWHERE]]


def test_rows_tested_elsewhere_are_tested() -> None:
    for row in ELSEWHERE:
        path, _, name = row.test.partition("::")
        assert f"\ndef {name}(" in (ROOT / path).read_text(), row.test
