"""The mount process' end of the control socket.

Built by control/announce.py. One thread accepts, one more serves each connection, at most `connections_max` at a time;
each waits with a deadline for its request and for every send. Calls the handlers without any lock held. Answers
only the user who owns the mount and root. Does not know what a mount is.
"""

import contextlib
import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from s3mount.control.protocol import (
    PROGRESS_INTERVAL_S,
    REQUEST_BYTES_MAX,
    ControlHandlers,
    DrainProgress,
    Operation,
    OwedFile,
    decode,
    encode,
    encode_owed,
    socket_address,
)
from s3mount.errors import S3mountError

CONNECTIONS_MAX: Final = 16
REQUEST_DEADLINE_S: Final = 5.0
SEND_DEADLINE_S: Final = 10.0
CLOSE_DEADLINE_S: Final = 3.0

_ACCEPT_PAUSE_S: Final = 0.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Listening:
    """What exists between start and close. A byte written to `wake_write` wakes the accepting thread."""

    listener: socket.socket
    wake_read: socket.socket
    wake_write: socket.socket
    accepter: threading.Thread


class ControlServer:
    """Listens on `socket_path` (mode 0600; its folder must exist and be 0700) from start() to close()."""

    def __init__(self, socket_path: Path, handlers: ControlHandlers, *, connections_max: int = CONNECTIONS_MAX) -> None:
        self._path = socket_path
        self._handlers = handlers
        self._free_connections = threading.BoundedSemaphore(connections_max)
        self._ended = threading.Event()
        self._owed: Sequence[OwedFile] = ()
        self._threads: set[threading.Thread] = set()
        self._threads_lock = threading.Lock()
        self._listening: _Listening | None = None

    def start(self) -> None:
        """Listen. Raises OSError, with nothing left open, when the socket cannot be made."""
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with socket_address(self._path) as address:
                listener.bind(address)
                os.chmod(address, 0o600)
            listener.listen(CONNECTIONS_MAX)
        except OSError:
            listener.close()
            raise
        wake_read, wake_write = socket.socketpair()
        accepter = threading.Thread(
            target=self._accept_loop, args=(listener, wake_read), name="control-accept", daemon=True
        )
        self._listening = _Listening(listener, wake_read, wake_write, accepter)
        accepter.start()

    def close(self, owed: Sequence[OwedFile] = ()) -> None:
        """Say goodbye to every follower with what is still owed, and stop listening. Returns within about
        CLOSE_DEADLINE_S; a drain request in flight has that long to answer. No error when not listening."""
        listening, self._listening = self._listening, None
        if listening is None:
            return
        deadline = time.monotonic() + CLOSE_DEADLINE_S
        self._owed = owed
        self._ended.set()
        listening.wake_write.send(b"x")
        listening.accepter.join(CLOSE_DEADLINE_S)
        with self._threads_lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for end in (listening.listener, listening.wake_read, listening.wake_write):
            end.close()
        self._path.unlink(missing_ok=True)

    def _accept_loop(self, listener: socket.socket, wake_read: socket.socket) -> None:
        while not self._ended.is_set():
            ready, _, _ = select.select([listener.fileno(), wake_read.fileno()], [], [])
            if listener.fileno() not in ready:
                continue
            try:
                connection, _ = listener.accept()
            except OSError as error:
                _log.warning("control socket: accept failed: %s", error)
                time.sleep(_ACCEPT_PAUSE_S)
                continue
            self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        connection.settimeout(REQUEST_DEADLINE_S)
        if not self._free_connections.acquire(blocking=False):
            with connection, contextlib.suppress(OSError):
                connection.sendall(encode({"error": "too many commands are asking this mount at once; try again"}))
            return
        thread = threading.Thread(target=self._serve, args=(connection,), name="control", daemon=True)
        with self._threads_lock:
            self._threads.add(thread)
        thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._answer(connection)
        except OSError as error:
            _log.debug("control socket: the asker went away: %s", error)
        finally:
            self._free_connections.release()
            with self._threads_lock:
                self._threads.discard(threading.current_thread())

    def _answer(self, connection: socket.socket) -> None:
        if not _is_allowed(connection):
            _send(connection, {"error": "this mount belongs to another user"})
            return
        try:
            request = decode(_read_line(connection))
            operation = Operation(request.get("op"))
        except ValueError as error:
            _send(connection, {"error": f"not understood: {error}"})
            return
        try:
            result = self._run(operation, request, connection)
        except S3mountError as error:
            _send(connection, {"error": str(error)})
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, the asker gets an answer
            _log.exception("control socket: %s failed", operation.value)
            _send(connection, {"error": f"{operation.value} failed: {type(error).__name__}: {error}"})
        else:
            _send(connection, {"result": result})

    def _run(self, operation: Operation, request: Mapping[str, object], connection: socket.socket) -> object:
        def progress(now: DrainProgress) -> None:
            _send(connection, {"progress": asdict(now)})

        match operation:
            case Operation.STATUS:
                return dict(self._handlers.status())
            case Operation.STOP:
                self._handlers.stop(bool(request.get("drain", True)))
                return None
            case Operation.DRAIN:
                deadline_s = request.get("deadline_s")
                limit = float(deadline_s) if isinstance(deadline_s, int | float) else None
                return encode_owed(self._handlers.drain(limit, progress))
            case Operation.FOLLOW:
                while not self._ended.wait(PROGRESS_INTERVAL_S):
                    progress(_progress_of(self._handlers.status()))
                return encode_owed(list(self._owed))


def _progress_of(status: Mapping[str, object]) -> DrainProgress:
    def count(name: str) -> int:
        value = status.get(name, 0)
        return value if isinstance(value, int) else 0

    errors = status.get("errors")
    return DrainProgress(
        dirty_files=count("dirty_files"),
        dirty_bytes=count("dirty_bytes"),
        uploading=count("uploading"),
        errors=len(errors) if isinstance(errors, list) else 0,
    )


def _is_allowed(connection: socket.socket) -> bool:
    """Whether the other end is this user or root. Where the system cannot tell, the 0700 folder is the guard."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return uid in (os.getuid(), 0)


def _read_line(connection: socket.socket) -> bytes:
    line = bytearray()
    deadline = time.monotonic() + REQUEST_DEADLINE_S
    while not line.endswith(b"\n"):
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        piece = connection.recv(REQUEST_BYTES_MAX)
        line += piece
        if not piece or len(line) > REQUEST_BYTES_MAX:
            raise ValueError("the request has no end of line, or is too long")
    return bytes(line)


def _send(connection: socket.socket, message: Mapping[str, object]) -> None:
    connection.settimeout(SEND_DEADLINE_S)
    connection.sendall(encode(message))
