"""A hostile network in one process: an HTTP proxy on a loopback port that knows S3's operations and fails on demand.

Used by tests/network and others, from any thread. A rule picks requests by operation, key and count; what no rule
picks passes through. `line` is the state of the whole way: passing, silent, or cut. A thread accepts and one more
serves each connection; all are ended by leaving the context.
"""

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

LOOK_S = 0.05
PIECE_BYTES = 1 << 16
JOIN_DEADLINE_S = 5.0
FOR_GOOD = 1 << 30
RESET = struct.pack("ii", 1, 0)


class Line(Enum):
    PASS = "pass"
    SILENT = "silent"  # connections are taken, requests are read, nothing is answered
    CUT = "cut"  # every connection is reset at once


class Fault(Enum):
    SILENT = "silent"  # the request is read, no answer comes
    RESET_BEFORE = "reset before"  # reset, nothing reached the server
    RESET_IN_REQUEST = "reset in request"  # half of the request's body reached the server
    RESET_IN_REPLY = "reset in reply"  # half of the reply's body came, then a reset
    CUT_SHORT = "cut short"  # half of the reply's body came, then an orderly end
    LOST_REPLY = "lost reply"  # the server did it, the reply is lost in a reset
    ANSWER = "answer"  # the rule's own reply, nothing reached the server


@dataclass
class Rule:
    fault: Fault
    operation: str | None
    key: str | None
    times: int
    skip: int
    reply: bytes = b""
    hits: int = 0

    def picks(self, operation: str, key: str) -> bool:
        if self.times <= 0 or self.operation not in (None, operation) or self.key not in (None, key):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        self.hits += 1
        return True


@dataclass(frozen=True)
class Message:
    """A request or a reply: its head up to the empty line, and its body as it travelled."""

    head: bytes
    body: bytes = b""

    @property
    def first_line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    def header(self, name: str) -> str:
        for line in self.head.split(b"\r\n")[1:]:
            found, _, value = line.decode("latin-1").partition(":")
            if found.lower() == name:
                return value.strip()
        return ""


class _Over(Exception):
    """This connection is at its end."""


def operation_of(request: Message) -> tuple[str, str]:
    """S3's name of the operation, and the key; "" for the bucket."""
    method, target, _ = request.first_line.split(" ", 2)
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    key = unquote(parts.path).lstrip("/").partition("/")[2]
    copies = bool(request.header("x-amz-copy-source"))
    match method:
        case "PUT" if "partNumber" in query:
            return ("UploadPartCopy" if copies else "UploadPart"), key
        case "PUT":
            return ("CopyObject" if copies else "PutObject"), key
        case "POST" if "uploads" in query:
            return "CreateMultipartUpload", key
        case "POST":
            return ("DeleteObjects" if "delete" in query else "CompleteMultipartUpload"), key
        case "DELETE":
            return ("AbortMultipartUpload" if "uploadId" in query else "DeleteObject"), key
        case "HEAD":
            return "HeadObject", key
    return ("GetObject" if key else "ListObjectsV2"), key


