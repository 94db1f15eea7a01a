"""Other programs that work on buckets, as they come from their packages: s3fs, rclone, s3cmd. Used by tests/acceptance.

One bucket of one server each; what they keep lies in the test's folder. Every command has a deadline.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import rclone_api

from tests.support.mount_process import is_mounted
from tests.support.s3_server import S3Server

DEADLINE_S = 60.0
RCLONE = Path(rclone_api.__file__).parent / "bin" / "rclone"


class ProgramFailed(Exception):
    """The text says what the program said."""


def run(*words: str, environment: dict[str, str] | None = None) -> str:
    """Output of a command. Raises ProgramFailed."""
    outcome = subprocess.run(
        words, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    if outcome.returncode != 0:
        raise ProgramFailed(f"{words[0]} ended with {outcome.returncode}: {outcome.stderr or outcome.stdout}")
    return outcome.stdout


@contextlib.contextmanager
def s3fs(server: S3Server, bucket: str, folder: Path, *more_options: str) -> Iterator[Path]:
    """The bucket mounted by s3fs; unmounted, and so uploaded, on leaving."""
    if shutil.which("s3fs") is None:
        raise ProgramFailed("s3fs is not installed: scripts/install dev")
    folder.mkdir()
    password, mountpoint = folder / "password", folder / "s3fs"
    password.write_text(f"{server.access_key}:{server.secret_key}\n")
    password.chmod(0o600)
    mountpoint.mkdir()
    options = f"passwd_file={password},url={server.endpoint_url},use_path_request_style,endpoint={server.region}"
    process = subprocess.Popen(
        ["s3fs", bucket, str(mountpoint), "-f", "-o", ",".join([options, *more_options])],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not is_mounted(mountpoint):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise ProgramFailed(f"s3fs does not mount: {process.communicate()[0]}")
            time.sleep(0.02)
        yield mountpoint
        run("fusermount3", "-u", "--", str(mountpoint))
        process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.communicate()
        if is_mounted(mountpoint):
            subprocess.run(["fusermount3", "-u", "-z", "--", str(mountpoint)], check=False, timeout=DEADLINE_S)


def rclone(server: S3Server, *words: str) -> str:
    """`rclone WORDS`, the server's buckets being `it:BUCKET`."""
    environment = {
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_CONFIG_IT_TYPE": "s3",
        "RCLONE_CONFIG_IT_PROVIDER": "Other",
        "RCLONE_CONFIG_IT_ENDPOINT": server.endpoint_url,
        "RCLONE_CONFIG_IT_ACCESS_KEY_ID": server.access_key,
        "RCLONE_CONFIG_IT_SECRET_ACCESS_KEY": server.secret_key,
        "RCLONE_CONFIG_IT_REGION": server.region,
    }
    return run(str(RCLONE), *words, environment=environment)


def s3cmd(server: S3Server, folder: Path, *words: str) -> str:
    host = server.endpoint_url.removeprefix("http://")
    config = folder / "s3cfg"
    lines = {
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "host_base": host,
        "host_bucket": host,
        "bucket_location": server.region,
        "use_https": "False",
    }
    config.write_text("[default]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items()))
    return run("s3cmd", "-c", str(config), *words)
