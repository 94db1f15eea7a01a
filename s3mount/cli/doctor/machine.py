"""What a mount needs of any computer: Python, the S3 client, a folder for the cache, a place for the drive.

Called by command.py. Changes nothing, and makes no folder that is not there.
"""

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Final

from s3mount.cli.doctor.diagnosis import Diagnosis, fine, judged, note, wrong
from s3mount.cli.preflight import check_s3_client, free_bytes, prepare_state_dir
from s3mount.cli.progress import size_text
from s3mount.config import auto_cache_limit_bytes
from s3mount.errors import MountError
from s3mount.private import check_way

PYTHON_MIN: Final = (3, 11)
FREE_BYTES_MIN: Final = 1 << 30


def python(version: tuple[int, int] = sys.version_info[:2]) -> Diagnosis:
    text = f"{platform.python_version()} ({platform.machine()})"
    if version < PYTHON_MIN:
        return wrong("Python", MountError(f"{text} is too old: install Python 3.11 or newer"))
    return fine("Python", text)


def s3_client() -> Diagnosis:
    def load() -> str:
        check_s3_client()
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("botocore", "awscrt"))

    return judged("S3 client", load)


def cache_folder(folder: Path) -> Diagnosis:
    """Of the folder that a mount would use, or of the nearest one there is, in which it would be made."""
    nearest = next(there for there in (folder, *folder.parents) if os.path.exists(there))
    try:
        if nearest == folder:
            prepare_state_dir(folder)
        elif not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            raise MountError(f"{folder} cannot be made: {nearest} is not writable; choose another with --cache-dir")
        else:
            check_way(nearest)
    except MountError as error:
        return wrong("cache directory", error)
    except OSError as error:
        return wrong("cache directory", MountError(f"{folder}: {error.strerror}; choose another with --cache-dir"))
    free = free_bytes(folder)
    state = "" if nearest == folder else ", not there yet"
    if free < FREE_BYTES_MIN:
        return note("cache directory", f"{folder}{state}: only {size_text(free)} free; choose another with --cache-dir")
    limit = size_text(auto_cache_limit_bytes(free))
    return fine("cache directory", f"{folder}{state}, {size_text(free)} free, of which the cache takes {limit}")
