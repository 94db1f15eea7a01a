"""The demo's own part: its folder, its credentials, its server's port. The drive itself is tested with the mounts."""

import os
import stat
from pathlib import Path

import pytest

from s3mount.demo import command as demo
from s3mount.demo.command import DemoFolder
from s3mount.demo.sample import write_samples
from s3mount.errors import MountError
from s3mount.host import start_time


class FakeServer:
    """Stands in for SeaweedServer; says which port it was asked for."""

    asked_ports: list[int | None]

    def __init__(self, data_dir: Path, *, access_key: str, secret_key: str, port: int | None = None) -> None:
        self.asked_ports.append(port)
        self.keys = (access_key, secret_key)
        self.pid = os.getpid()
        self.endpoint_url = f"http://127.0.0.1:{port or 45678}"

    def start(self) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoFolder:
    FakeServer.asked_ports = []
    monkeypatch.setattr(demo, "SeaweedServer", FakeServer)
    folder = DemoFolder(tmp_path / "demo")
    folder.prepare()
    return folder


def test_credentials_are_private_random_and_kept(folder: DemoFolder, tmp_path: Path) -> None:
    keys = folder.keys()
    folder.prepare()
    assert folder.keys() == keys
    assert stat.S_IMODE(folder.credentials_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    other = DemoFolder(tmp_path / "other")
    other.prepare()
    assert other.keys() != keys


def test_credentials_that_cannot_be_read_are_one_clear_error(folder: DemoFolder) -> None:
    folder.credentials_file.write_text("[other]\n")
    with pytest.raises(MountError, match="remove it and start again"):
        folder.keys()


def test_a_folder_that_cannot_be_used_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MountError, match="--dir"):
        DemoFolder(tmp_path / "file" / "demo").prepare()


def test_a_server_that_runs_is_used_again(folder: DemoFolder) -> None:
    first, started = demo._ensure_server(folder)
    assert started is not None
    again, not_started = demo._ensure_server(folder)
    assert again == first
    assert not_started is None
    assert FakeServer.asked_ports == [None]


@pytest.mark.skipif(not start_time(os.getpid()), reason="start times come from /proc")
def test_a_server_that_ended_comes_back_on_its_port(folder: DemoFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another port would be another endpoint, and what a crashed mount owes would lie in another state folder."""
    first, _ = demo._ensure_server(folder)
    monkeypatch.setattr(demo, "is_running", lambda *_: False)
    monkeypatch.setattr(demo, "_is_free", lambda port: port == first.port)
    assert demo._ensure_server(folder)[0].endpoint_url == first.endpoint_url
    monkeypatch.setattr(demo, "_is_free", lambda _port: False)
    demo._ensure_server(folder)
    assert FakeServer.asked_ports == [None, first.port, None]


def test_a_record_that_makes_no_sense_is_no_server(folder: DemoFolder) -> None:
    folder.server_file.write_text('{"pid": 1}')
    assert folder.last_server() is None


def test_the_mount_sees_only_the_credentials_of_the_demo(folder: DemoFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    environment = demo._environment(folder)
    assert "mine" not in environment.values()
    assert environment["AWS_SHARED_CREDENTIALS_FILE"] == str(folder.credentials_file)
    assert environment["PATH"] == os.environ["PATH"]


def test_samples_are_written_once_and_never_over_a_change(tmp_path: Path) -> None:
    names = write_samples(tmp_path)
    (tmp_path / names[0]).write_text("mine")
    assert write_samples(tmp_path) == names
    assert (tmp_path / names[0]).read_text() == "mine"
    assert all((tmp_path / name).stat().st_size for name in names)
