"""Other users, as the tests play them: what they plant, what they run, and what a folder looked like before."""

import os
import stat
import subprocess
import sys
from pathlib import Path

STRANGER = 1234
SECOND_STRANGER = 1235
STRANGERS_GROUP = 4321

Look = tuple[str, int, int, int, int, bytes]


def snapshot(folder: Path) -> dict[str, Look]:
    """Everything below `folder`, and the folder: kind and mode, owner, size, time, content."""
    return {str(path): _look(path) for path in [folder, *sorted(folder.rglob("*"))]}


def _look(path: Path) -> Look:
    info = path.lstat()
    content = b""
    if stat.S_ISREG(info.st_mode):
        content = path.read_bytes()
    elif stat.S_ISLNK(info.st_mode):
        content = os.fsencode(os.readlink(path))
    return oct(info.st_mode), info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns, content


def plant_link(link: Path, target: Path, owner: int = STRANGER) -> None:
    link.symlink_to(target)
    os.lchown(link, owner, owner)


def run_as(folder: Path, code: str, uid: int = STRANGER) -> str:
    """Python code run in `folder` by another user: what it printed, "" or the name of the errno it ended with. Entered
    through an open directory: the temporary folders above it are closed to others."""
    program = (
        "import errno, os, sys\n"
        f"os.setgroups([]); os.setgid({STRANGERS_GROUP}); os.setuid({uid})\n"
        "try:\n    os.chdir(sys.argv[1])\n    exec(sys.argv[2])\n"
        "except OSError as error:\n    print(errno.errorcode[error.errno])\n"
    )
    fh = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", program, f"/proc/self/fd/{fh}", code], pass_fds=[fh], timeout=30,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        os.close(fh)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
