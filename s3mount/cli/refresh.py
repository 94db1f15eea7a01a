"""`s3mount refresh`: show at once what others changed in the bucket."""

import click

from s3mount.cli.find import client_of, mount_above


@click.command("refresh", short_help="Show at once what others changed in the bucket.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--recursive", is_flag=True, help="Everything below PATH too.")
def command(paths: tuple[str, ...], recursive: bool) -> int:
    """Show what others changed in the bucket at PATH, a file or directory of a mount, without waiting for
    --metadata-ttl.

    Exit code 1 when there is no such path or S3 does not answer, 4 when a path is in no mount.
    """
    for path in paths:
        entry, inside = mount_above(path)
        client_of(entry).refresh(inside, recursive=recursive)
    return 0
