"""The `s3mount` command itself: finds the subcommand, and turns every way to fail into one line and an exit code.

Called by the console script and `python -m s3mount`. Loads a subcommand's module only when it is asked for, so that
`--help` is quick and works without libfuse. Does nothing a subcommand does.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Any, Final, NoReturn

import click

from s3mount import __version__, garbage
from s3mount.ending import end_process
from s3mount.errors import MountError, S3mountError, StoreError

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NO_ACCESS: Final = 3
EXIT_INTERRUPTED: Final = 130

EXIT_CODES: Final = {
    0: "done",
    1: "failed",
    2: "usage",
    3: "no access to the bucket (credentials, 403, no such bucket, no network)",
    4: "the mount point or FUSE is not usable",
    5: "not everything is in the bucket (unmount or drain timed out, or parked changes)",
}

_COMMANDS: Final = {
    "mount": "s3mount.cli.mount",
    "unmount": "s3mount.cli.unmount",
    "drain": "s3mount.cli.drain",
    "status": "s3mount.cli.status",
    "check": "s3mount.cli.check",
    "refresh": "s3mount.cli.refresh",
    "doctor": "s3mount.cli.doctor.command",
    "autostart": "s3mount.cli.autostart",
    "selftest": "s3mount.cli.selftest",
    "demo": "s3mount.demo.command",
}


class S3mountGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module_name = _COMMANDS.get(cmd_name)
        if module_name is None:
            return None
        with garbage.left_alone():
            command: click.Command = importlib.import_module(module_name).command
        return command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in EXIT_CODES.items()])

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run and exit. Never shows a traceback: what was not foreseen goes to a log file that the line names."""
        arguments = list(sys.argv[1:] if args is None else args)
        if arguments and arguments[0].startswith("s3://"):
            # mount(8) runs `s3mount SOURCE MOUNTPOINT -o …` for a line of type fuse.s3mount in fstab.
            arguments.insert(0, "mount")
        extra["standalone_mode"] = False
        command = super().main
        sys.exit(exit_code_after(lambda: command(arguments, prog_name or "s3mount", **extra)))


def exit_code_after(run: Callable[[], object]) -> int:
    """What the process is to end with when it has run that; how it failed is said on stderr, in one line."""
    try:
        code = run()
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "s3mount"
        return _failed(f"{error.format_message()} (see {command} --help)", EXIT_USAGE)
    except click.ClickException as error:
        return _failed(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _failed("interrupted", EXIT_INTERRUPTED)
    except S3mountError as error:
        return _failed(str(error), exit_code_of(error))
    except Exception as error:  # noqa: BLE001 - the last resort; the traceback is kept in the log file
        # Imported only here: with logging and its files it is a third of what a command takes to start.
        from s3mount.cli.log import record_unexpected

        path = record_unexpected(error)
        return _failed(f"unexpected {type(error).__name__}: {error} (details in {path})", EXIT_FAILED)
    return code if isinstance(code, int) else 0


def exit_code_of(error: S3mountError) -> int:
    """The exit code that stands for that failure."""
    if isinstance(error, MountError):
        return error.exit_code
    return EXIT_NO_ACCESS if isinstance(error, StoreError) else EXIT_FAILED


def one_line(text: str) -> str:
    return " ".join(text.split())


def _failed(text: str, code: int) -> int:
    click.echo(f"s3mount: {one_line(text)}", err=True)
    return code


@click.group(cls=S3mountGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, message="s3mount %(version)s")
def s3mount() -> None:
    """A drive over an S3 bucket, made for backup.

    s3mount mount s3://my-bucket /mnt/backup
    """


def main() -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        # A pipe of Windows has the code page of an old program, in which most names cannot be written.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        s3mount.main()
    except SystemExit as end:
        end_process(end.code if isinstance(end.code, int) else EXIT_FAILED)
