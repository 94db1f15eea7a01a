"""From the MOUNTPOINT that a person typed to the mount process behind it. Used by `unmount`, `drain` and `status`."""

from pathlib import Path

import click

from s3mount.config import parse_duration
from s3mount.control.client import ControlClient
from s3mount.control.registry import MountEntry, Registry
from s3mount.errors import MountPointUnusable, UsageError


def client_of(entry: MountEntry) -> ControlClient:
    return ControlClient(Path(entry.socket))


def living_mount(mountpoint: Path) -> MountEntry:
    """The mount process at that path, serving it or draining after it was detached. Raises MountPointUnusable."""
    entry = Registry().find(mountpoint)
    if entry is None:
        raise MountPointUnusable(f"{mountpoint} is not mounted by s3mount (s3mount status lists what is)")
    if not entry.is_alive:
        raise MountPointUnusable(f"the process behind {mountpoint} is gone: run s3mount unmount {mountpoint}")
    return entry


def _seconds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else parse_duration(value)
    except UsageError as error:
        raise click.BadParameter(str(error)) from error


# The option of every command that waits; the parameter is `timeout_s`.
timeout_option = click.option(
    "--timeout", "timeout_s", callback=_seconds, metavar="S", help="Give up waiting after so long: 90, 90s, 5m."
)
