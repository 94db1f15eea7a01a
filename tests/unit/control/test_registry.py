"""Which mounts are known: live, dead but still in the mount table, and stale."""

import os
import stat
from pathlib import Path

import pytest

from s3mount.control import registry as registry_module
from s3mount.control.channel import channel_at
from s3mount.control.client import ControlClient
from s3mount.control.mount_table import MountedFilesystem
from s3mount.control.registry import Registry
from s3mount.errors import MountError
from tests.unit.control.fake_mount import FAR_PID, FakeHandlers, announce, fake_entry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "mounts")
    registry.prepare()
    return registry


def test_an_entry_comes_back_and_goes(registry: Registry) -> None:
    entry = fake_entry("/mnt/ü \udc80")
    registry.add(entry)
    assert registry.entries() == [entry]
    assert registry.find(Path(entry.mountpoint)) == entry
    registry.remove(entry)
    registry.remove(entry)
    assert registry.entries() == []


def test_the_folder_is_private(tmp_path: Path, registry: Registry) -> None:
    assert stat.S_IMODE((tmp_path / "mounts").stat().st_mode) == 0o700


def test_a_dead_process_is_stale_and_cleaned(tmp_path: Path, registry: Registry) -> None:
    entry = fake_entry("/mnt/dead", pid=FAR_PID, started="1")
    registry.add(entry)
    registry.socket_path(Path("/mnt/dead"), FAR_PID).touch()
    assert registry.entries() == []
    assert list((tmp_path / "mounts").iterdir()) == []


def test_one_that_another_version_named_is_known_and_goes(tmp_path: Path, registry: Registry) -> None:
    entry = fake_entry("/mnt/old")
    registry.add(entry)
    (file,) = (tmp_path / "mounts").iterdir()
    other = file.with_name(f"0123456789ab-{entry.pid}.json")
    file.rename(other)
    other.with_suffix(".sock").touch()
    beside = fake_entry("/mnt/beside")  # of the same process, as far as names tell
    registry.add(beside)
    assert registry.find(Path("/mnt/old")) == entry
    registry.remove(entry)
    assert registry.entries() == [beside]
    assert len(list((tmp_path / "mounts").iterdir())) == 1


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="start times come from /proc")
def test_a_pid_used_again_is_stale(registry: Registry) -> None:
    registry.add(fake_entry("/mnt/old", pid=os.getpid(), started="1"))
    assert registry.find(Path("/mnt/old")) is None


def test_a_dead_mount_stays_known_while_it_is_in_the_mount_table(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = fake_entry("/mnt/dead", pid=FAR_PID, started="1")
    registry.add(entry)
    monkeypatch.setattr(registry_module, "find_mount", lambda path: MountedFilesystem(path, "fuse.s3mount"))
    assert registry.find(Path("/mnt/dead")) == entry
    assert not entry.is_alive


def test_the_living_mount_wins_over_one_that_still_drains(registry: Registry) -> None:
    parent = os.getppid()
    registry.add(fake_entry("/mnt/x", pid=parent, started_ns=1))
    registry.add(fake_entry("/mnt/x", started_ns=2))
    found = registry.find(Path("/mnt/x"))
    assert found is not None
    assert found.pid == os.getpid()
    assert len(registry.entries()) == 2


def test_a_file_of_another_version_is_passed_over(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "mounts" / "strange.json").write_text('{"mountpoint": "/x"}')
    (tmp_path / "mounts" / "broken.json").write_text("{")
    assert registry.entries() == []


def test_a_missing_folder_has_no_mounts(tmp_path: Path) -> None:
    assert Registry(tmp_path / "none").entries() == []


def test_an_announced_mount_is_known_and_answers_until_it_ends(tmp_path: Path, registry: Registry) -> None:
    with announce(tmp_path, FakeHandlers(), registry):
        (entry,) = registry.entries()
        assert entry.is_alive
        assert ControlClient(channel_at(Path(entry.socket))).status()["bucket"] == "fake"
    assert list((tmp_path / "mounts").iterdir()) == []


def test_a_registry_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    announcement = announce(tmp_path, FakeHandlers(), Registry(tmp_path / "file" / "mounts"))
    with pytest.raises(MountError, match="control socket"), announcement:
        pass
