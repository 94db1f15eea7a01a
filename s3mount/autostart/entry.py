"""One mount at logon, what it is called, the words that start it, and files that hold it."""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

from s3mount.errors import MountError

NAME_PREFIX: Final = "s3mount-"
_SLUG_LENGTH_MAX: Final = 40
_COMMAND_DEADLINE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """`arguments`: the words after `s3mount mount` that come before source and mount point."""

    source: str
    mountpoint: str
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of letters, digits and "-"; another for each mount point."""
        return name_of(self.mountpoint)

    def command(self, *, python: str = sys.executable, foreground: bool) -> list[str]:
        """With this Python, wherever `s3mount` is on PATH at logon."""
        words = ["mount", *self.arguments, *(["--foreground"] if foreground else [])]
        return [python, "-P", "-m", "s3mount", *words, "--", self.source, self.mountpoint]

    def to_json(self) -> str:
        """In one line of ASCII."""
        return json.dumps(asdict(self))


def name_of(mountpoint: str) -> str:
    slug = re.sub(r"[^A-Za-z0-9]+", "-", mountpoint)[-_SLUG_LENGTH_MAX:].strip("-")
    digest = hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:8]
    return f"{NAME_PREFIX}{slug}-{digest}" if slug else f"{NAME_PREFIX}{digest}"


def entry_of(text: str) -> Entry | None:
    """What to_json wrote; None for anything else."""
    try:
        found = json.loads(text)
        return Entry(str(found["source"]), str(found["mountpoint"]), tuple(map(str, found["arguments"])))
    except (ValueError, KeyError, TypeError):
        return None


class Scheduler(Protocol):
    def add(self, entry: Entry) -> None:
        """From the next logon on, instead of an older entry for the same mount point. Raises MountError, with no entry
        left."""

    def remove(self, mountpoint: str) -> bool:
        """False when there was none. A mount that is up stays up. Raises MountError."""

    def entries(self) -> list[Entry]:
        """By mount point. Raises MountError."""


def require_printable(words: Sequence[str]) -> None:
    """For files that can hold text alone. Raises MountError."""
    for word in words:
        if not word.isprintable():
            raise MountError(f"{word!r} cannot be written down for the next logon: it holds what does not print")


def write_file(path: Path, content: bytes) -> None:
    """The whole of it or nothing, with the folders above. Raises MountError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".s3mount-")
        try:
            with open(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise MountError(f"cannot write {path}: {error.strerror}") from error


@contextlib.contextmanager
def written(path: Path, content: bytes) -> Iterator[None]:
    """The file, for as long as nothing inside raises MountError; then what was there before is there again."""
    try:
        before = path.read_bytes()
    except FileNotFoundError:
        before = None
    except OSError as error:
        raise MountError(f"cannot read {path}: {error.strerror}") from error
    write_file(path, content)
    try:
        yield
    except MountError:
        if before is None:
            remove_file(path)
        else:
            write_file(path, before)
        raise


def remove_file(path: Path) -> bool:
    """False when there was none. Raises MountError."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise MountError(f"cannot remove {path}: {error.strerror}") from error
    return True


def files_in(folder: Path, ending: str) -> list[Path]:
    """Those that may be ours, by name."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return sorted(path for path in folder.iterdir() if path.name.endswith(ending) and NAME_PREFIX in path.name)
    return []


def run_command(words: Sequence[str]) -> None:
    """Raises MountError with what it said."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_COMMAND_DEADLINE_S
        )  # fmt: skip
    except FileNotFoundError as error:
        raise MountError(f"{words[0]} is missing: it starts mounts at logon on this system") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MountError(f"{' '.join(words[:3])} failed: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise MountError(f"{' '.join(words[:3])} failed with {done.returncode}: {said}")
