"""What the kernel says is mounted, read without touching the mounts themselves.

Used by control/registry.py and cli/. A FUSE mount whose process hangs blocks every stat of it; the
mount table does not.
"""

import errno
import os
import re
import threading
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple

from s3mount.host import PROCESS_HOLDS_DRIVE

_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_PROBE_DEADLINE_S: Final = 5.0


class MountedFilesystem(NamedTuple):
    """One line of the mount table. `fstype` is "" where the system does not tell."""

    mountpoint: Path
    fstype: str

    @property
    def is_fuse(self) -> bool:
        return self.fstype == "" or self.fstype.partition(".")[0] in ("fuse", "fuseblk", "macfuse")


class Liveness(Enum):
    ANSWERS = "answers"
    DEAD = "dead"  # the process behind it is gone: every call fails with ENOTCONN
    SILENT = "silent"  # no answer within the deadline


def parse_mountinfo(text: str) -> dict[Path, MountedFilesystem]:
    """Mount points → the file system on top there (later lines cover earlier ones)."""
    mounts: dict[Path, MountedFilesystem] = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) < 5 or not right:
            continue
        mountpoint = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))
        mounts[mountpoint] = MountedFilesystem(mountpoint, right.split(" ")[0])
    return mounts


def find_mount(path: Path) -> MountedFilesystem | None:
    """What is mounted exactly at `path`, or None; None too where there is no such table (host.PROCESS_HOLDS_DRIVE)."""
    if PROCESS_HOLDS_DRIVE:
        return None
    try:
        text = _MOUNTINFO.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return MountedFilesystem(path, "") if os.path.ismount(path) else None
    return parse_mountinfo(text).get(path)


def resolve_mountpoint(text: str) -> Path:
    """The absolute path by which the mount table knows `text`. A path that is mounted is not touched."""
    absolute = Path(os.path.abspath(text))
    if find_mount(absolute) is not None:
        return absolute
    through_parent = Path(os.path.realpath(absolute.parent)) / absolute.name
    if find_mount(through_parent) is not None:
        return through_parent
    return Path(os.path.realpath(absolute))


def probe(path: Path, deadline_s: float = _PROBE_DEADLINE_S) -> Liveness:
    """Ask the file system at `path` for its root's attributes, in a thread that may be left behind."""
    outcome: list[Liveness] = []

    def ask() -> None:
        try:
            os.stat(path)
        except OSError as error:
            outcome.append(Liveness.DEAD if error.errno == errno.ENOTCONN else Liveness.ANSWERS)
        else:
            outcome.append(Liveness.ANSWERS)

    thread = threading.Thread(target=ask, name="probe", daemon=True)
    thread.start()
    thread.join(deadline_s)
    return outcome[0] if outcome else Liveness.SILENT
