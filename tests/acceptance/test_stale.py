"""A file that others replace, cut or remove while programs have it open on a real mount (P5): here the kernel's page
cache and sizes are in the game."""

import errno
import os
from collections.abc import Iterator

import pytest

from tests.acceptance.watching import wait_until
from tests.support.cli_mount import CliMount
from tests.support.s3_server import S3Server

MIB = 1 << 20
OLD = b"".join(bytes([n]) * MIB for n in range(1, 25))
NEW = {"same size": b"N" * len(OLD), "longer": b"N" * (len(OLD) + MIB), "shorter": b"N" * (MIB // 2), "removed": None}


def read_until_it_fails(file: int) -> tuple[bytes, int]:
    """What comes from the second MiB on, and the errno of what ends it; 0 for an end of the file."""
    got = b""
    try:
        while piece := os.pread(file, MIB, MIB + len(got)):
            got += piece
    except OSError as error:
        return got, error.errno or 0
    return got, 0


CASES = [(who, kind) for who in ("refresh", "another reader", "the reader") for kind in NEW]


@pytest.fixture(scope="module")
def drive(seaweed: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliMount]:
    """With a directory for each case, known since before the first change in the bucket."""
    bucket = seaweed.make_bucket()
    for who, kind in CASES:
        seaweed.client.put_object(Bucket=bucket, Key=f"{who} {kind}/a", Body=OLD)
        seaweed.client.put_object(Bucket=bucket, Key=f"{who} {kind}/other", Body=b"x")
    folder = tmp_path_factory.mktemp("stale")
    with CliMount(seaweed, bucket, folder, "--metadata-ttl=1h", expected_log=["someone else"]) as drive:
        drive.mount()
        yield drive


@pytest.mark.parametrize(("who_notices", "kind"), CASES)
def test_an_open_file_that_others_change(seaweed: S3Server, drive: CliMount, who_notices: str, kind: str) -> None:
    body, bucket = NEW[kind], drive.bucket
    directory = drive.mountpoint / f"{who_notices} {kind}"
    path, key = directory / "a", f"{directory.name}/a"
    first = os.open(path, os.O_RDONLY)
    try:
        assert os.pread(first, MIB, 0) == OLD[:MIB]
        if body is None:
            seaweed.client.delete_object(Bucket=bucket, Key=key)
        else:
            seaweed.client.put_object(Bucket=bucket, Key=key, Body=body)
        if who_notices != "the reader":
            assert drive.run("refresh", str(path)).returncode in (0, 1)
        if who_notices == "another reader" and body is not None:
            # Fills the page cache, which is one for all opens of an inode.
            wait_until(lambda: path.stat().st_size == len(body))
            assert path.read_bytes() == body
        got, code = read_until_it_fails(first)
        assert got == OLD[MIB : MIB + len(got)]
        assert (len(got) < len(OLD) - MIB, code) == (True, errno.ESTALE)
    finally:
        os.close(first)
    drive.run("refresh", str(directory))
    if body is None:
        wait_until(lambda: os.listdir(directory) == ["other"] and not path.exists())
    else:
        wait_until(lambda: path.stat().st_size == len(body))
        assert path.read_bytes() == body
