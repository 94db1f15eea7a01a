"""Whatever is wrong with what was asked: the right exit code and one line that says what and what to do, soon, with
nothing mounted and no secret told."""

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.cli_mount import CliMount, Completed
from tests.support.mount_process import is_mounted
from tests.support.s3_server import S3Server

SECONDS_MAX = 10.0
WRONG_SECRET = "aSecretThatNobodyMayRead"

# What each case's line must contain, besides its beginning: what is wrong, and what to do about it.
Words = Sequence[str]


def refuse(drive: CliMount, *arguments: str, code: int, words: Words) -> str:
    """Run s3mount with these arguments and check everything that a refusal promises; returns the line."""
    before = mounts_below(drive.mountpoint.parents[1])
    begin = time.monotonic()
    outcome = drive.run(*arguments)
    took_s = time.monotonic() - begin
    assert mounts_below(drive.mountpoint.parents[1]) == before
    check_refusal(outcome, code, words)
    assert took_s < SECONDS_MAX
    for file in [*drive.cache_dir.rglob("*.log*"), *Path(drive.environment["XDG_STATE_HOME"]).rglob("*.log*")]:
        check_text(file.read_text(), drive.environment.get("AWS_SECRET_ACCESS_KEY"))
    check_text(outcome.stderr, drive.environment.get("AWS_SECRET_ACCESS_KEY"))
    return outcome.stderr


def mounts_below(folder: Path) -> list[str]:
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if f" {folder}/" in line]


def check_refusal(outcome: Completed, code: int, words: Words) -> None:
    assert outcome.returncode == code, outcome.stderr
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("s3mount: ")
    assert outcome.stderr.endswith("\n")
    assert outcome.stderr.count("\n") == 1, outcome.stderr
    for word in words:
        assert word in outcome.stderr


def check_text(text: str, secret: str | None) -> None:
    assert "Traceback" not in text
    assert WRONG_SECRET not in text
    assert secret is None or secret not in text


@pytest.fixture(scope="module")
def bucket(seaweed: S3Server) -> str:
    return seaweed.make_bucket()


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": WRONG_SECRET}, ["SignatureDoesNotMatch", "check --profile"]),
        ({"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": WRONG_SECRET}, ["InvalidAccessKeyId", "--profile"]),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, ["no credentials", "check --profile"]),
        ({"AWS_PROFILE": "no-such-profile"}, ["no-such-profile", "--profile"]),
    ],
    ids=["wrong-secret", "unknown-key", "no-credentials", "no-such-profile"],
)
def test_credentials_that_do_not_open_the_bucket(
    seaweed: S3Server, bucket: str, tmp_path: Path, environment: dict[str, str], words: Words
) -> None:
    """With the log that tells most, so that no secret may be in it either."""
    with CliMount(seaweed, bucket, tmp_path, "--log-level=debug", environment=environment, expected_log=["."]) as drive:
        refuse(drive, *drive.mount_words(), code=3, words=[bucket, *words])


def test_no_such_bucket(seaweed: S3Server, tmp_path: Path) -> None:
    with CliMount(seaweed, "no-such-bucket", tmp_path, expected_log=["."]) as drive:
        refuse(drive, *drive.mount_words(), code=3, words=["no-such-bucket", "there is no bucket", "make it first"])


def test_no_such_bucket_in_the_foreground(seaweed: S3Server, tmp_path: Path) -> None:
    with CliMount(seaweed, "no-such-bucket", tmp_path) as drive:
        refuse(drive, *drive.mount_words("--foreground"), code=3, words=["no-such-bucket", "make it first"])


