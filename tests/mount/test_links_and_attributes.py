"""What a real mount makes of hard links, special files, extended attributes, access lists and mode bits: the same as a
local folder. Each scene is played on both, and what it saw compared."""

import contextlib
import errno
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.security.others import STRANGER, STRANGERS_GROUP, run_as
from tests.support.fs_factory import MEMORY
from tests.support.mount_process import MountProcess, serve_command

pytestmark = [
    pytest.mark.skipif(
        not (sys.platform.startswith("linux") and os.access("/dev/fuse", os.R_OK | os.W_OK)),
        reason="no /dev/fuse that this user may open",
    ),
]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can play other users and make devices")


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("mount")
    mountpoint = folder / "mnt"
    mountpoint.mkdir()
    (folder / "data").mkdir()
    command = [*serve_command(MEMORY, folder / "data", mountpoint), "allow_other"]
    with MountProcess(command, mountpoint, folder / "log"):
        yield mountpoint


@pytest.fixture(scope="module")
def local() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


class Both:
    """Plays a scene in a new directory of the mount and of the local folder; what it returns must be the same."""

    def __init__(self, mounted: Path, local: Path, name: str) -> None:
        self.places = [mounted / name, local / name]
        for place in self.places:
            place.mkdir()
            place.chmod(0o777)

    def same(self, scene: Callable[[Path], object]) -> object:
        here, there = (scene(place) for place in self.places)
        assert here == there
        return here


@pytest.fixture
def both(mounted: Path, local: Path, request: pytest.FixtureRequest) -> Both:
    return Both(mounted, local, request.node.name)


def code(function: Callable[..., object], *args: object) -> str:
    try:
        function(*args)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def mode(path: Path) -> str:
    return oct(path.lstat().st_mode)


# -- hard links ------------------------------------------------------------------------------------------------------


def test_link(both: Both) -> None:
    def scene(place: Path) -> object:
        a, b, d = place / "a", place / "b", place / "d"
        a.write_bytes(b"one")
        d.mkdir()
        seen: list[object] = [code(os.link, a, b), code(os.link, a, b), code(os.link, d, place / "e")]
        seen += [code(os.link, place / "none", b), code(os.link, a, place / "none" / "x"), code(os.link, a, a / "x")]
        seen += [a.stat().st_ino == b.stat().st_ino, a.stat().st_nlink, b.stat().st_nlink]
        with b.open("r+b") as file:
            file.write(b"two!")
            file.flush()
            seen += [a.read_bytes(), a.stat().st_size]
            a.unlink()
            seen += [os.fstat(file.fileno()).st_nlink, b.stat().st_nlink]
            file.write(b"!")
        seen += [b.read_bytes(), sorted(os.listdir(place))]
        os.link(b, a)
        os.rename(a, b)
        seen += [sorted(os.listdir(place)), a.stat().st_nlink]
        with a.open("rb") as file:
            a.unlink()
            b.unlink()
            seen += [os.fstat(file.fileno()).st_nlink, code(os.link, f"/proc/self/fd/{file.fileno()}", b)]
        os.symlink("nowhere", a)
        os.link(a, b, follow_symlinks=False)
        seen += [os.readlink(b), a.lstat().st_ino == b.lstat().st_ino]
        return seen

    both.same(scene)


def test_one_page_cache(both: Both) -> None:
    def scene(place: Path) -> object:
        import mmap

        a, b = place / "a", place / "b"
        a.write_bytes(b"x" * 4096)
        os.link(a, b)
        with a.open("r+b") as one, b.open("r+b") as other, mmap.mmap(one.fileno(), 4096) as mapped:
            mapped[:3] = b"map"
            seen = [os.pread(other.fileno(), 5, 0)]
            os.pwrite(other.fileno(), b"write", 10)
            seen.append(bytes(mapped[8:16]))
        return seen

    assert both.same(scene) == [b"mapxx", b"xxwritex"]


