"""Making a running mount known to this user's commands, and unknown again.

Called by mount.py once the state folder is locked and before the mount answers. Starts the control server's threads.
"""

import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final

from s3mount.config import MountConfig
from s3mount.control.channel import channel_at
from s3mount.control.protocol import ControlHandlers, OwedFile
from s3mount.control.registry import MountEntry, Registry
from s3mount.control.server import ControlServer
from s3mount.errors import MountError
from s3mount.host import start_time

_UNKNOWN_START: Final = ""


class Announcement:
    """While entered, the mount is in the registry and answers on its control socket.

    Call `conclude` before closing the drive. Raises MountError when the registry folder or the socket cannot be made.
    """

    def __init__(self, config: MountConfig, handlers: ControlHandlers, registry: Registry | None = None) -> None:
        self.owed: Sequence[OwedFile] = ()
        self._registry = registry if registry is not None else Registry()
        pid = os.getpid()
        socket_path = self._registry.socket_path(config.mountpoint, pid)
        self._entry = MountEntry(
            mountpoint=str(config.mountpoint),
            bucket=config.bucket,
            prefix=config.prefix,
            pid=pid,
            process_started=start_time(pid) or _UNKNOWN_START,
            started_ns=time.time_ns(),
            socket=str(socket_path),
            state_dir=str(config.state_dir),
        )
        self._server = ControlServer(channel_at(socket_path), handlers)

    def __enter__(self) -> "Announcement":
        try:
            self._registry.prepare()
            self._server.start()
            self._registry.add(self._entry)
        except OSError as error:
            raise MountError(f"cannot make the control socket: {error}; check the user's state directory") from error
        return self

    def conclude(self, owed: Sequence[OwedFile]) -> None:
        """The mount has drained as far as it will: whoever asks from now on, and whoever follows the end, is told of
        `owed`, and the handlers' drive is left alone."""
        self.owed = owed
        self._server.conclude(owed)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close(self.owed)
        self._registry.remove(self._entry)
