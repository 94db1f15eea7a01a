"""The words of the control socket: what is said between a mount process and the commands that ask it something.

Used by control/server.py and control/client.py. One JSON object a line. A request is {"op": OP, …}; the answer is any
number of {"progress": …} lines and then one {"result": …} or {"error": TEXT} line. Pure values and encoding, but for
`socket_address`, which opens a folder, and `is_trusted`, which asks the kernel. Does not connect, listen or wait.
"""

import json
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from s3mount.errors import MountError

REQUEST_BYTES_MAX: Final = 16 << 10
ANSWER_BYTES_MAX: Final = 64 << 20
PROGRESS_INTERVAL_S: Final = 1.0
# sun_path holds 108 bytes with its end on Linux, 104 on macOS and the BSDs.
SOCKET_PATH_BYTES_MAX: Final = 103


class Operation(Enum):
    STATUS = "status"
    DRAIN = "drain"
    STOP = "stop"
    FOLLOW = "follow"
    CHECK = "check"
    REFRESH = "refresh"


class ControlUnreachable(MountError):
    """The mount process does not answer on its control socket, or broke off."""


class ControlRefused(MountError):
    """The mount process answered that it cannot."""


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """What is still owed to the bucket at one moment, and how many files are in flight or parked with an error."""

    dirty_files: int
    dirty_bytes: int
    uploading: int
    errors: int = 0


@dataclass(frozen=True, slots=True)
class OwedFile:
    """One path that is not in the bucket as the user sees it, and why in one line."""

    path: str
    cause: str


class ControlHandlers(Protocol):
    """What a mount does when asked. Implemented by mount.py; called from several threads of the control server."""

    def status(self) -> Mapping[str, object]:
        """The fields of `s3mount status --json` (docs/commands.md), JSON values only. Returns within a second."""

    def drain(self, deadline_s: float | None, progress: Callable[[DrainProgress], None]) -> list[OwedFile]:
        """Wait until nothing is owed, or only parked changes are left, or `deadline_s` seconds have passed (None: no
        limit). Returns what is still owed; empty means that the bucket holds everything. Calls `progress` at least
        every PROGRESS_INTERVAL_S; when that raises, the asker is gone: let it through, the upload itself goes on."""

    def check(self, repair: bool, progress: Callable[[int], None]) -> list[dict[str, str]]:
        """Compare index, cache and bucket; the fields of `s3mount check --json`. Calls `progress` with how many things
        were looked at, now and then; when that raises, the asker is gone and the check ends."""

    def refresh(self, path: str, recursive: bool, progress: Callable[[int], None]) -> int:
        """Show what others changed at `path`, absolute within the mount. Returns how many directories were listed, and
        calls `progress` with that number now and then; when that raises, the asker is gone and it ends."""

    def stop(self, drain: bool) -> None:
        """Set what the process does once the mount is detached: end after draining (the default), or at once.
        Returns immediately; may be called again to change the answer. Does not detach."""


def encode(message: Mapping[str, object]) -> bytes:
    return json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, object]:
    """The object on one line. Raises ValueError for anything else."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")
    return message


def encode_owed(owed: list[OwedFile]) -> list[dict[str, str]]:
    return [asdict(file) for file in owed]


def decode_owed(value: object) -> list[OwedFile]:
    if not isinstance(value, list):
        raise ValueError("not a list of owed files")
    return [OwedFile(path=str(file["path"]), cause=str(file["cause"])) for file in value]


def is_trusted(connection: socket.socket) -> bool:
    """Whether the other end is this user or root. Where the system cannot tell, the 0700 folder is the guard."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return uid in (os.geteuid(), 0)


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """An address for bind or connect that fits into a sockaddr however long the folder's name is.

    Raises OSError when the folder is missing, or too long on a system without /proc."""
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
