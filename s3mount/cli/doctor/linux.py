"""What a mount needs of Linux: FUSE's device, fusermount3, libfuse 3. Called by command.py; changes nothing."""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from s3mount.bindings import library_version
from s3mount.cli.doctor.diagnosis import Diagnosis, fine, judged, note
from s3mount.cli.preflight import FUSE_CONF, FUSE_DEVICE, check_device, check_others_may, find_fusermount
from s3mount.errors import MountPointUnusable

assert sys.platform != "win32"


def look(*, allow_other: bool, device: Path = FUSE_DEVICE, conf: Path = FUSE_CONF) -> Iterator[Diagnosis]:
    def open_device() -> str:
        check_device(device)
        return f"{device} can be opened"

    yield judged("FUSE device", open_device)
    if os.geteuid() == 0:
        yield fine("fusermount3", "root needs none")
    else:
        yield judged("fusermount3", _fusermount)
    yield judged("FUSE library", library_version)
    yield _other_users(conf, allow_other=allow_other)


def _fusermount() -> str:
    program = find_fusermount()
    has_rights = (
        program.stat().st_mode & stat.S_ISUID or "security.capability" in os.listxattr(program)  # type: ignore[attr-defined,unused-ignore]
    )
    if not has_rights:
        raise MountPointUnusable(f"{program} may not mount: as root, chmod u+s {program}, or install fuse3 again")
    return f"{program}, setuid" if program.stat().st_mode & stat.S_ISUID else f"{program}, with capabilities"


def _other_users(conf: Path, *, allow_other: bool) -> Diagnosis:
    """What root needs no leave for, and anybody else only for --allow-other."""
    if os.geteuid() == 0:
        return fine("other users", "root may let them in (--allow-other)")

    def ask() -> str:
        check_others_may(conf)
        return f"--allow-other works: {conf} has user_allow_other"

    found = judged("other users", ask)
    return found if allow_other or found.exit_code == 0 else note("other users", found.detail)
