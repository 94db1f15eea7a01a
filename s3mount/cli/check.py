"""`s3mount check`: compare index, cache and bucket, of a mount or of a bucket that is not mounted."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from s3mount.cli.find import client_of, living_mount, mounted_place
from s3mount.cli.mount import make_request
from s3mount.cli.preflight import check_s3_client
from s3mount.cli.progress import plain_text
from s3mount.config import ADDRESSING_STYLES, MountConfig
from s3mount.errors import UsageError

EXIT_DIFFERENCES: Final = 1
EXIT_OWED: Final = 5
SETTINGS: Final = {
    "endpoint-url": ("URL", "S3 server to talk to, as for mount."),
    "profile": ("NAME", "Profile of ~/.aws, as for mount."),
    "region": ("NAME", "Region of the bucket, as for mount."),
    "addressing-style": ("|".join(ADDRESSING_STYLES), "As for mount."),
    "cache-dir": ("DIR", "Where the cache and the index are kept, as for mount."),
}

Found = dict[str, str]


def _offline(config: MountConfig, *, repair: bool) -> list[Found]:
    check_s3_client()
    # Loaded only now: a check of a mount needs no S3 client.
    from s3mount.offline import check_bucket_of

    found = check_bucket_of(
        config.state_dir,
        repair=repair,
        bucket=config.bucket,
        prefix=config.prefix,
        endpoint_url=config.endpoint_url,
        profile=config.profile,
        region=config.region,
        addressing_style=config.addressing_style,
    )
    return [finding.as_json() for finding in found]


def _line(found: Found) -> str:
    text = f"{found['kind']}: {plain_text(found['place'])}"
    text += f" ({plain_text(found['detail'])})" if found["detail"] else ""
    return f"{text}: {found['repair']}" if found["repair"] else text


def exit_code_of(found: Sequence[Found]) -> int:
    if not found:
        return 0
    return EXIT_DIFFERENCES if any(entry["weight"] == "difference" for entry in found) else EXIT_OWED


def with_settings(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of `SETTINGS`, which say where a bucket and its state folder are."""
    for name, (metavar, text) in reversed(SETTINGS.items()):
        function = click.option(f"--{name}", metavar=metavar, help=text)(function)
    return function


@click.command("check", short_help="Compare index, cache and bucket.")
@click.argument("target", metavar="s3://BUCKET[/PREFIX]|MOUNTPOINT")
@click.option("--repair", is_flag=True, help="Mend what is safe and say so; objects are never touched.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@with_settings
def command(target: str, repair: bool, as_json: bool, **values: Any) -> int:
    """Compare index, cache and bucket, and tell each difference in a line.

    Exit code 0 when nothing was found, 1 when there are differences, 5 when something is owed to the bucket.
    """
    settings = {name: values[name.replace("-", "_")] for name in SETTINGS}
    given = {name: value for name, value in settings.items() if value is not None}
    if target.startswith("s3://"):
        request = make_request(target, Path(os.path.abspath(os.sep)), given, (), (), os.environ)
        found = _offline(request.config(), repair=repair)
    elif given:
        raise UsageError(f"--{next(iter(given))} goes with s3://BUCKET: the mount at {target} knows its own")
    else:
        found = client_of(living_mount(mounted_place(target))).check(repair=repair)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for entry in found:
            click.echo(_line(entry))
        if not found:
            click.echo("index, cache and bucket agree")
    return exit_code_of(found)
