"""restic and borg with their repository on the mount: two rounds, each read back after the cache was thrown away.

What they restore is compared byte by byte with what was saved: on the local disk, and on the mount after a remount.
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.programs.conftest import remount_with_an_empty_cache
from tests.programs.running import Programs
from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server
from tests.support.trees import make_awkward_tree, picture_of

SEED = int(os.environ.get("S3MOUNT_TREE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
ROUNDS = 2
FILES = 60
BORGS_LATEST_NS = 2_000_000_000_000_000_001  # it keeps no time after 2038 and none before 1970
Picture = dict[str, tuple[object, ...]]


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path / "home")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    print(f"S3MOUNT_TREE_SEED={SEED}")
    root = tmp_path / "source"
    make_awkward_tree(root, SEED)
    for number in range(FILES):
        (root / f"file {number}").write_bytes(random.Random(number).randbytes(number * 300))
    for path in root.rglob("*"):
        if not 0 <= path.lstat().st_mtime_ns < BORGS_LATEST_NS:
            os.utime(path, ns=(0, BORGS_LATEST_NS - 1), follow_symlinks=False)
    return root


@pytest.fixture
def on_seaweed(seaweed: S3Server, tmp_path: Path) -> Iterator[CliMount]:
    with CliMount(seaweed, seaweed.make_bucket(), tmp_path / "drive") as drive:
        drive.mount()
        yield drive


@pytest.fixture
def on_ministack(ministack: S3Server, tmp_path: Path) -> Iterator[CliMount]:
    with CliMount(ministack, ministack.make_bucket(), tmp_path / "drive", prefix="here") as drive:
        drive.mount()
        yield drive


def change(source: Path, number: int) -> None:
    """A day's work: some files written, one grown, one gone, one renamed, modes and times changed."""
    dice = random.Random(SEED + number)
    for index in range(0, FILES, 11):
        (source / f"file {index}").write_bytes(dice.randbytes(20_000))
    with (source / "nine MiB").open("r+b") as file:
        file.seek(dice.randrange(8 << 20))
        file.write(dice.randbytes(100_000))
    with (source / "grows").open("ab") as file:
        file.write(dice.randbytes(50_000))
    (source / f"file {number + 1}").unlink()
    (source / f"file {number + 12}").rename(source / f"renamed {number}")
    (source / f"file {number + 24}").chmod(0o600 + number)
    os.utime(source / f"file {number + 34}", ns=(0, dice.randrange(10**18)))
    shutil.copytree(source / "links", source / f"links {number}", symlinks=True)


def below(root: Path, *, of_directories: bool = True) -> Picture:
    """Without the root itself, which no restore touches."""
    return {path: what for path, what in picture_of(root, of_directories=of_directories).items() if path != "."}


def compare(drive: CliMount, restore: Callable[[int, Path], None], saved: list[Picture], local: Path) -> None:
    """The first and the last round come back whole, on the local disk and the last one on the mount too."""
    for number in (0, len(saved) - 1):
        restore(number, local / str(number))
        assert below(local / str(number)) == saved[number]
    restore(len(saved) - 1, drive.mountpoint / "restored")
    assert below(drive.mountpoint / "restored") == saved[-1]


def test_restic(on_seaweed: CliMount, programs: Programs, source: Path, tmp_path: Path) -> None:
    repository = on_seaweed.mountpoint / "restic"

    def restic(*words: str | Path, cwd: Path | None = None) -> str:
        return programs.run("restic", "--quiet", "--repo", repository, *words, cwd=cwd)

    def restore(number: int, target: Path) -> None:
        target.mkdir(parents=True)
        restic("restore", identities[number], "--target", target)

    restic("init")
    saved: list[Picture] = []
    for number in range(ROUNDS):
        change(source, number)
        restic("backup", "--tag", f"round{number}", ".", cwd=source)
        saved.append(below(source))
        remount_with_an_empty_cache(on_seaweed)
        restic("check", "--read-data", "--no-cache")
    lines = [line.split() for line in restic("snapshots", "--compact").splitlines()]
    identities = {int(words[-1][-1]): words[0] for words in lines if words and words[-1].startswith("round")}
    compare(on_seaweed, restore, saved, tmp_path / "restored")
    restic("forget", "--keep-last", "1", "--prune")
    remount_with_an_empty_cache(on_seaweed)
    restic("check", "--read-data", "--no-cache")
    # SeaweedFS drops what `dir/` objects say of directories.
    restored = below(on_seaweed.mountpoint / "restored", of_directories=False)
    assert restored == below(tmp_path / "restored" / str(ROUNDS - 1), of_directories=False)


def test_borg(on_ministack: CliMount, programs: Programs, source: Path, tmp_path: Path) -> None:
    repository = on_ministack.mountpoint / "borg"

    def restore(number: int, target: Path) -> None:
        target.mkdir(parents=True)
        programs.run("borg", "extract", "--numeric-ids", f"{repository}::round{number}", cwd=target)

    programs.run("borg", "init", "--encryption=repokey", repository)
    saved: list[Picture] = []
    for number in range(ROUNDS):
        change(source, number)
        programs.run("borg", "create", "--compression=none", f"{repository}::round{number}", ".", cwd=source)
        saved.append(below(source))
        remount_with_an_empty_cache(on_ministack)
        programs.run("borg", "check", "--verify-data", repository)
    compare(on_ministack, restore, saved, tmp_path / "restored")
    programs.run("borg", "delete", f"{repository}::round0")
    programs.run("borg", "compact", repository)
    remount_with_an_empty_cache(on_ministack)
    programs.run("borg", "check", "--verify-data", repository)
    assert below(on_ministack.mountpoint / "restored") == saved[-1]
