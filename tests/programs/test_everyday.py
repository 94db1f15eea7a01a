"""What people do on a disk all day: git, make, cp, mv, tar, an editor's save, find and rm, fio."""

import os
import random
import shutil
import sysconfig
from pathlib import Path

import pytest

from tests.programs.conftest import remount_with_an_empty_cache
from tests.programs.running import DEADLINE_S, Programs
from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server
from tests.support.trees import make_awkward_tree, make_special_tree, picture_of, special_picture_of

SEED = int(os.environ.get("S3MOUNT_TREE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
STANDARD_LIBRARY = Path(sysconfig.get_paths()["stdlib"])
SKIPPED = shutil.ignore_patterns("__pycache__", "test")


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path / "home")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    print(f"S3MOUNT_TREE_SEED={SEED}")
    make_awkward_tree(tmp_path / "tree", SEED)
    return tmp_path / "tree"


def make_repository(programs: Programs, where: Path) -> None:
    where.mkdir()
    programs.run("git", "init", "--quiet", "--initial-branch=main", where)
    for name in ("json", "email", "asyncio"):
        shutil.copytree(STANDARD_LIBRARY / name, where / name, ignore=SKIPPED)
        programs.run("git", "-C", where, "add", "--all")
        programs.run("git", "-C", where, "commit", "--quiet", "--message", name)


def assert_sound(programs: Programs, repository: Path) -> None:
    assert programs.run("git", "-C", repository, "fsck", "--full", "--strict", "--no-dangling") == ""
    assert programs.run("git", "-C", repository, "status", "--porcelain") == ""


def test_git(programs: Programs, drive: CliMount, folder: Path, tmp_path: Path) -> None:
    make_repository(programs, tmp_path / "origin")
    clone = folder / "clone"
    programs.run("git", "clone", "--quiet", tmp_path / "origin", clone)
    assert_sound(programs, clone)
    for number in range(5):
        (clone / "json" / f"new {number}").write_text(f"{number}\n" * 100)
        (clone / "email" / "parser.py").write_text(f"# {number}\n")
        programs.run("git", "-C", clone, "add", "--all")
        programs.run("git", "-C", clone, "commit", "--quiet", "--message", f"change {number}")
    programs.run("git", "-C", clone, "mv", "asyncio", "moved")
    programs.run("git", "-C", clone, "commit", "--quiet", "--message", "moved")
    programs.run("git", "-C", clone, "checkout", "--quiet", "HEAD~4")
    programs.run("git", "-C", clone, "checkout", "--quiet", "main")
    programs.run("git", "-C", clone, "gc", "--quiet", "--prune=now")
    assert_sound(programs, clone)
    programs.run("git", "clone", "--quiet", clone, folder / "second")  # with hard links where they are to be had
    assert_sound(programs, folder / "second")
    programs.run("git", "-C", clone, "push", "--quiet", tmp_path / "origin", "main:pushed")
    history = programs.run("git", "-C", clone, "log", "--format=%H %T %ct %s")
    assert programs.run("git", "-C", tmp_path / "origin", "log", "--format=%H %T %ct %s", "pushed") == history
    remount_with_an_empty_cache(drive)
    for repository in (clone, folder / "second"):
        assert_sound(programs, repository)
        assert programs.run("git", "-C", repository, "log", "--format=%H %T %ct %s") == history


def make_project(where: Path) -> None:
    where.mkdir()
    parts = [f"part{number}" for number in range(6)]
    (where / "all.h").write_text("".join(f"int {part}(void);\n" for part in parts) + "#define BASE 1\n")
    for number, part in enumerate(parts):
        (where / f"{part}.c").write_text(f'#include "all.h"\nint {part}(void) {{ return BASE + {number}; }}\n')
    total = " + ".join(f"{part}()" for part in parts)
    (where / "main.c").write_text(
        f'#include <stdio.h>\n#include "all.h"\nint main(void) {{ printf("%d\\n", {total}); return 0; }}\n'
    )
    objects = " ".join(f"{name}.o" for name in ["main", *parts])
    (where / "Makefile").write_text(
        f"program: {objects}\n\tgcc -o $@ $^\n%.o: %.c all.h\n\tgcc -c -o $@ $<\n"
        "archive.a: part0.o part1.o\n\tar rcs $@ $^\n"
    )


def test_make(programs: Programs, folder: Path) -> None:
    project = folder / "project"
    make_project(project)
    assert programs.run("make", "--jobs=2", cwd=project).count("gcc -c") == 7
    assert programs.run(project / "program") == "21\n"
    assert "up to date" in programs.run("make", cwd=project)
    (project / "part3.c").write_text('#include "all.h"\nint part3(void) { return 100; }\n')
    assert programs.run("make", "--jobs=2", cwd=project).count("gcc -c") == 1
    assert programs.run(project / "program") == "117\n"
    (project / "all.h").write_text((project / "all.h").read_text().replace("BASE 1", "BASE 2"))
    assert programs.run("make", "--jobs=2", cwd=project).count("gcc -c") == 7
    assert programs.run(project / "program") == "122\n"
    programs.run("make", "archive.a", cwd=project)
    assert programs.run("ar", "t", project / "archive.a") == "part0.o\npart1.o\n"


def test_cp_there_and_back(programs: Programs, folder: Path, tree: Path, tmp_path: Path) -> None:
    programs.run("cp", "-a", tree, folder / "copy")
    assert picture_of(folder / "copy") == picture_of(tree)
    programs.run("cp", "-a", folder / "copy", folder / "again")
    programs.run("cp", "-a", folder / "again", tmp_path / "back")
    assert picture_of(tmp_path / "back") == picture_of(tree)


def test_cp_and_tar_across_a_remount(programs: Programs, ministack: S3Server, tree: Path, tmp_path: Path) -> None:
    """On the store that keeps what directories are."""
    with CliMount(ministack, ministack.make_bucket(), tmp_path / "drive", prefix="p") as drive:
        drive.mount()
        programs.run("cp", "-a", tree, drive.mountpoint / "copy")
        programs.run("tar", "--format=posix", "--create", "--file", drive.mountpoint / "archive.tar", "-C", tree, ".")
        (drive.mountpoint / "unpacked").mkdir()
        programs.run("tar", "-xpf", drive.mountpoint / "archive.tar", "-C", drive.mountpoint / "unpacked")
        remount_with_an_empty_cache(drive)
        assert picture_of(drive.mountpoint / "copy") == picture_of(tree)
        assert picture_of(drive.mountpoint / "unpacked") == picture_of(tree)


def test_tar(programs: Programs, folder: Path, tree: Path, tmp_path: Path) -> None:
    programs.run("tar", "--format=posix", "--create", "--file", folder / "a.tar", "-C", tree, ".")
    (folder / "unpacked").mkdir()
    programs.run("tar", "-xpf", folder / "a.tar", "-C", folder / "unpacked")
    assert picture_of(folder / "unpacked") == picture_of(tree)
    assert programs.run("tar", "--diff", "--file", folder / "a.tar", "-C", folder / "unpacked") == ""
    programs.run(
        "tar", "--format=posix", "--create", "--gzip", "--file", folder / "b.tgz", "-C", folder / "unpacked", "."
    )
    (tmp_path / "back").mkdir()
    programs.run("tar", "-xpzf", folder / "b.tgz", "-C", tmp_path / "back")
    assert {path: what[4] for path, what in picture_of(tmp_path / "back").items()} == {
        path: what[4] for path, what in picture_of(tree).items()
    }


def test_links_attributes_and_access_lists(programs: Programs, drive: CliMount, folder: Path, tmp_path: Path) -> None:
    """cp, tar and rsync bring them in and out, and they are there after the cache was thrown away."""
    source, back = tmp_path / "special", tmp_path / "back"
    make_special_tree(source)
    before = special_picture_of(source)
    back.mkdir()
    tar_words = ("--format=posix", "--xattrs", "--xattrs-include=*", "--acls")
    programs.run("cp", "-a", source, folder / "cp")
    programs.run("tar", *tar_words, "--create", "--file", tmp_path / "in.tar", "-C", source, ".")
    (folder / "tar").mkdir()
    programs.run("tar", *tar_words, "-xpf", tmp_path / "in.tar", "-C", folder / "tar")
    programs.run("rsync", "-aHAX", "--devices", "--specials", f"{source}/", folder / "rsync/")
    for tool in ("cp", "tar", "rsync"):
        assert special_picture_of(folder / tool) == before, tool
    remount_with_an_empty_cache(drive)
    for tool in ("cp", "tar", "rsync"):
        found = special_picture_of(folder / tool)
        # SeaweedFS drops what `dir/` objects say of directories.
        assert {path: what for path, what in found.items() if path != "folder"} == {
            path: what for path, what in before.items() if path != "folder"
        }, tool
    programs.run("cp", "-a", folder / "cp", back / "cp")
    assert special_picture_of(back / "cp").keys() == before.keys()
    assert special_picture_of(back / "cp")["folder/three"] == before["folder/three"]


def test_mv_across_file_systems(programs: Programs, folder: Path, tree: Path, tmp_path: Path) -> None:
    before = picture_of(tree)
    programs.run("mv", tree, folder / "moved")
    assert not tree.exists()
    assert picture_of(folder / "moved") == before
    programs.run("mv", folder / "moved", tmp_path / "back")
    assert picture_of(tmp_path / "back") == before
    assert os.listdir(folder) == []


def test_find_and_rm_side_by_side(programs: Programs, folder: Path) -> None:
    shutil.copytree(STANDARD_LIBRARY / "asyncio", folder / "seed", ignore=SKIPPED)
    for number in range(8):
        shutil.copytree(folder / "seed", folder / "many" / str(number) / "deep" / "down")
    started = [
        *(programs.start("find", folder, "-type", "f", "-size", "+0") for _ in range(2)),
        *(programs.start("rm", "-rf", folder / "many") for _ in range(2)),
    ]
    for process in started:
        _, complaints = process.communicate(timeout=DEADLINE_S)
        assert all("No such file or directory" in line for line in complaints.splitlines()), complaints
    assert [process.returncode for process in started[2:]] == [0, 0]
    assert os.listdir(folder) == ["seed"]
    assert programs.run("find", folder / "seed", "-name", "*.py").count("\n") > 20


@pytest.mark.parametrize("engine", ["psync", "mmap"])
def test_fio_reads_what_it_wrote(programs: Programs, drive: CliMount, folder: Path, engine: str) -> None:
    job = [
        "fio", "--name=job", f"--directory={folder}", "--rw=randwrite", "--bsrange=4k-64k", "--size=4m",
        "--numjobs=2", f"--ioengine={engine}", "--verify=crc32c", "--verify_fatal=1", "--fsync=64",
        "--randseed=7", "--group_reporting", "--minimal",
    ]  # fmt: skip
    programs.run(*job, "--do_verify=1", cwd=folder)
    remount_with_an_empty_cache(drive)
    programs.run(*job, "--verify_only", cwd=folder)
