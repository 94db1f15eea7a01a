"""What a mount needs of Windows: WinFsp, winfspy, a free letter. Called by command.py; changes nothing.

What it asks the system is handed in, so that it runs anywhere in tests. Never run on Windows.
"""

import ctypes
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s3mount.bindings import WINFSP_HINT, library_version
from s3mount.bindings.windows_place import absolute_place
from s3mount.cli.doctor.diagnosis import Diagnosis, judged
from s3mount.errors import MountPointUnusable

WINFSP_KEY: Final = r"SOFTWARE\WOW6432Node\WinFsp"
WINFSP_MIN: Final = (2, 1)
LIBRARIES: Final = ("winfsp-x64.dll", "winfsp-a64.dll", "winfsp-x86.dll")

Version = tuple[int, int]


def read_registry(key: str, name: str) -> str | None:
    """A value below HKEY_LOCAL_MACHINE, None when there is none."""
    winreg: Any = importlib.import_module("winreg")
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
            return str(winreg.QueryValueEx(opened, name)[0])
    except OSError:
        return None


def dll_version(library: Path) -> Version:
    """What WinFsp's own function says. Raises OSError when it cannot be loaded into this Python."""
    loader: Any = vars(ctypes)["WinDLL"]
    number = ctypes.c_uint32()
    if status := loader(str(library)).FspVersion(ctypes.byref(number)):
        raise OSError(f"FspVersion answers {status:#x}")
    return number.value >> 16, number.value & 0xFFFF


@dataclass(frozen=True, slots=True)
class Windows:
    """The questions to the system."""

    read_registry: Callable[[str, str], str | None] = read_registry
    dll_version: Callable[[Path], Version] = dll_version
    exists: Callable[[str], bool] = os.path.exists
    is_64_bit: bool = sys.maxsize > 1 << 32


def look(place: str | None, windows: Windows) -> Iterator[Diagnosis]:
    """`place`: where the drive shall go, as a person writes it; None for any letter."""
    yield judged("WinFsp", lambda: _winfsp(windows))
    yield judged("winfspy", library_version)
    yield judged("drive letter" if place is None else "mount point", lambda: _place(place or "*", windows))


def _winfsp(windows: Windows) -> str:
    folder = windows.read_registry(WINFSP_KEY, "InstallDir")
    if folder is None:
        raise MountPointUnusable(f"not installed: {WINFSP_HINT}")
    library = next(
        (found for name in LIBRARIES if windows.exists(str(found := Path(folder) / "bin" / name))),
        None,
    )
    if library is None:
        raise MountPointUnusable(f"its library is missing in {folder}: {WINFSP_HINT}")
    try:
        version = windows.dll_version(library)
    except OSError as error:
        raise MountPointUnusable(f"{library} cannot be loaded ({error}): {WINFSP_HINT}") from error
    text = ".".join(map(str, version))
    if version < WINFSP_MIN:
        raise MountPointUnusable(f"{text} is too old, before 2.1 it can crash Windows: {WINFSP_HINT}")
    return f"{text} in {folder}"


def _place(text: str, windows: Windows) -> str:
    path = absolute_place(text, windows.exists, os.getcwd())
    if windows.exists(path):
        text = "choose another letter, or a folder that is not there yet (an empty one can be removed: rmdir)"
        raise MountPointUnusable(f"{path} is taken: {text}")
    return f"{path} is free"