def error_reply(status: int, code: str = "", message: str = "", headers: str = "") -> bytes:
    """What S3 sends when it refuses; without `code` the body is empty. `headers`: whole lines, each with its CRLF."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>" if code else ""
    kind = "Content-Type: application/xml\r\n" if body else ""
    return f"HTTP/1.1 {status} Told\r\n{headers}{kind}Content-Length: {len(body)}\r\n\r\n{body}".encode()


@dataclass
class FaultProxy:
    """`drop_one_in`: of so many requests one meets RESET_BEFORE, RESET_IN_REQUEST or LOST_REPLY, drawn from `seed`; 0:
    none. `bytes_per_s`: what all connections together may move; 0: no limit."""

    target_url: str
    seed: int = 0
    line: Line = Line.PASS
    drop_one_in: int = 0
    bytes_per_s: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    dropped: int = 0

    def __post_init__(self) -> None:
        target = urlsplit(self.target_url)
        self._target = (target.hostname or "", target.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.settimeout(LOOK_S)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept, name="fault-proxy", daemon=True)]
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._random = random.Random(self.seed)
        self._free_at_s = 0.0
        self.endpoint_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(JOIN_DEADLINE_S)
        self._listener.close()

    # -- what the test asks for ----------------------------------------------------------------------------------

    def fail(
        self, fault: Fault, operation: str | None = None, key: str | None = None, *,
        times: int = 1, skip: int = 0, reply: bytes = b"",
    ) -> Rule:  # fmt: skip
        """The next `times` requests that match, after `skip` of them, meet `fault`; `reply` is for ANSWER."""
        rule = Rule(fault, operation, key, times, skip, reply)
        with self._lock:
            self._rules.append(rule)
        return rule

    def answer(
        self, status: int, code: str = "", *, operation: str | None = None, key: str | None = None,
        times: int = 1, skip: int = 0, headers: str = "",
    ) -> Rule:  # fmt: skip
        reply = error_reply(status, code, "told so", headers)
        return self.fail(Fault.ANSWER, operation, key, times=times, skip=skip, reply=reply)

    def heal(self) -> None:
        """No rule holds any more, and the line passes everything."""
        with self._lock:
            self._rules.clear()
        self.drop_one_in = 0
        self.bytes_per_s = 0
        self.line = Line.PASS

    def count(self, operation: str, key: str | None = None) -> int:
        with self._lock:
            return sum(o == operation and key in (None, k) for o, k in self.requests)

    # -- connections ---------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), name="proxied", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, asker: socket.socket) -> None:
        with asker, contextlib.suppress(OSError, _Over):
            asker.settimeout(LOOK_S)
            with socket.create_connection(self._target) as server:
                server.settimeout(LOOK_S)
                while True:
                    self._exchange(asker, server)

    def _exchange(self, asker: socket.socket, server: socket.socket) -> None:
        request = self._read(asker, asker)
        operation, key = operation_of(request)
        rule = self._pick(operation, key)
        fault = None if rule is None else rule.fault
        if fault is None:
            fault = self._drop()
        if fault is Fault.SILENT or self.line is Line.SILENT:
            self._wait_silently(asker, lambda: fault is Fault.SILENT)
        if fault is Fault.RESET_BEFORE:
            self._reset(asker)
        if fault is Fault.ANSWER and rule is not None:
            # The answer to a HEAD is never more than its head, so it tells no error code.
            end = rule.reply.index(b"\r\n\r\n") + 4 if operation == "HeadObject" else len(rule.reply)
            self._send(asker, rule.reply[:end])
            return
        if fault is Fault.RESET_IN_REQUEST:
            self._send(server, request.head + request.body[: len(request.body) // 2])
            self._reset(asker)
        self._send(server, request.head + request.body)
        reply = self._read(server, asker, has_body=not request.first_line.startswith("HEAD "))
        if fault is Fault.LOST_REPLY:
            self._reset(asker)
        if fault in (Fault.RESET_IN_REPLY, Fault.CUT_SHORT):
            self._send(asker, reply.head + reply.body[: len(reply.body) // 2])
            if fault is Fault.CUT_SHORT:
                raise _Over
            time.sleep(LOOK_S)  # so that the half arrives before the reset throws it away
            self._reset(asker)
        self._send(asker, reply.head + reply.body)

    def _pick(self, operation: str, key: str) -> Rule | None:
        with self._lock:
            self.requests.append((operation, key))
            return next((rule for rule in self._rules if rule.picks(operation, key)), None)

    def _drop(self) -> Fault | None:
        with self._lock:
            if not self.drop_one_in or self._random.randrange(self.drop_one_in):
                return None
            self.dropped += 1
            return self._random.choice((Fault.RESET_BEFORE, Fault.RESET_IN_REQUEST, Fault.LOST_REPLY))

    def _reset(self, asker: socket.socket) -> None:
        asker.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        raise _Over

    def _wait_silently(self, asker: socket.socket, is_for_good: Callable[[], bool]) -> None:
        """Until the asker gives up, or the line is mended; a request held by the line goes on then."""
        while is_for_good() or self.line is Line.SILENT:
            self._look(asker)
            with contextlib.suppress(TimeoutError):
                if not asker.recv(1, socket.MSG_PEEK):
                    raise _Over
                time.sleep(LOOK_S)

    def _look(self, asker: socket.socket) -> None:
        if self._ended.is_set():
            raise _Over
        if self.line is Line.CUT:
            self._reset(asker)

    # -- messages ------------------------------------------------------------------------------------------------

    def _read(self, source: socket.socket, asker: socket.socket, *, has_body: bool = True) -> Message:
        """The next message from `source`."""
        data = bytearray()
        while b"\r\n\r\n" not in data:
            data += self._receive(source, asker)
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        message = Message(head + b"\r\n\r\n")
        status = message.first_line.split(" ")[1] if message.first_line.startswith("HTTP/") else ""
        received = bytearray(body)
        if status == "100":
            return self._read(source, asker, has_body=has_body)
        if not has_body or status in ("204", "304"):
            return Message(message.head)
        if message.header("expect"):
            self._send(source, b"HTTP/1.1 100 Continue\r\n\r\n")
        if message.header("transfer-encoding") == "chunked":
            while not received.endswith(b"0\r\n\r\n"):
                received += self._receive(source, asker)
        length = int(message.header("content-length") or 0)
        while len(received) < length:
            received += self._receive(source, asker)
        return Message(message.head, bytes(received))

    def _receive(self, source: socket.socket, asker: socket.socket) -> bytes:
        while True:
            self._look(asker)
            try:
                piece = source.recv(PIECE_BYTES)
            except TimeoutError:
                continue
            if not piece:
                raise _Over
            self._look(asker)  # the line may have been cut while it was waited for
            if source is asker:
                self._take_time(len(piece))
            return piece

    def _send(self, target: socket.socket, data: bytes) -> None:
        for start in range(0, len(data), PIECE_BYTES):
            piece = data[start : start + PIECE_BYTES]
            if target.getpeername() != self._target:
                self._take_time(len(piece))
            target.settimeout(JOIN_DEADLINE_S)
            target.sendall(piece)
            target.settimeout(LOOK_S)

    def _take_time(self, size: int) -> None:
        if not self.bytes_per_s:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at_s = max(now, self._free_at_s) + size / self.bytes_per_s
            wait_s = self._free_at_s - now
        self._ended.wait(wait_s)
