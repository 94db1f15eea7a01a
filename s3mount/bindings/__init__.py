"""FLOOR 5, the only code that knows an operating system: picks the binding this machine can run.

Called by mount.py from the main thread, once, before anything is mounted. Importing this package loads no FUSE
library; `load_binding()` does. It does not mount, and it does not install anything.
"""

import importlib
import os
import sys
from typing import Protocol

from s3mount.bindings.served import Ready, ServedFileSystem
from s3mount.errors import MountPointUnusable

LIBRARY_NAME = "fuse3"
INSTALL_HINT = {
    "linux": "install FUSE 3: apt install fuse3 (Debian, Ubuntu) or dnf install fuse3-libs fuse3 (Fedora)",
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
    """The binding's run function. Raises MountPointUnusable naming the library tried and what to install.

    It is libfuse 3, from 3.10 on: left to itself mfusepy takes libfuse 2 where both are installed, which has neither
    rename flags nor readdir with attributes. FUSE_LIBRARY_PATH or FUSE_LIBRARY_NAME in the environment win.
    """
    is_ours = sys.platform == "linux" and not any(map(os.environ.get, ("FUSE_LIBRARY_PATH", "FUSE_LIBRARY_NAME")))
    if is_ours:
        os.environ["FUSE_LIBRARY_NAME"] = LIBRARY_NAME
    try:
        importlib.import_module("mfusepy")
        run: RunBinding = importlib.import_module("s3mount.bindings.fuse_session").run_fuse
    except (ImportError, OSError, AttributeError) as error:
        if is_ours:
            del os.environ["FUSE_LIBRARY_NAME"]
        tried = LIBRARY_NAME if is_ours else "the library named in the environment"
        hint = INSTALL_HINT.get(sys.platform, "install libfuse 3")
        raise MountPointUnusable(f"no usable FUSE library ({tried}: {error}); {hint}") from error
    return run
