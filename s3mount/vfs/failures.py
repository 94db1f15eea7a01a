"""What a failed S3 request means to the one who called a file operation. The only such table."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from s3mount.errors import FsError, IOFailure, StoreError
from s3mount.store import patience

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


class Served(Protocol):
    @property
    def offline_timeout_s(self) -> float:
        """How long an operation waits for an S3 that gives no sign of life."""


S = TypeVar("S", bound=Served)


def fs_errors_only(operation: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Let FsError through, and make IOFailure, logged once with its cause, of a StoreError or a deadline that passed.
    Inside, S3 is waited for with the patience of a file operation.

    A 403 is EIO too, not EACCES: the caller has the permission the file shows; the mount's own credentials fail."""

    @wraps(operation)
    def wrapper(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with patience.limited(self.offline_timeout_s):
                return operation(self, *args, **kwargs)
        except FsError as error:
            if isinstance(error, IOFailure):
                log.warning("%s%r failed: %s", operation.__name__, args[:1], error)
            raise
        except (StoreError, TimeoutError) as error:
            log.warning("%s%r failed: %s: %s", operation.__name__, args[:1], type(error).__name__, error)
            raise IOFailure(str(error)) from error

    return wrapper
