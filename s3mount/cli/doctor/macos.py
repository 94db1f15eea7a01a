"""What a mount needs of macOS: macFUSE with its libfuse 3. Called by command.py; changes nothing.

The root of the file system is handed in, so that it runs anywhere in tests. Never run on macOS.
"""

import plistlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from s3mount.bindings import library_version
from s3mount.cli.doctor.diagnosis import Diagnosis, judged, note
from s3mount.errors import MountPointUnusable

MACFUSE: Final = "Library/Filesystems/macfuse.fs/Contents/Info.plist"
FUSE_T: Final = "Library/Application Support/fuse-t"
LIBRARY_FOLDERS: Final = ("usr/local/lib", "opt/homebrew/lib")
WHERE_FROM: Final = "https://macfuse.github.io"


def look(root: Path) -> Iterator[Diagnosis]:
    yield judged("macFUSE", lambda: _macfuse(root))
    fuse_t = root / FUSE_T
    if fuse_t.exists():
        yield note("FUSE-T", f"{fuse_t}: s3mount cannot use it, it has libfuse 2 alone")
    yield judged("libfuse 3", lambda: _library(root))
    yield judged("FUSE library", library_version)


def _macfuse(root: Path) -> str:
    information = root / MACFUSE
    try:
        version = plistlib.loads(information.read_bytes())["CFBundleShortVersionString"]
    except FileNotFoundError as error:
        raise MountPointUnusable(f"not installed: {WHERE_FROM}, version 5 or newer") from error
    except (OSError, plistlib.InvalidFileException, KeyError, ValueError) as error:
        raise MountPointUnusable(f"{information} cannot be read ({error}): install it again, {WHERE_FROM}") from error
    if not str(version).split(".")[0].isdigit() or int(str(version).split(".")[0]) < 5:
        raise MountPointUnusable(f"{version} has no libfuse 3: install version 5 or newer, {WHERE_FROM}")
    return f"{version}"


def _library(root: Path) -> str:
    for folder in LIBRARY_FOLDERS:
        for found in sorted((root / folder).glob("libfuse3*.dylib")):
            return str(found)
    looked = ", ".join(f"/{folder}" for folder in LIBRARY_FOLDERS)
    raise MountPointUnusable(f"no libfuse3*.dylib in {looked}: macFUSE 5 brings it, {WHERE_FROM}")
