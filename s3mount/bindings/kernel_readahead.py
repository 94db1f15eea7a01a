"""How far the kernel reads ahead of a program on this mount: 1 MiB instead of its usual 128 KiB, where root mounts.

Started by fuse_session.py when libfuse has mounted, on Linux; a thread of its own, which ends by itself. With FUSE_INIT
a file system can ask for less than the kernel's own figure, never for more, so the figure of the mount is raised
afterwards, where an administrator would do it. Others than root are not allowed to, and keep the usual one.
"""

import logging
import os
import threading
from pathlib import Path

from s3mount.bindings.mount_options import IO_BYTES_MAX

log = logging.getLogger(__name__)

READ_AHEAD_KIB = IO_BYTES_MAX >> 10
FSTYPE = "fuse.s3mount"
DEVICES = Path("/sys/class/bdi")
MOUNTS = Path("/proc/self/mountinfo")


def start_raising(mountpoint: str) -> None:
    """Raise it as soon as the mount answers. Returns at once."""
    threading.Thread(target=raise_read_ahead, args=(mountpoint,), name="read-ahead", daemon=True).start()


def raise_read_ahead(mountpoint: str, *, devices: Path = DEVICES, mounts: Path = MOUNTS) -> bool:
    """True when the mount has at least READ_AHEAD_KIB on return; False when it cannot be had, or the mount is gone."""
    try:
        # No answer before the kernel has set its own figure, which it does with the reply to FUSE_INIT.
        number = os.stat(mountpoint).st_dev
        device = f"{os.major(number)}:{os.minor(number)}"  # type: ignore[attr-defined,unused-ignore]
        if not _is_ours(device, mounts.read_text(errors="surrogateescape")):
            return False
        figure = devices / device / "read_ahead_kb"
        if int(figure.read_text()) < READ_AHEAD_KIB:
            figure.write_text(f"{READ_AHEAD_KIB}\n")
    except (OSError, ValueError) as error:
        log.debug("the kernel reads ahead as far as it did: %s", error)
        return False
    return True


def _is_ours(device: str, mountinfo: str) -> bool:
    """Where nothing is mounted any more, the device is that of the file system below."""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        if left.split(" ")[2:3] == [device]:
            return right.split(" ")[0] == FSTYPE
    return False
