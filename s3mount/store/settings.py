"""What a store is opened with. Built by the composition root and by tests; frozen, so any thread may read it."""

from dataclasses import dataclass
from typing import Literal

from s3mount.bandwidth import UNLIMITED, Bandwidth

AddressingStyle = Literal["auto", "path", "virtual"]

CONNECT_TIMEOUT_S_MAX = 5.0

# S3 answers a copy when it is made, and one of 5 GiB takes a minute or two.
COPY_PATIENCE = 4

# A body adds to its request's deadline at this rate, so that a slow line shared by many uploads still gets through.
# A connection on which nothing moves at all is given up much earlier.
BODY_BYTES_PER_S_MIN = 32 << 10


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Which bucket, through which endpoint, with whose credentials. None leaves a choice to the usual AWS sources:
    environment, shared config file, profile.

    `prefix`: "" or a key prefix that ends in "/". `storage_class`: given to new objects. `request_deadline_s`: how
    long a call that changes something may take with its quick retries, not counting `BODY_BYTES_PER_S_MIN` for the
    bytes it moves; `offline_timeout_s`: the same of one that only asks (LIST, HEAD, GET), which a person may wait for.
    `connections`: how many requests may be in flight, for uploads and for everything else each. `bandwidth`: how many
    bytes of objects may go a second.
    """

    bucket: str
    prefix: str = ""
    endpoint_url: str | None = None
    profile: str | None = None
    region: str | None = None
    addressing_style: AddressingStyle = "auto"
    storage_class: str | None = None
    request_deadline_s: float = 60.0
    offline_timeout_s: float = 30.0
    connections: int = 32
    bandwidth: Bandwidth = UNLIMITED

    def __post_init__(self) -> None:
        if self.prefix and not self.prefix.endswith("/"):
            raise ValueError(f"a prefix ends in '/': {self.prefix!r}")
        if self.request_deadline_s <= 0 or self.offline_timeout_s <= 0 or self.connections < 1:
            raise ValueError("a store needs a deadline and at least one connection")

    @property
    def connect_timeout_s(self) -> float:
        return min(CONNECT_TIMEOUT_S_MAX, self.request_deadline_s / 4)

    @property
    def read_timeout_s(self) -> float:
        """How long a silent connection is waited for: half the deadline, so that one more try fits in."""
        return self.request_deadline_s / 2

    @property
    def asking_deadline_s(self) -> float:
        return min(self.offline_timeout_s, self.request_deadline_s)

    def deadline_s(self, body_bytes: int) -> float:
        """How long a call that sends `body_bytes`, or changes something otherwise, may take."""
        return self.request_deadline_s + body_bytes / BODY_BYTES_PER_S_MIN

    @property
    def copy_deadline_s(self) -> float:
        """How long a call that copies inside S3 may take."""
        return self.request_deadline_s * COPY_PATIENCE

    def asking_deadline_for_s(self, reply_bytes: int) -> float:
        """How long a call that only asks, for so many bytes, may take."""
        return self.asking_deadline_s + reply_bytes / BODY_BYTES_PER_S_MIN
