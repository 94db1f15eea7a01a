"""`kill -9` of the mount process: what was acknowledged is in the bucket after the next mount (P1, P3)."""

import contextlib
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server

SEED = int(os.environ.get("S3MOUNT_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
ROUNDS = int(os.environ.get("S3MOUNT_KILL_ROUNDS", "3"))


def make_source(folder: Path) -> dict[str, bytes]:
    print(f"S3MOUNT_KILL_SEED={SEED}")
    dice = random.Random(SEED)
    folder.mkdir()
    content: dict[str, bytes] = {}
    for number in range(150):
        name = f"d{number % 7}/file {number}"
        content[name] = dice.randbytes(dice.choice([0, 10, 5_000, 100_000]))
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content[name])
    content["large"] = dice.randbytes(20 << 20)
    (folder / "large").write_bytes(content["large"])
    return content


def read_bucket(server: S3Server, bucket: str, prefix: str) -> dict[str, bytes]:
    pages = server.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [found["Key"] for page in pages for found in page.get("Contents", []) if not found["Key"].endswith("/")]
    return {key.removeprefix(prefix): server.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def test_killed_right_after_cp_returned(seaweed: S3Server, tmp_path: Path) -> None:
    content = make_source(tmp_path / "source")
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path) as mount:
        mount.mount()
        pid = mount.pid
        subprocess.run(["cp", "-r", tmp_path / "source", mount.mountpoint / "copy"], check=True, timeout=60)
        mount.kill(pid)
        assert mount.owed_on_disk(), "everything was uploaded before the kill, so nothing was tried"
        assert mount.unmount().returncode == 0  # what a person does about "Transport endpoint is not connected"
        mount.mount()
        mount.drain()
        assert read_bucket(seaweed, bucket, "copy/") == content
        remaining = {path.relative_to(mount.mountpoint / "copy").as_posix() for path in mount.mountpoint.rglob("*")
                     if path.is_file()}  # fmt: skip
        assert remaining == set(content)


def test_killed_again_and_again_while_uploading(seaweed: S3Server, tmp_path: Path) -> None:
    """Kills at moments that a seed chooses, many in the middle of requests; nothing is lost, nothing comes back."""
    dice = random.Random(SEED)
    content = make_source(tmp_path / "source")
    bucket = seaweed.make_bucket()
    kills_with_work = 0
    expected: dict[str, bytes] = {}
    with CliMount(seaweed, bucket, tmp_path, "--write-back-delay=100ms") as mount:
        mount.mount()
        for number in range(ROUNDS):
            copy = mount.mountpoint / f"copy{number}"
            subprocess.run(["cp", "-r", tmp_path / "source", copy], check=True, timeout=60)
            shutil.rmtree(copy / "d3")
            os.rename(copy / "d1", copy / "renamed")
            (copy / "large").rename(copy / "d2" / "large")
            for name, body in content.items():
                new_name = name.replace("d1/", "renamed/", 1) if name != "large" else "d2/large"
                if not name.startswith("d3/"):
                    expected[f"copy{number}/{new_name}"] = body
            time.sleep(dice.uniform(0, 0.5))
            kills_with_work += mount.status()["dirty_files"] > 0
            mount.kill()
            assert mount.unmount().returncode == 0
            mount.mount()
        mount.drain()
        assert kills_with_work, "everything was uploaded before each kill, so nothing was tried"
        assert read_bucket(seaweed, bucket, "") == expected
        assert not seaweed.client.list_multipart_uploads(Bucket=bucket).get("Uploads")
        assert mount.unmount().returncode == 0
        shutil.rmtree(mount.cache_dir)
        mount.mount()
        for name, body in expected.items():
            assert (mount.mountpoint / name).read_bytes() == body


def test_a_file_that_was_unlinked_while_open_is_gone_after_a_kill(seaweed: S3Server, tmp_path: Path) -> None:
    """Its object, if there was one, and its cached bytes too; the name is free."""
    bucket = seaweed.make_bucket()
    with CliMount(seaweed, bucket, tmp_path) as mount:
        mount.mount()
        pid = mount.pid
        for name in ("uploaded", "replaced"):
            (mount.mountpoint / name).write_bytes(name.encode() * 1000)
        mount.drain()
        with contextlib.ExitStack() as stack:
            for name in ("uploaded", "replaced", "new"):
                file = stack.enter_context((mount.mountpoint / name).open("a+b", buffering=0))
                file.write(b"o" * 100_000)
            os.unlink(mount.mountpoint / "uploaded")
            os.unlink(mount.mountpoint / "new")
            (mount.mountpoint / "draft").write_bytes(b"draft")
            os.rename(mount.mountpoint / "draft", mount.mountpoint / "replaced")
            mount.kill(pid)
            with contextlib.suppress(OSError):
                stack.close()
        assert mount.unmount().returncode == 0
        mount.mount()
        assert sorted(os.listdir(mount.mountpoint)) == ["replaced"]
        assert (mount.mountpoint / "replaced").read_bytes() == b"draft"
        mount.drain()
        assert read_bucket(seaweed, bucket, "") == {"replaced": b"draft"}
        deadline = time.monotonic() + 10
        while len([path for path in mount.cache_dir.glob("*/cache/*/*") if path.is_file()]) > 1:
            assert time.monotonic() < deadline, "cached bytes of files that are gone"
            time.sleep(0.05)
