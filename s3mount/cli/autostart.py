"""`s3mount autostart`: mounts that come up when this user logs on."""

import json
import os
import sys
from dataclasses import asdict
from typing import Final

import click

from s3mount.autostart.entry import Entry, Scheduler
from s3mount.cli.find import place_of
from s3mount.cli.mount import MountRequest, make_request
from s3mount.cli.mount import command as mount_command
from s3mount.cli.progress import plain_text
from s3mount.config import FLAG_SETTINGS, VALUE_SETTINGS
from s3mount.errors import MountError, UsageError

# Where the standard chain finds credentials in this shell, and does not at logon.
_CREDENTIALS: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
)
# What else the chain takes from the environment, none of it secret, and the option that says the same.
_NAMED: Final = (("AWS_PROFILE", "profile"), ("AWS_REGION", "region"), ("AWS_DEFAULT_REGION", "region"))


def _scheduler() -> Scheduler:
    match sys.platform:
        case "win32":
            from s3mount.autostart.task_scheduler import TaskScheduler

            return TaskScheduler()
        case "darwin":
            from s3mount.autostart.launchd import Launchd

            return Launchd()
        case _:
            from s3mount.autostart.systemd import Systemd

            return Systemd()


def _request(words: tuple[str, ...]) -> MountRequest:
    """What `s3mount mount WORDS` would ask for in this shell. Raises UsageError."""
    values = mount_command.make_context("s3mount autostart add", list(words)).params
    given = {name: value for name in VALUE_SETTINGS if (value := values[name.replace("-", "_")]) is not None}
    for variable, name in _NAMED:
        if os.environ.get(variable):
            given.setdefault(name, os.environ[variable])
    flags = [name for name in FLAG_SETTINGS if values[name.replace("-", "_")]]
    place = place_of(values["mountpoint"])
    request = make_request(values["source"], place, given, flags, values["option_texts"], os.environ)
    if "foreground" in request.flags:
        raise UsageError("--foreground is not yours to say: what starts it at logon decides")
    request.config()
    return request


@click.group("autostart", no_args_is_help=False, short_help="Mount a bucket whenever you log on.")
def command() -> None:
    """Mount a bucket whenever you log on: by systemd on Linux, launchd on macOS, Task Scheduler on Windows.

    Credentials are never written down: at logon they come from ~/.aws, SSO or the instance role.
    """


@command.command(
    "add",
    context_settings={"ignore_unknown_options": True},
    short_help="Mount this bucket there from the next logon on.",
)
@click.argument("words", metavar="[MOUNT OPTIONS] s3://BUCKET[/PREFIX] MOUNTPOINT", nargs=-1, type=click.UNPROCESSED)
def add(words: tuple[str, ...]) -> int:
    """Mount this bucket there from the next logon on, with the options of s3mount mount. Instead of what was to be
    mounted there before."""
    request = _request(words)
    entry = Entry(request.source, str(request.mountpoint), tuple(request.arguments()[1:-2]))
    _scheduler().add(entry)
    click.echo(f"{plain_text(entry.source)} is mounted at {plain_text(entry.mountpoint)} from your next logon on")
    found = [name for name in _CREDENTIALS if os.environ.get(name)]
    if found:
        click.echo(f"s3mount: {found[0]} of this shell is not there at logon: put what it says into ~/.aws", err=True)
    return 0


@command.command("remove", short_help="Mount nothing there at logon any more.")
@click.argument("mountpoint", metavar="MOUNTPOINT")
def remove(mountpoint: str) -> int:
    """Mount nothing there at logon any more. What is mounted now stays mounted."""
    place = str(place_of(mountpoint))
    if not _scheduler().remove(place):
        raise MountError(f"nothing is mounted at {place} at logon: see s3mount autostart list")
    return 0


@command.command("list", short_help="Show what is mounted at logon.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def show(as_json: bool) -> int:
    """Show what is mounted at logon."""
    entries = _scheduler().entries()
    if as_json:
        click.echo(json.dumps([{**asdict(entry), "name": entry.name} for entry in entries], indent=2))
        return 0
    for entry in entries:
        click.echo(plain_text(" ".join([entry.mountpoint, entry.source, *entry.arguments])))
    if not entries:
        click.echo("nothing is mounted at logon")
    return 0
