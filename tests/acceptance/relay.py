"""A network in one process: a loopback port that passes bytes on to a server, holds them up, or cuts every connection.

A thread accepts and one more serves each connection, all of them ended by leaving the context. Knows nothing of S3.
"""

import contextlib
import select
import socket
import threading
from enum import Enum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

LOOK_S = 0.02
PIECE_BYTES = 1 << 18
JOIN_DEADLINE_S = 5.0


class Flow(Enum):
    PASS = "pass"
    HOLD = "hold"  # connections are taken, their bytes wait
    CUT = "cut"  # every connection is closed at once


class Relay:
    """Set `flow` at any time; it counts for open connections as well."""

    def __init__(self, target_url: str) -> None:
        target = urlsplit(target_url)
        self._target = (target.hostname, target.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept, name="relay", daemon=True)]
        self.flow = Flow.PASS
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

    def _accept(self) -> None:
        while not self._ended.is_set():
            if select.select([self._listener], [], [], LOOK_S)[0]:
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,), name="relayed", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, asker: socket.socket) -> None:
        with asker, contextlib.suppress(OSError), socket.create_connection(self._target) as server:
            other = {asker: server, server: asker}
            while not self._ended.is_set() and self.flow is not Flow.CUT:
                if self.flow is Flow.HOLD:
                    self._ended.wait(LOOK_S)
                    continue
                for readable in select.select(list(other), [], [], LOOK_S)[0]:
                    if self.flow is not Flow.PASS:
                        break
                    piece = readable.recv(PIECE_BYTES)
                    if not piece:
                        return
                    other[readable].sendall(piece)
