"""Which process is meant: a pid together with its start time, since pids are used again.

Used by control/registry.py, cli/ and demo/. Who uses a folder is read from /proc, and known only where there is one.
"""

import os
import time
from pathlib import Path
from typing import Final

from s3mount.host import start_time

_PROC: Final = Path("/proc")
# Most processes that are waited for are about to end.
_POLL_S_MIN: Final = 0.002
_POLL_S_MAX: Final = 0.05


def is_running(pid: int, started: str) -> bool:
    """Whether that very process still runs."""
    return start_time(pid) == started


def wait_for_end(pid: int, started: str, deadline_s: float) -> bool:
    """Wait until the process has ended, at most `deadline_s` seconds; returns whether it has."""
    deadline = time.monotonic() + deadline_s
    pause_s = _POLL_S_MIN
    while is_running(pid, started):
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _POLL_S_MAX)
    return True


def processes_using(mountpoint: Path, limit: int = 5) -> list[str]:
    """Up to `limit` processes ("name (pid)") whose open files, working folder or root lie under `mountpoint`, as far
    as this user may see; not the caller itself. Reads link texts only, so a mount that hangs does not hang this."""
    inside = f"{mountpoint}/"
    found: list[str] = []
    for folder in _PROC.glob("[0-9]*"):
        if len(found) >= limit:
            break
        if folder.name == str(os.getpid()):
            continue
        try:
            links = [folder / "cwd", folder / "root", *(folder / "fd").iterdir()]
        except OSError:
            continue
        if any(_link_text(link) == str(mountpoint) or _link_text(link).startswith(inside) for link in links):
            found.append(f"{_program_name(folder)} ({folder.name})")
    return found


def _link_text(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _program_name(folder: Path) -> str:
    try:
        return (folder / "comm").read_text(errors="replace").strip()
    except OSError:
        return "a process"
