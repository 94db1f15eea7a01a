"""`s3mount demo`: a drive over a bucket on this computer, with no account and no configuration.

Starts the SeaweedFS server (demo/seaweedfs.py) over a folder, makes the bucket, mounts it as `s3mount mount` does, and
copies the samples in. Everything lies in that folder and stays there; run again, it takes up what is there.
"""

import configparser
import contextlib
import json
import os
import secrets
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click
from platformdirs import user_data_dir

from s3mount.cli.find import client_of, place_of
from s3mount.cli.mount import MountRequest, make_request, mount_in_background
from s3mount.cli.preflight import check_fuse
from s3mount.cli.progress import DrainDisplay, files_text, show_owed, size_text
from s3mount.cli.unmount import unmount
from s3mount.control.mount_table import resolve_mountpoint
from s3mount.control.processes import is_running
from s3mount.control.registry import MountEntry, Registry
from s3mount.demo.sample import write_samples
from s3mount.demo.seaweedfs import LOOPBACK, SeaweedServer, stop_process
from s3mount.errors import MountError, MountPointUnusable, NotDrained
from s3mount.host import start_time
from s3mount.private import make_folder

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET: Final = "demo"
_REGION: Final = "us-east-1"
_PROFILE: Final = "default"
_OBJECTS_SHOWN_MAX: Final = 20
_DRAIN_DEADLINE_S: Final = 120.0
_REQUEST_DEADLINE_S: Final = 10
_SERVER_STOP_DEADLINE_S: Final = 90.0


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """The server that runs over the folder; `started` tells a pid used again apart."""

    pid: int
    started: str
    endpoint_url: str

    @property
    def port(self) -> int:
        return urlsplit(self.endpoint_url).port or 0

    @property
    def is_running(self) -> bool:
        return is_running(self.pid, self.started)


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """What lies where in the demo's folder."""

    path: Path

    @property
    def credentials_file(self) -> Path:
        return self.path / "credentials"

    @property
    def server_file(self) -> Path:
        return self.path / "server.json"

    @property
    def objects_dir(self) -> Path:
        return self.path / "objects"

    @property
    def cache_dir(self) -> Path:
        return self.path / "cache"

    def prepare(self) -> None:
        """Make the folder and the credentials, for this user alone. Raises MountError."""
        try:
            make_folder(self.path)
            if not self.credentials_file.exists():
                _write_private(
                    self.credentials_file,
                    f"[{_PROFILE}]\naws_access_key_id = {secrets.token_hex(10)}\n"
                    f"aws_secret_access_key = {secrets.token_hex(20)}\n",
                )
        except OSError as error:
            raise MountError(f"the folder {self.path} cannot be used: {error}; choose another with --dir") from error

    def keys(self) -> tuple[str, str]:
        """The access key and the secret key."""
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(self.credentials_file.read_text())
            section = parser[_PROFILE]
            return section["aws_access_key_id"], section["aws_secret_access_key"]
        except (OSError, configparser.Error, KeyError) as error:
            raise MountError(f"{self.credentials_file} cannot be read ({error}): remove it and start again") from error

    def last_server(self) -> ServerRecord | None:
        """The server that was started last over this folder; it may have ended."""
        try:
            return ServerRecord(**json.loads(self.server_file.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def _write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
    beside.replace(path)


def _ensure_server(folder: DemoFolder) -> tuple[ServerRecord, SeaweedServer | None]:
    """The server over the folder, and the one that had to be started. Raises MountError."""
    record = folder.last_server()
    if record is not None and record.is_running:
        return record, None
    # The state folder of a mount goes by its endpoint: on the same port, a start after a crash finds what is owed.
    port = record.port if record is not None and _is_free(record.port) else None
    access_key, secret_key = folder.keys()
    server = SeaweedServer(folder.objects_dir, access_key=access_key, secret_key=secret_key, port=port)
    server.start()
    record = ServerRecord(server.pid, start_time(server.pid) or "", server.endpoint_url)
    _write_private(folder.server_file, json.dumps(asdict(record)))
    return record, server


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _s3_client(folder: DemoFolder, endpoint_url: str) -> Iterator["S3Client"]:
    """Plain botocore, as any other S3 tool would look at the bucket."""
    import botocore.session
    from botocore.client import Config

    access_key, secret_key = folder.keys()
    client: Any = botocore.session.Session().create_client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=_REGION,
        config=Config(connect_timeout=_REQUEST_DEADLINE_S, read_timeout=_REQUEST_DEADLINE_S, proxies={}),
    )
    try:
        yield client
    finally:
        client.close()


def _ensure_bucket(client: "S3Client") -> None:
    if BUCKET not in [bucket.get("Name") for bucket in client.list_buckets().get("Buckets", [])]:
        client.create_bucket(Bucket=BUCKET)


def _show_objects(client: "S3Client") -> None:
    """The objects, sorted by key: how a listing is ordered differs between servers."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    objects = sorted((found["Key"], found["Size"]) for page in pages for found in page.get("Contents", []))
    click.echo(f"the same as objects in s3://{BUCKET}:")
    for key, size in objects[:_OBJECTS_SHOWN_MAX]:
        click.echo(f"  {key}  ({size_text(size)})")
    if len(objects) > _OBJECTS_SHOWN_MAX:
        click.echo(f"  … and {len(objects) - _OBJECTS_SHOWN_MAX} more")


def _environment(folder: DemoFolder) -> dict[str, str]:
    """This process' environment without the person's own AWS settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    # No instance metadata service is asked for what is given here; the server answers on loopback, past any proxy.
    demo = {
        "AWS_SHARED_CREDENTIALS_FILE": str(folder.credentials_file),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    return {**kept, **demo}


def _mounts_of(folder: DemoFolder) -> list[MountEntry]:
    return [entry for entry in Registry().entries() if folder.cache_dir in Path(entry.state_dir).parents]


def _request(folder: DemoFolder, endpoint_url: str, drive: Path) -> MountRequest:
    settings = {"endpoint-url": endpoint_url, "region": _REGION, "cache-dir": str(folder.cache_dir)}
    return make_request(f"s3://{BUCKET}", place_of(str(drive)), settings, (), (), {})


def _ensure_mount(folder: DemoFolder, endpoint_url: str, wanted: Path | None) -> MountEntry:
    """The mount of the demo bucket: the one that is up, or a new one at `wanted` (default: `drive` in the folder)."""
    for entry in _mounts_of(folder):
        if not entry.is_alive:
            unmount(Path(entry.mountpoint))
        elif entry.is_mounted:
            if wanted is not None and str(wanted) != entry.mountpoint:
                raise MountPointUnusable(f"the demo is mounted at {entry.mountpoint} already: stop it first")
            return entry
    if wanted is None:
        wanted = folder.path / "drive"
        wanted.mkdir(exist_ok=True)
    request = _request(folder, endpoint_url, wanted)
    mount_in_background(request, _environment(folder))
    started = Registry().find(request.mountpoint)
    if started is None:
        raise MountError(f"the mount at {wanted} ended at once: see the log in {folder.cache_dir}")
    return started


def _start(folder: DemoFolder, wanted: Path | None) -> None:
    check_fuse(allow_other=False)
    folder.prepare()
    server, started = _ensure_server(folder)
    try:
        with _s3_client(folder, server.endpoint_url) as client:
            _ensure_bucket(client)
            entry = _ensure_mount(folder, server.endpoint_url, wanted)
    except BaseException:
        if started is not None:
            started.stop()
        raise
    with _s3_client(folder, server.endpoint_url) as client:
        _fill(entry, client, server.endpoint_url)
    _explain(folder, Path(entry.mountpoint), server.endpoint_url)


def _fill(entry: MountEntry, client: "S3Client", endpoint_url: str) -> None:
    """Copy the samples in, wait until they are objects, and show both sides."""
    drive = Path(entry.mountpoint)
    click.echo(f"s3://{BUCKET} on {endpoint_url} is mounted at {drive}:")
    for name in write_samples(drive):
        click.echo(f"  {name}  ({size_text((drive / name).stat().st_size)})")
    with DrainDisplay() as display:
        owed = client_of(entry).drain(deadline_s=_DRAIN_DEADLINE_S, progress=display.update)
    if owed:
        show_owed(owed)
        raise NotDrained(f"{files_text(len(owed))} of {drive} not in the bucket; see s3mount status {drive}")
    _show_objects(client)


def _program() -> str:
    """How the person can call s3mount: scripts/demo runs it from an environment that is not on their path."""
    if shutil.which("s3mount") is not None:
        return "s3mount"
    beside = Path(sys.executable).with_name("s3mount")
    return shlex.quote(str(beside)) if beside.exists() else f"{shlex.quote(sys.executable)} -m s3mount"


def _explain(folder: DemoFolder, drive: Path, endpoint_url: str) -> None:
    credentials, mounted_at = shlex.quote(str(folder.credentials_file)), shlex.quote(str(drive))
    look = (
        f"AWS_SHARED_CREDENTIALS_FILE={credentials} aws --endpoint-url {endpoint_url} s3 ls --recursive s3://{BUCKET}"
    )
    click.echo(f"Try:   cp -r ~/some-folder {mounted_at}/ && {_program()} status {mounted_at}")
    click.echo(f"Look:  {look}")
    click.echo(f"Stop:  {_program()} demo --stop{_dir_words(folder)}   (what is in the bucket stays in {folder.path})")


def _dir_words(folder: DemoFolder) -> str:
    return "" if folder.path == _default_folder() else f" --dir {shlex.quote(str(folder.path))}"


def _default_folder() -> Path:
    return Path(user_data_dir("s3mount", appauthor=False)) / "demo"


def _stop(folder: DemoFolder) -> None:
    """Unmount with drain, then stop the server. Raises NotDrained with the server still up."""
    for entry in _mounts_of(folder):
        unmount(Path(entry.mountpoint))
    server = folder.last_server()
    if server is not None and server.is_running:
        click.echo("stopping the server, which can take half a minute", err=True)
        stop_process(server.pid, deadline_s=_SERVER_STOP_DEADLINE_S)
    click.echo(f"the demo is stopped; its data stays in {folder.path}")


@click.command("demo", short_help="Try a drive over a bucket on this computer.")
@click.argument("mountpoint", metavar="[MOUNTPOINT]", required=False)
@click.option("--dir", "folder_text", metavar="DIR", help="Where the demo's data is.  [default: your data directory]")
@click.option("--stop", is_flag=True, help="Unmount the demo and stop its server; the data stays.")
def command(mountpoint: str | None, folder_text: str | None, stop: bool) -> int:
    """Start an S3 server on this computer, mount a bucket of it and copy a few files in.

    No account and no configuration are needed. MOUNTPOINT is an empty directory; default is `drive` in the demo's
    folder. Running it again takes up what is there.
    """
    folder = DemoFolder(_default_folder() if folder_text is None else Path(os.path.abspath(folder_text)))
    if stop:
        _stop(folder)
    else:
        _start(folder, None if mountpoint is None else resolve_mountpoint(mountpoint))
    return 0
