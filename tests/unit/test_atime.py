"""relatime: reading moves atime after a change and once a day, here alone; the bucket learns with the next change."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3mount.model import Inode
from s3mount.vfs.context import VfsOptions
from tests.faults.bench import Bench

DAY_NS = 24 * 3600 * 10**9


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.write("/f", b"text")
    bench.drain()
    yield bench
    bench.close()


def atime_ns(bench: Bench) -> int:
    return bench.fs.getattr("/f").atime_ns


def test_a_read_after_a_change_and_once_a_day(bench: Bench) -> None:
    mtime_ns = bench.fs.getattr("/f").mtime_ns
    bench.read("/f")
    first = atime_ns(bench)
    assert first > mtime_ns
    bench.read("/f")
    assert atime_ns(bench) == first
    bench.fs.chmod("/f", 0o600)
    bench.read("/f")
    assert atime_ns(bench) > first
    with bench.index.transaction():
        inode = bench.index.inodes.get(bench.fs.getattr("/f").ino)
        bench.index.inodes.update(aged(inode))
    bench.read("/f")
    assert atime_ns(bench) > first


def aged(inode: Inode) -> Inode:
    assert inode.atime_ns is not None
    changed_ns = inode.ctime_ns - 9 * DAY_NS
    return inode._replace(atime_ns=inode.atime_ns - DAY_NS, mtime_ns=changed_ns, ctime_ns=changed_ns)


def test_a_read_is_not_owed_and_goes_up_with_the_next_change(bench: Bench) -> None:
    counts = dict(bench.store.request_counts())
    bench.read("/f")
    assert bench.is_clean()
    assert dict(bench.store.request_counts()) == counts
    bench.fs.chmod("/f", 0o600)
    bench.drain()
    assert "atime" in bench.memory.objects()["f"].metadata  # type: ignore[index]
    bench.restart()
    assert atime_ns(bench) > bench.fs.getattr("/f").mtime_ns


@pytest.mark.parametrize("options", [VfsOptions(is_relatime=False), VfsOptions(read_only=True)])
def test_off(bench: Bench, options: VfsOptions) -> None:
    bench.vfs = options
    bench.restart()
    before = atime_ns(bench)
    fh = bench.open("/f", os.O_RDONLY)
    assert bench.fs.read(fh, 0, 4) == b"text"
    assert atime_ns(bench) == before
    bench.fs.release(fh)
