"""Files and folders that are this user's alone: made so whatever the umask, refused where another user had a hand in.

Used wherever something is made or believed on the local disk: state folders, log, lock, index, registry. Calls the
operating system and keeps nothing. Where files have no owner and no mode bits (Windows), the user's profile is the
guard, and nothing is checked.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from s3mount.errors import MountError
from s3mount.host import HAS_OWNERS, effective_uid, open_shared

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700

_LINKS_MAX: Final = 40
_ROOT_UID: Final = 0
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_WHAT_TO_DO: Final = "choose another folder (--cache-dir, XDG_STATE_HOME), or make it yours alone"


class NotPrivate(MountError):
    """Another user could have put something there, or still can."""


def make_folder(folder: Path) -> None:
    """Make `folder`, and what is missing above it, for this user alone. Raises NotPrivate, with nothing written, when
    another user could replace it or write into it; OSError."""
    if not HAS_OWNERS:
        folder.mkdir(parents=True, exist_ok=True)
        return
    _close_folder(_real_path(folder, makes=True))


def check_way(folder: Path) -> None:
    """Raises NotPrivate when another user could put a link, or a folder of theirs, in the place of `folder`, which is
    there, or into it; OSError. Changes nothing."""
    if HAS_OWNERS:
        _real_path(folder, makes=False)


def check_folder(folder: Path) -> None:
    """The same of a folder that is there, and of what lies in it and in the folders there, which are closed to others.
    One level deeper nothing is looked at: it is as safe as the folder it lies in. Raises NotPrivate, OSError."""
    if not HAS_OWNERS:
        return
    real = _real_path(folder, makes=False)
    _close_folder(real)
    for path, info in _entries(real):
        _close_entry(path, info)
        if stat.S_ISDIR(info.st_mode):
            for inner, inner_info in _entries(path):
                _close_entry(inner, inner_info)


def open_file(path: str | os.PathLike[str], flags: int) -> int:
    """A file descriptor, as the `opener` of open() wants it: of a regular file of this user's, 0600, never reached
    through a symbolic link in its last component. Raises OSError."""
    number = open_shared(path, flags | _NO_FOLLOW, FILE_MODE)
    if not HAS_OWNERS:
        return number
    try:
        info = os.fstat(number)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != effective_uid():
            raise PermissionError(errno.EPERM, "not a file of this user", os.fspath(path))
        if stat.S_IMODE(info.st_mode) != FILE_MODE:
            os.chmod(number, FILE_MODE)
    except BaseException:
        os.close(number)
        raise
    return number


def create_file(path: Path) -> None:
    """Make an empty file for this user alone, unless there is one. Raises OSError."""
    # One that is there is not opened: closing it again would end the locks that SQLite holds on it in this process.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, FILE_MODE))


def _real_path(path: Path, *, makes: bool) -> Path:
    """The folder without links, every step to it looked at before it is taken."""
    path = Path.cwd() / path
    place = Path(path.anchor)
    rest = list(reversed(path.parts[1:]))
    links_left = _LINKS_MAX
    while rest:
        name = rest.pop()
        here = place.parent if name == ".." else place / name
        info = _look_or_make(here, makes=makes)
        _check_owner(here, info, is_root_trusted=True)
        if stat.S_ISLNK(info.st_mode):
            links_left -= 1
            if not links_left:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(here))
            target = Path(os.readlink(here))
            place = Path(target.anchor) if target.is_absolute() else place
            rest.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))
            continue
        if not stat.S_ISDIR(info.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(here))
        if info.st_mode & stat.S_IWOTH and not info.st_mode & stat.S_ISVTX:
            raise NotPrivate(f"everybody may write to {here}: {_WHAT_TO_DO}")
        place = here
    return place


def _look_or_make(path: Path, *, makes: bool) -> os.stat_result:
    if makes:
        with contextlib.suppress(FileNotFoundError):
            return os.lstat(path)
        # Somebody may be quicker; whatever is there then is judged like anything else.
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, FOLDER_MODE)
    return os.lstat(path)


def _check_owner(path: Path, info: os.stat_result, *, is_root_trusted: bool) -> None:
    own = effective_uid()
    if info.st_uid != own and not (is_root_trusted and info.st_uid == _ROOT_UID):
        kind = "the symbolic link " if stat.S_ISLNK(info.st_mode) else ""
        raise NotPrivate(f"{kind}{path} belongs to another user ({info.st_uid}): {_WHAT_TO_DO}")


def _close_folder(folder: Path) -> None:
    info = os.lstat(folder)
    _check_owner(folder, info, is_root_trusted=False)
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NotPrivate(f"other users may write to {folder}: look what is in it, then chmod 700 it")
    if stat.S_IMODE(info.st_mode) != FOLDER_MODE:
        os.chmod(folder, FOLDER_MODE)


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            # Drafts are renamed, and SQLite's files beside the index go, while another process works.
            with contextlib.suppress(FileNotFoundError):
                yield Path(entry.path), entry.stat(follow_symlinks=False)


def _close_entry(path: Path, info: os.stat_result) -> None:
    """The folder around it is closed by now, so nobody else can put something in its place after this look."""
    if stat.S_ISLNK(info.st_mode):
        raise NotPrivate(f"{path} is a symbolic link: s3mount makes none there; remove it")
    _check_owner(path, info, is_root_trusted=False)
    wanted = FOLDER_MODE if stat.S_ISDIR(info.st_mode) else FILE_MODE
    if stat.S_IMODE(info.st_mode) & ~wanted:
        with contextlib.suppress(FileNotFoundError):
            os.chmod(path, wanted)
