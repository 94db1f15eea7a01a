"""Which mounts this user has: one small JSON file for each, beside its control socket.

Written by the mount process (control/announce.py), read by the commands. Several processes use the folder at once:
files appear whole (rename) and names hold the pid, so nobody writes another's file. An entry whose process is gone is
stale; it is kept while the dead mount is still in the mount table and removed after.
"""

import contextlib
import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from platformdirs import user_state_dir

from s3mount.control.mount_table import find_mount
from s3mount.control.processes import is_running
from s3mount.errors import MountError
from s3mount.host import PROCESS_HOLDS_DRIVE
from s3mount.private import check_folder, make_folder, open_file

_FOLDER: Final = "mounts"


@dataclass(frozen=True, slots=True, kw_only=True)
class MountEntry:
    """One mount. `process_started` tells a pid used again apart; `started_ns` is wall time."""

    mountpoint: str
    bucket: str
    prefix: str
    pid: int
    process_started: str
    started_ns: int
    socket: str
    state_dir: str

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs: it serves the mount, or drains after it was detached."""
        return is_running(self.pid, self.process_started)

    @property
    def is_mounted(self) -> bool:
        if PROCESS_HOLDS_DRIVE:
            return self.is_alive
        return find_mount(Path(self.mountpoint)) is not None


def state_root() -> Path:
    """Where s3mount keeps what must survive: the registry, and the state folders unless --cache-dir says otherwise."""
    return Path(user_state_dir("s3mount", appauthor=False))


class Registry:
    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: default `mounts` in the user's state directory."""
        self._folder = folder if folder is not None else state_root() / _FOLDER

    def socket_path(self, mountpoint: Path, pid: int) -> Path:
        """Where the process `pid` shall listen for `mountpoint`."""
        return self._file(mountpoint, pid, ".sock")

    def prepare(self) -> None:
        """Make the folder, for this user alone. Raises MountError, also when another user had a hand in it."""
        try:
            make_folder(self._folder)
            check_folder(self._folder)
        except OSError as error:
            text = f"cannot make the folder of the control socket: {error}; check the user's state directory"
            raise MountError(text) from error

    def check(self) -> None:
        """Raises MountError when another user had or has a hand in the folder. That there is none is no error."""
        with contextlib.suppress(OSError):
            check_folder(self._folder)

    def add(self, entry: MountEntry) -> None:
        """Make the mount known, atomically. Call prepare() before. Raises OSError."""
        mountpoint = Path(entry.mountpoint)
        draft = self._file(mountpoint, entry.pid, ".new")
        with open(draft, "w", opener=open_file) as file:
            json.dump(asdict(entry), file)
        os.replace(draft, self._file(mountpoint, entry.pid, ".json"))

    def remove(self, entry: MountEntry) -> None:
        """Forget the mount and its socket; an entry already gone is no error."""
        # Looked for, since another version may have named it.
        for file in self._folder.glob(f"*-{entry.pid}.json"):
            if _read_entry(file) == entry:
                for path in (file, file.with_suffix(".sock")):
                    with contextlib.suppress(OSError):
                        path.unlink(missing_ok=True)

    def entries(self) -> list[MountEntry]:
        """Every mount whose process lives or that is still in the mount table, oldest first. Cleans up the rest.

        Raises MountError when another user could have put them there."""
        self.check()
        kept: list[MountEntry] = []
        for file in sorted(self._folder.glob("*.json")):
            entry = _read_entry(file)
            if entry is None:
                continue
            if entry.is_alive or entry.is_mounted:
                kept.append(entry)
            else:
                self.remove(entry)
        return sorted(kept, key=lambda entry: entry.started_ns)

    def find(self, mountpoint: Path) -> MountEntry | None:
        """The newest living mount at that path, else the newest dead one still in the mount table, else None."""
        at_path = [entry for entry in self.entries() if Path(entry.mountpoint) == mountpoint]
        return max(at_path, key=lambda entry: (entry.is_alive, entry.started_ns), default=None)

    def _file(self, mountpoint: Path, pid: int, suffix: str) -> Path:
        return self._folder / f"{zlib.crc32(os.fsencode(mountpoint)):08x}-{pid}{suffix}"


def _read_entry(file: Path) -> MountEntry | None:
    """The entry, or None for a file that another version wrote or that has just been removed."""
    try:
        return MountEntry(**json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
