"""FLOOR 5, the only code that knows an operating system: picks the binding this machine can run.

Called by mount.py from the main thread, once, before anything is mounted. Importing this package loads no FUSE
library; `load_binding()` does. It does not mount, and it does not install anything.
"""

import importlib
import os
import sys
from collections.abc import Iterator, MutableMapping
from typing import Protocol

from s3mount.bindings.served import Ready, ServedFileSystem
from s3mount.errors import MountPointUnusable

LIBRARY_NAMES = ("fuse3", "fuse")
INSTALL_HINT = {
    "linux": "install FUSE: apt install fuse3 (Debian, Ubuntu) or dnf install fuse3-libs fuse3 (Fedora)",
    "darwin": "install macFUSE: https://macfuse.github.io",
}


class RunBinding(Protocol):
    def __call__(
        self,
        filesystem: ServedFileSystem,
        mountpoint: str,
        *,
        source_name: str,
        read_only: bool,
        allow_other: bool,
        extra_options: tuple[str, ...],
        on_ready: Ready,
    ) -> None:
        """Serve `filesystem` at `mountpoint` until it is unmounted; fuse_session.run_fuse is the contract."""


def load_binding() -> RunBinding:
    """The binding's run function. Raises MountPointUnusable naming each thing tried and what to install.

    The order is fuse3, then fuse: left to itself mfusepy takes libfuse 2 where both are installed, which has neither
    rename flags nor readdir with attributes. FUSE_LIBRARY_PATH or FUSE_LIBRARY_NAME in the environment win.
    """
    failures: list[str] = []
    for library in _candidates(os.environ):
        if library is not None:
            os.environ["FUSE_LIBRARY_NAME"] = library
        try:
            importlib.import_module("mfusepy")
        except (ImportError, OSError, AttributeError) as error:
            failures.append(f"{library or 'the library named in the environment'}: {error}")
            if library is not None:
                del os.environ["FUSE_LIBRARY_NAME"]
            continue
        run: RunBinding = importlib.import_module("s3mount.bindings.fuse_session").run_fuse
        return run
    hint = INSTALL_HINT.get(sys.platform, "install libfuse 3")
    raise MountPointUnusable(f"no usable FUSE library ({'; '.join(failures)}); {hint}")


def _candidates(environment: MutableMapping[str, str]) -> Iterator[str | None]:
    """Library names to try, in order; None leaves the environment's choice alone."""
    if environment.get("FUSE_LIBRARY_PATH") or environment.get("FUSE_LIBRARY_NAME") or sys.platform != "linux":
        yield None
        return
    yield from LIBRARY_NAMES
