"""Directories with files at their own keys, renamed, swapped, emptied and removed at random, while another tool gives
and takes such content, S3 fails now and then, and the drive is started anew: nothing is lost or mixed up (P1, P6)."""

import os
import random
from collections.abc import Callable

import pytest

from s3mount.vfs.namespace import RENAME_EXCHANGE
from tests.faults.bench import Bench
from tests.support.faulty_store import Moment

SEEDS = int(os.environ.get("S3MOUNT_OWN_SEEDS", "8"))
FIRST_SEED = os.environ.get("S3MOUNT_OWN_SEED")
STEPS = 50
OWN = "%key"
NAMES = (OWN, OWN, OWN, "x", "y")


class Life:
    def __init__(self, bench: Bench, choose: random.Random) -> None:
        self.bench = bench
        self.choose = choose
        self.files: dict[str, dict[str, bytes]] = {name: {} for name in "abc"}  # by directory
        for name in self.files:
            bench.mkdir(f"/{name}")

    def step(self) -> str:
        bench, choose, files = self.bench, self.choose, self.files
        directory, other = choose.sample(sorted(files), 2) if len(files) > 1 else [*files, *files]
        name, new = choose.choice(NAMES), choose.choice(NAMES)
        path = f"/{directory}/{name}"
        match choose.choice(
            ["foreign"] * 4 + ["write"] * 2 + ["rename"] * 3 + ["unlink"] * 2
            + ["move", "swap", "remove", "make", "chmod", "empty", "rest", "rest", "fail"]
        ):  # fmt: skip
            case "foreign":
                return self.foreign(directory)
            case "write" if name in files[directory] or name != OWN:
                data = choose.randbytes(choose.choice([5, 3000]))
                if name in files[directory]:
                    bench.fs.truncate(path, 0)
                bench.write(path, data)
                files[directory][name] = data
            case "empty" if name in files[directory]:
                bench.fs.truncate(path, 0)
                files[directory][name] = b""
            case "rename" if name in files[directory]:
                bench.fs.rename(path, f"/{other}/{new}")
                files[other][new] = files[directory].pop(name)
            case "unlink" if name in files[directory]:
                bench.fs.unlink(path)
                del files[directory][name]
            case "move":
                target = choose.choice("abcdef")
                if not files.get(target) and target != directory:
                    bench.fs.rename(f"/{directory}", f"/{target}")
                    files[target] = files.pop(directory)
            case "swap" if directory != other:
                bench.fs.rename(f"/{directory}", f"/{other}", RENAME_EXCHANGE)
                files[directory], files[other] = files[other], files[directory]
            case "remove" if not files[directory] and len(files) > 1:
                bench.fs.rmdir(f"/{directory}")
                del files[directory]
            case "make" if len(files) < 5:
                target = next(name for name in "abcdef" if name not in files)
                bench.mkdir(f"/{target}")
                files[target] = {}
            case "chmod":
                bench.fs.chmod(f"/{directory}", choose.choice([0o700, 0o711, 0o755]))
                if name in files[directory]:
                    bench.fs.chmod(path, choose.choice([0o600, 0o644]))
            case "rest":
                choose.choice([self.settle, bench.restart])()
            case "fail":
                moment = choose.choice(list(Moment))
                bench.store.fail(choose.choice(["put", "copy", "delete"]), moment=moment, times=choose.choice([1, 2]))
        return f"{directory}/{name} {other}/{new}"

    def settle(self) -> None:
        self.bench.store.heal()
        self.bench.drain()

    def foreign(self, directory: str) -> str:
        """Another tool changes the object at the directory's key, once all is quiet."""
        self.settle()
        bench, files = self.bench, self.files[directory]
        there = bench.memory.objects().get(f"{directory}/")  # type: ignore[call-overload]
        is_own = there is not None and there.body
        if OWN in files and not is_own:
            return ""  # the name is that of a file of ours
        data = self.choose.choice([b"", self.choose.randbytes(100)])
        bench.memory.foreign_put(f"{directory}/", data)
        bench.drive.lister.relist(bench.index.inodes.get(bench.ino(f"/{directory}")).ino, lambda: None)
        if data:
            files[OWN] = data
        else:
            files.pop(OWN, None)
        return f"foreign {directory}"

    def check(self) -> None:
        bench = self.bench
        self.settle()
        expected = {
            f"{directory}/{name}": data for directory, inside in self.files.items() for name, data in inside.items()
        }
        assert bench.tree() == expected
        assert bench.oddities() == []
        assert bench.conflicts() == 0
        bodies = sorted(item.body for key, item in bench.memory.objects().items() if item.body or not key.endswith("/"))
        assert bodies == sorted(expected.values())
        assert sorted(bench.names()) == sorted(self.files)
        bench.start_empty()
        assert bench.tree() == expected
        assert sorted(bench.names()) == sorted(self.files)


@pytest.mark.parametrize("seed", [FIRST_SEED] if FIRST_SEED else range(SEEDS))
def test_random_own_files(make_bench: Callable[..., Bench], seed: int | str) -> None:
    print("S3MOUNT_OWN_SEED =", seed)
    life = Life(make_bench(), random.Random(int(seed)))
    for _ in range(STEPS):
        print(life.step())
    life.check()
