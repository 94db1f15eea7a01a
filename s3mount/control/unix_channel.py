"""The control channel as a Unix socket: the kernel says whose the other end is.

Chosen by channel.py. Threads: any.
"""

import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from s3mount.control.protocol import ControlUnreachable

assert sys.platform != "win32"

LISTEN_BACKLOG: Final = 16
# sun_path holds 108 bytes with its end on Linux, 104 on macOS and the BSDs.
SOCKET_PATH_BYTES_MAX: Final = 103


class UnixChannel:
    def __init__(self, path: Path) -> None:
        """`path`: of the socket; its folder must exist and be 0700."""
        self._path = path

    def listen(self) -> socket.socket:
        self.forget()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _socket_address(self._path) as address:
                listener.bind(address)
                os.chmod(address, 0o600)
            listener.listen(LISTEN_BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener

    def admits(self, connection: socket.socket) -> bool:
        return _is_trusted(connection)

    def connect(self, deadline_s: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(deadline_s)
            with _socket_address(self._path) as address:
                connection.connect(address)
            if not _is_trusted(connection):
                raise ControlUnreachable(f"{self._path} is another user's socket: it was asked nothing")
        except BaseException:
            connection.close()
            raise
        return connection

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)


def _is_trusted(connection: socket.socket) -> bool:
    """Whether the other end is this user or root. Where the system cannot tell, the 0700 folder is the guard."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return uid in (os.geteuid(), 0)


@contextmanager
def _socket_address(path: Path) -> Iterator[str]:
    """An address for bind or connect that fits into a sockaddr however long the folder's name is.

    Raises OSError when the folder is missing, or too long on a system without /proc."""
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
