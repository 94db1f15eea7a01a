"""The secret key, the session token and what is signed with them are told to S3 and nobody else.

After work and failures everything that s3mount left or said is searched, byte by byte: its whole state folder (index,
log, registry), what it printed, and the command lines of its processes; for the secrets, which are made up here, every
command line of the machine.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from s3mount.demo.seaweedfs import free_ports
from tests.acceptance.test_bad_input import refuse
from tests.acceptance.watching import wait_until
from tests.support.cli_mount import CliMount, Completed
from tests.support.fault_proxy import FOR_GOOD, FaultProxy
from tests.support.mount_process import is_mounted
from tests.support.s3_server import S3Server

TOKEN = "aSessionTokenForNobodysEyes"
WRONG_SECRET = "aWrongSecretForNobodysEyes"
PASSWORD = "aPasswordForNobodysEyes"
# What only a signed request holds.
SIGNED = (b"AWS4-HMAC", b"Signature=", b"x-amz-security-token:")


def files_below(folder: Path, mountpoint: Path) -> Iterator[Path]:
    """Without what is mounted there, which may be refused to everybody just now."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(place, name) != mountpoint]
        yield from (path for name in names if (path := Path(place, name)).is_file())


def command_lines(pids: Iterable[int]) -> dict[str, bytes]:
    """What `ps` shows of these processes, but for this one, by path."""
    found: dict[str, bytes] = {}
    for path in (Path(f"/proc/{pid}/cmdline") for pid in pids if pid != os.getpid()):
        with contextlib.suppress(OSError):
            found[str(path)] = path.read_bytes()
    return found


def forbid(secrets: Iterable[bytes], found: Mapping[str, bytes]) -> None:
    wanted = [secret.lower() for secret in secrets]
    for place, text in found.items():
        lowered = text.lower()
        assert not [secret for secret in wanted if secret in lowered], place


class Listener:
    """Keeps what the commands of a drive print."""

    def __init__(self, drive: CliMount) -> None:
        self.drive = drive
        self.said = ""

    def run(self, *words: str) -> Completed:
        outcome = self.drive.run(*words)
        self.said += outcome.stdout + outcome.stderr
        return outcome

    def search(self, folder: Path, *secrets: str) -> int:
        """Look for the secrets in all that is below `folder` but the mount itself, in what was printed and in what `ps`
        shows; returns how many bytes were searched."""
        found = {str(path): path.read_bytes() for path in files_below(folder, self.drive.mountpoint)}
        found["printed"] = self.said.encode()
        found |= command_lines(self.drive.pids())
        looked_for = [secret.encode() for secret in secrets]
        forbid([*looked_for, *SIGNED], found)
        # Signed requests of other programs are not ours to judge.
        forbid(looked_for, command_lines(int(process.name) for process in Path("/proc").glob("[0-9]*")))
        if is_mounted(self.drive.mountpoint):
            line = found[f"/proc/{self.drive.pid}/cmdline"]
            assert b"\0mount\0" in line, "the process of the mount was not looked at"
        return sum(map(len, found.values()))


def reply_that_repeats(code: str) -> bytes:
    """A refusal that shows what was signed, as S3's own does."""
    body = f"<Error><Code>{code}</Code><Message>no</Message><StringToSign>{SIGNED[0].decode()}</StringToSign></Error>"
    return f"HTTP/1.1 403 No\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def work(listener: Listener) -> None:
    """Small and large files, so that each client of S3 sends something; a listing; a deletion."""
    mountpoint = listener.drive.mountpoint
    (mountpoint / "small").write_bytes(b"small")
    (mountpoint / "large").write_bytes(bytes(17 << 20))
    (mountpoint / "dir").mkdir()
    (mountpoint / "dir/file").write_bytes(b"x")
    listener.run("drain", str(mountpoint))
    (mountpoint / "small").rename(mountpoint / "moved")
    (mountpoint / "dir/file").unlink()
    listener.run("status")
    listener.run("status", "--json", str(mountpoint))
    listener.run("check", "--json", str(mountpoint))


def test_work_with_a_session_token(ministack: S3Server, tmp_path: Path) -> None:
    server = replace(ministack, secret_key="aSecretKeyForNobodysEyes")
    environment = {"AWS_SESSION_TOKEN": TOKEN}
    with CliMount(
        server, server.make_bucket(), tmp_path, "--log-level=debug", environment=environment, expected_log=["."]
    ) as drive:
        listener = Listener(drive)
        assert listener.run(*drive.mount_words()).returncode == 0
        work(listener)
        assert "dirty_files" in listener.said
        assert listener.search(tmp_path, server.secret_key, TOKEN) > 17 << 20
        assert listener.run("unmount", str(drive.mountpoint)).returncode == 0
        assert "DEBUG" in drive.log()
        listener.search(tmp_path, server.secret_key, TOKEN)


@pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "ExpiredToken"])
def test_refused_in_the_middle(seaweed: S3Server, tmp_path: Path, code: str) -> None:
    bucket = seaweed.make_bucket()
    with (
        FaultProxy(seaweed.endpoint_url) as proxy,
        CliMount(
            seaweed, bucket, tmp_path, "--log-level=debug", "--write-back-delay=50ms", "--metadata-ttl=0s",
            endpoint_url=proxy.endpoint_url, expected_log=["."], is_loaded=False,
        ) as drive,
    ):  # fmt: skip
        listener = Listener(drive)
        assert listener.run(*drive.mount_words()).returncode == 0
        work(listener)
        puts = proxy.answer(403, code, operation="PutObject", times=FOR_GOOD)
        puts.reply = reply_that_repeats(code)
        (drive.mountpoint / "more").write_bytes(b"x")
        wait_until(lambda: puts.hits > 0)
        lists = proxy.answer(403, code, operation="ListObjectsV2", times=FOR_GOOD)
        lists.reply = reply_that_repeats(code)
        try:
            os.listdir(drive.mountpoint / "dir")
        except OSError as error:
            listener.said += str(error)
        listener.run("drain", str(drive.mountpoint), "--timeout=100ms")
        listener.run("status", "--json", str(drive.mountpoint))
        assert code in drive.log()
        listener.search(tmp_path, seaweed.secret_key)
        listener.run("unmount", "--no-drain", str(drive.mountpoint))
        listener.search(tmp_path, seaweed.secret_key)


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ({"AWS_SECRET_ACCESS_KEY": WRONG_SECRET}, []),
        ({"AWS_SECRET_ACCESS_KEY": WRONG_SECRET, "AWS_SESSION_TOKEN": TOKEN}, []),
        ({"AWS_SECRET_ACCESS_KEY": WRONG_SECRET, "AWS_SESSION_TOKEN": TOKEN}, ["--foreground"]),
        ({"AWS_ACCESS_KEY_ID": "unknown", "AWS_SECRET_ACCESS_KEY": WRONG_SECRET}, []),
    ],
    ids=["secret", "token", "foreground", "key"],
)
def test_wrong_keys(seaweed: S3Server, tmp_path: Path, keys: Mapping[str, str], where: list[str]) -> None:
    with CliMount(
        seaweed, seaweed.make_bucket(), tmp_path, "--log-level=debug", environment=keys, expected_log=["."]
    ) as drive:
        listener = Listener(drive)
        assert listener.run(*drive.mount_words(*where)).returncode == 3
        assert "access denied" in listener.said
        listener.search(tmp_path, WRONG_SECRET, TOKEN, seaweed.secret_key)


URLS = [
    f"http://me:{PASSWORD}@127.0.0.1:1", f"me:{PASSWORD}@127.0.0.1", f"http:/me:{PASSWORD}@127.0.0.1",
    f"ftp://me:{PASSWORD}@127.0.0.1", f"http://me:{PASSWORD}@127.0.0.1:port", f"http://{PASSWORD}@127.0.0.1:1",
]  # fmt: skip


# One parser looks at what comes by option, -o and environment; botocore reads the configuration by itself.
HOW = [("option", URLS), ("configuration", URLS), ("-o", URLS[:2]), ("environment", URLS[:2])]


@pytest.mark.parametrize(("how", "url"), [(how, url) for how, urls in HOW for url in urls])
def test_a_password_in_the_endpoint_is_refused_and_not_shown(
    seaweed: S3Server, tmp_path: Path, url: str, how: str
) -> None:
    with CliMount(seaweed, "bucket", tmp_path, expected_log=["."], is_loaded=False) as drive:
        words = ["mount", drive.source, str(drive.mountpoint), f"--cache-dir={drive.cache_dir}"]
        home = Path(drive.environment["HOME"])
        match how:
            case "option":
                words.append(f"--endpoint-url={url}")
            case "-o":
                words.append(f"-oendpoint_url={url}")
            case "environment":
                drive.environment["AWS_ENDPOINT_URL"] = url
            case "configuration":
                (home / "config").write_text(f"[default]\nendpoint_url = {url}\n")
                drive.environment["AWS_CONFIG_FILE"] = str(home / "config")
        line = refuse(drive, *words, code=2, words=["endpoint"])
        assert PASSWORD not in line
        (home / "config").unlink(missing_ok=True)
        listener = Listener(drive)
        listener.said = line
        listener.search(tmp_path, PASSWORD)


def test_a_password_of_the_proxy_is_not_shown(seaweed: S3Server, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    environment = {"HTTP_PROXY": f"http://me:{PASSWORD}@127.0.0.1:{port}"}
    with CliMount(seaweed, "bucket", tmp_path, "--log-level=debug", environment=environment) as drive:
        drive.expected_log.append(".")
        listener = Listener(drive)
        assert listener.run(*drive.mount_words()).returncode == 3
        assert f"127.0.0.1:{port}" in listener.said, "the proxy was not asked"
        listener.search(tmp_path, PASSWORD, seaweed.secret_key)
