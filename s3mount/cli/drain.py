"""`s3mount drain`: wait until the bucket holds everything, without unmounting."""

import click

from s3mount.cli.find import client_of, living_mount, mounted_place, timeout_option
from s3mount.cli.progress import DrainDisplay, files_text, show_owed
from s3mount.errors import NotDrained


@click.command("drain", short_help="Wait until everything is in the bucket.")
@click.argument("mountpoint", metavar="MOUNTPOINT")
@timeout_option
def command(mountpoint: str, timeout_s: float | None) -> int:
    """Wait until everything written to MOUNTPOINT is in the bucket. The mount stays up.

    Exit code 5 when the time is over or changes are parked with an error; what is left is named.
    """
    path = mounted_place(mountpoint)
    client = client_of(living_mount(path))
    with DrainDisplay() as display:
        owed = client.drain(deadline_s=timeout_s, progress=display.update)
    if owed:
        show_owed(owed)
        raise NotDrained(f"{files_text(len(owed))} of {path} not in the bucket yet; the mount goes on uploading")
    return 0
