"""The real mount from outside: how it starts, fails, ends, and how it behaves under many threads."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fs_factory import REFERENCE
from tests.support.mount_process import MountFailed, MountProcess, is_mounted, serve_command

pytestmark = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and os.access("/dev/fuse", os.R_OK | os.W_OK)),
    reason="no /dev/fuse that this user may open",
)

DEAD_BINDING = """
import logging
from s3mount.bindings import load_binding
from tests.model.reference import ReferenceTree
class Broken(ReferenceTree):
    def readlink(self, ino):
        raise ZeroDivisionError("a bug")
logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
import sys
load_binding()(Broken(), sys.argv[1], source_name="s3mount#b,1/p q", read_only="ro" in sys.argv, allow_other=False,
               extra_options=("noexec",), on_ready=lambda: None)
"""


@pytest.fixture
def mountpoint(tmp_path: Path) -> Path:
    path = tmp_path / "mnt with space"
    path.mkdir()
    return path


@pytest.fixture
def mount(tmp_path: Path, mountpoint: Path) -> Iterator[MountProcess]:
    with MountProcess(serve_command(REFERENCE, tmp_path, mountpoint), mountpoint, tmp_path / "log") as mount:
        yield mount


def broken(tmp_path: Path, mountpoint: Path, *args: str, expected_log: tuple[str, ...] = ()) -> MountProcess:
    command = [sys.executable, "-c", DEAD_BINDING, str(mountpoint), *args]
    return MountProcess(command, mountpoint, tmp_path / "log", expected_log=expected_log)


def test_unmount_ends_the_process_cleanly(mount: MountProcess) -> None:
    (mount.mountpoint / "f").write_text("x")
    assert mount.unmount() == 0
    assert not is_mounted(mount.mountpoint)
    assert list(mount.mountpoint.iterdir()) == []


def test_sigterm_detaches_and_ends(mount: MountProcess) -> None:
    assert mount.terminate() == 0
    assert not is_mounted(mount.mountpoint)


def test_kill_leaves_nothing_mounted_and_can_start_again(mount: MountProcess) -> None:
    mount.kill()
    assert not is_mounted(mount.mountpoint)
    mount.start()
    assert list(mount.mountpoint.iterdir()) == []


def test_a_bug_in_the_drive_is_eio_and_the_mount_lives(tmp_path: Path, mountpoint: Path) -> None:
    with broken(tmp_path, mountpoint, expected_log=("readlink failed", "Traceback", "ERROR")) as mount:
        os.symlink("x", mountpoint / "link")
        with pytest.raises(OSError, match="Input/output error"):
            os.readlink(mountpoint / "link")
        assert os.listdir(mountpoint) == ["link"]
        assert "ZeroDivisionError" in mount.log()


def test_a_logged_error_fails_the_test_that_does_not_expect_it(tmp_path: Path, mountpoint: Path) -> None:
    def run() -> None:
        with broken(tmp_path, mountpoint):
            os.symlink("x", mountpoint / "link")
            with pytest.raises(OSError, match="Input/output error"):
                os.readlink(mountpoint / "link")

    with pytest.raises(MountFailed, match="unexpected in the log"):
        run()
    assert not is_mounted(mountpoint)


def test_read_only_and_mount_options(tmp_path: Path, mountpoint: Path) -> None:
    with broken(tmp_path, mountpoint, "ro"):
        with pytest.raises(OSError, match="Read-only file system"):
            (mountpoint / "f").write_text("x")
        lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        source, _, kind, options = next(line[:4] for line in lines if line[1].endswith(r"mnt\040with\040space"))
        assert source == r"s3mount\043b,1/p\040q"
        assert kind == "fuse.s3mount"
        assert {"ro", "noexec", "default_permissions", "nosuid"} <= set(options.split(","))


def run_python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    return subprocess.run([sys.executable, "-c", code, *args], cwd=root, capture_output=True, text=True, timeout=30)


REFUSED = """
import sys
from s3mount.bindings import load_binding
from s3mount.errors import MountPointUnusable
from tests.model.reference import ReferenceTree
try:
    load_binding()(ReferenceTree(), sys.argv[1], source_name="s", read_only=False, allow_other=False,
                   extra_options=tuple(sys.argv[2:]), on_ready=lambda: None)
