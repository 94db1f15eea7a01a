"""What a mount needs of macOS: macFUSE with its libfuse 3 (docs/macos.md). Called by command.py; changes nothing.

The root of the file system is handed in, so that it runs anywhere in tests. Never run on macOS.
"""

import plistlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from s3mount.bindings import library_version
from s3mount.bindings.darwin_abi import LIBRARY_FOLDERS, libraries
from s3mount.cli.doctor.diagnosis import Diagnosis, fine, judged, note, wrong
from s3mount.errors import MountPointUnusable

MACFUSE: Final = "Library/Filesystems/macfuse.fs/Contents/Info.plist"
FUSE_T: Final = "Library/Application Support/fuse-t"
WHERE_FROM: Final = "https://macfuse.github.io"
# The first with libfuse 3, and the first whose libfuse 3 hands on the name of an attribute that is set.
VERSION_MIN: Final = (4, 10)
VERSION_GOOD: Final = (5, 1, 3)


def look(root: Path) -> Iterator[Diagnosis]:
    try:
        yield _macfuse(root)
    except MountPointUnusable as error:
        yield wrong("macFUSE", error)
    fuse_t = root / FUSE_T
    if fuse_t.exists():
        yield note("FUSE-T", f"{fuse_t}: s3mount cannot use it, there is no binding for it")
    yield judged("libfuse 3", lambda: _library(root))
    yield judged("FUSE library", library_version)


def _macfuse(root: Path) -> Diagnosis:
    information = root / MACFUSE
    try:
        version = plistlib.loads(information.read_bytes())["CFBundleShortVersionString"]
    except FileNotFoundError as error:
        raise MountPointUnusable(f"not installed: {WHERE_FROM}, version 5.1.3 or newer") from error
    except (OSError, plistlib.InvalidFileException, KeyError, ValueError) as error:
        raise MountPointUnusable(f"{information} cannot be read ({error}): install it again, {WHERE_FROM}") from error
    numbers = tuple(int(number) for number in re.findall(r"[0-9]+", str(version)))
    if numbers < VERSION_MIN:
        raise MountPointUnusable(f"{version} has no libfuse 3: install version 5.1.3 or newer, {WHERE_FROM}")
    if numbers < VERSION_GOOD:
        return note("macFUSE", f"{version} loses the names of extended attributes: install 5.1.3 or newer")
    return fine("macFUSE", str(version))


def _library(root: Path) -> str:
    found = next(libraries(root), None)
    if found is not None:
        return str(found)
    looked = ", ".join(f"/{folder}" for folder in LIBRARY_FOLDERS)
    raise MountPointUnusable(f"no libfuse3*.dylib in {looked}: macFUSE brings it, {WHERE_FROM}")
