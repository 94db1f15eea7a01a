"""The hot path to S3: single requests through the AWS common runtime, which does HTTP, TLS and signing off the GIL.

Used by S3Store from many threads. Sends requests with small replies as they are: no splitting and no translation of
errors. Host, scheme and addressing are botocore's choice, credentials come from its chain.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from awscrt.auth import AwsCredentials
from awscrt.exceptions import AwsCrtError
from awscrt.http import HttpHeaders, HttpRequest
from awscrt.io import ClientBootstrap, ClientTlsContext, DefaultHostResolver, EventLoopGroup, TlsContextOptions
from awscrt.s3 import (
    S3Client,
    S3Request,
    S3RequestTlsMode,
    S3RequestType,
    S3ResponseError,
    S3RetryConfig,
)
from botocore.exceptions import NoCredentialsError

from s3mount.errors import Unreachable
from s3mount.store import signatures
from s3mount.store.base import Body
from s3mount.store.body_stream import BodyStream
from s3mount.store.s3_client import Boto
from s3mount.store.s3_errors import Silent
from s3mount.store.settings import StoreSettings
from s3mount.store.signatures import Signature

EVENT_LOOP_THREADS_MAX = 4
CLOSE_DEADLINE_S = 5.0

# The runtime opens about one connection for each 0.4 Gbit/s it is asked to reach.
GBPS_PER_CONNECTION = 0.5
MEMORY_BYTES_MAX = 2 << 30

# The least the runtime can be told: one retry, paid from a bucket that one success fills. store/retry.py does the rest.
FEWEST_RETRIES = S3RetryConfig(max_retries=1, initial_bucket_capacity=1)


def is_not_utf8(error: Exception) -> bool:
    """Other tools store metadata that is not UTF-8, which awscrt cannot decode and botocore reads as Latin-1."""
    return isinstance(error, AwsCrtError) and error.name == "AWS_ERROR_CRT_CALLBACK_EXCEPTION"


@dataclass(slots=True)
class CrtReply:
    """A successful reply. Header names are in lower case. `tries`: how often its request was sent, at most."""

    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    tries: int = 0

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def on_headers(self, headers: list[tuple[str, str]], **_: object) -> None:
        self.headers.update((name.lower(), value) for name, value in headers)

    def on_body(self, **received: Any) -> None:
        self.pieces.append(received["chunk"])


class CrtClient:
    """One bucket through one endpoint."""

    def __init__(self, boto: Boto, settings: StoreSettings, count: Callable[[str], None]) -> None:
        """Raises botocore's exceptions when there are no credentials."""
        self._credentials_source = boto.credentials
        self._credentials: AwsCredentials | None = None
        self._frozen: object = None
        self._region = boto.region
        self._count = count
        self._lock = threading.Lock()
        self._in_flight: dict[S3Request, Signature] = {}

        self._refresh_credentials()
        parts = urlsplit(boto.base_url)
        self._host = parts.netloc
        self._base_path = parts.path
        self._client: S3Client | None = _build_client(boto, settings, is_tls=parts.scheme == "https")

    def send(
        self,
        operation: str,
        method: str,
        key: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        query: str = "",
        body: Body | None = None,
        timeout_s: float,
    ) -> CrtReply:
        """One request for the object `key` (with its prefix), or for the bucket when that is empty; returns the
        successful reply.

        Raises awscrt's exceptions, S3ResponseError among them, and Unreachable after `timeout_s` or close(). The
        runtime shows nothing of a reply before all of it is there.
        """
        request, reply = self.begin(operation, method, key, headers=headers, query=query, body=body)
        try:
            request.finished_future.result(timeout_s)
        except S3ResponseError as error:
            explained = error if method == "GET" else self.explained(operation, reply, error)
            if explained is not error:
                raise explained from error
            raise
        except FutureTimeoutError as error:
            request.cancel()
            raise self.silence(operation, timeout_s) from error
        finally:
            self.end(request)
            # The exception refers to this frame and the request to the exception; the runtime cannot shut down
            # while a request lives.
            del request
        return reply

    def begin(
        self,
        operation: str,
        method: str,
        key: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        query: str = "",
        body: Body | None = None,
        on_done: Callable[..., None] | None = None,
    ) -> tuple[S3Request, CrtReply]:
        """Send the same without waiting for the reply, which is there once the request is done. `on_done` is told then,
        in a thread of the runtime's, with the exception or None as `error` and more; it may not refer to the request,
        nor may anything that is kept after its `end`.

        Raises awscrt's exceptions, and Unreachable after close()."""
        self._refresh_credentials()
        path = self._base_path + quote(key, safe="/~")
        fields = [("Host", self._host), *headers]
        stream = None
        if body is not None:
            stream = BodyStream(body)
            fields.append(("Content-Length", str(len(body))))
        http_request = HttpRequest(method, f"{path}?{query}" if query else path, HttpHeaders(fields), stream)
        reply = CrtReply()

        def count() -> None:
            reply.tries += 1
            self._count(operation)

        signature = signatures.take(self._region, self._credentials, count)
        try:
            # make_request only queues; holding the lock over it means that close() sees every request there is.
            with self._lock:
                if self._client is None:
                    raise Unreachable(f"the store is closed ({operation})")
                request = self._client.make_request(
                    type=S3RequestType.DEFAULT,
                    operation_name=operation,
                    request=http_request,
                    signing_config=signature.config,
                    on_headers=reply.on_headers,
                    on_body=reply.on_body,
                    on_done=on_done,
                )
                self._in_flight[request] = signature
                return request, reply
        except BaseException:
            signatures.give_back(self._region, signature)
            raise

    def end(self, request: S3Request) -> None:
        """It is done, or nobody waits for it any more."""
        with self._lock:
            signature = self._in_flight.pop(request, None)
        if signature is not None:
            signatures.give_back(self._region, signature)

    def explained(self, operation: str, reply: CrtReply, error: Exception) -> Exception:
        """What the failure of a request that changes something means: the runtime's first try may be the very write
        that made its second one fail, and then nobody knows the outcome."""
        if isinstance(error, S3ResponseError) and error.status_code == 412 and reply.tries > 1:
            return Unreachable(f"the answer of {self._host} was lost ({operation})")
        return error

    def silence(self, operation: str, timeout_s: float) -> Silent:
        return Silent(f"no answer from {self._host} within {timeout_s:.0f} s ({operation})")

    def close(self) -> None:
        """Cancel what is in flight and release threads and connections. Idempotent."""
        with self._lock:
            client, self._client = self._client, None
            request: S3Request | None = None
            for request in self._in_flight:
                request.cancel()
        if client is not None:
            shutdown_event = client.shutdown_event
            # The runtime shuts down when the last reference to its client and requests is gone.
            request = client = None
            shutdown_event.wait(CLOSE_DEADLINE_S)

    def _refresh_credentials(self) -> None:
        """In the caller's thread, because an exception there reaches the caller; from the runtime's it could not."""
        if self._credentials_source is None:
            raise NoCredentialsError
        frozen = self._credentials_source.get_frozen_credentials()
        if frozen != self._frozen:
            self._credentials = AwsCredentials(frozen.access_key, frozen.secret_key, frozen.token)
            self._frozen = frozen


def _build_client(boto: Boto, settings: StoreSettings, *, is_tls: bool) -> S3Client:
    loops = EventLoopGroup(min(EVENT_LOOP_THREADS_MAX, os.cpu_count() or 1))
    bootstrap = ClientBootstrap(loops, DefaultHostResolver(loops))
    tls_options = None
    if is_tls and boto.ca_bundle:
        context_options = TlsContextOptions()
        context_options.override_default_trust_store_from_path(ca_filepath=boto.ca_bundle)
        tls_options = ClientTlsContext(context_options).new_connection_options()
    return S3Client(
        bootstrap=bootstrap,
        region=boto.region,
        tls_mode=S3RequestTlsMode.ENABLED if is_tls else S3RequestTlsMode.DISABLED,
        tls_connection_options=tls_options,
        throughput_target_gbps=settings.connections * GBPS_PER_CONNECTION,
        memory_limit=MEMORY_BYTES_MAX,
        max_active_connections_override=settings.connections,
        retry_config=FEWEST_RETRIES,
        connect_timeout_ms=int(settings.connect_timeout_s * 1000),
    )
