"""What is copied onto the drives: made once a run, the same for every peer, from a fixed seed."""

import random
from dataclasses import dataclass
from pathlib import Path

SEED = 20061125
DIRECTORIES = 273
SMALL_SIZES = (500, 4_000, 30_000, 85_000)
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Inputs:
    """`tree`: `files` small files of `size` bytes in all, in directories; `large`: one file."""

    tree: Path
    files: int
    size: int
    large: Path
    large_size: int


def make_inputs(folder: Path, *, files: int, large_mib: int) -> Inputs:
    dice = random.Random(SEED)
    tree = folder / "tree"
    count = max(1, DIRECTORIES * files // 2000)
    directories = [tree / f"d{number % 15}" / f"e{number}" for number in range(count)]
    for directory in directories:
        directory.mkdir(parents=True)
    size = 0
    for number in range(files):
        body = dice.randbytes(dice.choice(SMALL_SIZES))
        path = directories[number % count] / f"file {number}"
        path.write_bytes(body)
        path.chmod(dice.choice((0o600, 0o640, 0o644, 0o755)))
        size += len(body)
    large = folder / "large"
    with large.open("wb") as out:
        for _ in range(large_mib):
            out.write(dice.randbytes(CHUNK_BYTES))
    return Inputs(tree, files, size, large, large_mib << 20)
