"""`scripts/bench --many`: a tree of very many small files on a real mount over a real server, s3mount alone.

The objects are made by a plain S3 client; the mount begins with an empty index. CPU, requests and the peak of memory
are those of each step alone.
"""

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmark.latency import stat_seconds
from benchmark.peers import S3Mount
from benchmark.server import CONNECTIONS_MAX, BenchServer
from s3mount.cli.find import client_of, living_mount

PER_DIRECTORY = 1_000
BODY = b"a small file\n"
STEP_S_MAX = 7200
PROBE_PAUSE_S = 0.05
# Written to /proc/PID/clear_refs: the peak of memory (VmHWM) begins anew.
FORGET_PEAK = "5"
Found = dict[str, dict[str, float]]


def measure(folder: Path, counts: Sequence[int]) -> dict[str, Found]:
    """What each step took, by "N files" and step. A line for each step goes to stderr."""
    found: dict[str, Found] = {}
    with BenchServer(folder / "server") as server:
        for count in counts:
            place = Path(tempfile.mkdtemp(prefix="many-", dir=folder))
            drive = S3Mount(server, place)
            try:
                found[f"{count} files"] = _Tree(drive, count).run()
            finally:
                drive.close()
                shutil.rmtree(place)
    return found


def markdown(found: Mapping[str, Found]) -> str:
    columns = ["step", "s", "CPU s", "CPU ms a file", "peak MiB", "slowest stat, s", "requests"]
    lines: list[str] = []
    for title, steps in found.items():
        lines += [f"| {title}: {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        for step, figures in steps.items():
            numbers = [f"{figures[column]:g}" for column in columns[1:-1]]
            requests = [f"{number:g} {name}" for name, number in figures.items() if name not in columns]
            lines.append(f"| {' | '.join([step, *numbers, ', '.join(requests)])} |")
        lines.append("")
    return "\n".join(lines)


class _Tree:
    """One bucket with `count` files below `tree/`, and what is done to them."""

    def __init__(self, drive: S3Mount, count: int) -> None:
        self.drive = drive
        self.count = count
        self.found: Found = {}

    def run(self) -> Found:
        root = self.drive.root
        self._fill()
        self.drive.mount()
        with self._step("find"):
            listing = self._finish("find", root / "tree", "-type", "f", "-printf", "%s %T@ %m\n")
        self._expect("find", listing.count("\n"), self.count)
        with self._step("mv"):
            self._finish("mv", root / "tree", root / "moved")
        with self._step("mv in bucket"):
            self._drain()
        self._expect("the bucket below moved/", self._held("moved/"), self.count)
        self._expect("the bucket below tree/", self._held("tree/"), 0)
        with self._step("rm -r"):
            self._finish("rm", "-r", root / "moved")
        with self._step("rm -r in bucket"):
            self._drain()
        self._expect("the bucket", self._held(""), 1)
        self.drive.unmount()
        return self.found

    def _fill(self) -> None:
        """With the tree, and one file beside it that is looked at meanwhile."""
        client, bucket = self.drive.server.client, self.drive.bucket
        begun_s = time.monotonic()

        def put(number: int) -> None:
            directory, file = divmod(number, PER_DIRECTORY)
            client.put_object(Bucket=bucket, Key=f"tree/d{directory:05}/file {file:03}", Body=BODY)

        client.put_object(Bucket=bucket, Key="looked at", Body=BODY)
        with ThreadPoolExecutor(CONNECTIONS_MAX) as pool:
            for _ in pool.map(put, range(self.count)):
                pass
        _note(f"{self.count} files made in {time.monotonic() - begun_s:.1f} s")

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        """Note what the mount uses meanwhile, and how long it lets others wait."""
        (pid,) = self.drive.pids()
        Path(f"/proc/{pid}/clear_refs").write_text(FORGET_PEAK)
        is_over = threading.Event()
        beside = self.drive.root / "looked at"
        with ThreadPoolExecutor(1) as pool:
            before, cpu_s, begun_s = self._requests(), self.drive.cpu_s(), time.monotonic()
            taken = pool.submit(stat_seconds, beside, is_over.is_set, pause_s=PROBE_PAUSE_S)
            try:
                yield
            finally:
                ended_s = time.monotonic()
                is_over.set()
            figures = self.found[name] = {
                "s": round(ended_s - begun_s, 3),
                "CPU s": round(self.drive.cpu_s() - cpu_s, 2),
                "CPU ms a file": round((self.drive.cpu_s() - cpu_s) * 1000 / self.count, 2),
                "peak MiB": round(self.drive.memory_peak_mib()),
                "slowest stat, s": round(max(taken.result()), 3),
            }
        for operation, number in self._requests().items():
            if number != before.get(operation, 0):
                figures[operation] = number - before.get(operation, 0)
        _note(f"{self.count} files, {name}: {figures}")

    def _requests(self) -> Mapping[str, int]:
        """What the mount has sent so far, by operation."""
        counts = client_of(living_mount(self.drive.root)).status()["requests"]
        assert isinstance(counts, dict)
        return counts

    def _drain(self) -> None:
        self._finish(sys.executable, "-m", "s3mount", "drain", self.drive.root)

    def _finish(self, *words: str | Path) -> str:
        outcome = subprocess.run(
            [str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=STEP_S_MAX, check=False,
        )  # fmt: skip
        if outcome.returncode != 0:
            raise RuntimeError(f"{words[0]} ended with {outcome.returncode}: {outcome.stderr[-2000:]}")
        return outcome.stdout

    def _held(self, prefix: str) -> int:
        return self.drive.server.holds(self.drive.bucket, prefix)[0]

    @staticmethod
    def _expect(what: str, is_there: int, wanted: int) -> None:
        if is_there != wanted:
            raise RuntimeError(f"{what}: {is_there} files, not {wanted}")


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