def test_an_endpoint_that_refuses(seaweed: S3Server, bucket: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with CliMount(seaweed, bucket, tmp_path, endpoint_url=endpoint_url, expected_log=["."]) as drive:
        refuse(drive, *drive.mount_words(), code=3, words=[endpoint_url, "check --endpoint-url"])


def test_an_endpoint_that_never_answers(seaweed: S3Server, bucket: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with CliMount(seaweed, bucket, tmp_path, endpoint_url=endpoint_url, expected_log=["."]) as drive:
            refuse(drive, *drive.mount_words(), code=3, words=[endpoint_url, "no answer", "check --endpoint-url"])


def test_an_endpoint_without_a_name(seaweed: S3Server, bucket: str, tmp_path: Path) -> None:
    endpoint_url = "http://no-such-host.invalid:9000"
    with CliMount(seaweed, bucket, tmp_path, endpoint_url=endpoint_url, expected_log=["."]) as drive:
        refuse(drive, *drive.mount_words(), code=3, words=["no-such-host.invalid", "check --endpoint-url"])


def test_an_endpoint_that_is_no_s3(seaweed: S3Server, bucket: str, tmp_path: Path) -> None:
    """A TLS address for a plain server, which is what a typing error in the scheme makes of it."""
    endpoint_url = seaweed.endpoint_url.replace("http:", "https:")
    with CliMount(seaweed, bucket, tmp_path, endpoint_url=endpoint_url, expected_log=["."]) as drive:
        refuse(drive, *drive.mount_words(), code=3, words=[endpoint_url, "check --endpoint-url"])


def test_mount_points_that_cannot_be(seaweed: S3Server, bucket: str, tmp_path: Path) -> None:
    with CliMount(seaweed, bucket, tmp_path) as drive:
        drive.mountpoint.rmdir()
        where = str(drive.mountpoint)
        refuse(drive, *drive.mount_words(), code=4, words=[where, "does not exist", "mkdir -p"])
        drive.mountpoint.write_text("a file")
        refuse(drive, *drive.mount_words(), code=4, words=[where, "is not a directory", "choose another"])
        drive.mountpoint.unlink()
        drive.mountpoint.mkdir()
        (drive.mountpoint / "a file").touch()
        refuse(drive, *drive.mount_words(), code=4, words=[where, "is not empty", "choose an empty directory"])
        (drive.mountpoint / "a file").unlink()
        drive.mountpoint.rmdir()
        drive.mountpoint.symlink_to(tmp_path / "gone")
        refuse(drive, *drive.mount_words(), code=4, words=["gone does not exist", "mkdir -p"])
        drive.mountpoint.unlink()
        drive.mountpoint.mkdir()


def test_what_is_mounted_already_and_what_a_dead_process_left(seaweed: S3Server, bucket: str, tmp_path: Path) -> None:
    with CliMount(seaweed, bucket, tmp_path) as drive, CliMount(seaweed, bucket, tmp_path / "second") as second:
        drive.mount()
        where = str(drive.mountpoint)
        again = [where if word == str(second.mountpoint) else word for word in second.mount_words()]
        refuse(second, *again, code=4, words=[where, "already mounted", "unmount it"])

        # The same cache directory, another mount point.
        shared = [str(second.mountpoint) if word == where else word for word in drive.mount_words()]
        pid = str(drive.pid)
        refuse(drive, *shared, code=1, words=[str(drive.cache_dir), "in use", pid, "--cache-dir"])
        assert (drive.mountpoint / "still works").write_text("yes") == 3

        drive.kill()
        left_over = [where, "process is gone", f"run s3mount unmount {where}"]
        refuse(drive, *drive.mount_words(), code=4, words=left_over)
        refuse(second, *again, code=4, words=left_over)
        refuse(drive, "status", where, code=4, words=left_over[::2])
        refuse(drive, "drain", where, code=4, words=left_over[::2])
        cleared = drive.unmount()
        assert (cleared.returncode, cleared.stdout) == (0, "")
        assert not is_mounted(drive.mountpoint)
        refuse(drive, "unmount", where, code=4, words=[where, "is not mounted"])
        drive.mount()
        assert (drive.mountpoint / "still works").read_text() == "yes"


def test_what_nothing_is_mounted_at(seaweed: S3Server, bucket: str, tmp_path: Path) -> None:
    with CliMount(seaweed, bucket, tmp_path) as drive:
        for command in ("unmount", "drain", "status"):
            refuse(drive, command, str(drive.mountpoint), code=4, words=[str(drive.mountpoint), "is not mounted"])
            refuse(drive, command, str(tmp_path / "gone"), code=4, words=["gone is not mounted"])
        refuse(drive, "unmount", "/proc", code=4, words=["/proc is mounted, but not by s3mount"])


@pytest.mark.parametrize("hidden", ["no-device", "no-fuse-behind-it"])
def test_no_fuse_device(seaweed: S3Server, bucket: str, tmp_path: Path, hidden: str) -> None:
    """In a mount namespace of its own, whose /dev holds null, urandom and shm, and maybe /dev/null as /dev/fuse."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a mount namespace with another /dev: NOT TESTED: no FUSE device")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, timeout=60, check=False).returncode:
        pytest.skip("no mount namespace can be made here (in a chroot, say): NOT TESTED: no FUSE device")
    sources = {"null": "null", "urandom": "urandom"} | ({} if hidden == "no-device" else {"fuse": "null"})
    dev = tmp_path / "dev"
    dev.mkdir()
    for name in sources:
        (dev / name).touch()
    (dev / "shm").mkdir()  # where the tests' own folder may be
    with CliMount(seaweed, bucket, tmp_path, expected_log=["."]) as drive:
        command = shlex.join([sys.executable, "-m", "s3mount", *drive.mount_words()])
        binds = [f"mount --bind /dev/{source} {dev}/{name}" for name, source in sources.items()]
        binds.append(f"mount --bind /dev/shm {dev}/shm")
        script = " && ".join([*binds, f"mount --rbind {dev} /dev", f"exec {command}"])
        begin = time.monotonic()
        outcome = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script], env=drive.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert time.monotonic() - begin < SECONDS_MAX
        words = (
            ["/dev/fuse is missing", "modprobe fuse"] if hidden == "no-device" else ["/dev/fuse", "--cap-add SYS_ADMIN"]
        )
        check_refusal(outcome, 4, words)
        check_text(outcome.stderr + drive.log(), seaweed.secret_key)
        assert not is_mounted(drive.mountpoint)


def test_no_fuse_library(seaweed: S3Server, bucket: str, tmp_path: Path) -> None:
    environment = {"FUSE_LIBRARY_PATH": str(tmp_path / "libfuse-gone.so")}
    with CliMount(seaweed, bucket, tmp_path, environment=environment) as drive:
        refuse(drive, *drive.mount_words(), code=4, words=["FUSE library", "libfuse-gone.so", "apt install fuse3"])
        assert drive.run("--help").returncode == 0
        assert drive.run("status").stdout == "nothing is mounted\n"


def test_a_cache_directory_that_cannot_be(seaweed: S3Server, bucket: str, tmp_path: Path) -> None:
    with CliMount(seaweed, bucket, tmp_path) as drive:
        drive.cache_dir.write_text("a file in its place")
        refuse(drive, *drive.mount_words(), code=1, words=[str(drive.cache_dir), "not writable", "--cache-dir"])
        drive.cache_dir.unlink()
        under = tmp_path / "file"
        under.touch()
        refuse(drive, *drive.mount_words(f"--cache-dir={under}/in"), code=1, words=[f"{under}/in", "not writable"])


def test_a_state_folder_that_cannot_be(seaweed: S3Server, bucket: str, tmp_path: Path) -> None:
    under = tmp_path / "file"
    under.touch()
    with CliMount(seaweed, bucket, tmp_path, environment={"XDG_STATE_HOME": str(under)}) as drive:
        refuse(drive, *drive.mount_words(), code=1, words=[str(under), "state directory"])
        assert drive.run("status").stdout == "nothing is mounted\n"


def test_an_index_that_is_damaged(seaweed: S3Server, bucket: str, tmp_path: Path) -> None:
    """It is left as it is: what it knew is not in the bucket."""
    content = b"not an index " * 500
    with CliMount(seaweed, bucket, tmp_path, "--write-back-delay=1h", expected_log=["."]) as drive:
        drive.mount()
        (drive.mountpoint / "file").write_text("owed")
        assert drive.unmount("--no-drain").returncode == 0
        (index,) = drive.cache_dir.glob("*/index.sqlite")
        for path in index.parent.glob("index.sqlite-*"):
            path.unlink()
        index.write_bytes(content)
        refuse(drive, *drive.mount_words(), code=1, words=[str(index)])
        assert index.read_bytes() == content


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--cache-size=plenty"], ["--cache-size", "plenty", "10GiB"]),
        (["--cache-size=1"], ["--cache-size", "too small", "1MiB"]),
        (["--fsync=maybe"], ["--fsync", "maybe", "local, remote"]),
        (["--umask=999"], ["--umask", "999", "022"]),
        (["--uid=me"], ["--uid", "me", "1000"]),
        (["--write-back-delay=soon"], ["--write-back-delay", "soon", "500ms"]),
        (["--metadata-ttl=-1"], ["--metadata-ttl", "-1", "2m"]),
        (["--storage-class=deep freeze"], ["--storage-class", "deep freeze", "STANDARD_IA"]),
        (["--log-level=loud"], ["--log-level", "loud", "debug"]),
        (["--addressing-style=odd"], ["--addressing-style", "odd", "virtual"]),
        (["--endpoint-url=s3.example.com"], ["--endpoint-url", "s3.example.com", "https://HOST"]),
        ([f"--endpoint-url=https://me:{WRONG_SECRET}@example.com"], ["--endpoint-url", "password", "~/.aws"]),
        ([f"--endpoint-url=https://me:{WRONG_SECRET}@example.com:port"], ["--endpoint-url"]),
        ([f"--endpoint-url=https://me:{WRONG_SECRET}@[bad"], ["--endpoint-url"]),
        (["--no-such-option"], ["--no-such-option", "s3mount mount --help"]),
        (["-o", "cache-size"], ["-o cache-size", "VALUE"]),
        (["-o", "ro,umask=abc"], ["umask", "abc", "022"]),
        (["-o", "read_only=yes"], ["-o read_only", "no value"]),
    ],
    ids=lambda value: value[-1].replace(WRONG_SECRET, "SECRET") if isinstance(value, list) else None,
)
def test_bad_options(seaweed: S3Server, bucket: str, tmp_path: Path, options: list[str], words: Words) -> None:
    with CliMount(seaweed, bucket, tmp_path) as drive:
        refuse(drive, *drive.mount_words(*options), code=2, words=words)
        assert not drive.cache_dir.exists()


def test_an_option_that_fuse_does_not_know(seaweed: S3Server, bucket: str, tmp_path: Path) -> None:
    with CliMount(seaweed, bucket, tmp_path, expected_log=["."]) as drive:
        refuse(
            drive, *drive.mount_words("-o", "no_such_fuse_option"), code=4, words=["no_such_fuse_option", "check -o"]
        )


def test_words_that_are_no_command(seaweed: S3Server, bucket: str, tmp_path: Path) -> None:
    with CliMount(seaweed, bucket, tmp_path) as drive:
        where = str(drive.mountpoint)
        for source in ("bucket", "s3://", "s3://b/../c", "s3://b//c", "https://b"):
            refuse(drive, "mount", source, where, code=2, words=["s3://" if source != "s3://b/../c" else ".."])
        refuse(drive, "mount", f"s3://{bucket}", code=2, words=["MOUNTPOINT", "s3mount mount --help"])
        refuse(drive, "mount", code=2, words=["s3://BUCKET", "s3mount mount --help"])
        refuse(drive, "munt", code=2, words=["munt", "s3mount --help"])
        refuse(drive, "drain", where, "--timeout=soon", code=2, words=["--timeout", "soon", "500ms"])
        refuse(drive, "unmount", code=2, words=["MOUNTPOINT", "s3mount unmount --help"])


def test_keys_that_cannot_be_file_names(ministack: S3Server, tmp_path: Path) -> None:
    """They are shown encoded: read, written, renamed, removed; the names of a copied tree come back."""
    bucket = ministack.make_bucket()
    long_name = "n" * 300
    keys = [
        "d/good",
        "d//x",
        f"d/{long_name}",
        f"d/{long_name}x/y",
        "d/../up",
        "d/./dot",
        "../top",
        "d/é",
        "d",
        "/lead",
        "own/",
        "own/x",
    ]
    keys.append("k" * 1024)
    for key in keys:
        ministack.client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    with CliMount(ministack, bucket, tmp_path) as drive:
        drive.mount()
        shown = sorted(os.listdir(drive.mountpoint))
        assert shown[:4] == ["%2E%2E%key", "%key", "d", "d%key"]
        found = {path.read_bytes().decode(): path for path in drive.mountpoint.rglob("*") if path.is_file()}
        assert set(found) == set(keys)
        assert found["d"] == drive.mountpoint / "d%key"
        for key, path in found.items():
            path.write_bytes(b"written " + key.encode())
        found["d//x"].rename(drive.mountpoint / "d/moved")
        raw = os.fsencode(drive.mountpoint) + b"/caf\xe9"
        os.symlink(b"to \xe9", raw)
        source = os.fsencode(tmp_path) + b"/tree \xff"
        os.mkdir(source)
        for name in (b"\xfe", b"a%key", b"%key", b"100%", b"x%name"):
            Path(os.fsdecode(source + b"/" + name)).write_bytes(name)
        subprocess.run(["cp", "-a", source, drive.mountpoint], check=True)
        drive.drain()
        assert drive.run("check", str(drive.mountpoint)).returncode == 0
        drive.unmount()
        for key in {*keys} - {"d//x"}:
            body = ministack.client.get_object(Bucket=bucket, Key=key)["Body"].read()
            assert body == b"written " + key.encode()
        assert ministack.client.get_object(Bucket=bucket, Key="d/moved")["Body"].read() == b"written d//x"
    with CliMount(ministack, bucket, tmp_path / "empty") as drive:
        drive.mount()
        raw = os.fsencode(drive.mountpoint) + b"/caf\xe9"
        assert os.readlink(raw) == b"to \xe9"
        copied = os.fsencode(drive.mountpoint) + b"/tree \xff"
        subprocess.run(["diff", "-r", source, copied], check=True)
        assert subprocess.run(f"rm -rf '{drive.mountpoint}'/*", shell=True, check=False).returncode == 0
        drive.drain()
        assert ministack.client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
