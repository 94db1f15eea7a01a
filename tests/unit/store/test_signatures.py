"""What signs a request outlives it: the runtime aborts the process when it is the last to let go of one."""

import gc
import weakref
from typing import Any

import pytest
from awscrt.s3 import S3Client

from s3mount.errors import Unreachable
from s3mount.model import ObjectKey
from s3mount.store.s3 import open_store
from s3mount.store.settings import StoreSettings
from tests.support.s3_server import S3Server

NOBODY = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in S3Server("", "", None).environment().items():  # type: ignore[arg-type]
        monkeypatch.setenv(name, value)


def test_it_is_there_when_the_store_is_closed_and_signs_the_next_request(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[weakref.ref[Any]] = []
    make_request = S3Client.make_request

    def watched(client: S3Client, **words: Any) -> Any:
        used.append(weakref.ref(words["signing_config"]))
        return make_request(client, **words)

    monkeypatch.setattr(S3Client, "make_request", watched)
    for _ in range(2):
        store = open_store(StoreSettings("bucket", endpoint_url=NOBODY, request_deadline_s=0.2))
        with pytest.raises(Unreachable):
            store.put(ObjectKey("a"), b"x", metadata={}, content_type="text/plain")
        with pytest.raises(Unreachable):
            store.head(ObjectKey("a"))
        store.close()
        gc.collect()
    signatures = [reference() for reference in used]
    assert len(signatures) >= 4
    assert None not in signatures
    assert len(set(map(id, signatures))) == 1
