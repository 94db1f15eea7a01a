"""What a FUSE library is asked for with a mount: one list of options for each kind of library. Pure.

Called by fuse_session.py. What macFUSE and FUSE-T understand, and what not: docs/macos.md; neither was ever tried.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

from s3mount.bindings.mount_point import option_text
from s3mount.errors import MountPointUnusable

IO_BYTES_MAX: Final = 1 << 20
THREADS_MAX: Final = 32
# macFUSE gives a mount up that is silent for so long; a file operation may wait that long for S3.
DARWIN_SILENCE_S_MAX: Final = 600


class Library(Enum):
    """Who made the libfuse that is loaded."""

    LINUX = "libfuse"
    MACFUSE = "macFUSE"
    FUSE_T = "FUSE-T"


class MountOptions(NamedTuple):
    """`text`: what libfuse takes with the mount, after -o. The others: what it takes with its loop."""

    text: str
    threads_max: int
    idle_threads_max: int
    clones_fd: bool


def library_of(platform: str, *, is_macfuse: bool) -> Library:
    """`platform`: as sys.platform. `is_macfuse`: whether the library has the function macfuse_version."""
    if platform != "darwin":
        return Library.LINUX
    return Library.MACFUSE if is_macfuse else Library.FUSE_T


def mount_options(
    library: Library, *, source_name: str, read_only: bool, allow_other: bool, extra_options: Iterable[str]
) -> MountOptions:
    """`extra_options`: words of a person's, which come last and may name the loop's. Raises MountPointUnusable."""
    # Never fewer idle than at most: a thread that ends takes its thread-local state with it.
    loop = {"max_threads": str(THREADS_MAX), "max_idle_threads": str(THREADS_MAX), "clone_fd": ""}
    options = _own(library, source_name)
    options += ["allow_other"] if allow_other else []
    options += ["ro"] if read_only else []
    # libfuse 3 ends the mount when this is not what `init` sets.
    options += [f"max_read={IO_BYTES_MAX}"] if library is not Library.FUSE_T else []
    for option in extra_options:
        name, is_assignment, value = option.partition("=")
        if name in loop:
            loop[name] = value or "yes"
        else:
            options.append(f"{name}={option_text(value)}" if is_assignment else name)
    try:
        threads_max, idle_threads_max = int(loop["max_threads"]), int(loop["max_idle_threads"])
    except ValueError as error:
        raise MountPointUnusable(f"-o max_threads and max_idle_threads take a number: {error}") from error
    return MountOptions(",".join(options), threads_max, idle_threads_max, bool(loop["clone_fd"]))


def _own(library: Library, source_name: str) -> list[str]:
    if library is Library.LINUX:
        return [f"fsname={option_text(source_name)}", "subtype=s3mount", "default_permissions"]
    # Finder shows it as the volume's name, in which a slash would be a colon.
    volume_name = source_name.partition("#")[2].strip("/").replace("/", " ") or source_name
    options = [f"volname={option_text(volume_name)}"]
    if library is Library.MACFUSE:
        # The kernel goes by owner and mode, as on Linux, since nobody else does; and drops cached pages of what others
        # changed.
        options += [f"fsname={option_text(source_name)}", "default_permissions", "auto_cache"]
        options += [f"daemon_timeout={DARWIN_SILENCE_S_MAX}", f"iosize={IO_BYTES_MAX}"]
    return options
