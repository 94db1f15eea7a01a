"""What another user could have planted is refused: in one line, before anything is written, not even through a link."""

import contextlib
import os
import socket
import threading
from pathlib import Path

import pytest

from s3mount.cache.disk import LocalDisk
from s3mount.config import state_folder_name
from s3mount.control.channel import channel_at
from s3mount.control.client import ControlClient
from s3mount.control.protocol import ControlUnreachable
from s3mount.model import Ino
from tests.acceptance.test_bad_input import refuse
from tests.security.others import STRANGER, plant_link, snapshot
from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server

# Nobody gets so far as to ask for it.
NO_BUCKET = "never-asked"

BUCKETS = "s3mount/buckets"
BUCKET = f"{BUCKETS}/BUCKET"

# What lies where in the state's home, a sticky folder that everybody may write to, as /var/tmp is; and what is said.
PLANTED = [
    ("s3mount", "link", "another user"),
    (BUCKETS, "link", "another user"),
    (BUCKET, "link", "another user"),
    ("s3mount", "foreign folder", "another user"),
    (BUCKET, "foreign folder", "another user"),
    (BUCKET, 0o707, "everybody may write"),
    (BUCKET, 0o770, "other users may write"),
    (BUCKETS, 0o777, "everybody may write"),
    (f"{BUCKET}/index.sqlite", "link", "symbolic link"),
    (f"{BUCKET}/index.sqlite", "foreign file", "another user"),
    (f"{BUCKET}/index.sqlite-wal", "link", "symbolic link"),
    (f"{BUCKET}/lock", "link", "symbolic link"),
    (f"{BUCKET}/lock", "foreign file", "another user"),
    (f"{BUCKET}/s3mount.log", "link", "symbolic link"),
    (f"{BUCKET}/s3mount.log", "own link", "symbolic link"),
    (f"{BUCKET}/cache", "link to a folder", "symbolic link"),
    (f"{BUCKET}/cache/02", "link to a folder", "symbolic link"),
    (f"{BUCKET}/cache/trust", "link", "symbolic link"),
    ("s3mount/mounts", "link to a folder", "another user"),
    ("s3mount/mounts", "foreign folder", "another user"),
]


def plant(path: Path, what: str | int, target: Path) -> None:
    for above in reversed(path.parents):
        if not above.exists():
            above.mkdir(0o700)
    match what:
        case "link" | "own link" | "link to a folder":
            plant_link(
                path, target if what == "link to a folder" else target / "file", 0 if "own" in what else STRANGER
            )
        case "foreign folder":
            path.mkdir(0o700)
            os.chown(path, STRANGER, STRANGER)
        case "foreign file":
            path.touch(0o600)
            os.chown(path, STRANGER, STRANGER)
        case int():
            path.mkdir()
            path.chmod(what)


def bench(server: S3Server, bucket: str, tmp_path: Path) -> tuple[CliMount, Path, Path]:
    """A drive whose state has its home in a folder like /var/tmp; the bucket's folder there, which does not exist; and
    a folder of the user's own."""
    home, target = tmp_path / "open", tmp_path / "target"
    home.mkdir()
    home.chmod(0o1777)
    target.mkdir()
    (target / "file").write_text("precious")
    drive = CliMount(server, bucket, tmp_path, environment={"XDG_STATE_HOME": str(home)})
    drive.cache_dir = home / "s3mount/buckets"
    return drive, drive.cache_dir / state_folder_name(server.endpoint_url, bucket, ""), target


@pytest.mark.parametrize(("where", "what", "word"), PLANTED)
def test_it_is_refused_and_nothing_is_written(
    seaweed: S3Server, tmp_path: Path, where: str, what: str | int, word: str
) -> None:
    drive, folder, target = bench(seaweed, NO_BUCKET, tmp_path)
    with drive:
        path = tmp_path / "open" / where.replace("BUCKET", folder.name)
        plant(path, what, target)
        before = snapshot(tmp_path)
        refuse(drive, *drive.mount_words(), code=1, words=[str(path), word])
        assert snapshot(tmp_path) == before


def test_a_check_believes_it_no_more(seaweed: S3Server, tmp_path: Path) -> None:
    drive, folder, target = bench(seaweed, seaweed.make_bucket(), tmp_path)
    with drive:
        (target / "index.sqlite").touch()
        plant(folder, "link to a folder", target)
        before = snapshot(tmp_path)
        words = ["--repair", f"--endpoint-url={seaweed.endpoint_url}", f"--cache-dir={drive.cache_dir}"]
        refuse(drive, "check", drive.source, *words, code=1, words=[str(folder), "another user"])
        assert snapshot(tmp_path) == before


def test_a_sticky_folder_is_no_hindrance(seaweed: S3Server, tmp_path: Path) -> None:
    """The same place with nothing planted; also by a link of one's own, as to a larger disk."""
    drive, folder, target = bench(seaweed, seaweed.make_bucket(), tmp_path)
    with drive:
        drive.mount()
        assert folder.is_dir()
        assert drive.unmount().returncode == 0
        plant_link(tmp_path / "open/own", target, 0)
        drive.cache_dir = tmp_path / "open/own"
        drive.mount()
        assert (target / folder.name / "lock").exists()
        assert drive.unmount().returncode == 0


def test_a_link_for_a_block_file_is_not_followed(tmp_path: Path) -> None:
    disk = LocalDisk(tmp_path / "cache")
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "cache/05").mkdir()
    (tmp_path / "cache/05/5").symlink_to(target)
    for create in (False, True):
        with pytest.raises(OSError, match="symbolic"):
            disk.open(Ino(5), create=create)
    disk.unlink(Ino(5))
    assert target.read_text() == "precious"


class Imposter:
    """Listens on a socket as another user would, and keeps what it is told."""

    def __init__(self, path: Path) -> None:
        self.heard = b""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        # The kernel shows the peer as it was when it began to listen.
        os.seteuid(STRANGER)
        try:
            self._listener.listen()
        finally:
            os.seteuid(0)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, contextlib.suppress(ConnectionError):
            self.heard = connection.recv(1000)
            connection.sendall(b'{"result": {"bucket": "a lie"}}\n')

    def close(self) -> None:
        self._thread.join(10)
        self._listener.close()


def test_a_client_tells_another_users_socket_nothing(tmp_path: Path) -> None:
    imposter = Imposter(tmp_path / "sock")
    with pytest.raises(ControlUnreachable, match="another user's"):
        ControlClient(channel_at(tmp_path / "sock")).status()
    imposter.close()
    assert imposter.heard == b""


@pytest.mark.parametrize("what", ["link to a folder", "foreign folder"])
def test_commands_do_not_believe_a_planted_registry(seaweed: S3Server, tmp_path: Path, what: str) -> None:
    drive, folder, target = bench(seaweed, NO_BUCKET, tmp_path)
    with drive:
        registry = folder.parents[1] / "mounts"
        plant(registry, what, target)
        for command in (["status"], ["status", "--json"], ["unmount", "/proc"], ["drain", "/proc"]):
            refuse(drive, *command, code=1, words=[str(registry), "another user"])
