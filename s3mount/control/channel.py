"""How a command and a mount process find each other, and how either knows that the other is this user's.

Used by the two ends, server.py and client.py. A channel is known by a path in the registry's folder, which is this
user's alone. The ways there are: unix_channel.py where the system has such sockets, loopback_channel.py elsewhere.
"""

import socket
import sys
from pathlib import Path
from typing import Protocol

if sys.platform == "win32":
    from s3mount.control.loopback_channel import LoopbackChannel as _OwnChannel
else:
    from s3mount.control.unix_channel import UnixChannel as _OwnChannel


class Channel(Protocol):
    def listen(self) -> socket.socket:
        """A listening socket. Raises OSError, with nothing left open."""

    def admits(self, connection: socket.socket) -> bool:
        """Whether the asker at the other end is this user or root. Waits as long as the connection's timeout says.
        Raises OSError."""

    def connect(self, deadline_s: float) -> socket.socket:
        """A connection to the listening process of this user. Raises OSError, also when none answers in time,
        ControlUnreachable when it is another's, ControlRefused when it says why it does not want to be asked."""

    def forget(self) -> None:
        """Remove what listen() left at the path; no error when nothing is there."""


def channel_at(path: Path) -> Channel:
    """The channel of this system."""
    return _OwnChannel(path)
