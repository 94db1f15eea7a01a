"""A mount that owes 100 000 files answers within a second: the start looks at none of them."""

import os
import stat
import subprocess
import time
from pathlib import Path

from s3mount.clock import SystemClock
from s3mount.drive import INDEX_NAME
from s3mount.index.index import Index
from s3mount.model import ROOT_INO, Ino, Inode
from tests.support.mount_process import MountProcess, serve_command

OWED = 100_000
FOLDERS = 100
READY_S_MAX = 1.0
TRIES = 3


def owe(path: Path) -> None:
    """An index as a writer of that many empty files leaves it."""
    clock = SystemClock()
    now_ns = clock.now_ns()
    owner = os.getuid(), os.getgid()
    later_ns = now_ns + 3600 * 10**9
    index = Index(path, clock)
    index.bind("store")
    index.ensure_root(stat.S_IFDIR | 0o755, *owner, now_ns, has_key=False)
    with index.transaction():
        for number in range(FOLDERS):
            folder = Inode(
                Ino(0), stat.S_IFDIR | 0o755, *owner, 0, now_ns, now_ns, nlink=2, meta_generation=1, is_listed=True,
                due_ns=later_ns,
            )  # fmt: skip
            folder = index.create(ROOT_INO, f"d{number}", folder)
            for below in range(OWED // FOLDERS):
                file = Inode(
                    Ino(0), stat.S_IFREG | 0o644, *owner, 0, now_ns, now_ns, content_generation=1, meta_generation=1,
                    due_ns=later_ns,
                )  # fmt: skip
                index.create(folder.ino, f"file {below}", file)
    index.close()


def test_ready_within_a_second(tmp_path: Path) -> None:
    folder, mountpoint = tmp_path / "drive", tmp_path / "mountpoint"
    (folder / "state0").mkdir(parents=True)
    mountpoint.mkdir()
    owe(folder / "state0" / INDEX_NAME)
    more_s = []
    for number in range(TRIES):  # on a busy machine either start may have to wait for the processor
        base_s = start_s(tmp_path / f"empty{number}", tmp_path / f"elsewhere{number}", tmp_path / f"log{number}")
        took_s = start_s(folder, mountpoint, tmp_path / "log", kill=True)
        print(f"ready after {took_s:.2f} s with {OWED} files owed, {base_s:.2f} s with none")
        more_s.append(took_s - base_s)
        if more_s[-1] < READY_S_MAX:
            break
    assert min(more_s) < READY_S_MAX


def start_s(folder: Path, mountpoint: Path, log: Path, *, kill: bool = False) -> float:
    """Seconds from the start of the process, Python and imports with it, to the first answer."""
    folder.mkdir(exist_ok=True)
    mountpoint.mkdir(exist_ok=True)
    mount = MountProcess(serve_command("memory", folder, mountpoint), mountpoint, log)
    began = time.monotonic()
    mount.start()
    names = subprocess.run(["ls", mountpoint], check=True, capture_output=True, text=True, timeout=20).stdout.split()
    took_s = time.monotonic() - began
    assert len(names) == (FOLDERS if kill else 0)
    if kill:
        mount.kill()
    else:
        mount.end()
    return took_s
