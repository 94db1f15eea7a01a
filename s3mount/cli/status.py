"""`s3mount status`: what the mounts of this user are doing, for a person or as JSON."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

import click

from s3mount.cli.find import client_of, living_mount, mounted_place
from s3mount.cli.progress import files_text, plain_text, size_text
from s3mount.control.protocol import ControlRefused, ControlUnreachable
from s3mount.control.registry import MountEntry, Registry

_STATE_DEAD: Final = "dead"
_STATE_SILENT: Final = "not answering"
_PROBLEMS_SHOWN_MAX: Final = 20
_WIDTH_OF_A_PIPE: Final = 1000

Status = Mapping[str, object]


def _status_of(entry: MountEntry) -> Status:
    """What the process says; for one that cannot say anything, what the registry knows."""
    known = {
        "mountpoint": entry.mountpoint,
        "bucket": entry.bucket,
        "prefix": entry.prefix,
        "pid": entry.pid,
        "state": _STATE_SILENT if entry.is_alive else _STATE_DEAD,
    }
    if not entry.is_alive:
        return known
    try:
        return client_of(entry).status()
    except (ControlUnreachable, ControlRefused):
        return known


def _number(status: Status, name: str) -> int:
    value = status.get(name, 0)
    return int(value) if isinstance(value, int | float) else 0


def _show_table(statuses: Sequence[Status]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("MOUNTPOINT", "BUCKET", "STATE", "TO UPLOAD", "OLDEST", "CACHE", "PROBLEMS"):
        table.add_column(title, overflow="fold")
    for status in statuses:
        table.add_row(*_row(status))
    # A pipe has no width: what reads it wants whole lines.
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE
    Console(width=width, highlight=False, markup=False).print(table)
    for status in statuses:
        for line in _problem_lines(status):
            click.echo(line)


def _row(status: Status) -> list[str]:
    bucket = f"s3://{status.get('bucket', '')}/{status.get('prefix', '')}"
    head = [str(status.get("mountpoint", "")), bucket, str(status.get("state", ""))]
    if "dirty_files" not in status:
        return [*head, "?", "?", "?", "?"]
    dirty = f"{_number(status, 'dirty_files')} ({size_text(_number(status, 'dirty_bytes'))})"
    age = f"{_number(status, 'oldest_dirty_age_s')} s" if _number(status, "dirty_files") else "-"
    cache = f"{size_text(_number(status, 'cache_bytes'))} of {size_text(_number(status, 'cache_limit_bytes'))}"
    return [*head, dirty, age, cache, str(len(_errors(status)) + _number(status, "conflicts"))]


def _errors(status: Status) -> list[Mapping[str, object]]:
    errors = status.get("errors")
    return [error for error in errors if isinstance(error, Mapping)] if isinstance(errors, list) else []


def _cause(error: Mapping[str, object]) -> str:
    return plain_text(f"{error.get('path')}: {error.get('cause')}")


def _problem_lines(status: Status) -> list[str]:
    lines = [f"error: {_cause(error)} (since {_time_text(error.get('since'))})" for error in _errors(status)]
    conflicts = _number(status, "conflicts")
    if conflicts:
        lines.append(f"{files_text(conflicts)} changed in the bucket as well: look for names with (conflict …)")
    if status.get("state") == _STATE_DEAD:
        lines.append(f"{status.get('mountpoint')}: the process is gone: run s3mount unmount {status.get('mountpoint')}")
    extra = len(lines) - _PROBLEMS_SHOWN_MAX
    return [*lines[:_PROBLEMS_SHOWN_MAX], f"… and {extra} more (--json lists all)"] if extra > 0 else lines


def _time_text(since: object) -> str:
    if not isinstance(since, int | float):
        return "?"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since))


@click.command("status", short_help="Show what is mounted and what is not in the bucket yet.")
@click.argument("mountpoint", metavar="[MOUNTPOINT]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one object for MOUNTPOINT, else a list.")
def command(mountpoint: str | None, as_json: bool) -> int:
    """Show the mount at MOUNTPOINT, or all mounts of this user, and what is not in the bucket yet."""
    if mountpoint is not None:
        status = client_of(living_mount(mounted_place(mountpoint))).status()
        if as_json:
            click.echo(json.dumps(status, indent=2))
        else:
            _show_table([status])
        return 0
    statuses = [_status_of(entry) for entry in Registry().entries()]
    if as_json:
        click.echo(json.dumps(statuses, indent=2))
    elif statuses:
        _show_table(statuses)
    else:
        click.echo("nothing is mounted")
    return 0
