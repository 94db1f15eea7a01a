"""A real workload over a network that loses requests at random, and a bucket that turns away for good in the middle:
after it is mended and drained, the bucket equals the tree (P4, P6). `S3MOUNT_NETWORK_SEED=N` repeats one seed."""

import os
import random
from pathlib import Path

import pytest

from s3mount.errors import FsError, IOFailure
from tests.faults.bench import MIB, until
from tests.network.conftest import NetworkBench
from tests.support.fault_proxy import FaultProxy
from tests.support.s3_server import S3Server

ASKED_SEED = os.environ.get("S3MOUNT_NETWORK_SEED")
SEEDS = [int(ASKED_SEED)] if ASKED_SEED else [1, 2, 3, 4]
STEPS = 120


class Workload:
    """Writes, rewrites, renames and removals, and what the tree must be after them. Only what reported success counts;
    a step that failed is looked at anew."""

    def __init__(self, bench: NetworkBench, seed: int) -> None:
        self.bench = bench
        self.random = random.Random(seed)
        self.files: dict[str, bytes] = {}
        for number in range(3):
            bench.mkdir(f"/d{number}")

    def new_path(self) -> str:
        return f"d{self.random.randrange(3)}/f{self.random.randrange(40)}"

    def step(self) -> None:
        path = self.new_path()
        kind = self.random.random()
        if kind < 0.6 or not self.files:
            size = self.random.choice((0, 100, 10_000, 300_000, 9 * MIB if kind < 0.04 else 50_000))
            body = self.random.randbytes(size)
            if path in self.files:
                self.bench.fs.unlink(f"/{path}")
            self.bench.write(f"/{path}", body)
            self.files[path] = body
        elif kind < 0.75:
            path = self.random.choice(sorted(self.files))
            body = self.random.randbytes(1000) + self.files[path][1000:]
            self.bench.write(f"/{path}", body[:1000])
            self.files[path] = body
        elif kind < 0.9:
            source = self.random.choice(sorted(self.files))
            self.bench.fs.rename(f"/{source}", f"/{path}")
            self.files[path] = self.files.pop(source)
        else:
            path = self.random.choice(sorted(self.files))
            self.bench.fs.unlink(f"/{path}")
            del self.files[path]


@pytest.mark.parametrize("seed", SEEDS)
def test_one_request_in_ten_is_lost(seaweed: S3Server, tmp_path: Path, seed: int) -> None:
    print(f"S3MOUNT_NETWORK_SEED={seed}")
    with FaultProxy(seaweed.endpoint_url, seed=seed) as proxy:
        bench = NetworkBench(tmp_path, server=seaweed, proxy=proxy, offline_timeout_s=10)
        try:
            workload = Workload(bench, seed)
            proxy.drop_one_in = 10
            for number in range(STEPS):
                workload.step()
                if number == STEPS // 2:
                    bench.restart()
            # How many changes go up together, and so in how many requests, depends on how fast the machine is.
            until(lambda: proxy.dropped >= 10 or workload.step(), 60, "requests lost")
            bench.settle(100)
            assert len(proxy.requests) > 50
            proxy.heal()
            for number in range(3):
                bench.refresh(f"/d{number}")
            abort_unknown(bench)
            bench.check(workload.files)
        finally:
            bench.close()


def abort_unknown(bench: NetworkBench) -> None:
    """Uploads whose id, or whose abort, was lost on the way are S3's alone by now."""
    assert bench.server is not None
    client, bucket = bench.server.client, bench.bucket_name
    for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


@pytest.mark.parametrize("retried_by", ["drain", "remount"])
def test_refused_for_good_in_the_middle(bench: NetworkBench, retried_by: str) -> None:
    assert bench.proxy is not None
    bench.write("/before", b"before")
    bench.settle()
    bench.proxy.answer(403, "AccessDenied", operation="PutObject", times=1 << 20)
    bench.write("/refused", b"refused")
    until(lambda: bench.drive.writeback.backlog().parked == 1, 40)
    fh = bench.open("/refused")
    with pytest.raises(IOFailure, match="AccessDenied"):
        bench.fs.fsync(fh)
    with pytest.raises(IOFailure, match="AccessDenied"):
        bench.fs.flush(fh)
    bench.fs.release(fh)
    assert [left.path for left in bench.drive.writeback.refused()] == ["/refused"]
    assert bench.read("/refused") == b"refused"
    bench.proxy.heal()
    if retried_by == "remount":
        bench.restart()
        bench.settle()
    bench.check({"before": b"before", "refused": b"refused"})


def test_the_bucket_is_deleted_and_made_again(bench: NetworkBench) -> None:
    assert bench.server is not None
    client, bucket = bench.server.client, bench.bucket_name
    bench.write("/kept", b"kept")
    bench.settle()
    client.delete_object(Bucket=bucket, Key="kept")
    client.delete_bucket(Bucket=bucket)
    bench.write("/new", b"new")
    until(lambda: bench.drive.writeback.backlog().parked == 1, 40)
    (left,) = bench.drive.writeback.refused()
    assert "there is no bucket" in left.cause
    assert bench.read("/kept") == b"kept"
    bench.refresh()
    with pytest.raises(FsError):
        bench.names()
    client.create_bucket(Bucket=bucket)
    bench.drain(20)
    assert bench.bucket() == {"new": b"new"}
