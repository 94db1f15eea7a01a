"""What the acceptance tests share: they all need FUSE, and some a network that can be cut."""

import os
import sys
from collections.abc import Iterator

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.s3_server import S3Server

FUSE_MISSING = not (sys.platform.startswith("linux") and os.access("/dev/fuse", os.R_OK | os.W_OK))


@pytest.fixture(autouse=True)
def _needs_fuse() -> None:
    if FUSE_MISSING:
        pytest.skip("no /dev/fuse that this user may open")


@pytest.fixture
def network(seaweed: S3Server) -> Iterator[FaultProxy]:
    """The way to SeaweedFS, to be held up or cut."""
    with FaultProxy(seaweed.endpoint_url) as proxy:
        yield proxy