except MountPointUnusable as error:
    print(error)
"""


def test_a_refused_mount_gives_libfuses_reason(mountpoint: Path) -> None:
    result = run_python(REFUSED, str(mountpoint), "no_such_option")
    assert result.stdout.startswith(f"cannot mount on {mountpoint}: fuse: unknown option")
    assert "no_such_option" in result.stdout
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == ""
    assert not is_mounted(mountpoint)


def test_the_same_place_twice(mount: MountProcess) -> None:
    result = run_python(REFUSED, str(mount.mountpoint))
    assert "something is mounted on" in result.stdout


def test_many_threads_at_once(mount: MountProcess) -> None:
    """Create, write, rename, list, unlink from 16 threads; nobody may hang, fail or see another's content."""
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            folder = mount.mountpoint / f"d{number}"
            folder.mkdir()
            for turn in range(40):
                path = folder / f"f{turn}"
                path.write_bytes(f"{number}/{turn}".encode() * 100)
                moved = path.rename(folder / f"g{turn}")
                assert moved.read_bytes() == f"{number}/{turn}".encode() * 100
                if turn % 2:
                    moved.unlink()
            assert len(list(folder.iterdir())) == 20
        except Exception as error:  # noqa: BLE001  # reported by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(16)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert failures == []
    assert not any(thread.is_alive() for thread in threads)


@pytest.fixture
def shared_mount(tmp_path: Path) -> Iterator[MountProcess]:
    """One that other users may use."""
    if os.getuid() != 0:
        pytest.skip("needs to become another user")
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    command = [*serve_command(REFERENCE, tmp_path, mountpoint), "allow_other"]
    with MountProcess(command, mountpoint, tmp_path / "log") as mount:
        os.chmod(mountpoint, 0o777)
        yield mount


def as_other_user(mount: MountProcess, code: str) -> None:
    """Run Python code in the mount as uid 1234, gid 4321. Entered through an open directory: the temporary folders
    above it are closed to others."""
    fh = os.open(mount.mountpoint, os.O_RDONLY | os.O_DIRECTORY)
    try:
        prelude = "import os, sys; os.setgroups([]); os.setgid(4321); os.setuid(1234); os.chdir(sys.argv[1]); "
        command = [sys.executable, "-c", prelude + code, f"/proc/self/fd/{fh}"]
        subprocess.run(command, check=True, pass_fds=[fh], timeout=30)
    finally:
        os.close(fh)


def test_the_callers_ids_own_what_it_makes(shared_mount: MountProcess) -> None:
    as_other_user(shared_mount, "open('f', 'w'); os.mkdir('d'); os.symlink('f', 'l')")
    for name in ("f", "d", "l"):
        made = os.lstat(shared_mount.mountpoint / name)
        assert (made.st_uid, made.st_gid) == (1234, 4321)


def test_modes_are_enforced_on_other_users(shared_mount: MountProcess) -> None:
    secret = shared_mount.mountpoint / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    as_other_user(shared_mount, "sys.exit(os.access('secret', os.R_OK))")
    with pytest.raises(subprocess.CalledProcessError):
        as_other_user(shared_mount, "open('secret')")


@pytest.mark.parametrize("change", ["open('f', 'r+').write('y')", "os.truncate('f', 0)"])
def test_writing_to_anothers_file_takes_its_setuid_bit_off(shared_mount: MountProcess, change: str) -> None:
    path = shared_mount.mountpoint / "f"
    path.write_text("x")
    path.chmod(0o4777)
    as_other_user(shared_mount, change)
    assert path.stat().st_mode & 0o7777 == 0o777
