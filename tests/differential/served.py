"""A mounted drive that can be mounted again over the same store, with its index or without, in a tenth of a second.

As `python -m tests.differential.served FOLDER MOUNTPOINT` it is the process that serves it: each time the mount is
taken away it reads a word from its input, KEEP or EMPTY, and mounts again; it ends at the input's end.
"""

import logging
import subprocess
import sys
import time
from pathlib import Path

from s3mount.bindings import load_binding
from tests.support.fs_factory import MEMORY, open_drive
from tests.support.mount_process import REPOSITORY, SUSPECT, MountFailed, is_mounted

KEEP = "keep"
EMPTY = "empty"
DEADLINE_S = 30.0


class ServedDrive:
    """From outside. `mountpoint` may be used by every user."""

    def __init__(self, folder: Path) -> None:
        self.mountpoint = folder / "mnt"
        self.mountpoint.mkdir()
        (folder / "data").mkdir()
        self._log_path = folder / "log"
        command = [sys.executable, "-m", "tests.differential.served", str(folder / "data"), str(self.mountpoint)]
        with self._log_path.open("wb") as log_file:
            self._process = subprocess.Popen(
                command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=log_file, stderr=log_file, text=True
            )
        self._wait(mounted=True)

    def remount(self, *, keep_index: bool) -> None:
        """All must be closed. Without the index it is what another machine would see of the bucket."""
        self._detach()
        assert self._process.stdin is not None
        self._process.stdin.write(f"{KEEP if keep_index else EMPTY}\n")
        self._process.stdin.flush()
        self._wait(mounted=True)

    def end(self) -> None:
        """Raises MountFailed for what it logged."""
        assert self._process.stdin is not None
        try:
            self._detach("-z")
            self._process.stdin.close()
            self._process.wait(DEADLINE_S)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait(DEADLINE_S)
        self.check_log()

    def check_log(self) -> None:
        log = self._log_path.read_text(errors="replace")
        if SUSPECT.search(log):
            raise MountFailed(f"unexpected in the log:\n{log}")

    def _detach(self, *options: str) -> None:
        command = ["fusermount3", "-u", *options, "--", str(self.mountpoint)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=DEADLINE_S)
        if done.returncode:
            raise MountFailed(f"cannot unmount: {done.stderr}\n{self._log_path.read_text(errors='replace')}")

    def _wait(self, *, mounted: bool) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while is_mounted(self.mountpoint) != mounted:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise MountFailed(f"no mount:\n{self._log_path.read_text(errors='replace')}")
            time.sleep(0.002)
        self.mountpoint.stat()


def serve(folder: Path, mountpoint: Path) -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    drive = open_drive(MEMORY, folder)
    wish = KEEP
    while wish:
        load_binding()(
            drive.filesystem, str(mountpoint), source_name="s3mount#test", read_only=False, allow_other=True,
            extra_options=(), on_ready=lambda: None,
        )  # fmt: skip
        wish = sys.stdin.readline().strip()
        if wish == EMPTY:
            drive.drain()
        if wish:
            drive.remount(keep_index=wish == KEEP)
    drive.close()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]))
