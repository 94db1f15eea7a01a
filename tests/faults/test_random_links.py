"""Random names of random files, while S3 fails now and then and the process dies: names, bytes and inodes stay what a
dictionary says, in the tree, in the bucket, and for the next mount that has nothing but the bucket (P1)."""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.faults.bench import Bench
from tests.faults.test_hard_links import check
from tests.support.faulty_store import Moment

SEEDS = int(os.environ.get("S3MOUNT_LINK_SEEDS", "12"))
FIRST_SEED = os.environ.get("S3MOUNT_LINK_SEED")
STEPS = 60
NAMES = ("a", "b", "c", "d/a", "d/b", "e/a")


@dataclass(eq=False)
class File:
    data: bytes
    mode: int = 0o644


class Life:
    def __init__(self, bench: Bench, choose: random.Random) -> None:
        self.bench = bench
        self.choose = choose
        self.names: dict[str, File] = {}
        self.open: list[tuple[int, File]] = []
        self.moved = "d"  # the directory d is called
        for directory in ("/d", "/e"):
            bench.mkdir(directory)

    def path(self, name: str) -> str:
        return f"/{self.moved}{name[1:]}" if name.startswith("d/") else f"/{name}"

    def step(self) -> str:
        bench, choose, names = self.bench, self.choose, self.names
        name = choose.choice(NAMES)
        other = choose.choice(NAMES)
        match choose.choice(["write"] * 3 + ["link"] * 4 + ["rename"] * 4 + ["unlink"] * 2 + ["rest"]):
            case "write":
                data = choose.randbytes(choose.choice([0, 5, 3000]))
                if name in names and len(names[name].data) > len(data):
                    bench.fs.truncate(self.path(name), len(data))
                bench.write(self.path(name), data)
                names.setdefault(name, File(b"")).data = data
                return f"write {name}"
            case "link" if name in names and other not in names:
                bench.link(self.path(name), self.path(other))
                names[other] = names[name]
                return f"link {name} {other}"
            case "rename" if name in names:
                bench.fs.rename(self.path(name), self.path(other))
                if names.get(other) is not names[name]:
                    names[other] = names.pop(name)
                return f"rename {name} {other}"
            case "unlink" if name in names:
                bench.fs.unlink(self.path(name))
                del names[name]
                return f"unlink {name}"
            case "rest":
                return self.rest()
        return ""

    def rest(self) -> str:
        bench, choose, names = self.bench, self.choose, self.names
        match choose.choice(["chmod", "settle", "restart", "fail", "open", "close", "move"]):
            case "chmod" if names:
                name = choose.choice(sorted(names))
                names[name].mode = choose.choice([0o600, 0o640, 0o755])
                bench.fs.chmod(self.path(name), names[name].mode)
                return f"chmod {name}"
            case "settle":
                bench.store.heal()
                bench.drain()
                return "settle"
            case "restart":
                self.open.clear()
                bench.restart()
                return "restart"
            case "fail":
                moment = choose.choice(list(Moment))
                bench.store.fail(
                    choose.choice([None, "put", "copy", "delete"]), moment=moment, times=choose.randrange(1, 5)
                )
                return f"fail {moment}"
            case "open" if names:
                name = choose.choice(sorted(names))
                self.open.append((bench.open(self.path(name)), names[name]))
                return f"open {name}"
            case "close" if self.open:
                fh, file = self.open.pop()
                assert bench.read_all(fh) == file.data  # type: ignore[arg-type]
                bench.close_file(fh)  # type: ignore[arg-type]
                return "close"
            case "move":
                new = choose.choice(["d", "f", "g"])
                if new != self.moved:
                    bench.fs.rename(f"/{self.moved}", f"/{new}")
                    self.moved = new
                return f"move {new}"
        return ""

    def check(self) -> None:
        groups: dict[int, set[str]] = {}
        for name, file in self.names.items():
            groups.setdefault(id(file), set()).add(self.path(name)[1:])
        content = {self.path(name)[1:]: file.data for name, file in self.names.items()}
        for name, file in self.names.items():
            assert self.bench.fs.getattr(self.path(name)).mode & 0o777 == file.mode, name
        check(self.bench, list(groups.values()), content)


@pytest.mark.parametrize("seed", [FIRST_SEED] if FIRST_SEED else range(SEEDS))
def test_random_links(make_bench: Callable[..., Bench], seed: int | str) -> None:
    print("S3MOUNT_LINK_SEED =", seed)
    choose = random.Random(int(seed))
    bench = make_bench(delay_s=choose.choice([0.0, 0.01, 0.1]))
    life = Life(bench, choose)
    for _ in range(STEPS):
        done = life.step()
        if done:
            print(done)
    for fh, file in life.open:
        assert bench.read_all(fh) == file.data  # type: ignore[arg-type]
        bench.close_file(fh)  # type: ignore[arg-type]
    bench.store.heal()
    life.check()
    bench.start_empty()
    for name in life.names:
        bench.fs.getattr(life.path(name))
    life.check()
