"""The work, step by step, in the order of docs/performance.md; every peer does all of it on a bucket of its own.

A step yields measures: seconds, or counts. A step that a peer cannot do is noted with its reason, and the rest goes on.
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.inputs import Inputs
from benchmark.latency import quantile, stat_seconds
from benchmark.peers import Peer
from benchmark.profiles import flame_graph

COMMAND_DEADLINE_S = 900.0
EDIT_BYTES = 4096
BUSY_FILES = 16
# A peer whose bucket does not show when all is there.
BUSY_S = 5.0


@dataclass
class Measures:
    """Of one round of one peer. `seconds` by row; `requests` by row and kind; `failures`: what could not be done."""

    seconds: dict[str, float] = field(default_factory=dict)
    requests: dict[str, Counter[str]] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class Workload:
    """One round of one peer. `scratch` is an empty folder on the local disk. The peer is not mounted at the start."""

    def __init__(
        self,
        peer: Peer,
        inputs: Inputs,
        scratch: Path,
        *,
        fio_mib: int,
        threads: int,
        ends_s: float,
        profiles: Path | None = None,
    ) -> None:
        """`ends_s`: no step is begun later than that, by time.monotonic(). `profiles`: a folder for a flame graph of
        each timed row, of a peer that is Python and one process."""
        self.peer = peer
        self.inputs = inputs
        self.scratch = scratch
        self.measures = Measures()
        self._fio_mib = fio_mib
        self._threads = threads
        self._ends_s = ends_s
        self._profiles = profiles
        self._cpu_s = 0.0
        self._started = 0.0

    def run(self) -> Measures:
        self.peer.mount()
        for step in (
            self._copy_small, self._find, self._restore, self._rsync, self._large, self._move, self._remove,
            self._fio_sequential, self._fio_random, self._many_threads, self._busy,
        ):  # fmt: skip
            if time.monotonic() > self._ends_s:
                self.measures.failures[step.__name__.strip("_")] = "left out, no time was left"
                continue
            try:
                step()
            except (RuntimeError, OSError, TimeoutError, subprocess.SubprocessError) as error:
                self.measures.failures[step.__name__.strip("_")] = str(error)[-300:]
                self._clear()
        self._note_usage()
        self.peer.unmount()
        self.measures.numbers["cpu_s"] = self._cpu_s
        return self.measures

    # -- steps ---------------------------------------------------------------------------------------------------

    def _copy_small(self) -> None:
        with self._counted("small"), self._timed("small copy in bucket"):
            self._shell("cp", "-r", self.inputs.tree, self.peer.root / "small")
            self._lap("small copy returns")
            self.peer.wait_uploaded(self.inputs.files, self.inputs.size)

    def _find(self) -> None:
        self._remount(clear=False)
        with self._counted("find"), self._timed("find, index kept"):
            self._find_all()
        self._remount(clear=True)
        with self._counted("find empty"), self._timed("find, index empty"):
            self._find_all()

    def _find_all(self) -> None:
        done = self._shell("find", self.peer.root / "small", "-type", "f", "-printf", "%s %T@ %m\n")
        if done.count("\n") != self.inputs.files:
            raise RuntimeError(f"find saw {done.count(chr(10))} files of {self.inputs.files}")

    def _restore(self) -> None:
        self._remount(clear=True)
        with self._counted("restore"), self._timed("restore to local disk"):
            self._shell("cp", "-r", self.peer.root / "small", self.scratch / "restored")
        self._shell("diff", "-r", self.inputs.tree, self.scratch / "restored")
        shutil.rmtree(self.scratch / "restored")

    def _rsync(self) -> None:
        source, target = f"{self.inputs.tree}/", self.peer.root / "synced"
        with self._counted("rsync"), self._timed("rsync in bucket"):
            self._shell("rsync", "-a", source, target)
            self.peer.wait_uploaded(2 * self.inputs.files, 2 * self.inputs.size)
        with self._counted("rsync again"), self._timed("rsync again"):
            changed = self._shell("rsync", "-ai", source, target)
        self.measures.numbers["rsync again lists"] = changed.count("\n")

    def _large(self) -> None:
        large, total = self.peer.root / "large", 2 * self.inputs.size + self.inputs.large_size
        with self._counted("large"), self._timed("large copy in bucket"):
            self._shell("cp", self.inputs.large, large)
            self._lap("large copy returns")
            self.peer.wait_uploaded(2 * self.inputs.files + 1, total)
        self._remount(clear=True)
        with self._counted("large read"), self._timed("large read cold"):
            self._shell("dd", f"if={large}", "of=/dev/null", "bs=1M")
        with self._timed("large read again"):
            self._shell("dd", f"if={large}", "of=/dev/null", "bs=1M")
        with self._counted("edit"), self._timed("edit 4 KiB in bucket"):
            before = self._version("large")
            with large.open("r+b", buffering=0) as file:
                file.seek(self.inputs.large_size // 2)
                file.write(os.urandom(EDIT_BYTES))
            self.peer.wait_for(lambda: before is None or self._version("large") != before)
        large.unlink()

    def _move(self) -> None:
        with self._counted("move"), self._timed("move in bucket"):
            (self.peer.root / "small").rename(self.peer.root / "moved")
            self._lap("move returns")
            self._wait_prefixes({"moved/": self.inputs.files, "small/": 0})

    def _remove(self) -> None:
        with self._counted("remove"), self._timed("remove in bucket"):
            self._shell("rm", "-r", self.peer.root / "moved", self.peer.root / "synced")
            self._lap("remove returns")
            self._wait_prefixes({"moved/": 0, "synced/": 0})

    def _fio_sequential(self) -> None:
        # An fsync does nothing at all on some drives (rclone mount), so it is shown for itself.
        for row, kind, options in (
            ("fio 1 MiB write MB/s", "write", ["--bs=1M"]),
            ("fio 1 MiB write and fsync MB/s", "write", ["--bs=1M", "--end_fsync=1"]),
            ("fio 1 MiB read MB/s", "read", ["--bs=1M"]),
        ):
            report = self._fio("seq", f"--rw={kind}", f"--size={self._fio_mib}M", *options)
            self.measures.numbers[row] = report["jobs"][0][kind]["bw_bytes"] / 1e6

    def _fio_random(self) -> None:
        # Some end while they still owe it, and fio would write a new file, straight into the cache.
        self._wait_prefixes({"seq.": 1})
        self._remount(clear=True)
        for name in ("cold", "warm"):
            options = ["--rw=randread", "--bs=4k", f"--size={self._fio_mib}M", "--io_size=4M", "--randseed=1"]
            options += ["--allow_file_create=0"]
            report = self._fio("seq", *options)
            self.measures.numbers[f"random 4 KiB reads {name} /s"] = report["jobs"][0]["read"]["iops"]

    def _many_threads(self) -> None:
        for engine, name in (("filecreate", "create"), ("filestat", "stat"), ("filedelete", "remove")):
            options = [f"--ioengine={engine}", f"--numjobs={self._threads}", "--nrfiles=20", "--filesize=4k"]
            options += ["--openfiles=1", "--group_reporting", "--bs=4k", "--create_on_open=0"]
            (self.peer.root / "many").mkdir(exist_ok=True)
            started = time.monotonic()
            self._fio("many/file", *options)
            elapsed = time.monotonic() - started
            self.measures.numbers[f"{self._threads} jobs {name} files/s"] = self._threads * 20 / elapsed

    def _busy(self) -> None:
        folder = self.peer.root / "busy"
        folder.mkdir()
        (folder / "looked at").write_bytes(bytes(EDIT_BYTES))
        size = self.inputs.large_size // 8
        with self.inputs.large.open("rb") as source:
            for number in range(BUSY_FILES):
                source.seek(number % 8 * size)
                with (folder / f"large {number}").open("wb", buffering=0) as target:
                    os.sendfile(target.fileno(), source.fileno(), None, size)
        deadline = time.monotonic() + (COMMAND_DEADLINE_S if self.peer.is_native else BUSY_S)

        def is_over() -> bool:
            is_done = self.peer.is_native and self.peer.server.holds(self.peer.bucket, "busy/")[0] == BUSY_FILES + 1
            return is_done or time.monotonic() > deadline

        taken = stat_seconds(folder / "looked at", is_over)
        for share in (50, 99):
            self.measures.numbers[f"stat while uploading, p{share}, µs"] = quantile(taken, share / 100) * 1e6

    # -- how -----------------------------------------------------------------------------------------------------

    def _fio(self, name: str, *options: str) -> dict[str, list[dict[str, dict[str, float]]]]:
        text = self._shell("fio", "--name=bench", f"--filename_format={name}.$jobnum.$filenum",
                           f"--directory={self.peer.root}", "--output-format=json", "--fallocate=none", "--thread",
                           *options)  # fmt: skip
        found: dict[str, list[dict[str, dict[str, float]]]] = json.loads(text[text.index("{") :])
        return found

    def _shell(self, *words: str | Path) -> str:
        outcome = subprocess.run(
            [str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=COMMAND_DEADLINE_S, check=False,
        )  # fmt: skip
        if outcome.returncode != 0:
            raise RuntimeError(f"{words[0]} ended with {outcome.returncode}: {outcome.stderr.strip()[-200:]}")
        return outcome.stdout

    @contextmanager
    def _timed(self, row: str) -> Iterator[None]:
        with self._profiled(row):
            self._started = time.monotonic()
            yield
            self._lap(row)

    def _profiled(self, row: str) -> AbstractContextManager[None]:
        if self._profiles is None:
            return nullcontext()
        (pid,) = self.peer.pids()
        return flame_graph(pid, self._profiles / f"{re.sub('[^a-z0-9]+', '-', row.lower())}.svg")

    def _lap(self, row: str) -> None:
        self.measures.seconds[row] = time.monotonic() - self._started

    @contextmanager
    def _counted(self, row: str) -> Iterator[None]:
        before = self.peer.server.requests(self.peer.bucket)
        yield
        self.measures.requests[row] = self.peer.server.requests(self.peer.bucket) - before

    def _remount(self, *, clear: bool) -> None:
        self._note_usage()
        self.peer.unmount()
        if clear:
            self.peer.clear_cache()
        self.peer.mount()

    def _note_usage(self) -> None:
        """Before the process ends: what it has used."""
        self._cpu_s += self.peer.cpu_s()
        peak = max(self.measures.numbers.get("peak memory MiB", 0.0), self.peer.memory_peak_mib())
        self.measures.numbers["peak memory MiB"] = peak

    def _version(self, key: str) -> str | None:
        """The ETag, where objects are files."""
        return self.peer.server.version(self.peer.bucket, key) if self.peer.is_native else None

    def _wait_prefixes(self, wanted: dict[str, int]) -> None:
        if self.peer.is_native:
            self.peer.wait_for(lambda: all(self.peer.server.holds(self.peer.bucket, key)[0] == count
                                           for key, count in wanted.items()))  # fmt: skip

    def _clear(self) -> None:
        """A step failed half-way: the next begins on what is there."""
        for path in self.scratch.iterdir():
            shutil.rmtree(path, ignore_errors=True)
