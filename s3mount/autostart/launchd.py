"""macOS: a LaunchAgent (launchd.plist(5)) for each mount, which launchd reads when the user logs on."""

import os
import plistlib
from pathlib import Path
from typing import Final

from s3mount.autostart.entry import Entry, entry_of, files_in, name_of, remove_file, require_printable, write_file
from s3mount.errors import MountError

_ENDING: Final = ".plist"
_LABEL_PREFIX: Final = "org.s3mount."
# launchd passes over keys that it does not know.
_OWN_KEY: Final = "S3mountEntry"
_RETRY_S: Final = 30


def agent(entry: Entry, logs: Path) -> bytes:
    return plistlib.dumps(
        {
            "Label": f"{_LABEL_PREFIX}{entry.name}",
            "ProgramArguments": entry.command(foreground=True),
            "RunAtLoad": True,
            # Without a network it fails, and tries again; an unmount ends it for good.
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": _RETRY_S,
            # Told to stop, it is not killed while it brings the rest into the bucket.
            "ExitTimeOut": 0,
            "StandardErrorPath": str(logs / f"{entry.name}.log"),
            _OWN_KEY: entry.to_json(),
        }
    )


class Launchd:
    def __init__(self, home: Path | None = None) -> None:
        library = (home if home is not None else Path(os.path.expanduser("~"))) / "Library"
        self._folder, self._logs = library / "LaunchAgents", library / "Logs" / "s3mount"

    def _path(self, mountpoint: str) -> Path:
        return self._folder / f"{_LABEL_PREFIX}{name_of(mountpoint)}{_ENDING}"

    def add(self, entry: Entry) -> None:
        require_printable(entry.command(foreground=True))
        # Without the folder launchd starts it with no log at all.
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MountError(f"cannot make {self._logs}: {error.strerror}") from error
        write_file(self._path(entry.mountpoint), agent(entry, self._logs))

    def remove(self, mountpoint: str) -> bool:
        return remove_file(self._path(mountpoint))

    def entries(self) -> list[Entry]:
        found = [_entry_in(path) for path in files_in(self._folder, _ENDING)]
        return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.mountpoint)


def _entry_in(path: Path) -> Entry | None:
    try:
        return entry_of(plistlib.loads(path.read_bytes())[_OWN_KEY])
    except (OSError, plistlib.InvalidFileException, KeyError, TypeError, ValueError):
        return None
