"""`s3mount doctor`: look at all that a mount needs, and say what to do about what is missing."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from s3mount.cli.check import SETTINGS, with_settings
from s3mount.cli.doctor import machine, macos, windows
from s3mount.cli.doctor.diagnosis import Diagnosis, exit_code_of, judged
from s3mount.cli.find import place_of
from s3mount.cli.mount import BUCKETS_FOLDER, make_request
from s3mount.cli.preflight import check_mountpoint
from s3mount.config import MountConfig
from s3mount.control.registry import state_root
from s3mount.errors import UsageError

# Options that say something about a bucket, and nothing without one.
_OF_A_BUCKET = ("endpoint-url", "region", "addressing-style")


@click.command("doctor", short_help="Look at all that a mount needs.")
@click.argument("source", metavar="[s3://BUCKET[/PREFIX]]", required=False)
@click.argument("mountpoint", metavar="[MOUNTPOINT]", required=False)
@click.option("--allow-other", is_flag=True, help="The mount shall let other users in.")
@click.option("--try-writes", is_flag=True, help="Try a write that comes to nothing where S3 honours conditions.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@with_settings
def command(
    source: str | None, mountpoint: str | None, allow_other: bool, try_writes: bool, as_json: bool, **values: Any
) -> int:
    """Look at all that a mount needs: this computer, and with s3://BUCKET what S3 says. A line each, with what to do.

    Exit code 0 when nothing is wrong, else that of the first thing that is, as mount would end with.
    """
    settings = {name: values[name.replace("-", "_")] for name in SETTINGS}
    given = {name: value for name, value in settings.items() if value is not None}
    config = _config(source, given, tries_writes=try_writes)
    found: list[Diagnosis] = []
    for diagnosis in _look(config, given, mountpoint, allow_other=allow_other, tries_writes=try_writes):
        found.append(diagnosis)
        if not as_json:
            click.echo(diagnosis.as_line())
    if as_json:
        click.echo(json.dumps([diagnosis.as_json() for diagnosis in found], indent=2))
    return exit_code_of(found)


def _config(source: str | None, given: dict[str, str], *, tries_writes: bool) -> MountConfig | None:
    if source is not None:
        # No drive is made, so any place will do.
        place = Path(r"\\s3mount\doctor" if sys.platform == "win32" else "/")
        return make_request(source, place, given, (), (), os.environ).config()
    needless = next((name for name in _OF_A_BUCKET if name in given), "try-writes" if tries_writes else None)
    if needless is not None:
        raise UsageError(f"--{needless} goes with s3://BUCKET")
    return None


def _look(
    config: MountConfig | None,
    given: dict[str, str],
    mountpoint: str | None,
    *,
    allow_other: bool,
    tries_writes: bool,
) -> Iterator[Diagnosis]:
    yield machine.python()
    client = machine.s3_client()
    yield client
    if sys.platform == "win32":
        yield from windows.look(mountpoint, windows.Windows())
    elif sys.platform == "darwin":
        yield from macos.look(Path("/"))
    else:
        # Of calls that Windows does not have.
        from s3mount.cli.doctor import linux

        yield from linux.look(allow_other=allow_other)
    if mountpoint is not None and sys.platform != "win32":
        yield judged("mount point", lambda: _usable(mountpoint))
    folder = Path(os.path.abspath(os.path.expanduser(given["cache-dir"]))) if "cache-dir" in given else None
    folder = folder or state_root() / BUCKETS_FOLDER
    yield machine.cache_folder(folder if config is None else config.state_dir)
    if client.exit_code == 0:
        # Loaded only now: it needs the S3 client.
        from s3mount.cli.doctor import bucket

        credentials = bucket.credentials(given.get("profile"))
        yield credentials
        if config is not None and credentials.exit_code == 0:
            yield from bucket.look(config, tries_writes=tries_writes)


def _usable(mountpoint: str) -> str:
    place = place_of(mountpoint)
    check_mountpoint(place)
    return f"{place} is empty and free"
