"""A scripted S3 endpoint: answers each request with the next reply that the test has laid down."""

import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from s3mount.store import retry
from s3mount.store.s3 import S3Store, open_store
from s3mount.store.settings import StoreSettings
from tests.support.s3_server import S3Server


@dataclass(frozen=True)
class Reply:
    """`status` 0: the connection is dropped after the request was read. `promised`: a Content-Length that is a lie."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None
    delay_s: float = 0.0


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def error_reply(status: int, code: str, **headers: str) -> Reply:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>text of {code}</Message></Error>".encode()
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


class Endpoint:
    """Once `replies` are used up, the last one is given again and again. `at_once`: requests under way, `most_at_once`:
    the most that there were; the test may begin anew."""

    def __init__(self) -> None:
        self.at_once = 0
        self.most_at_once = 0
        self.replies: list[Reply] = []
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                endpoint.count(+1)
                reply = endpoint.next_reply(Request(self.command, self.path, headers, body))
                time.sleep(reply.delay_s)
                endpoint.count(-1)
                if reply.status == 0:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in reply.headers:
                    self.send_header(
                        "Content-Length", str(len(reply.body) if reply.promised is None else reply.promised)
                    )
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)
                if reply.promised is not None:
                    self.close_connection = True

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def next_reply(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def count(self, change: int) -> None:
        with self._lock:
            self.at_once += change
            self.most_at_once = max(self.most_at_once, self.at_once)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "DELAY_S_FIRST", 0.001)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    for name, value in S3Server("", "", None).environment().items():  # type: ignore[arg-type]
        monkeypatch.setenv(name, value)
    running = Endpoint()
    yield running
    running.close()


@pytest.fixture
def store(endpoint: Endpoint) -> Iterator[S3Store]:
    opened = open_store(StoreSettings("bucket", "p/", endpoint_url=endpoint.url, request_deadline_s=6))
    yield opened
    opened.close()
