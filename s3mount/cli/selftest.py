"""`s3mount selftest`: try on a drive what programs rely on."""

import json
import os
import secrets
import sys
from collections.abc import Callable, Sequence

import click

from s3mount.cli.progress import plain_text
from s3mount.errors import MountPointUnusable
from s3mount.selftest.checks import Outcome, Verdict

EXIT_FAILED = 1
SEED_BITS = 31
STEPS_MAX = 1_000_000


def _line(outcome: Outcome) -> str:
    detail = f": {plain_text(outcome.detail)}" if outcome.detail else ""
    return f"{outcome.verdict.value:8}{outcome.name} ({outcome.seconds:.1f} s){detail}"


def _run(drive: str, seed: int, steps: int, report: Callable[[Outcome], None]) -> Sequence[Outcome]:
    if sys.platform == "win32":
        from s3mount.selftest.windows_checks import run
    else:
        from s3mount.selftest.posix_checks import run
    return run(drive, seed=seed, steps=steps, report=report)


@click.command("selftest", short_help="Try on a drive what programs rely on.")
@click.option("--drive", metavar="PATH", required=True, help="The drive, or a folder on it: S: or /mnt/backup.")
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", help="Of the random check.  [default: another each time]"
)
@click.option(
    "--steps",
    type=click.IntRange(1, STEPS_MAX),
    default=1000,
    show_default=True,
    help="Of the random check.",
    metavar="N",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def command(drive: str, seed: int | None, steps: int, as_json: bool) -> int:
    """Try on a mounted drive what programs rely on, in a new folder that is removed again, and print a line for each
    check.

    Exit code 0 when all passed, 1 when one failed, 4 when no folder can be made on the drive.
    """
    seed = secrets.randbits(SEED_BITS) if seed is None else seed
    # A letter alone would be the folder that is current on that drive.
    place = os.path.join(os.path.abspath(f"{drive}{os.sep}" if drive.endswith(":") else drive), "")

    def report(outcome: Outcome) -> None:
        if not as_json:
            click.echo(_line(outcome))

    if not as_json:
        click.echo(f"selftest of {plain_text(place)}, seed {seed}, {steps} steps")
    try:
        outcomes = _run(place, seed, steps, report)
    except OSError as error:
        raise MountPointUnusable(f"no folder can be made in {place}: {error.strerror or error}") from error
    has_failed = any(outcome.verdict is Verdict.FAILED for outcome in outcomes)
    if as_json:
        checks = [
            {"name": o.name, "verdict": o.verdict.value, "detail": o.detail, "seconds": round(o.seconds, 3)}
            for o in outcomes
        ]
        click.echo(json.dumps({"drive": place, "seed": seed, "steps": steps, "checks": checks}, indent=2))
    return EXIT_FAILED if has_failed else 0
