"""Linux: a service of the user's systemd (systemd.service(5), systemd.syntax(7)), for each mount.

It stays in the foreground, so that systemd knows whether it runs. Told to stop, it detaches and drains, for as long as
systemd lets it; what is not in the bucket by then, the next mount takes up.
"""

import configparser
import os
from pathlib import Path
from typing import Final

from s3mount.autostart.entry import Entry, entry_of, files_in, name_of, remove_file, run_command, written

_ENDING: Final = ".service"
# systemd passes over sections that begin with "X-".
_OWN_SECTION: Final = "X-S3mount"
_RETRY_S: Final = 30
_UNIT: Final = """\
[Unit]
Description=s3mount: {description}
# Without a network it tries again, however often.
StartLimitIntervalSec=0

[Service]
Type=simple
ExecStart={start}
# After a crash a dead mount is in the way of the next one.
ExecStopPost=-/bin/sh -c {clear_if_killed} {clear}
Restart=on-failure
RestartSec={retry_s}
# Wrong words stay wrong; and what is owed when it was told to end waits for the next logon.
RestartPreventExitStatus=2 5
# Only s3mount is told to stop, and it is not killed while it brings the rest into the bucket.
KillMode=mixed
TimeoutStopSec=infinity

[Install]
WantedBy=default.target

[{own_section}]
Entry={entry}
"""
_CLEAR_IF_KILLED: Final = 'test "$EXIT_CODE" = exited || exec "$0" "$@"'


def word(text: str) -> str:
    """One word of a command line in a unit, whatever it holds."""
    out = []
    for char in text:
        if char in '"\\':
            out.append(f"\\{char}")
        elif char in "%$":
            out.append(char * 2)
        elif char.isprintable() and char.isascii():
            out.append(char)
        else:
            out += [f"\\x{byte:02x}" for byte in os.fsencode(char)]
    return f'"{"".join(out)}"'


def unit(entry: Entry) -> str:
    command = entry.command(foreground=True)
    clear = [*command[:4], "unmount", "--no-drain", "--", entry.mountpoint]
    shown = f"{entry.source} at {entry.mountpoint}"
    return _UNIT.format(
        description="".join(char if char.isprintable() and char not in "%\\" else "?" for char in shown),
        start=" ".join(map(word, command)),
        clear_if_killed=word(_CLEAR_IF_KILLED),
        clear=" ".join(map(word, clear)),
        retry_s=_RETRY_S,
        own_section=_OWN_SECTION,
        entry=entry.to_json(),
    )


class Systemd:
    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: default that of the user's own units."""
        config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        self._folder = folder if folder is not None else Path(config) / "systemd" / "user"

    def _path(self, mountpoint: str) -> Path:
        return self._folder / f"{name_of(mountpoint)}{_ENDING}"

    def add(self, entry: Entry) -> None:
        path = self._path(entry.mountpoint)
        with written(path, unit(entry).encode()):
            run_command(["systemctl", "--user", "daemon-reload"])
            run_command(["systemctl", "--user", "enable", path.name])

    def remove(self, mountpoint: str) -> bool:
        path = self._path(mountpoint)
        if not path.exists():
            return False
        # By its name, which systemd knows as long as the file is there.
        run_command(["systemctl", "--user", "disable", path.name])
        remove_file(path)
        run_command(["systemctl", "--user", "daemon-reload"])
        return True

    def entries(self) -> list[Entry]:
        found = [_entry_in(path) for path in files_in(self._folder, _ENDING)]
        return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.mountpoint)


def _entry_in(path: Path) -> Entry | None:
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#", ";"))
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        return entry_of(parser.get(_OWN_SECTION, "entry"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return None
