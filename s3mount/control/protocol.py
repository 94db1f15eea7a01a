"""The words of the control socket: what is said between a mount process and the commands that ask it something.

Used by control/server.py, control/client.py and the channels. One JSON object a line. A request is {"op": OP, …}; the
answer is any number of {"progress": …} lines and then one {"result": …} or {"error": TEXT} line. Pure values and
encoding: how the two ends meet is channel.py's.
"""

import json
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, NamedTuple, Protocol

from s3mount.errors import MountError

REQUEST_BYTES_MAX: Final = 16 << 10
ANSWER_BYTES_MAX: Final = 64 << 20
PROGRESS_INTERVAL_S: Final = 1.0


class Operation(Enum):
    STATUS = "status"
    DRAIN = "drain"
    STOP = "stop"
    DETACH = "detach"
    FOLLOW = "follow"
    CHECK = "check"
    REFRESH = "refresh"


class ControlUnreachable(MountError):
    """The mount process does not answer on its control socket, or broke off."""


class ControlRefused(MountError):
    """The mount process answered that it cannot."""


class DrainProgress(NamedTuple):
    """What is still owed to the bucket at one moment, and how many files are in flight or parked with an error."""

    dirty_files: int
    dirty_bytes: int
    uploading: int
    errors: int = 0


class OwedFile(NamedTuple):
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

    def detach(self) -> None:
        """Let go of the mount point, where only the process can do that (Windows); returns at once. Raises MountError
        elsewhere."""


def encode(message: Mapping[str, object]) -> bytes:
    return json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, object]:
    """The object on one line. Raises ValueError for anything else."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")
    return message


def encode_owed(owed: list[OwedFile]) -> list[dict[str, str]]:
    return [file._asdict() for file in owed]


def decode_owed(value: object) -> list[OwedFile]:
    if not isinstance(value, list):
        raise ValueError("not a list of owed files")
    return [OwedFile(path=str(file["path"]), cause=str(file["cause"])) for file in value]
