"""What is checked before a mount starts, so that a person reads what to do instead of an errno.

Called by cli/mount.py in the process that the person started, and again in the one that serves. Makes the state
folder; changes nothing else. Does not talk to S3.
"""

import contextlib
import importlib
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

from s3mount.bindings import load_binding
from s3mount.control.mount_table import Liveness, find_mount, probe
from s3mount.control.registry import Registry
from s3mount.errors import MountError, MountPointUnusable
from s3mount.host import PROCESS_HOLDS_DRIVE
from s3mount.private import check_folder, make_folder

FUSE_DEVICE: Final = Path("/dev/fuse")
FUSE_CONF: Final = Path("/etc/fuse.conf")
# By the processor that this Python is built for. AWS makes no awscrt for it, and WinFsp serves programs for x64 there.
_NO_S3_CLIENT: Final = {
    "win-arm64": "there is no awscrt for ARM64: install Python for x64, which this Windows runs too"
}
_HOW_TO_INSTALL: Final = "install it (Debian, Ubuntu: apt install fuse3)"


def check_mountpoint(mountpoint: Path) -> None:
    """Raises MountPointUnusable unless it is an empty directory that nothing is mounted on; on Windows, a letter or a
    name that is not taken."""
    if PROCESS_HOLDS_DRIVE:
        _check_free(mountpoint)
        return
    mounted = find_mount(mountpoint)
    if mounted is not None:
        if mounted.is_fuse and probe(mountpoint) is not Liveness.ANSWERS:
            raise MountPointUnusable(
                f"{mountpoint} is left over from a mount whose process is gone: run s3mount unmount {mountpoint}"
            )
        raise MountPointUnusable(f"{mountpoint} is already mounted: unmount it, or choose another directory")
    try:
        with os.scandir(mountpoint) as entries:
            is_empty = next(entries, None) is None
    except FileNotFoundError as error:
        raise MountPointUnusable(f"{mountpoint} does not exist: make it (mkdir -p {mountpoint})") from error
    except NotADirectoryError as error:
        raise MountPointUnusable(f"{mountpoint} is not a directory: choose another mount point") from error
    except OSError as error:
        raise MountPointUnusable(f"{mountpoint} cannot be used: {error.strerror}; choose another directory") from error
    if not is_empty:
        raise MountPointUnusable(f"{mountpoint} is not empty: choose an empty directory")


def _check_free(place: Path) -> None:
    """A letter is looked at by the binding."""
    if place.name and os.path.lexists(place):
        entry = Registry().find(place)
        if entry is not None and entry.is_alive:
            raise MountPointUnusable(f"{place} is already mounted: unmount it, or choose another folder")
        # Also what a power cut may leave of a drive: a link to nowhere, which rmdir removes too.
        text = f'remove it if it is empty (rmdir "{place}"), or choose a folder that is not there'
        raise MountPointUnusable(f"{place} is there already: {text}; WinFsp makes it")
    if place.name and not place.parent.is_dir():
        raise MountPointUnusable(f"{place.parent} does not exist: make it, or choose another folder")


def check_fuse(*, allow_other: bool, device: Path = FUSE_DEVICE, conf: Path = FUSE_CONF) -> None:
    """Raises MountPointUnusable when this system, or this user, cannot mount with FUSE."""
    if sys.platform == "linux":
        check_device(device)
        if os.geteuid() != 0:
            find_fusermount()
            if allow_other:
                check_others_may(conf)
    load_binding()


def check_s3_client() -> None:
    """Raises MountError when botocore or awscrt cannot be loaded; loading them is most of what a start takes."""
    try:
        importlib.import_module("s3mount.store.s3")
    except (ImportError, OSError) as error:
        what_to_do = _NO_S3_CLIENT.get(sysconfig.get_platform(), "pip install 'boto3[crt]'")
        raise MountError(f"the S3 client cannot be loaded ({error}): {what_to_do}") from error


def check_device(device: Path = FUSE_DEVICE) -> None:
    """Raises MountPointUnusable when this user may not open FUSE's device."""
    try:
        os.close(os.open(device, os.O_RDWR))
    except FileNotFoundError as error:
        raise MountPointUnusable(
            f"{device} is missing: load the module (modprobe fuse); in a container, start it with --device /dev/fuse"
        ) from error
    except PermissionError as error:
        raise MountPointUnusable(
            f"{device} may not be opened by this user: run as root, or chmod 666 {device}; in a container, "
            "start it with --device /dev/fuse --cap-add SYS_ADMIN"
        ) from error
    except OSError as error:
        raise MountPointUnusable(f"{device} cannot be opened: {error.strerror}; load the fuse module") from error


def find_fusermount() -> Path:
    """The program that mounts for everybody but root. Raises MountPointUnusable when there is none."""
    found = shutil.which("fusermount3")
    if found is None:
        raise MountPointUnusable(f"fusermount3 is missing: {_HOW_TO_INSTALL}")
    return Path(found)


def check_others_may(conf: Path = FUSE_CONF) -> None:
    """Raises MountPointUnusable when only root may mount for other users."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = conf.read_text(errors="replace").splitlines()
    if not any(line.strip() == "user_allow_other" for line in lines):
        raise MountPointUnusable(f"--allow-other needs the line user_allow_other in {conf}")


def prepare_state_dir(state_dir: Path) -> None:
    """Make the folder of the index, the cache and the log, for this user alone. Raises MountError (exit code 1), with
    nothing written, when another user had or has a hand in it."""
    try:
        make_folder(state_dir)
        check_folder(state_dir)
        with tempfile.TemporaryFile(dir=state_dir):
            pass
    except OSError as error:
        raise MountError(
            f"the cache directory {state_dir} is not writable: {error.strerror}; choose another with --cache-dir"
        ) from error


def free_bytes(folder: Path) -> int:
    """Room for this user on the file system where `folder` is, or will be made. 0 when it cannot be told."""
    for existing in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(existing).free
    return 0