def test_cp_al_and_rsync_keep_links(both: Both) -> None:
    def scene(place: Path) -> object:
        tree = place / "tree"
        (tree / "d").mkdir(parents=True)
        for n in range(20):
            (tree / f"f{n}").write_text(str(n))
            os.link(tree / f"f{n}", tree / "d" / f"g{n}")
        subprocess.run(["cp", "-al", "tree", "snapshot"], cwd=place, check=True)
        subprocess.run(["cp", "-a", "tree", "copy"], cwd=place, check=True)
        done = subprocess.run(
            ["rsync", "-aHn", "--itemize-changes", "snapshot/", "copy/"], cwd=place, check=True, capture_output=True
        )  # fmt: skip
        groups: dict[int, list[str]] = {}
        for path in sorted(place.rglob("*")):
            if path.is_file():
                groups.setdefault(path.stat().st_ino, []).append(str(path.relative_to(place)))
        counts = {path: (place / path).stat().st_nlink for group in groups.values() for path in group}
        return done.stdout, sorted(groups.values()), counts

    both.same(scene)


# -- special files ---------------------------------------------------------------------------------------------------


def test_fifos_and_sockets(both: Both) -> None:
    def scene(place: Path) -> object:
        os.mkfifo(place / "fifo", 0o640)
        seen: list[object] = [mode(place / "fifo"), code(os.mkfifo, place / "fifo")]
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.append((place / "fifo").read_bytes()))
        reader.start()
        (place / "fifo").write_bytes(b"through")
        reader.join(10)
        folder = os.open(place, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(f"/proc/self/fd/{folder}/s")
            server.listen()
            client.connect(f"/proc/self/fd/{folder}/s")
            accepted, _ = server.accept()
            client.sendall(b"hello")
            seen += [accepted.recv(9), mode(place / "s")]
            accepted.close()
        os.close(folder)
        os.rename(place / "s", place / "t")
        (place / "t").unlink()
        return seen, got, sorted(os.listdir(place))

    both.same(scene)


@as_root
def test_devices(both: Both) -> None:
    def scene(place: Path) -> object:
        os.mknod(place / "c", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.mknod(place / "b", stat.S_IFBLK | 0o640, os.makedev(259, 70000))
        return [(mode(place / n), (place / n).stat().st_rdev, (place / n).stat().st_size) for n in "bc"]

    both.same(scene)
    assert run_as(both.places[0], "os.mknod('x', 0o20600, 259)") == "EPERM"


# -- extended attributes ---------------------------------------------------------------------------------------------


def test_xattrs(both: Both) -> None:
    def scene(place: Path) -> object:
        (place / "f").write_bytes(b"")
        (place / "d").mkdir()
        os.symlink("f", place / "l")
        seen: list[object] = []
        for path in (place / "f", place / "d"):
            seen += [code(os.getxattr, path, "user.a"), code(os.removexattr, path, "user.a")]
            seen += [code(os.setxattr, path, "user.a", b"1", os.XATTR_REPLACE)]
            os.setxattr(path, "user.a", b"\0one", os.XATTR_CREATE)
            seen += [code(os.setxattr, path, "user.a", b"2", os.XATTR_CREATE)]
            os.setxattr(path, "user.empty", b"")
            os.setxattr(path, "user.umläut\udcff", b"x" * 200)
            seen += [os.getxattr(path, "user.a"), os.getxattr(path, "user.empty"), sorted(os.listxattr(path))]
            seen += [code(os.setxattr, path, f"user.{'n' * n}", b"") for n in (251,)]
            seen += [code(os.setxattr, path, "user.big", bytes(65537))]
            seen += [code(os.setxattr, path, name, b"") for name in ("nonsense", "system.nonsense", "user.")]
            os.removexattr(path, "user.empty")
            seen += [sorted(os.listxattr(path)), code(os.getxattr, path, "user.empty")]
        link = place / "l"
        seen += [code(lambda: os.setxattr(link, "user.a", b"", follow_symlinks=False))]
        os.mkfifo(place / "p")
        seen += [code(os.setxattr, place / "p", "user.a", b"")]
        return seen

    both.same(scene)
    path = both.places[0] / "f"
    assert code(os.setxattr, path, "user.big", bytes(3000)) == "ENOSPC"
    assert code(os.getxattr, path, "user.big") == "ENODATA"


@as_root
def test_xattrs_of_the_system(both: Both) -> None:
    def scene(place: Path) -> object:
        (place / "f").write_bytes(b"")
        (place / "f").chmod(0o666)
        os.setxattr(place / "f", "trusted.t", b"t")
        os.setxattr(place / "f", "security.mine", b"s")
        os.setxattr(place / "f", "user.u", b"u")
        seen: list[object] = [sorted(os.listxattr(place / "f"))]
        seen.append(run_as(place, "print(sorted(os.listxattr('f')))"))
        seen.append(run_as(place, "os.getxattr('f', 'trusted.t')"))
        seen.append(run_as(place, "os.setxattr('f', 'trusted.t', b'')"))
        seen.append(run_as(place, "print(os.getxattr('f', 'user.u'))"))
        (place / "f").chmod(0o600)
        seen.append(run_as(place, "os.getxattr('f', 'user.u')"))
        return seen

    both.same(scene)


# -- access lists ----------------------------------------------------------------------------------------------------


def run(place: Path, *words: str) -> str:
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False, timeout=30)
    return f"{done.stdout}{done.stderr}{done.returncode}"


READ = "print(open('f').read())"
WRITE = "print(open('f', 'a').write('x'))"


@as_root
def test_access_lists_are_enforced(both: Both) -> None:
    def scene(place: Path) -> object:
        (place / "f").write_text("secret")
        (place / "f").chmod(0o640)
        seen: list[object] = [run_as(place, READ)]
        for acl in (f"u:{STRANGER}:r", f"u:{STRANGER}:rw", f"u:{STRANGER}:-,g:{STRANGERS_GROUP}:rw", "m::r"):
            seen += [
                run(place, "setfacl", "-m", acl, "f"),
                run_as(place, READ),
                run_as(place, WRITE),
                mode(place / "f"),
            ]
        (place / "f").chmod(0o600)
        seen += [run(place, "getfacl", "-n", "f"), run_as(place, READ)]
        (place / "f").chmod(0o660)
        seen += [run(place, "getfacl", "-n", "f")]
        os.chown(place / "f", STRANGER, 7)
        seen += [run_as(place, READ), run(place, "setfacl", "-b", "f"), mode(place / "f"), os.listxattr(place / "f")]
        seen += [run_as(place, "os.setxattr('f', 'system.posix_acl_access', b'nonsense')")]
        seen += [run_as(place, "os.setxattr('f', 'user.x', b'')")]
        seen += [run(place, "setfacl", "-d", "-m", "u::rwx", "f")]
        return seen

    both.same(scene)


@as_root
def test_default_access_lists_are_handed_down(both: Both) -> None:
    def scene(place: Path) -> object:
        (place / "d").mkdir()
        seen: list[object] = [run(place, "setfacl", "-d", "-m", f"u:{STRANGER}:rwx,g::rx,o::-", "d")]
        old = os.umask(0o077)
        try:
            (place / "d" / "f").write_text("x")
            (place / "d" / "e").mkdir()
            os.mkfifo(place / "d" / "p")
            os.close(os.open(place / "d" / "x", os.O_CREAT | os.O_WRONLY, 0o750))
            (place / "plain").write_text("x")
            (place / "plaind").mkdir()
        finally:
            os.umask(old)
        for name in ("d", "d/f", "d/e", "d/p", "d/x", "plain", "plaind"):
            seen += [run(place, "getfacl", "-n", name), mode(place / name)]
        seen.append(run_as(place / "d" / "e", "open('mine', 'w').close(); print(oct(os.stat('mine').st_mode))"))
        return seen

    both.same(scene)


@as_root
def test_copies_keep_lists_and_attributes(both: Both) -> None:
    def scene(place: Path) -> object:
        (place / "s").mkdir()
        (place / "s" / "f").write_text("x")
        os.setxattr(place / "s" / "f", "user.a", b"1")
        run(place, "setfacl", "-m", f"u:{STRANGER}:rw", "s/f")
        run(place, "setfacl", "-d", "-m", f"u:{STRANGER}:rw", "s")
        seen = [run(place, "cp", "-a", "s", "cp"), run(place, "rsync", "-aAX", "s/", "rs/")]
        seen += [run(place, "tar", "--xattrs", "--acls", "-cf", "t.tar", "-C", "s", ".")]
        (place / "tar").mkdir()
        seen += [run(place, "tar", "--xattrs", "--acls", "-xpf", "t.tar", "-C", "tar")]
        for copy in ("cp", "rs", "tar"):
            seen += [run(place / copy, "getfacl", "-n", ".", "f"), str(os.getxattr(place / copy / "f", "user.a"))]
        return seen

    both.same(scene)


# -- bits that go by themselves --------------------------------------------------------------------------------------


@as_root
def test_setuid_and_setgid_go_with_a_write_and_a_chown(both: Both) -> None:
    def scene(place: Path) -> object:
        seen: list[object] = []
        for bits in (0o6777, 0o2767, 0o4666):
            for act in (
                "os.write(os.open('f', os.O_WRONLY), b'x')",
                "os.truncate('f', 1)",
                "os.close(os.open('f', os.O_WRONLY | os.O_TRUNC))",
                "os.chown('f', -1, os.getgid())",
                "os.chmod('f', 0o6777)",
            ):
                (place / "f").write_text("content")
                os.chown(place / "f", STRANGER, STRANGERS_GROUP)
                (place / "f").chmod(bits)
                seen += [act, run_as(place, act), mode(place / "f")]
        (place / "f").chmod(0o6777)
        os.chown(place / "f", 5, 6)
        seen.append(mode(place / "f"))
        (place / "f").chmod(0o6777)
        with (place / "f").open("r+") as file:
            file.write("by root")
        seen.append(mode(place / "f"))
        os.chown(place / "f", STRANGER, 6)
        seen += [run_as(place, "os.chmod('f', 0o2755)"), mode(place / "f")]
        return seen

    both.same(scene)


@as_root
def test_sticky_and_setgid_directories(both: Both) -> None:
    def scene(place: Path) -> object:
        (place / "t").mkdir()
        (place / "t").chmod(0o1777)
        (place / "t" / "roots").write_text("x")
        (place / "t" / "roots").chmod(0o666)
        seen: list[object] = [
            run_as(place / "t", act)
            for act in (
                "os.unlink('roots')",
                "os.rename('roots', 'other')",
                "open('own', 'w').close(); os.unlink('own')",
                "open('own', 'w').close(); os.rename('own', 'roots')",
                "os.link('own', 'linked'); print(os.stat('own').st_nlink)",
            )
        ]
        (place / "g").mkdir()
        os.chown(place / "g", 0, 77)
        (place / "g").chmod(0o2777)
        seen.append(run_as(place / "g", "open('f', 'w').close(); os.mkdir('d'); os.mkfifo('p')"))
        for name in ("f", "d", "p"):
            seen += [mode(place / "g" / name), (place / "g" / name).stat().st_gid]
        return seen

    both.same(scene)


@as_root
def test_a_file_s_capabilities_go_with_a_write(both: Both) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep

    def scene(place: Path) -> object:
        (place / "f").write_text("x")
        with contextlib.suppress(OSError):
            os.setxattr(place / "f", "security.capability", capability)
        seen: list[object] = [os.listxattr(place / "f")]
        with (place / "f").open("a") as file:
            file.write("more")
        return [*seen, os.listxattr(place / "f")]

    both.same(scene)
