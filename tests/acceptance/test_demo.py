"""`s3mount demo` as a person tries it: started, used, started again, stopped, and started once more over its data."""

import configparser
import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from s3mount.host import start_time
from tests.support.cli_mount import CliMount
from tests.support.mount_process import is_mounted
from tests.support.s3_server import S3Server

SAMPLE = "notes/2026/naïve résumé – 日本語.txt"
START_DEADLINE_S = 100.0


def objects_of(folder: Path, endpoint_url: str) -> dict[str, bytes]:
    """The bucket through plain boto3, with the keys that the demo wrote down for its user."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string((folder / "credentials").read_text())
    client = boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        config=Config(proxies={}),
        aws_access_key_id=parser["default"]["aws_access_key_id"],
        aws_secret_access_key=parser["default"]["aws_secret_access_key"],
    )
    with contextlib.closing(client):
        keys = [found["Key"] for found in client.list_objects_v2(Bucket="demo").get("Contents", [])]
        return {key: client.get_object(Bucket="demo", Key=key)["Body"].read() for key in keys}


def endpoint_in(text: str) -> str:
    found = re.search(r"s3://demo on (http://127\.0\.0\.1:\d+) is mounted at", text)
    assert found is not None, text
    return found[1]


class Demo:
    """`s3mount demo` over one folder, with the state of a CliMount that is never mounted itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "demo data"
        unused = S3Server("none", "http://127.0.0.1:1", client=None)  # type: ignore[arg-type]  # nobody asks it
        self.commands = CliMount(unused, "demo", folder)
        self.commands.mountpoint = self.drive = self.folder / "drive"

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.commands.run("demo", *arguments, "--dir", str(self.folder), timeout_s=START_DEADLINE_S)

    def start(self, *arguments: str) -> str:
        """What it printed. Fails unless it went well and said nothing on stderr but how a drain goes."""
        outcome = self.run(*arguments)
        assert outcome.returncode == 0, outcome.stderr
        assert not re.search(r"Traceback|s3mount: ", outcome.stderr)
        return outcome.stdout


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    yield demo
    demo.commands.clear()


def test_start_use_start_stop_start(demo: Demo, tmp_path: Path) -> None:
    said = demo.start()
    endpoint_url = endpoint_in(said)
    drive = demo.drive
    assert is_mounted(drive)
    assert (drive / SAMPLE).read_text() == "Names are kept as they are.\n"
    objects = objects_of(demo.folder, endpoint_url)
    files = {str(path.relative_to(drive)): path.read_bytes() for path in drive.rglob("*") if path.is_file()}
    assert {key: body for key, body in objects.items() if not key.endswith("/")} == files
    assert SAMPLE in files
    lines = said.splitlines()
    for name in files:
        assert sum(f"  {name}  (" in line for line in lines) == 2, f"{name} is shown as a file and as an object"
    assert [line.split(":")[0] for line in lines[-3:]] == ["Try", "Look", "Stop"]
    assert f"--dir '{demo.folder}'" in lines[-1]

    # What the lines tell to do works.
    (tmp_path / "some-folder").mkdir()
    (tmp_path / "some-folder" / "mine").write_text("my own file")
    subprocess.run(["cp", "-r", tmp_path / "some-folder", drive], check=True, timeout=60)
    (drive / "welcome.txt").write_text("changed")

    # Again: the same server, the same mount, nothing written over.
    pids = server_pid(demo), demo.commands.pid
    again = demo.start()
    assert (server_pid(demo), demo.commands.pid) == pids
    assert endpoint_in(again) == endpoint_url
    assert objects_of(demo.folder, endpoint_url)["some-folder/mine"] == b"my own file"
    assert (drive / "welcome.txt").read_text() == "changed"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    refused = demo.run(str(elsewhere))
    assert (refused.returncode, refused.stdout) == (4, "")
    assert refused.stderr == f"s3mount: the demo is mounted at {drive} already: stop it first\n"

    (drive / "last moment").write_text("written just before the stop")
    stopped = demo.run("--stop")
    assert stopped.returncode == 0, stopped.stderr
    assert stopped.stdout == f"the demo is stopped; its data stays in {demo.folder}\n"
    assert not is_mounted(drive)
    assert [start_time(pid) for pid in pids] == [None, None]
    assert demo.run("--stop").returncode == 0

    demo.commands.mountpoint = elsewhere
    started = demo.start(str(elsewhere))
    assert is_mounted(elsewhere)
    assert (elsewhere / "last moment").read_text() == "written just before the stop"
    assert (elsewhere / "welcome.txt").read_text() == "changed"
    assert objects_of(demo.folder, endpoint_in(started))["last moment"] == b"written just before the stop"
    assert demo.run("--stop").returncode == 0
    assert not is_mounted(elsewhere)


def server_pid(demo: Demo) -> int:
    return int(re.search(r'"pid": (\d+)', (demo.folder / "server.json").read_text())[1])  # type: ignore[index]
