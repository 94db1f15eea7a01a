"""What the network tests share: SeaweedFS behind a fault proxy, and a drive in process over the real store."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from s3mount.store.s3 import S3Store, open_store
from s3mount.store.settings import StoreSettings
from s3mount.vfs.context import VfsOptions
from tests.faults.bench import Bench
from tests.support.fault_proxy import FaultProxy
from tests.support.s3_server import S3Server

OFFLINE_S = 2.0


@pytest.fixture(autouse=True)
def _credentials(seaweed: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def proxy(seaweed: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(seaweed.endpoint_url) as proxy:
        yield proxy


@dataclass
class NetworkBench(Bench):
    """A drive in process over the real store, on a bucket of its own behind the proxy."""

    server: S3Server | None = None
    proxy: FaultProxy | None = None
    offline_timeout_s: float = OFFLINE_S

    def __post_init__(self) -> None:
        assert self.server is not None
        self.bucket_name = self.server.make_bucket()
        self.vfs = VfsOptions(offline_timeout_s=self.offline_timeout_s)
        self.start()

    def start(self) -> None:
        assert self.proxy is not None
        self.s3: S3Store = open_store(
            StoreSettings(
                self.bucket_name, endpoint_url=self.proxy.endpoint_url,
                request_deadline_s=10, offline_timeout_s=self.offline_timeout_s,
            )
        )  # fmt: skip
        self.store = self.s3  # type: ignore[assignment]
        super().start()

    def close(self) -> None:
        assert self.proxy is not None
        self.proxy.heal()
        self.drive.close()
        self.s3.close()

    def restart(self) -> None:
        self.drive.close()
        self.s3.close()
        self.start()

    # -- the bucket, through another client ----------------------------------------------------------------------

    def bucket(self) -> dict[str, bytes]:
        assert self.server is not None
        client, name = self.server.client, self.bucket_name
        return {
            key: client.get_object(Bucket=name, Key=key)["Body"].read()
            for key in self.object_keys()
            if not key.endswith("/")
        }

    def object_keys(self) -> set[str]:
        assert self.server is not None
        pages = self.server.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket_name)
        return {found["Key"] for page in pages for found in page.get("Contents", [])}

    def put_foreign(self, key: str, body: bytes) -> None:
        assert self.server is not None
        self.server.client.put_object(Bucket=self.bucket_name, Key=key, Body=body)

    def check(self, expected: dict[str, bytes], *, conflicts: int = 0) -> None:
        """Everything is uploaded; bucket and tree are `expected`, and nothing else."""
        self.drain(30)
        assert self.bucket() == expected
        assert self.tree() == expected
        assert self.conflicts() == conflicts
        assert self.server is not None
        assert not self.server.client.list_multipart_uploads(Bucket=self.bucket_name).get("Uploads")


@pytest.fixture
def bench(seaweed: S3Server, proxy: FaultProxy, tmp_path: Path) -> Iterator[NetworkBench]:
    bench = NetworkBench(tmp_path, server=seaweed, proxy=proxy)
    try:
        yield bench
    finally:
        bench.close()


class Stopwatch:
    """`with Stopwatch() as watch: …` and then `watch.s`."""

    s = 0.0

    def __enter__(self) -> "Stopwatch":
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.s = time.monotonic() - self._began
