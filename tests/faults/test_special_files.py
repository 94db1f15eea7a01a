"""Fifos, sockets and devices are empty objects that say what they are (P8)."""

import os
import stat

import pytest

from s3mount.model import Caller
from tests.faults.bench import CALLER, Bench

KINDS = {
    "fifo": (stat.S_IFIFO | 0o640, 0),
    "socket": (stat.S_IFSOCK | 0o755, 0),
    "null": (stat.S_IFCHR | 0o666, os.makedev(1, 3)),
    "disk": (stat.S_IFBLK | 0o660, os.makedev(259, 1 << 12)),
}


def look(bench: Bench) -> dict[str, tuple[int, int, int, int, int]]:
    attrs = {name: bench.fs.getattr(f"/{name}") for name in bench.names()}
    return {name: (a.mode, a.rdev, a.size, a.uid, a.mtime_ns) for name, a in attrs.items()}


def test_they_come_back_from_the_bucket(bench: Bench) -> None:
    for name, (mode, rdev) in KINDS.items():
        bench.fs.mknod(f"/{name}", mode, rdev, CALLER)
    before = look(bench)
    assert {name: found[:2] for name, found in before.items()} == KINDS
    bench.drain()
    metadata = {key: item.metadata or {} for key, item in bench.memory.objects().items()}
    assert {key: found["mode"] for key, found in metadata.items()} == {k: str(mode) for k, (mode, _) in KINDS.items()}
    assert {key: found.get("rdev") for key, found in metadata.items()} == {
        "fifo": None, "socket": None, "null": "259", "disk": str(os.makedev(259, 1 << 12)),
    }  # fmt: skip
    assert set(bench.bucket().values()) == {b""}
    bench.start_empty()
    assert look(bench) == before
    bench.fs.rename("/disk", "/renamed")
    bench.fs.chmod("/null", 0o600)
    bench.fs.link("/fifo", "/other")
    bench.drain()
    bench.start_empty()
    after = look(bench)
    assert after["renamed"][:2] == KINDS["disk"]
    assert after["null"][:2] == (stat.S_IFCHR | 0o600, os.makedev(1, 3))
    assert bench.ino("/fifo") == bench.ino("/other")
    bench.fs.unlink("/renamed")
    bench.drain()
    assert "renamed" not in bench.bucket()


@pytest.mark.parametrize("mode", [stat.S_IFIFO, stat.S_IFBLK])
def test_an_object_with_bytes_is_a_file(bench: Bench, mode: int) -> None:
    bench.memory.foreign_put("f", b"bytes", {"mode": str(mode | 0o600), "rdev": "5"})
    attr = bench.fs.getattr("/f")
    assert (attr.mode, attr.rdev) == (stat.S_IFREG | 0o600, 0)
    assert bench.read("/f") == b"bytes"


def test_the_umask_is_taken_off(bench: Bench) -> None:
    bench.fs.mknod("/fifo", stat.S_IFIFO | 0o666, 0, Caller(1, 1, umask=0o027))
    assert bench.fs.getattr("/fifo").mode == stat.S_IFIFO | 0o640


def test_someone_else_removes_one_before_its_rename_is_there(bench: Bench) -> None:
    bench.fs.mknod("/fifo", stat.S_IFIFO | 0o600, 0, CALLER)
    bench.drain()
    bench.store.fail("copy")
    bench.memory.foreign_delete("fifo")
    bench.fs.rename("/fifo", "/new")
    bench.drain()
    bench.start_empty()
    assert stat.S_ISFIFO(bench.fs.getattr("/new").mode)
