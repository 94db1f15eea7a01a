"""What signs requests: the runtime asks it for credentials before each try of a request, its own retries too.

Used by crt.py, from any thread. One signs a request after another and lives as long as the process, since the last
reference must never be the runtime's: that gives the function behind a provider up without the interpreter's lock
(awscrt's source/auth_credentials.c, s_credentials_provider_shutdown_complete), at which the process aborts. There are
as many as requests were ever under way at once. The lock is a leaf.
"""

import threading
from collections.abc import Callable

from awscrt.auth import AwsCredentials, AwsCredentialsProvider, AwsSigningConfig
from awscrt.s3 import create_default_s3_signing_config


class Signature:
    def __init__(self, region: str) -> None:
        self.config: AwsSigningConfig = create_default_s3_signing_config(
            region=region, credential_provider=AwsCredentialsProvider.new_delegate(self._sign)
        )
        self._credentials: AwsCredentials | None = None
        self._count: Callable[[], object] = _count_nothing

    def _sign(self) -> AwsCredentials | None:
        """A try that comes after its request was given up counts for the next one: then that seems to have been sent
        more often than it was, which does no harm."""
        self._count()
        return self._credentials

    def belong_to(self, credentials: AwsCredentials | None, count: Callable[[], object]) -> None:
        self._credentials = credentials
        self._count = count


def _count_nothing() -> None:
    pass


_lock = threading.Lock()
_free: dict[str, list[Signature]] = {}


def take(region: str, credentials: AwsCredentials | None, count: Callable[[], object]) -> Signature:
    """For one request, to be given back when it is over. `count` is called for each try, in a thread of the runtime."""
    with _lock:
        free = _free.setdefault(region, [])
        signature = free.pop() if free else None
    if signature is None:
        signature = Signature(region)
    signature.belong_to(credentials, count)
    return signature


def give_back(region: str, signature: Signature) -> None:
    """Its request is done, or nobody waits for it any more."""
    signature.belong_to(signature._credentials, _count_nothing)
    with _lock:
        _free[region].append(signature)
