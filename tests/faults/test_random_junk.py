"""Files that become junk and cease to be, at random, while uploads run, S3 fails and the drive is started anew: nothing
is lost, a user's files are in the bucket (P3), and the bucket has nothing that the drive does not show (P8)."""

import os
import random
from collections.abc import Callable

import pytest

from s3mount.errors import NotPermitted
from s3mount.junk import is_junk
from s3mount.vfs.context import VfsOptions
from s3mount.vfs.namespace import RENAME_EXCHANGE
from tests.faults.bench import MIB, Bench
from tests.support.faulty_store import Moment

SEEDS = int(os.environ.get("S3MOUNT_JUNK_SEEDS", "4"))
FIRST_SEED = os.environ.get("S3MOUNT_JUNK_SEED")
STEPS = 40
FOLDERS = ("a", "b", "a/.fseventsd")
NAMES = (".DS_Store", "._x", "x", "y")


class Life:
    def __init__(self, bench: Bench, choose: random.Random) -> None:
        self.bench = bench
        self.choose = choose
        self.files: dict[str, bytes] = {}
        self.done: list[str] = []
        for folder in FOLDERS:
            bench.mkdir(f"/{folder}")

    def place(self) -> str:
        return f"{self.choose.choice(FOLDERS)}/{self.choose.choice(NAMES)}"

    def step(self) -> None:
        bench, choose, files = self.bench, self.choose, self.files
        path, other = self.place(), self.place()
        what = choose.choice(
            ["write"] * 4 + ["rename"] * 5 + ["swap", "link", "unlink", "unlink", "rest", "fail", "anew"]
        )
        self.done.append(f"{what} {path} {other}")
        match what:
            case "write":
                data = choose.randbytes(choose.choices([0, 5, 3000, 9 * MIB], [2, 6, 6, 1])[0])
                if path in files:
                    bench.fs.truncate(f"/{path}", 0)
                bench.write(f"/{path}", data)
                files[path] = data
            case "rename" if path in files and path != other:
                bench.fs.rename(f"/{path}", f"/{other}")
                files[other] = files.pop(path)
            case "swap" if path in files and other in files and path != other:
                bench.fs.rename(f"/{path}", f"/{other}", RENAME_EXCHANGE)
                files[path], files[other] = files[other], files[path]
            case "link" if path in files and other not in files:
                self.link(path, other)
            case "unlink" if path in files:
                bench.fs.unlink(f"/{path}")
                del files[path]
            case "rest":
                bench.drain()
            case "fail":
                bench.store.fail(moment=choose.choice(list(Moment)), times=choose.randint(1, 4))
            case "anew":
                bench.store.heal()
                bench.restart()

    def link(self, path: str, other: str) -> None:
        """For a moment: another name is gone before anything is written through it."""
        try:
            self.bench.link(f"/{path}", f"/{other}")
        except NotPermitted:
            assert self.may_be_kept(path)
            return
        self.bench.fs.unlink(f"/{path}")
        self.files[other] = self.files.pop(path)

    @staticmethod
    def may_be_kept(path: str) -> bool:
        *above, name = path.split("/")
        return is_junk(name, is_dir=False) or any(is_junk(folder, is_dir=True) for folder in above)

    def check(self) -> None:
        bench = self.bench
        bench.store.heal()
        bench.drain()
        assert bench.tree() == self.files
        bucket = bench.bucket()
        assert bucket.items() <= self.files.items()
        assert [path for path in self.files if path not in bucket and not self.may_be_kept(path)] == []
        # What is kept here is where the bucket has nothing of it.
        assert [odd for odd in bench.oddities() if "remote None" not in odd] == []
        bench.start_empty()
        assert bench.tree() == bucket


@pytest.mark.parametrize("seed", [int(FIRST_SEED)] if FIRST_SEED else range(SEEDS))
def test_random_lives(seed: int, make_bench: Callable[..., Bench]) -> None:
    life = Life(make_bench(vfs=VfsOptions(keeps_junk=True)), random.Random(seed))
    try:
        for _ in range(STEPS):
            life.step()
        life.check()
    except BaseException as error:
        error.add_note(f"S3MOUNT_JUNK_SEED={seed}: {life.done}")
        raise
