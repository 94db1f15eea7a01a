"""Showing how a drain goes: one live line on a terminal, a plain line now and then elsewhere. Writes to stderr.

Used by `unmount`, `drain` and `demo`, by one thread.
"""

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final

import click

from s3mount.control.protocol import DrainProgress, OwedFile

if TYPE_CHECKING:
    from rich.status import Status

_PLAIN_INTERVAL_S: Final = 5.0
OWED_SHOWN_MAX: Final = 20


def size_text(count: int) -> str:
    """A size for a person: 1.5 GiB."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def files_text(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"


def plain_text(text: str) -> str:
    """What came out of the bucket, safe for a terminal: what does not print, line breaks too, is written as \\x1b."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def progress_text(now: DrainProgress) -> str:
    text = f"{files_text(now.dirty_files)}, {size_text(now.dirty_bytes)} to go, {now.uploading} uploading"
    return f"{text}, {now.errors} with errors (see s3mount status)" if now.errors else text


def show_owed(owed: Sequence[OwedFile]) -> None:
    """Name what is not in the bucket, with its cause; only so many, and how many more."""
    for file in owed[:OWED_SHOWN_MAX]:
        click.echo(f"  {plain_text(file.path)}: {plain_text(file.cause)}", err=True)
    if len(owed) > OWED_SHOWN_MAX:
        click.echo(f"  … and {len(owed) - OWED_SHOWN_MAX} more", err=True)


class DrainDisplay:
    """Enter it, and hand it every DrainProgress."""

    def __init__(self) -> None:
        self._status: Status | None = None
        self._said = ""
        self._say_again_at = 0.0

    def __enter__(self) -> "DrainDisplay":
        if sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status("waiting until the bucket holds everything")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def update(self, now: DrainProgress) -> None:
        text = progress_text(now)
        if self._status is not None:
            self._status.update(text)
        elif text != self._said and now.dirty_files and time.monotonic() >= self._say_again_at:
            click.echo(text, err=True)
            self._said = text
            self._say_again_at = time.monotonic() + _PLAIN_INTERVAL_S
