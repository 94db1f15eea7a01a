"""The mount process' end of the control socket.

Built by control/announce.py. One thread accepts, one more serves each connection, at most `connections_max` at a time;
each waits with a deadline for its request and for every send. Calls the handlers without any lock held. Answers
only those whom its channel admits: the user who owns the mount, and root. Does not know what a mount is.
"""

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from s3mount.control.channel import Channel
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
)
from s3mount.errors import MountError, S3mountError

CONNECTIONS_MAX: Final = 16
REQUEST_DEADLINE_S: Final = 5.0
SEND_DEADLINE_S: Final = 10.0
CLOSE_DEADLINE_S: Final = 3.0
REFUSAL_DEADLINE_S: Final = 1.0

_ACCEPT_PAUSE_S: Final = 0.1

_log = logging.getLogger(__name__)


class _Listening(NamedTuple):
    """What exists between start and close. A byte written to `wake_write` wakes the accepting thread."""

    listener: socket.socket
    wake_read: socket.socket
    wake_write: socket.socket
    accepter: threading.Thread


class _Conclusion(NamedTuple):
    """What is answered once the handlers may not be called any more."""

    status: Mapping[str, object]
    owed: Sequence[OwedFile]


class _Concluded(Exception):
    """The drain that was asked for is over, because the whole mount is."""


class ControlServer:
    """Listens on the channel from start() to close()."""

    def __init__(self, channel: Channel, handlers: ControlHandlers, *, connections_max: int = CONNECTIONS_MAX) -> None:
        self._channel = channel
        self._handlers = handlers
        self._free_connections = threading.BoundedSemaphore(connections_max)
        self._ended = threading.Event()
        self._owed: Sequence[OwedFile] = ()
        self._conclusion: _Conclusion | None = None
        self._calls = 0
        self._calls_changed = threading.Condition()
        self._threads: set[threading.Thread] = set()
        self._threads_lock = threading.Lock()
        self._listening: _Listening | None = None

    def start(self) -> None:
        """Listen. Raises OSError, with nothing left open, when the socket cannot be made."""
        listener = self._channel.listen()
        wake_read, wake_write = socket.socketpair()
        accepter = threading.Thread(
            target=self._accept_loop, args=(listener, wake_read), name="control-accept", daemon=True
        )
        self._listening = _Listening(listener, wake_read, wake_write, accepter)
        accepter.start()

    def conclude(self, owed: Sequence[OwedFile]) -> None:
        """Say so before what the handlers use is closed: from here on `status` is answered as it is now and `drain`
        with `owed`, and no handler but `stop` and
        `detach` is called. Waits up to CLOSE_DEADLINE_S for the calls in flight."""
        conclusion = _Conclusion(dict(self._handlers.status()), list(owed))
        with self._calls_changed:
            self._conclusion = conclusion
            self._calls_changed.wait_for(lambda: self._calls == 0, CLOSE_DEADLINE_S)

    @contextlib.contextmanager
    def _call(self) -> Iterator[_Conclusion | None]:
        """Around each use of the handlers that reaches the drive; yields what to answer instead, once concluded."""
        with self._calls_changed:
            conclusion = self._conclusion
            self._calls += conclusion is None
        try:
            yield conclusion
        finally:
            with self._calls_changed:
                self._calls -= conclusion is None
                self._calls_changed.notify_all()

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
        self._channel.forget()

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
                _refuse(connection, "too many commands are asking this mount at once; try again")
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
        if not self._channel.admits(connection):
            _refuse(connection, "this mount belongs to another user")
            return
        try:
            request = decode(_read_line(connection))
            operation = Operation(request.get("op"))
        except ValueError as error:
            _refuse(connection, f"not understood: {error}")
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
        match operation:
            case Operation.STATUS:
                return self._status()
            case Operation.STOP:
                self._handlers.stop(bool(request.get("drain", True)))
                return None
            case Operation.DETACH:
                self._handlers.detach()
                return None
            case Operation.DRAIN:
                return encode_owed(list(self._drain(request.get("deadline_s"), connection)))
            case Operation.CHECK:
                return self._check(bool(request.get("repair", False)), connection)
            case Operation.REFRESH:
                return self._refresh(str(request.get("path")), bool(request.get("recursive")), connection)
            case Operation.FOLLOW:
                while not self._ended.wait(PROGRESS_INTERVAL_S):
                    _send(connection, {"progress": _progress_of(self._status())._asdict()})
                return encode_owed(list(self._owed))

    def _status(self) -> Mapping[str, object]:
        with self._call() as conclusion:
            return dict(self._handlers.status()) if conclusion is None else conclusion.status

    def _check(self, repair: bool, connection: socket.socket) -> object:
        def progress(looked_at: int) -> None:
            _send(connection, {"progress": DrainProgress(looked_at, 0, 0)._asdict()})

        with self._call() as conclusion:
            if conclusion is not None:
                raise MountError("the mount is ending: check the bucket once it has ended")
            return self._handlers.check(repair, progress)

    def _refresh(self, path: str, recursive: bool, connection: socket.socket) -> object:
        def progress(listed: int) -> None:
            _send(connection, {"progress": DrainProgress(listed, 0, 0)._asdict()})

        with self._call() as conclusion:
            if conclusion is not None:
                raise MountError("the mount is ending: nothing is shown any more")
            return self._handlers.refresh(path, recursive, progress)

    def _drain(self, deadline_s: object, connection: socket.socket) -> Sequence[OwedFile]:
        def progress(now: DrainProgress) -> None:
            if self._conclusion is not None:
                raise _Concluded
            _send(connection, {"progress": now._asdict()})

        limit = float(deadline_s) if isinstance(deadline_s, int | float) else None
        with contextlib.suppress(_Concluded), self._call() as conclusion:
            if conclusion is None:
                return self._handlers.drain(limit, progress)
        with self._call() as conclusion:
            return () if conclusion is None else conclusion.owed


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


def _refuse(connection: socket.socket, text: str) -> None:
    """Answer what may not have been read to its end. Closing on unread words resets the connection, and on Windows the
    reset takes away an answer that is not read yet: so the asker is listened to until it has the answer and leaves."""
    _send(connection, {"error": text})
    connection.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + REFUSAL_DEADLINE_S
    while (left_s := deadline - time.monotonic()) > 0:
        connection.settimeout(left_s)
        if not connection.recv(REQUEST_BYTES_MAX):
            return
