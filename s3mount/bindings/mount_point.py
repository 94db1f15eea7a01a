"""What must hold of a mount point before libfuse is asked, and what libfuse said when it refused.

Called by run_fuse in the main thread; `StderrCapture.end` may come from a FUSE thread. It mounts nothing.
"""

import contextlib
import errno
import os
import tempfile
import threading
from types import TracebackType
from typing import Self

from s3mount.errors import MountPointUnusable

STDERR = 2
# Enough for any reason libfuse gives; the rest stays in the temporary file and goes with it.
REASON_BYTES_MAX = 64 << 10


def check_mountpoint(mountpoint: str) -> None:
    """Raise MountPointUnusable unless `mountpoint` is an empty directory that nothing is mounted on."""
    try:
        names = os.listdir(mountpoint)
    except FileNotFoundError as error:
        raise MountPointUnusable(f"{mountpoint} does not exist; make it: mkdir -p {mountpoint}") from error
    except NotADirectoryError as error:
        raise MountPointUnusable(f"{mountpoint} is not a directory; give an empty one") from error
    except OSError as error:
        if error.errno in (errno.ENOTCONN, errno.EIO):
            text = f"a drive that has died is still mounted on {mountpoint}; detach it: fusermount3 -uz {mountpoint}"
            raise MountPointUnusable(text) from error
        raise MountPointUnusable(f"cannot look at {mountpoint}: {error.strerror}") from error
    if os.path.ismount(mountpoint):
        raise MountPointUnusable(f"something is mounted on {mountpoint} already; unmount it, or give another directory")
    if names:
        raise MountPointUnusable(f"{mountpoint} is not empty; give an empty directory")


def option_text(value: str) -> str:
    """`value` as libfuse reads it back from an -o list, where a comma ends an option and a backslash escapes."""
    return value.replace("\\", "\\\\").replace(",", "\\,")


class StderrCapture:
    """While entered, everything that the process and its children write to file number 2 goes to a temporary file:
    libfuse and fusermount print their reasons there and return only a number. A file and not a pipe, so that a long
    reason cannot block the writer. `end` is idempotent and gives the captured text on to the real stderr."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # open until end(), which __exit__ always calls
        self._saved: int | None = None
        self._text = ""

    def __enter__(self) -> Self:
        self._saved = os.dup(STDERR)
        os.dup2(self._file.fileno(), STDERR)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(repeats=kind is None)

    def end(self, *, repeats: bool = True) -> None:
        """Restore stderr. `repeats`: write out there what was captured."""
        with self._lock:
            if self._saved is None:
                return
            os.dup2(self._saved, STDERR)
            os.close(self._saved)
            self._saved = None
            self._file.seek(0)
            captured = self._file.read(REASON_BYTES_MAX)
            self._file.close()
            self._text = "; ".join(line.strip() for line in captured.decode(errors="replace").splitlines() if line)
            if repeats and captured:
                with contextlib.suppress(OSError):
                    os.write(STDERR, captured)

    def text(self) -> str:
        """What was captured, as one line; "" before end()."""
        return self._text
