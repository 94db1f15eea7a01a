"""Credentials that expire under a mount, and are renewed by a person: the chain is read again, nothing is parked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bench import until
from tests.network.conftest import NetworkBench
from tests.support.fault_proxy import FaultProxy
from tests.support.s3_server import S3Server


def write_keys(path: Path, server: S3Server, secret_key: str) -> None:
    path.write_text(f"[default]\naws_access_key_id = {server.access_key}\naws_secret_access_key = {secret_key}\n")


@pytest.fixture
def keys_path(monkeypatch: pytest.MonkeyPatch, seaweed: S3Server, tmp_path: Path) -> Path:
    path = tmp_path / "credentials"
    write_keys(path, seaweed, seaweed.secret_key)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    return path


@pytest.fixture
def file_bench(keys_path: Path, seaweed: S3Server, proxy: FaultProxy, tmp_path: Path) -> Iterator[NetworkBench]:
    state = tmp_path / "state"
    state.mkdir()
    bench = NetworkBench(state, server=seaweed, proxy=proxy)
    try:
        yield bench
    finally:
        bench.close()


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"])
@pytest.mark.parametrize("operation", ["PutObject", "ListObjectsV2", "CopyObject"])
def test_the_chain_is_read_again(bench: NetworkBench, code: str, operation: str) -> None:
    assert bench.proxy is not None
    rule = bench.proxy.answer(400, code, operation=operation)
    bench.write("/file", b"body")
    bench.settle()
    bench.fs.chmod("/file", 0o600)
    bench.refresh()
    assert bench.names() == ["file"]
    bench.settle()
    assert rule.hits == 1
    assert bench.drive.writeback.refused() == []
    bench.check({"file": b"body"})


def test_renewed_in_the_file(file_bench: NetworkBench, keys_path: Path) -> None:
    """Until then uploads wait, and nothing of them is parked."""
    bench = file_bench
    assert bench.proxy is not None
    assert bench.server is not None
    bench.write("/before", b"body")
    bench.settle()
    rule = bench.proxy.answer(400, "ExpiredToken", operation="PutObject", times=1 << 20)
    bench.write("/file", b"body")
    until(lambda: rule.hits > 1)
    write_keys(keys_path, bench.server, bench.server.secret_key)
    bench.proxy.heal()
    bench.settle(20)
    assert bench.drive.writeback.refused() == []
    bench.check({"before": b"body", "file": b"body"})


def test_what_was_reread_signs_requests(file_bench: NetworkBench, keys_path: Path) -> None:
    bench = file_bench
    assert bench.proxy is not None
    assert bench.server is not None
    bench.write("/file", b"body")
    bench.settle()
    write_keys(keys_path, bench.server, "wrong")
    bench.proxy.answer(400, "ExpiredToken", operation="ListObjectsV2")
    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        bench.s3.list_page("")  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"SignatureDoesNotMatch|AccessDenied"):
        bench.s3.put("k", b"body", metadata={}, content_type="text/plain")  # type: ignore[arg-type]
    write_keys(keys_path, bench.server, bench.server.secret_key)
    assert bench.s3._sender._boto.credentials is not None
    bench.s3._sender._boto.credentials._next_s = 0.0
    bench.s3._sender._boto.credentials.reread()
    bench.check({"file": b"body"})
