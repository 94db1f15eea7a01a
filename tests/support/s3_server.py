"""S3 servers as child processes of the tests: SeaweedFS and ministack, each with buckets and a plain client.

Used by the session fixtures in tests/conftest.py, from one thread. A server that is not installed fails the tests
that need it and says how to get it; nothing is skipped.
"""

import contextlib
import os
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError

from s3mount.demo.seaweedfs import LOOPBACK, SeaweedServer, free_ports

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

SEAWEEDFS = "seaweedfs"
MINISTACK_VERSION = "1.5.33"
CHECKOUT = Path(__file__).resolve().parents[2]
MINISTACK_DEFAULT = CHECKOUT / ".venv-ministack" / "bin" / "ministack"

ACCESS_KEY = "s3mounttest"
SECRET_KEY = "s3mounttestsecret"
REGION = "us-east-1"
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 10.0


_made: list[tuple["S3Client", str]] = []


def bucket_count() -> int:
    """How many buckets were made and not dropped."""
    return len(_made)


def drop_buckets(kept: int) -> None:
    """Remove all but the `kept` oldest, with what they hold: SeaweedFS reserves volumes for each, and has about 60."""
    while len(_made) > kept:
        client, bucket = _made.pop()
        with contextlib.suppress(client.exceptions.NoSuchBucket, EndpointConnectionError):
            client.delete_bucket(Bucket=bucket)


class ServerMissing(Exception):
    """The server is not installed; the text says how to install it."""


@dataclass(frozen=True)
class S3Server:
    """A running server. `client` is a plain boto3 client with the root keys: the other tool that tests need."""

    name: str
    endpoint_url: str
    client: "S3Client"
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = REGION

    def make_bucket(self) -> str:
        """The name of a new, empty bucket. On SeaweedFS it goes with the test that made it."""
        bucket = f"bucket-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=bucket)
        if self.name == SEAWEEDFS:
            _made.append((self.client, bucket))
        return bucket

    def environment(self) -> dict[str, str]:
        """The variables that let any S3 tool, s3mount among them, find the keys and nothing else of this account."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextlib.contextmanager
def run_seaweed(folder: Path) -> Iterator[S3Server]:
    server = SeaweedServer(folder, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    server.start(deadline_s=START_DEADLINE_S)
    try:
        with _client(server.endpoint_url) as client:
            yield S3Server(SEAWEEDFS, server.endpoint_url, client)
    finally:
        server.stop()


@contextlib.contextmanager
def run_ministack(folder: Path) -> Iterator[S3Server]:
    executable = Path(os.environ.get("S3MOUNT_TEST_MINISTACK", MINISTACK_DEFAULT))
    if not executable.exists():
        raise ServerMissing(
            f"no ministack at {executable}: python -m venv {MINISTACK_DEFAULT.parents[1]} && "
            f"{MINISTACK_DEFAULT.with_name('pip')} install ministack=={MINISTACK_VERSION}, "
            "or name the program in S3MOUNT_TEST_MINISTACK"
        )
    (port,) = free_ports(1)
    endpoint_url = f"http://{LOOPBACK}:{port}"
    environment = os.environ | {
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        "SERVICES": "s3",
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder / "s3"),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "state"),
    }
    log_path = folder / "ministack.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [str(executable)], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _wait_answer(process, endpoint_url, log_path)
        with _client(endpoint_url) as client:
            yield S3Server("ministack", endpoint_url, client)
    finally:
        process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_DEADLINE_S)


@contextlib.contextmanager
def _client(endpoint_url: str) -> Iterator["S3Client"]:
    config = Config(retries={"total_max_attempts": 3}, s3={"addressing_style": "path"})
    client: Any = botocore.session.Session().create_client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=REGION,
        config=config,
    )
    try:
        yield client
    finally:
        client.close()


def _wait_answer(process: "subprocess.Popen[bytes]", endpoint_url: str, log_path: Path) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with opener.open(endpoint_url, timeout=2):
                return
        except urllib.error.HTTPError as error:
            with error:
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"ministack did not start, see {log_path}")
