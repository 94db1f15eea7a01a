"""A file larger than the memory it may take goes up as multipart, and comes back the same; a sparse one needs no room.

Of 1 GiB and 320 MiB; scripts/soak has 5 GiB and 6 GiB.
"""

import os
import time
from pathlib import Path

import pytest

from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server

MIB = 1 << 20
SIZE_MIB = int(os.environ.get("S3MOUNT_LARGE_MIB", "1024"))
SPARSE_MIB = int(os.environ.get("S3MOUNT_SPARSE_MIB", "320"))
RSS_KIB_MAX = 400 * 1000 * 1000 // 1024


def mib(number: int) -> bytes:
    """The number-th MiB of the file: no two are alike."""
    return number.to_bytes(8, "big") * (MIB // 8)


def peak_rss_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@pytest.mark.timeout(400)
def test_a_large_file(seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path, f"--cache-size={SIZE_MIB + 512}MiB", is_loaded=False) as mount:
        mount.mount()
        target = mount.mountpoint / "large"
        with target.open("wb", buffering=0) as file:
            for number in range(SIZE_MIB):
                file.write(mib(number))
        mount.drain(timeout_s=300)
        status = mount.status()
        parts = status["requests"]["UploadPart"]
        assert parts >= SIZE_MIB // 8
        assert status["requests"]["CompleteMultipartUpload"] == 1
        assert peak_rss_kib(mount.pid) < RSS_KIB_MAX
        head = seaweed.client.head_object(Bucket=bucket, Key="large")
        assert head["ContentLength"] == SIZE_MIB * MIB
        for number in (0, 1, 7, 8, SIZE_MIB // 2, SIZE_MIB - 1):
            spot = f"bytes={number * MIB}-{(number + 1) * MIB - 1}"
            assert seaweed.client.get_object(Bucket=bucket, Key="large", Range=spot)["Body"].read() == mib(number)
        target.unlink()
        mount.drain()
    seaweed.client.delete_bucket(Bucket=bucket)


@pytest.mark.timeout(400)
def test_a_sparse_file_takes_neither_cache_nor_memory(seaweed: S3Server, tmp_path: Path) -> None:
    """Zeros but for three spots, on a cache of 64 MiB; S3 gets all of it."""
    bucket = seaweed.make_bucket()
    size = SPARSE_MIB * MIB
    spots = (0, size // 2, size - MIB)
    with CliMount(seaweed, bucket, tmp_path, "--cache-size=64MiB", is_loaded=False) as mount:
        mount.mount()
        target = mount.mountpoint / "sparse"
        begun = time.monotonic()
        with target.open("wb", buffering=0) as file:
            file.truncate(size)
            for number, spot in enumerate(spots, 1):
                file.seek(spot)
                file.write(mib(number))
        assert time.monotonic() - begun < 5
        assert target.stat().st_blocks * 512 <= 4 * MIB
        assert mount.status()["cache_bytes"] <= 4 * MIB
        mount.drain(timeout_s=300)
        assert peak_rss_kib(mount.pid) < RSS_KIB_MAX
        assert mount.status()["cache_bytes"] <= 4 * MIB
        assert target.stat().st_blocks * 512 <= 4 * MIB
        assert seaweed.client.head_object(Bucket=bucket, Key="sparse")["ContentLength"] == size
        for number, spot in enumerate(spots, 1):
            there = seaweed.client.get_object(Bucket=bucket, Key="sparse", Range=f"bytes={spot}-{spot + MIB - 1}")
            assert there["Body"].read() == mib(number)
        target.unlink()
        mount.drain()
    seaweed.client.delete_bucket(Bucket=bucket)
