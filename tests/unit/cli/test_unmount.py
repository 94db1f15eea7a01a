"""unmount and drain against a fake mount: what is asked of the process, in which order, and what the exit code says.

The control socket and the registry are real; the mount table and the end of the process are played.
"""

import importlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from s3mount.cli.group import s3mount
from s3mount.control import registry as registry_module
from s3mount.control.announce import Announcement
from s3mount.control.client import ControlClient
from s3mount.control.mount_table import Liveness, MountedFilesystem
from s3mount.control.protocol import ControlUnreachable, DrainProgress, OwedFile
from s3mount.control.registry import Registry
from s3mount.errors import MountPointUnusable
from tests.unit.control.fake_mount import FAR_PID, FakeHandlers, announce, fake_entry

unmount_module = importlib.import_module("s3mount.cli.unmount")


class FakeKernel:
    """The mount table, and what happens to the fake mount's process when it is detached."""

    def __init__(self) -> None:
        self.mounted: dict[Path, str] = {}
        self.detached: list[tuple[Path, bool]] = []
        self.announcement: Announcement | None = None
        self.owed_at_end: list[OwedFile] = []
        self.ends = True
        self.is_busy = False
        self.liveness = Liveness.ANSWERS

    def find_mount(self, path: Path) -> MountedFilesystem | None:
        fstype = self.mounted.get(path)
        return None if fstype is None else MountedFilesystem(path, fstype)

    def detach(self, path: Path, *, lazy: bool = False) -> None:
        if self.is_busy:
            raise MountPointUnusable(f"{path} is in use by bash (17)")
        self.detached.append((path, lazy))
        del self.mounted[path]
        self.end_process()

    def end_process(self) -> None:
        if self.announcement is not None and self.ends:
            self.announcement.owed = self.owed_at_end
            threading.Thread(target=self.announcement.__exit__, args=(None, None, None)).start()

    def probe(self, _path: Path) -> Liveness:
        return self.liveness


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    kernel = FakeKernel()
    monkeypatch.setattr(registry_module, "find_mount", kernel.find_mount)
    monkeypatch.setattr(unmount_module, "find_mount", kernel.find_mount)
    monkeypatch.setattr(unmount_module, "detach", kernel.detach)
    monkeypatch.setattr(unmount_module, "probe", kernel.probe)
    monkeypatch.setattr(unmount_module, "wait_for_end", lambda *_: True)
    monkeypatch.setattr(unmount_module, "_END_DEADLINE_S_MIN", 0.2)
    return kernel


@pytest.fixture
def handlers() -> FakeHandlers:
    return FakeHandlers()


@pytest.fixture
def mounted(tmp_path: Path, drive: Path, kernel: FakeKernel, handlers: FakeHandlers) -> Iterator[Path]:
    """A living mount of the fake handlers at `drive`."""
    with announce(tmp_path.resolve(), handlers) as kernel.announcement:
        kernel.mounted[drive] = "fuse.s3mount"
        yield drive


def run(*arguments: object) -> Result:
    return CliRunner().invoke(s3mount, [str(argument) for argument in arguments])


def test_unmount_drains_then_detaches_then_sees_the_process_out(
    mounted: Path, kernel: FakeKernel, handlers: FakeHandlers
) -> None:
    handlers.drain_steps = [DrainProgress(2, 3 << 20, 1)]
    result = run("unmount", mounted)
    assert result.exit_code == 0, result.stderr
    assert "2 files, 3.0 MiB to go, 1 uploading" in result.stderr
    assert handlers.drains == [None]
    assert handlers.stops == [True]
    assert kernel.detached == [(mounted, False)]


def test_what_is_left_at_the_timeout_is_named_and_the_mount_stays(
    mounted: Path, kernel: FakeKernel, handlers: FakeHandlers
) -> None:
    handlers.owed = [OwedFile(f"dir/file-{number}", "403 Forbidden") for number in range(25)]
    result = run("unmount", mounted, "--timeout", "1m")
    assert result.exit_code == 5
    assert handlers.drains == [60.0]
    assert "dir/file-0: 403 Forbidden" in result.stderr
    assert "and 5 more" in result.stderr
    assert "still mounted" in result.stderr.splitlines()[-1]
    assert kernel.detached == []
    assert handlers.stops == []


def test_what_was_written_between_drain_and_detach_is_not_overlooked(mounted: Path, kernel: FakeKernel) -> None:
    kernel.owed_at_end = [OwedFile("late", "no network")]
    result = run("unmount", mounted)
    assert result.exit_code == 5
    assert "late: no network" in result.stderr
    assert kernel.detached == [(mounted, False)]


def test_a_process_that_drains_on_after_the_detach_is_exit_code_5(mounted: Path, kernel: FakeKernel) -> None:
    kernel.ends = False
    result = run("unmount", mounted, "--timeout", "0")
    assert result.exit_code == 5
    assert "goes on uploading" in result.stderr


def test_no_drain_says_what_is_owed_and_is_exit_code_0(
    mounted: Path, kernel: FakeKernel, handlers: FakeHandlers
) -> None:
    kernel.owed_at_end = [OwedFile("a", "not uploaded yet")]
    result = run("unmount", mounted, "--no-drain")
    assert result.exit_code == 0, result.stderr
    assert handlers.drains == []
    assert handlers.stops == [False]
    assert "1 file not in the bucket; the next mount" in result.stderr


