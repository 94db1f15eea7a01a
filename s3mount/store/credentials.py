"""Credentials that can be read anew: what botocore's chain finds, looked up again when S3 says that they have expired.

Made once by s3_client, used by both S3 clients from any thread. botocore renews by itself what it knows the end of
(SSO, instance role); a session token in `~/.aws/credentials` it reads once, though a person, or a tool, replaces it.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import botocore.credentials
import botocore.exceptions

REREAD_PAUSE_S = 1.0

Load = Callable[[], "botocore.credentials.Credentials | None"]


class RereadCredentials:
    """In the place of botocore's own: requests are signed with what the newest look-up found."""

    def __init__(self, found: botocore.credentials.Credentials, load: Load) -> None:
        self._found = found
        self._load = load
        self._lock = threading.Lock()
        self._next_s = 0.0

    def get_frozen_credentials(self) -> Any:
        return self._found.get_frozen_credentials()

    def reread(self) -> None:
        """Look them up again, at most once a second. What cannot be read leaves the old ones."""
        with self._lock:
            now_s = time.monotonic()
            if now_s < self._next_s:
                return
            self._next_s = now_s + REREAD_PAUSE_S
        try:
            found = self._load()
        except (botocore.exceptions.BotoCoreError, OSError):
            return
        if found is not None:
            self._found = found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found, name)


class RereadProvider:
    """botocore's component that finds credentials: `found` first, `load` looks them up anew. `current` is None when
    there are none."""

    def __init__(self, found: "botocore.credentials.Credentials | None", load: Load) -> None:
        self.current = None if found is None else RereadCredentials(found, load)

    def load_credentials(self) -> RereadCredentials | None:
        return self.current
