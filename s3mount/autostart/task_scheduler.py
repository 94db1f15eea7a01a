"""Windows: a task of Task Scheduler for each mount, run when the user logs on, in that session and not elevated: a
drive letter is seen there only (https://learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema).

The task starts the mount in the background and ends. Task Scheduler does not start one again that failed, so it is
started once a minute for ten minutes, until the network is there; when the drive is there it says so and ends.

What was registered is kept as a file, which is what `entries` reads: `schtasks` shows tasks in the user's language.
"""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from platformdirs import user_data_dir

from s3mount.autostart.entry import (
    Entry,
    entry_of,
    files_in,
    name_of,
    remove_file,
    require_printable,
    run_command,
    written,
)
from s3mount.errors import MountError

_ENDING: Final = ".xml"
_NAMESPACE: Final = "http://schemas.microsoft.com/windows/2004/02/mit/task"
_TASK_FOLDER: Final = "\\s3mount\\"
# As the schema orders them: what Task Scheduler refuses otherwise.
_SETTINGS: Final = {
    "MultipleInstancesPolicy": "IgnoreNew",
    "DisallowStartIfOnBatteries": "false",
    "StopIfGoingOnBatteries": "false",
    "StartWhenAvailable": "true",
    # None: the mount that it starts is no part of it, and must not be taken for one that hangs.
    "ExecutionTimeLimit": "PT0S",
}


def task(entry: Entry, *, user: str, python: str) -> bytes:
    root = ET.Element("Task", {"version": "1.2", "xmlns": _NAMESPACE})
    information = ET.SubElement(root, "RegistrationInfo")
    _add(information, "Description", f"s3mount: {_shown(entry.source)} at {_shown(entry.mountpoint)}")
    _add(information, "Documentation", entry.to_json())
    trigger = ET.SubElement(ET.SubElement(root, "Triggers"), "LogonTrigger")
    repetition = ET.SubElement(trigger, "Repetition")
    _add(repetition, "Interval", "PT1M")
    _add(repetition, "Duration", "PT10M")
    _add(trigger, "Enabled", "true")
    _add(trigger, "UserId", user)
    principal = ET.SubElement(ET.SubElement(root, "Principals"), "Principal", {"id": "Author"})
    _add(principal, "UserId", user)
    _add(principal, "LogonType", "InteractiveToken")
    _add(principal, "RunLevel", "LeastPrivilege")
    settings = ET.SubElement(root, "Settings")
    for name, value in _SETTINGS.items():
        _add(settings, name, value)
    command, *arguments = entry.command(python=python, foreground=False)
    run = ET.SubElement(ET.SubElement(root, "Actions", {"Context": "Author"}), "Exec")
    _add(run, "Command", command)
    _add(run, "Arguments", subprocess.list2cmdline(arguments))
    # schtasks takes UTF-16 only.
    return b"\xff\xfe" + f'<?xml version="1.0" encoding="UTF-16"?>\n{ET.tostring(root, "unicode")}\n'.encode(
        "utf-16-le"
    )


def _add(above: ET.Element, name: str, text: str) -> None:
    ET.SubElement(above, name).text = text


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def current_user(environment: Mapping[str, str]) -> str:
    """Raises MountError."""
    name, domain = environment.get("USERNAME"), environment.get("USERDOMAIN")
    if not name:
        raise MountError("%USERNAME% is not set: whose logon it is cannot be told")
    return f"{domain}\\{name}" if domain else name


class TaskScheduler:
    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: default `autostart` in the user's data directory."""
        self._folder = folder if folder is not None else Path(user_data_dir("s3mount", appauthor=False)) / "autostart"

    def _path(self, mountpoint: str) -> Path:
        return self._folder / f"{name_of(mountpoint)}{_ENDING}"

    def add(self, entry: Entry) -> None:
        require_printable(entry.command(foreground=False))
        path = self._path(entry.mountpoint)
        name = f"{_TASK_FOLDER}{entry.name}"
        with written(path, task(entry, user=current_user(os.environ), python=_windowless_python())):
            run_command(["schtasks", "/Create", "/TN", name, "/XML", str(path), "/F"])

    def remove(self, mountpoint: str) -> bool:
        path = self._path(mountpoint)
        if not path.exists():
            return False
        name = f"{_TASK_FOLDER}{name_of(mountpoint)}"
        try:
            run_command(["schtasks", "/Delete", "/TN", name, "/F"])
        except MountError:
            # Somebody may have deleted it in Task Scheduler itself.
            if _is_registered(name):
                raise
        return remove_file(path)

    def entries(self) -> list[Entry]:
        found = [_entry_in(path) for path in files_in(self._folder, _ENDING)]
        return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.mountpoint)


def _is_registered(name: str) -> bool:
    try:
        run_command(["schtasks", "/Query", "/TN", name])
    except MountError:
        return False
    return True


def _windowless_python() -> str:
    """With python.exe a console window would open at every logon."""
    windowless = Path(sys.executable).with_name("pythonw.exe")
    return str(windowless) if windowless.exists() else sys.executable


def _entry_in(path: Path) -> Entry | None:
    try:
        found = ET.fromstring(path.read_bytes().decode("utf-16")).findtext(f".//{{{_NAMESPACE}}}Documentation")
        return None if found is None else entry_of(found)
    except (OSError, UnicodeDecodeError, ET.ParseError, ValueError):
        return None