def test_a_busy_mount_is_exit_code_4_and_goes_back_to_draining(
    mounted: Path, kernel: FakeKernel, handlers: FakeHandlers
) -> None:
    kernel.is_busy = True
    result = run("unmount", mounted, "--no-drain")
    assert result.exit_code == 4
    assert "bash (17)" in result.stderr
    assert handlers.stops == [False, True]


def test_a_mount_detached_by_umount_is_followed_to_its_end(
    mounted: Path, kernel: FakeKernel, handlers: FakeHandlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    del kernel.mounted[mounted]
    monkeypatch.setattr(handlers, "stop", lambda _drain: kernel.end_process())
    result = run("unmount", mounted)
    assert result.exit_code == 0, result.stderr
    assert kernel.detached == []


def test_a_process_that_ends_by_itself_before_it_is_told_to_is_heard(
    mounted: Path, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(_client: ControlClient, *, drain: bool) -> None:
        kernel.end_process()
        raise ControlUnreachable("the mount process does not answer")

    del kernel.mounted[mounted]
    monkeypatch.setattr(ControlClient, "stop", too_late)
    result = run("unmount", mounted)
    assert result.exit_code == 0, result.stderr


@pytest.fixture
def process_holds_drive(monkeypatch: pytest.MonkeyPatch, kernel: FakeKernel) -> None:
    """As on Windows: no mount table, and nobody but the process can take the drive away."""
    for module in (registry_module, unmount_module):
        monkeypatch.setattr(module, "PROCESS_HOLDS_DRIVE", True)
        monkeypatch.setattr(module, "find_mount", lambda _path: None)
    monkeypatch.setattr(unmount_module, "detach", lambda *_, **__: pytest.fail("there is no command for that"))


def test_where_only_the_process_can_detach_it_is_asked_to(
    mounted: Path, kernel: FakeKernel, handlers: FakeHandlers, process_holds_drive: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(handlers, "detach", kernel.end_process)
    result = run("unmount", mounted)
    assert result.exit_code == 0, result.stderr
    assert handlers.drains == [None]
    assert handlers.stops == [True]


def test_what_is_owed_keeps_a_drive_that_only_the_process_can_detach(
    mounted: Path, handlers: FakeHandlers, process_holds_drive: None
) -> None:
    handlers.owed = [OwedFile("left", "no network")]
    result = run("unmount", mounted, "--timeout", "1")
    assert result.exit_code == 5
    assert handlers.detached == 0


def test_where_a_drive_is_its_process_a_dead_one_is_not_mounted(drive: Path, process_holds_drive: None) -> None:
    registry = Registry()
    registry.prepare()
    registry.add(fake_entry(str(drive), pid=FAR_PID, started="1"))
    result = run("unmount", drive)
    assert result.exit_code == 4
    assert f"{drive} is not mounted" in result.stderr
    assert registry.entries() == []


def test_a_dead_mount_is_detached(drive: Path, kernel: FakeKernel) -> None:
    registry = Registry()
    registry.prepare()
    registry.add(fake_entry(str(drive), pid=FAR_PID, started="1"))
    kernel.mounted[drive] = "fuse.s3mount"
    kernel.liveness = Liveness.DEAD
    result = run("unmount", drive)
    assert result.exit_code == 0, result.stderr
    assert "the next mount" in result.stderr
    assert kernel.detached == [(drive, True)]
    assert registry.entries() == []


def test_a_dead_mount_that_nobody_registered_is_detached(drive: Path, kernel: FakeKernel) -> None:
    kernel.mounted[drive] = "fuse"
    kernel.liveness = Liveness.DEAD
    assert run("unmount", drive).exit_code == 0
    assert kernel.detached == [(drive, True)]


@pytest.mark.parametrize("fstype", ["ext4", "fuse.sshfs", "fuse.s3mount"])
def test_a_living_mount_of_somebody_else_is_left_alone(fstype: str, drive: Path, kernel: FakeKernel) -> None:
    kernel.mounted[drive] = fstype
    result = run("unmount", drive)
    assert result.exit_code == 4
    assert kernel.detached == []


def test_drain_waits_and_leaves_the_mount_up(mounted: Path, kernel: FakeKernel, handlers: FakeHandlers) -> None:
    assert run("drain", mounted, "--timeout", "500ms").exit_code == 0
    assert handlers.drains == [0.5]
    handlers.owed = [OwedFile("x", "no network")]
    result = run("drain", mounted)
    assert result.exit_code == 5
    assert "x: no network" in result.stderr
    assert kernel.detached == []


def test_drain_of_a_dead_mount_says_what_to_do(drive: Path, kernel: FakeKernel) -> None:
    registry = Registry()
    registry.prepare()
    registry.add(fake_entry(str(drive), pid=FAR_PID, started="1"))
    kernel.mounted[drive] = "fuse.s3mount"
    result = run("drain", drive)
    assert result.exit_code == 4
    assert "s3mount unmount" in result.stderr
