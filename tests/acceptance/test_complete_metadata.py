"""A tree with hard links, extended attributes, access lists and special files: there with the real programs, and back
with an empty cache, on real servers (P1, P3, P8); the same attributes through the real s3fs."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.test_round_trip import remount_with_an_empty_cache
from tests.support import s3_programs
from tests.support.cli_mount import CliMount
from tests.support.s3_server import SEAWEEDFS, S3Server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make devices and trusted.* attributes")


@pytest.fixture(params=["seaweed", "ministack"])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "d").mkdir(parents=True)
    for n in range(5):
        path = root / f"f{n}"
        path.write_bytes(bytes([n]) * (n * 1000))
        os.setxattr(path, "user.number", str(n).encode())
        for m in range(n):
            os.link(path, root / "d" / f"link{n}{m}")
    (root / "symlink").symlink_to("nowhere")
    os.link(root / "symlink", root / "d" / "symlink", follow_symlinks=False)
    os.setxattr(root / "f1", "trusted.t", b"\0\xff")
    os.setxattr(root / "f1", "user.empty", b"")
    subprocess.run(["setfacl", "-m", "u:1234:rw,g:77:r", "f2"], cwd=root, check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:1234:rwx", "d"], cwd=root, check=True)
    os.setxattr(root / "d", "user.dir", b"dir")
    os.mkfifo(root / "fifo", 0o640)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "disk", stat.S_IFBLK | 0o660, os.makedev(259, 70000))
    for path in root.rglob("*"):
        os.utime(path, ns=(10**18, 10**18 + 1), follow_symlinks=False)
    return root


def differences(source: Path, target: Path) -> list[str]:
    words = ["rsync", "-aHAXnci", "--specials", "--devices", "--delete", f"{source}/", f"{target}/"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def groups(root: Path) -> set[frozenset[str]]:
    found: dict[int, set[str]] = {}
    for path in root.rglob("*"):
        if not path.is_dir():
            found.setdefault(path.lstat().st_ino, set()).add(str(path.relative_to(root)))
    return {frozenset(names) for names in found.values()}


@pytest.mark.parametrize("program", ["rsync -aHAX", "cp -a"])
def test_there_and_back(server: S3Server, tree: Path, tmp_path: Path, program: str) -> None:
    keeps_directories = server.name != SEAWEEDFS
    with CliMount(server, server.make_bucket(), tmp_path / "mount") as mount:
        mount.mount()
        subprocess.run([*program.split(), f"{tree}/.", f"{mount.mountpoint}/copy"], check=True, timeout=120)
        assert differences(tree, mount.mountpoint / "copy") == []
        assert groups(mount.mountpoint / "copy") == groups(tree)
        remount_with_an_empty_cache(mount)
        copy = mount.mountpoint / "copy"
        found = [line for line in differences(tree, copy) if keeps_directories or not line.startswith(".d")]
        assert found == []
        assert groups(copy) == groups(tree)
        assert {path.name: path.lstat().st_nlink for path in copy.rglob("*") if not path.is_dir()} == {
            path.name: path.lstat().st_nlink for path in tree.rglob("*") if not path.is_dir()
        }
        (copy / "f4").write_bytes(b"through one name")
        os.unlink(copy / "f4")
        remount_with_an_empty_cache(mount)
        assert {(copy / "d" / f"link4{m}").read_bytes() for m in range(4)} == {b"through one name"}
        assert len({(copy / "d" / f"link4{m}").stat().st_ino for m in range(4)}) == 1


def test_snapshots_of_links(server: S3Server, tmp_path: Path) -> None:
    """As rsnapshot works: link the last one, then write what is new in place of the old."""
    source = tmp_path / "source"
    source.mkdir()
    for n in range(10):
        (source / f"f{n}").write_text(str(n))
    with CliMount(server, server.make_bucket(), tmp_path / "mount") as mount:
        mount.mount()
        root = mount.mountpoint
        wanted: list[dict[str, str]] = []
        for turn in range(3):
            (source / f"f{turn}").write_text(f"changed in {turn}, longer")
            if turn:
                subprocess.run(["cp", "-al", f"{root}/s{turn - 1}", f"{root}/s{turn}"], check=True)
            subprocess.run(["rsync", "-a", "--delete", f"{source}/", f"{root}/s{turn}/"], check=True)
            wanted.append({path.name: path.read_text() for path in source.iterdir()})
        remount_with_an_empty_cache(mount)
        for turn in range(3):
            assert {path.name: path.read_text() for path in (root / f"s{turn}").iterdir()} == wanted[turn]
        assert len({(root / f"s{turn}" / "f9").stat().st_ino for turn in range(3)}) == 1
        assert (root / "s0" / "f9").stat().st_nlink == 3
        assert (root / "s0" / "f2").stat().st_nlink == 2


def test_attributes_through_s3fs(server: S3Server, tmp_path: Path) -> None:
    bucket = server.make_bucket()
    values = {"user.text": b"hello", "user.binary": bytes(range(256)), "user.empty": b"", "user.umläut": b"x"}
    with CliMount(server, bucket, tmp_path / "ours") as mount:
        mount.mount()
        (mount.mountpoint / "f").write_bytes(b"x")
        for name, value in values.items():
            os.setxattr(mount.mountpoint / "f", name, value)
        mount.drain()
        with s3_programs.s3fs(server, bucket, tmp_path / "theirs", "use_xattr") as root:
            assert {name: os.getxattr(root / "f", name) for name in os.listxattr(root / "f")} == values
            os.setxattr(root / "f", "user.theirs", b"\0theirs")
            os.removexattr(root / "f", "user.text")
        remount_with_an_empty_cache(mount)
        path = mount.mountpoint / "f"
        del values["user.text"]
        assert {name: os.getxattr(path, name) for name in os.listxattr(path)} == {**values, "user.theirs": b"\0theirs"}
