"""The control channel as a TCP port of 127.0.0.1, with a secret that only this user can read.

Chosen by channel.py. Everybody on the machine can connect to a port, and a port is used again: so before a word is
said each end proves that it has read the secret, and the secret itself never crosses. Three lines: the asker's nonce;
the process' nonce with its proof, as JSON (or {"error": TEXT}); the asker's proof. Threads: any.
"""

import contextlib
import hmac
import os
import secrets
import socket
import time
from pathlib import Path
from typing import Final

from s3mount.control.protocol import ControlRefused, ControlUnreachable, decode, encode
from s3mount.private import open_file

LISTEN_BACKLOG: Final = 16
_LOOPBACK: Final = "127.0.0.1"
_SECRET_BYTES: Final = 32
_LINE_BYTES_MAX: Final = 1024


class LoopbackChannel:
    def __init__(self, path: Path) -> None:
        """`path`: of the file that holds port and secret; its folder must exist and be this user's alone."""
        self._path = path
        self._secret = b""

    def listen(self) -> socket.socket:
        self.forget()
        self._secret = secrets.token_bytes(_SECRET_BYTES)
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
                # Windows lets another process take a port that is in use.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            listener.bind((_LOOPBACK, 0))
            listener.listen(LISTEN_BACKLOG)
            number = open_file(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with open(number, "wb") as file:
                file.write(encode({"port": listener.getsockname()[1], "secret": self._secret.hex()}))
        except OSError:
            listener.close()
            raise
        return listener

    def admits(self, connection: socket.socket) -> bool:
        asked = _line(connection)
        if not asked:
            return False
        nonce = secrets.token_hex(_SECRET_BYTES)
        proof = _proof(self._secret, "process", asked, nonce)
        connection.sendall(encode({"nonce": nonce, "proof": proof}))
        return hmac.compare_digest(_line(connection).encode(), _proof(self._secret, "asker", asked, nonce).encode())

    def connect(self, deadline_s: float) -> socket.socket:
        port, secret = self._port_and_secret()
        connection = socket.create_connection((_LOOPBACK, port), deadline_s)
        try:
            asked = secrets.token_hex(_SECRET_BYTES)
            with contextlib.suppress(ConnectionError):  # refused before it was asked: the answer says why
                connection.sendall(asked.encode() + b"\n")
            nonce = self._believed_nonce(_line(connection), secret, asked)
            connection.sendall(_proof(secret, "asker", asked, nonce).encode() + b"\n")
        except BaseException:
            connection.close()
            raise
        return connection

    def _believed_nonce(self, line: str, secret: bytes, asked: str) -> str:
        try:
            told = decode(line.encode())
        except ValueError:
            told = {}
        if "error" in told:
            raise ControlRefused(str(told["error"]))
        nonce = str(told.get("nonce"))
        if not hmac.compare_digest(str(told.get("proof")).encode(), _proof(secret, "process", asked, nonce).encode()):
            raise ControlUnreachable("what answers is not the mount process: it was asked nothing")
        return nonce

    def _port_and_secret(self) -> tuple[int, bytes]:
        """Raises OSError, ControlUnreachable."""
        try:
            told = decode(self._path.read_bytes())
            return int(str(told["port"])), bytes.fromhex(str(told["secret"]))
        except (ValueError, KeyError) as error:
            raise ControlUnreachable(f"{self._path} does not say where the mount process listens") from error

    def forget(self) -> None:
        # Refused on Windows while somebody reads it; the registry removes what is left of a process that is gone.
        with contextlib.suppress(PermissionError):
            self._path.unlink(missing_ok=True)


def _proof(secret: bytes, who: str, asked: str, nonce: str) -> str:
    """That `who` knows the secret, good for this conversation alone."""
    return hmac.digest(secret, f"{who} {asked} {nonce}".encode(), "sha256").hex()


def _line(connection: socket.socket) -> str:
    """One line, without its end, and nothing of what comes after it; "" for what is none. Raises OSError, also when it
    is not whole within the connection's timeout, which is left as it was."""
    timeout_s = connection.gettimeout() or 0.0
    deadline = time.monotonic() + timeout_s
    line = bytearray()
    while not line.endswith(b"\n"):
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        piece = connection.recv(1)
        line += piece
        if not piece or len(line) > _LINE_BYTES_MAX:
            return ""
    connection.settimeout(timeout_s)
    return line[:-1].decode("ascii", "replace")
