"""FLOOR 5, the only code that knows an operating system: picks the binding this machine can run.

Called by mount.py from the main thread, once, before anything is mounted. Importing this package loads no FUSE
library and no WinFsp; `load_binding()` does. It does not mount, and it does not install anything.
"""

import importlib
import logging
import os
import sys
import threading
from typing import Protocol

from s3mount.bindings.served import Ready, ServedFileSystem
from s3mount.errors import MountPointUnusable

log = logging.getLogger(__name__)

LIBRARY_NAME = "fuse3"
INSTALL_HINT = {
    "linux": "install FUSE 3: apt install fuse3 (Debian, Ubuntu) or dnf install fuse3-libs fuse3 (Fedora)",
    "darwin": "install macFUSE 5.1.3 or newer, https://macfuse.github.io; nobody has run this on macOS: docs/macos.md",
}
WINFSP_HINT = "install WinFsp 2.1 or newer: https://winfsp.dev, or winget install WinFsp.WinFsp"


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
        detaching: threading.Event,
        on_ready: Ready,
    ) -> None:
        """Serve `filesystem` at `mountpoint` until it is unmounted; fuse_session.run_fuse is the contract.
        `detaching` is set to have it end, and looked at where the system has no command for that
        (host.PROCESS_HOLDS_DRIVE)."""


def load_binding() -> RunBinding:
    """The binding's run function. Raises MountPointUnusable naming the library tried and what to install.

    On Windows it is WinFsp's own interface. Elsewhere it is libfuse 3, from 3.10 on: left to itself mfusepy takes
    libfuse 2 where both are installed, which has neither rename flags nor readdir with attributes. FUSE_LIBRARY_PATH
    or FUSE_LIBRARY_NAME in the environment win. On macOS it is macFUSE's libfuse 3, which mfusepy takes none of.
    """
    if sys.platform == "win32":
        return _load_winfsp()
    if sys.platform == "darwin":
        return _load_macfuse()
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


def library_version() -> str:
    """What load_binding() loads, for a person: "libfuse 3.14". Raises what that raises."""
    load_binding()
    if sys.platform == "win32":
        return str(importlib.import_module("s3mount.bindings.winfsp_library").choose().name)
    major, minor = importlib.import_module("s3mount.bindings.lowlevel_abi").version
    return f"libfuse {major}.{minor}"


def as_seen(filesystem: ServedFileSystem, *, keeps_junk_here: bool) -> ServedFileSystem:
    """`filesystem` as programs of this system expect a drive. `keeps_junk_here`: --junk=local."""
    if sys.platform == "darwin":
        view = importlib.import_module("s3mount.bindings.darwin_view").DarwinView
        seen: ServedFileSystem = view(filesystem, keeps_spotlight_out=keeps_junk_here)
        return seen
    return filesystem


def _load_macfuse() -> RunBinding:
    try:
        run: RunBinding = importlib.import_module("s3mount.bindings.fuse_session").run_fuse
    except (ImportError, OSError, AttributeError) as error:
        raise MountPointUnusable(f"no usable macFUSE ({error}); {INSTALL_HINT['darwin']}") from error
    log.warning("nobody has run s3mount on macOS yet: keep no only copy of anything there (docs/macos.md)")
    return run


def _load_winfsp() -> RunBinding:
    try:
        importlib.import_module("s3mount.bindings.winfsp_library").choose()
    except (RuntimeError, OSError) as error:
        # Either way to it looks for the DLL.
        raise MountPointUnusable(f"no usable WinFsp ({error}); {WINFSP_HINT}") from error
    run: RunBinding = importlib.import_module("s3mount.bindings.winfsp_session").run_winfsp
    return run
