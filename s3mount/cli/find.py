"""From the MOUNTPOINT, or a path in a mount, that a person typed to the mount process behind it.

Used by `unmount`, `drain`, `status` and `refresh`.
"""

import os
import sys
from pathlib import Path

import click

from s3mount import host
from s3mount.amounts import parse_duration
from s3mount.control.channel import channel_at
from s3mount.control.client import ControlClient
from s3mount.control.mount_table import resolve_mountpoint
from s3mount.control.registry import MountEntry, Registry
from s3mount.errors import MountPointUnusable, UsageError


def place_of(text: str) -> Path:
    """Where a drive is or is to be, absolute: a folder, and on Windows also a letter or a share. Raises UsageError."""
    if sys.platform == "win32":
        # Imported here for the sake of the other systems' commands: with it comes what the bindings have in common.
        from s3mount.bindings.windows_place import absolute_place

        return Path(absolute_place(text, lambda root: root[0] in host.taken_letters(), os.getcwd()))
    return resolve_mountpoint(text)


def mounted_place(text: str) -> Path:
    """Where the mount is that a person means, when there is one: on Windows `S:` is the drive that was mounted as
    `\\\\.\\S:`, too. Raises UsageError."""
    place = place_of(text)
    other = _other_name(str(place))
    if other is None or Registry().find(place) is not None or Registry().find(Path(other)) is None:
        return place
    return Path(other)


def _other_name(place: str) -> str | None:
    if sys.platform == "win32":
        from s3mount.bindings.windows_place import same_letter  # here for the same reason

        return same_letter(place)
    return None


def client_of(entry: MountEntry) -> ControlClient:
    return ControlClient(channel_at(Path(entry.socket)))


def living_mount(mountpoint: Path) -> MountEntry:
    """The mount process at that path, serving it or draining after it was detached. Raises MountPointUnusable."""
    entry = Registry().find(mountpoint)
    if entry is None:
        raise MountPointUnusable(f"{mountpoint} is not mounted by s3mount (s3mount status lists what is)")
    if not entry.is_alive:
        raise MountPointUnusable(f"the process behind {mountpoint} is gone: run s3mount unmount {mountpoint}")
    return entry


def mount_above(path: str) -> tuple[MountEntry, str]:
    """The mount that a path lies in, and the path within it, from "/" on. Neither is touched: it may hang. Raises
    MountPointUnusable."""
    absolute = Path(os.path.abspath(path))
    found = _nearest(absolute) or _nearest(Path(os.path.realpath(absolute.parent)) / absolute.name)
    if found is None:
        raise MountPointUnusable(f"{path} is in no mount of s3mount (s3mount status lists what is mounted)")
    mountpoint, inside = found
    return living_mount(mountpoint), f"/{inside.as_posix()}" if inside != Path() else "/"


def _nearest(path: Path) -> tuple[Path, Path] | None:
    """The mount point, and the path within it, of the innermost mount that the path lies in."""
    mountpoints = [entry.mountpoint for entry in Registry().entries()]
    above = [(Path(name), Path(known)) for known in mountpoints for name in _names(known) if path.is_relative_to(name)]
    if not above:
        return None
    place, mountpoint = max(above, key=lambda found: len(found[0].parts))
    return mountpoint, path.relative_to(place)


def _names(mountpoint: str) -> list[str]:
    other = _other_name(mountpoint)
    return [mountpoint] if other is None else [mountpoint, other]


def _seconds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else parse_duration(value)
    except UsageError as error:
        raise click.BadParameter(str(error)) from error


# The option of every command that waits; the parameter is `timeout_s`.
timeout_option = click.option(
    "--timeout", "timeout_s", callback=_seconds, metavar="S", help="Give up waiting after so long: 90, 90s, 5m."
)
