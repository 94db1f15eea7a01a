"""How one request is sent: through botocore or awscrt, tried again within a deadline, its failure translated.

Owned by S3Store, used from many threads. Does not know what the requests say.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

import botocore.exceptions
import urllib3.exceptions
from awscrt.exceptions import AwsCrtError

from s3mount.errors import StoreError, Throttled, Unreachable
from s3mount.store import patience, s3_client
from s3mount.store.crt import CrtClient, CrtReply
from s3mount.store.documents import Document
from s3mount.store.request_counter import RequestCounter
from s3mount.store.retry import Attempts
from s3mount.store.s3_errors import CredentialsExpired, ErrorContext, Silent
from s3mount.store.settings import StoreSettings
from s3mount.store.token_bucket import Throttle

Result = TypeVar("Result")

REQUEST_ERRORS = (
    botocore.exceptions.BotoCoreError,
    botocore.exceptions.ClientError,
    urllib3.exceptions.HTTPError,
    AwsCrtError,
    OSError,
    ValueError,
)


class Sender:
    def __init__(
        self,
        settings: StoreSettings,
        boto: s3_client.Boto,
        counter: RequestCounter,
        context: ErrorContext,
        on_strain: Callable[[], None],
    ) -> None:
        """`on_strain` is called for each try that S3 was too busy for."""
        self._on_strain = on_strain
        self._settings = settings
        self._boto = boto
        self._counter = counter
        self._context = context
        self._stopping = threading.Event()
        self.throttle = Throttle(settings.bandwidth, self._stopping.wait)
        self._crt_lock = threading.Lock()
        self._crt: CrtClient | None = None

    def hot(self) -> CrtClient:
        """Built at the first use, because it needs credentials."""
        if self._crt is not None:
            return self._crt
        with self._crt_lock:
            if self._stopping.is_set():
                raise Unreachable("the store is closed")
            if self._crt is None:
                self._crt = CrtClient(self._boto, self._settings, self._counter.add)
            return self._crt

    def ask(self, operation: str, request: Callable[[float], Result]) -> Result:
        """One request through awscrt that changes nothing, retried; `request` takes the time it may wait."""
        attempts = self.asking_attempts()
        # Patience is asked in each try: a person may be waiting, and the tries before have used some of it up.
        return attempts.run(self.translated(operation, lambda: request(patience.left_s(attempts.attempt_timeout_s))))

    def document(self, operation: str, reply: CrtReply) -> Document:
        """What the reply says. Raises StoreError when it is an error after all; within a request, so that it counts
        as one of its tries."""
        document = Document(reply.body)
        refused = document.refusal()
        if refused is not None:
            raise self._context.refusal(operation, refused.code, 500, refused.message)
        return document

    def asking_attempts(self, reply_bytes: int = 0) -> Attempts:
        """For requests that somebody waits for."""
        return Attempts(self._settings.asking_deadline_for_s(reply_bytes), self._stopping, retries_silence=True)

    def sending_attempts(self, body_bytes: int) -> Attempts:
        """For requests that change something."""
        return Attempts(self._settings.deadline_s(body_bytes), self._stopping)

    def copying_attempts(self) -> Attempts:
        """For requests that copy inside S3."""
        return Attempts(self._settings.copy_deadline_s, self._stopping)

    def upload_turn(self, body_bytes: int) -> Callable[[], float]:
        """Takes a place in the line for the bandwidth; what it returns tells how long to wait before asking again, 0
        once the bytes may go, and after close()."""
        pause_s = self.throttle.up.queue(body_bytes)
        return lambda: 0.0 if self._stopping.is_set() else pause_s()

    def send(self, operation: str, request: Callable[[], Result]) -> Result:
        """One request through botocore, retried."""
        return self.sending_attempts(0).run(self.translated(operation, request))

    def send_hot(self, operation: str, body_bytes: int, request: Callable[[float], Result]) -> Result:
        """One request through awscrt, retried; `request` takes the time it may wait, not counting what is waited for
        the bandwidth."""
        self.throttle.up.take(body_bytes)
        return self._send_hot(operation, self.sending_attempts(body_bytes), request)

    def send_copy(self, operation: str, request: Callable[[float], Result]) -> Result:
        """The same of a request that copies inside S3."""
        return self._send_hot(operation, self.copying_attempts(), request)

    def _send_hot(self, operation: str, attempts: Attempts, request: Callable[[float], Result]) -> Result:
        return attempts.run(self.translated(operation, lambda: request(attempts.attempt_timeout_s)))

    def translated(
        self, operation: str, request: Callable[[], Result], on_strain: Callable[[], None] | None = None
    ) -> Callable[[], Result]:
        """`request`, but what it raises is a StoreError. `on_strain`: who is told, if not the uploads, that S3 was too
        busy for it."""

        def translated() -> Result:
            if self._stopping.is_set():
                raise Unreachable(f"the store is closed ({operation})")
            try:
                result = request()
            except StoreError as error:
                self.judged(operation, error, on_strain)
                raise
            except REQUEST_ERRORS as error:
                raise self.judged(operation, error, on_strain) from error
            patience.heard()
            return result

        return translated

    def judged(self, operation: str, error: Exception, on_strain: Callable[[], None] | None = None) -> StoreError:
        """What a try raised, translated, and what follows from it for others seen to."""
        translated = self._context.translate(error, operation)
        if isinstance(translated, Throttled | Silent):
            (on_strain or self._on_strain)()
        if isinstance(translated, CredentialsExpired) and self._boto.credentials is not None:
            self._boto.credentials.reread()
        return translated

    def close(self) -> None:
        self._stopping.set()
        with self._crt_lock:
            crt, self._crt = self._crt, None
        if crt is not None:
            crt.close()
        self._boto.close()
