"""Taking a mount point out of the mount table.

Called by `s3mount unmount`, and when a start in the background failed half way. Runs fusermount3, umount or diskutil
with a deadline; does not talk to the mount process.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from s3mount.control.mount_table import find_mount
from s3mount.control.processes import processes_using
from s3mount.errors import MountPointUnusable

# The kernel writes its dirty pages back to the mount before it lets go.
_DETACH_DEADLINE_S: Final = 120.0


def detach(mountpoint: Path, *, lazy: bool = False) -> None:
    """Unmount; no error when nothing is mounted there any more. `lazy`: even while it is in use, for a mount whose
    process is gone. Raises MountPointUnusable, naming who uses it when that can be seen."""
    said = ""
    for command in _commands(mountpoint, lazy=lazy, platform=sys.platform):
        try:
            outcome = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env={**os.environ, "LC_ALL": "C"},
                timeout=_DETACH_DEADLINE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
            continue
        if outcome.returncode == 0 or find_mount(mountpoint) is None:
            return
        said = outcome.stderr.strip() or f"{command[0]} failed"
        if "busy" in said:
            users = ", ".join(processes_using(mountpoint))
            raise MountPointUnusable(f"{mountpoint} is in use{f' by {users}' if users else ''}: end that and try again")
    raise MountPointUnusable(
        f"{mountpoint} cannot be unmounted: {said or 'neither fusermount3 nor umount is installed'}"
    )


def _commands(mountpoint: Path, *, lazy: bool, platform: str) -> list[list[str]]:
    if platform == "darwin":
        # The second asks the programs that have the volume open, Finder among them, to let go.
        force = (["-f"], ["force"]) if lazy else ([], [])
        return [["umount", *force[0], "--", str(mountpoint)], ["diskutil", "unmount", *force[1], str(mountpoint)]]
    fusermount = [name for name in ("fusermount3", "fusermount") if shutil.which(name)]
    commands = [[name, "-uz" if lazy else "-u", "--", str(mountpoint)] for name in fusermount[:1]]
    if shutil.which("umount"):
        commands.append(["umount", *(["-l"] if lazy else []), "--", str(mountpoint)])
    return commands
