"""The main job, on real servers with the real rsync: a tree goes in, the cache is thrown away, nothing differs.

Holds P1, P3, P8 and the table "How a file looks" of docs/semantics.md.
"""

import hashlib
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server
from tests.support.trees import copy_standard_library, files_of, make_awkward_tree

SEED = int(os.environ.get("S3MOUNT_TREE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    print(f"S3MOUNT_TREE_SEED={SEED}")
    root = tmp_path_factory.mktemp("tree") / "tree"
    root.mkdir()
    copy_standard_library(root / "stdlib")
    make_awkward_tree(root / "awkward", SEED)
    os.utime(root, ns=(0, 1_500_000_000_000_000_007))
    return root


def rsync(*words: str | Path) -> str:
    command = ["rsync", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def differences(source: Path, target: Path) -> list[str]:
    """What rsync would do to make `target` equal to `source`, contents compared byte by byte."""
    return rsync("-anci", "--delete", f"{source}/", f"{target}/").splitlines()


def bucket_keys(server: S3Server, bucket: str) -> set[str]:
    pages = server.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {found["Key"] for page in pages for found in page.get("Contents", [])}


def assert_objects_are_the_files(server: S3Server, bucket: str, tree: Path, prefix: str, *, read_one_in: int) -> None:
    """Each is one object; the bytes of one in so many are read."""
    files = files_of(tree)
    expected = {prefix + name for name in files}
    links = {prefix + str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_symlink()}
    found = {key for key in bucket_keys(server, bucket) if not key.endswith("/")}
    assert found == expected | links
    for name, path in list(files.items())[::read_one_in]:
        body = server.client.get_object(Bucket=bucket, Key=prefix + name)["Body"].read()
        assert hashlib.sha256(body).digest() == hashlib.sha256(path.read_bytes()).digest(), name
    for path in tree.rglob("*"):
        if path.is_symlink():
            body = server.client.get_object(Bucket=bucket, Key=prefix + str(path.relative_to(tree)))["Body"].read()
            assert body.decode() == os.readlink(path)


def remount_with_an_empty_cache(mount: CliMount) -> None:
    assert mount.unmount().returncode == 0
    shutil.rmtree(mount.cache_dir)
    mount.mount()


@pytest.mark.timeout(300)
def test_round_trip_on_a_store_that_keeps_markers(ministack: S3Server, tree: Path, tmp_path: Path) -> None:
    bucket = ministack.make_bucket()
    with CliMount(ministack, bucket, tmp_path, prefix="host/daily") as mount:
        mount.mount()
        rsync("-a", f"{tree}/", f"{mount.mountpoint}/")
        remount_with_an_empty_cache(mount)
        assert differences(tree, mount.mountpoint) == []
        assert rsync("-ai", f"{tree}/", f"{mount.mountpoint}/") == ""
        assert mount.status()["dirty_files"] == 0
        assert_objects_are_the_files(ministack, bucket, tree, "host/daily/", read_one_in=5)


@pytest.mark.timeout(300)
def test_round_trip_on_seaweedfs(seaweed: S3Server, tree: Path, tmp_path: Path) -> None:
    """SeaweedFS drops the metadata of `dir/` objects, so times and modes of directories are not judged."""
    bucket = seaweed.make_bucket()
    # Long enough for rsync to be done with a directory, so that how fast the machine is does not change the count.
    with CliMount(seaweed, bucket, tmp_path, "--write-back-delay=10s") as mount:
        mount.mount()
        rsync("-a", f"{tree}/", f"{mount.mountpoint}/tree/")
        mount.drain()
        requests = mount.status()["requests"]
        remount_with_an_empty_cache(mount)
        found = differences(tree, mount.mountpoint / "tree")
        assert [line for line in found if not line.startswith(".d")] == []
        assert_objects_are_the_files(seaweed, bucket, tree, "tree/", read_one_in=1)
    files = len(files_of(tree))
    directories = 1 + sum(1 for path in tree.rglob("*") if path.is_dir() and not path.is_symlink())
    links = sum(1 for path in tree.rglob("*") if path.is_symlink())
    probe = 1  # finds out at the first mount whether conditional writes hold
    assert requests["PutObject"] <= files + links + 2 * directories + probe
    assert requests.get("HeadObject", 0) + requests.get("CopyObject", 0) <= 20


def test_nothing_is_sent_again_when_nothing_changed(seaweed: S3Server, tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_awkward_tree(source, SEED)
    with CliMount(seaweed, seaweed.make_bucket(), tmp_path) as mount:
        mount.mount()
        rsync("-a", f"{source}/", f"{mount.mountpoint}/copy/")
        mount.drain()
        before = mount.status()["requests"]
        assert rsync("-ai", f"{source}/", f"{mount.mountpoint}/copy/") == ""
        mount.drain()
        after = mount.status()["requests"]
        for operation in ("PutObject", "CopyObject", "DeleteObjects"):
            assert after.get(operation, 0) == before.get(operation, 0)
