"""Which of the two ways to WinFsp this Python takes: winfspy, or ctypes where winfspy has no wheel.

Asked by winfsp_session.py and, for its name, by `load_binding`. What differs between the two is behind FileSystem.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from s3mount.bindings.winfsp import WinFspOperations


class FileSystem(Protocol):
    """One FSP_FILE_SYSTEM, at `address` until `end`. Statuses are NTSTATUS."""

    @property
    def operations(self) -> WinFspOperations: ...

    @property
    def address(self) -> int: ...

    @staticmethod
    def name_of(status: int) -> str: ...

    def turn_guard_off(self) -> None: ...

    def mount(self, mount_point: str) -> int: ...

    def dispatch(self, threads: int) -> int: ...

    def end(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Library:
    """`name`: for a person. Parameters of a volume go by winfspy's names."""

    name: str
    make_operations: Callable[..., WinFspOperations]
    make_file_system: Callable[[Any, Mapping[str, Any]], FileSystem]


def by_winfspy() -> Library:
    """Raises ImportError when there is none for this Python, RuntimeError or OSError when it finds no WinFsp."""
    from s3mount.bindings.winfsp_winfspy import WinfspyFileSystem, WinfspyOperations

    version = importlib.import_module("winfspy").__version__
    return Library(f"winfspy {version}", WinfspyOperations, WinfspyFileSystem)


def by_ctypes() -> Library:
    """Raises OSError when there is no WinFsp."""
    from s3mount.bindings.winfsp_ctypes import CtypesFileSystem, CtypesOperations
    from s3mount.bindings.winfsp_dll import load_dll

    load_dll()
    return Library("ctypes", CtypesOperations, CtypesFileSystem)


def choose() -> Library:
    """Raises RuntimeError or OSError when there is no WinFsp."""
    try:
        return by_winfspy()
    except ImportError:
        return by_ctypes()
