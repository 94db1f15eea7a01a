"""`s3mount unmount`: make sure of the bucket, then detach, then see the process out.

Also clears the mount point of a process that died. The order is what makes exit code 0 true: drain while the mount
still serves; ask to be told of the end (`follow`); detach; hear what was owed when the process ended.
"""

import contextlib
import time
from pathlib import Path
from typing import Final

import click

from s3mount.cli.find import client_of, mounted_place, timeout_option
from s3mount.cli.progress import DrainDisplay, files_text, show_owed
from s3mount.control.client import ControlClient
from s3mount.control.detach import detach
from s3mount.control.mount_table import Liveness, find_mount, probe
from s3mount.control.processes import wait_for_end
from s3mount.control.protocol import ControlRefused, ControlUnreachable, OwedFile
from s3mount.control.registry import MountEntry, Registry
from s3mount.errors import MountError, MountPointUnusable, NotDrained
from s3mount.host import PROCESS_HOLDS_DRIVE

# However little time is left once the mount is detached, an orderly end is not mistaken for an unfinished one.
_END_DEADLINE_S_MIN: Final = 10.0
_NO_DRAIN_DEADLINE_S: Final = 60.0
_TAKEN_UP: Final = "the next mount of the same bucket takes up whatever is owed"


def unmount(mountpoint: Path, *, drain: bool = True, timeout_s: float | None = None) -> None:
    """On return nothing is mounted at `mountpoint` and its process has ended; with `drain`, the bucket holds
    everything. Raises NotDrained, and MountPointUnusable when it is not mounted, not ours, or busy."""
    entry = Registry().find(mountpoint)
    if entry is None or not entry.is_alive:
        _clear_dead(mountpoint, entry)
        return
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    client = client_of(entry)
    if drain and entry.is_mounted:
        _drain_first(client, mountpoint, timeout_s)
    owed = _detach_and_follow(client, entry, drain, deadline)
    if not wait_for_end(entry.pid, entry.process_started, _END_DEADLINE_S_MIN):
        raise MountError(f"{mountpoint} is unmounted, but its process {entry.pid} has not ended")
    if not owed:
        return
    show_owed(owed)
    if drain:
        raise NotDrained(f"{mountpoint} is unmounted, but {files_text(len(owed))} not in the bucket; {_TAKEN_UP}")
    click.echo(f"{files_text(len(owed))} not in the bucket; {_TAKEN_UP}", err=True)


def _clear_dead(mountpoint: Path, entry: MountEntry | None) -> None:
    mounted = find_mount(mountpoint)
    if mounted is None:
        raise MountPointUnusable(f"{mountpoint} is not mounted")
    is_ours = entry is not None or mounted.fstype == "fuse.s3mount"
    if not mounted.is_fuse or not (is_ours or probe(mountpoint) is Liveness.DEAD):
        raise MountPointUnusable(f"{mountpoint} is mounted, but not by s3mount of this user")
    if entry is None and is_ours and probe(mountpoint) is Liveness.ANSWERS:
        raise MountPointUnusable(f"{mountpoint} is mounted by s3mount of another user: that user must unmount it")
    detach(mountpoint, lazy=True)
    if entry is not None:
        Registry().remove(entry)
    click.echo(f"{mountpoint} is unmounted; its process was gone already, and {_TAKEN_UP}", err=True)


def _drain_first(client: ControlClient, mountpoint: Path, timeout_s: float | None) -> None:
    with DrainDisplay() as display:
        owed = client.drain(deadline_s=timeout_s, progress=display.update)
    if owed:
        show_owed(owed)
        raise NotDrained(
            f"{files_text(len(owed))} not in the bucket yet; {mountpoint} is still mounted and goes on uploading"
        )


def _detach_and_follow(client: ControlClient, entry: MountEntry, drain: bool, deadline: float | None) -> list[OwedFile]:
    """Detach and wait for the end of the process; returns what was owed then."""
    mountpoint = Path(entry.mountpoint)
    end_deadline_s_min = _END_DEADLINE_S_MIN if entry.is_mounted else 0.0
    try:
        with client.follow() as farewell:
            try:
                client.stop(drain=drain)
            except ControlUnreachable:
                if entry.is_mounted:
                    raise
                # It ends already, and its farewell says how.
            if entry.is_mounted:
                _detach(client, mountpoint)
            with DrainDisplay() as display:
                owed = farewell.wait(_time_left(drain, deadline, end_deadline_s_min), display.update)
    except ControlUnreachable as error:
        if entry.is_mounted:
            raise
        text = f"{mountpoint} is unmounted, but its process ended without saying what is in the bucket; {_TAKEN_UP}"
        if drain:
            raise NotDrained(text) from error
        click.echo(text, err=True)
        return []
    if owed is None:
        with contextlib.suppress(ControlUnreachable, ControlRefused):
            show_owed(client.drain(deadline_s=0))
        raise NotDrained(
            f"{mountpoint} is unmounted, but not all is in the bucket yet; process {entry.pid} goes on uploading "
            f"(s3mount drain {mountpoint} waits for it)"
        )
    return owed


def _detach(client: ControlClient, mountpoint: Path) -> None:
    if PROCESS_HOLDS_DRIVE:
        client.detach()
        return
    try:
        detach(mountpoint)
    except MountPointUnusable:
        client.stop(drain=True)
        raise


def _time_left(drain: bool, deadline: float | None, least_s: float) -> float | None:
    if not drain:
        return _NO_DRAIN_DEADLINE_S
    return None if deadline is None else max(least_s, deadline - time.monotonic())


@click.command("unmount", short_help="Unmount once everything is in the bucket.")
@click.argument("mountpoint", metavar="MOUNTPOINT")
@click.option("--no-drain", is_flag=True, help="Do not wait for uploads: the next mount takes them up.")
@timeout_option
def command(mountpoint: str, no_drain: bool, timeout_s: float | None) -> int:
    """Wait until everything written to MOUNTPOINT is in the bucket, then unmount it.

    Exit code 0 only when the bucket holds everything (or with --no-drain). Exit code 5 when the time is over or changes
    are parked with an error: what is left is named, the mount stays up and goes on uploading.
    """
    unmount(mounted_place(mountpoint), drain=not no_drain, timeout_s=timeout_s)
    return 0
