"""Single faults of S3 and the network, one operation at a time, over the real client: the write arrives once, with no
false conflict and nothing of it left over (P4, P5, P6)."""

import itertools
import os
import re

import pytest

from s3mount.errors import IOFailure, StoreError
from s3mount.model import ObjectKey
from tests.faults.bench import MIB, until
from tests.network.conftest import NetworkBench
from tests.support.fault_proxy import Fault, Rule

SMALL = bytes(range(256)) * 64
LARGE = os.urandom(9 * MIB)  # two parts
REPLY_FAULTS = (Fault.LOST_REPLY, Fault.RESET_BEFORE)


def answers(bench: NetworkBench, status: int, code: str, operation: str, times: int = 1) -> Rule:
    assert bench.proxy is not None
    return bench.proxy.answer(status, code, operation=operation, times=times)


def fails(bench: NetworkBench, fault: Fault, operation: str, times: int = 1) -> Rule:
    assert bench.proxy is not None
    return bench.proxy.fail(fault, operation, times=times)


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        *itertools.product([*REPLY_FAULTS, Fault.RESET_IN_REQUEST, Fault.RESET_IN_REPLY], [1, 6]),
        (Fault.SILENT, 1),
    ],
)
def test_put(bench: NetworkBench, fault: Fault, times: int) -> None:
    rule = fails(bench, fault, "PutObject", times)
    bench.write("/file", SMALL)
    until(lambda: rule.hits >= 1)
    bench.settle(40)
    bench.check({"file": SMALL})


@pytest.mark.parametrize("fault", [*REPLY_FAULTS, Fault.RESET_IN_REQUEST])
def test_replacing_put(bench: NetworkBench, fault: Fault) -> None:
    bench.write("/file", b"old")
    bench.settle()
    rule = fails(bench, fault, "PutObject", 5)
    bench.write("/file", SMALL)
    until(lambda: rule.hits >= 1)
    bench.settle(40)
    bench.check({"file": SMALL})


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        *itertools.product(["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"], REPLY_FAULTS),
        ("UploadPart", Fault.RESET_IN_REQUEST),
        ("CompleteMultipartUpload", Fault.RESET_IN_REQUEST),
    ],
)
def test_multipart(bench: NetworkBench, operation: str, fault: Fault) -> None:
    rule = fails(bench, fault, operation)
    bench.write("/large", LARGE)
    bench.settle(40)
    assert rule.hits == 1
    left = [] if operation != "CreateMultipartUpload" else uploads(bench)
    for upload in left:  # S3 alone knows of an upload whose id was lost on the way
        bench.server.client.abort_multipart_upload(Bucket=bench.bucket_name, **upload)  # type: ignore[union-attr]
    bench.check({"large": LARGE})


def uploads(bench: NetworkBench) -> list[dict[str, str]]:
    assert bench.server is not None
    found = bench.server.client.list_multipart_uploads(Bucket=bench.bucket_name).get("Uploads", [])
    return [{"Key": upload["Key"], "UploadId": upload["UploadId"]} for upload in found]


@pytest.mark.parametrize("fault", [Fault.LOST_REPLY, Fault.RESET_BEFORE, Fault.RESET_IN_REPLY])
def test_rename(bench: NetworkBench, fault: Fault) -> None:
    bench.write("/a", SMALL)
    bench.settle()
    rules = [fails(bench, fault, operation, 5) for operation in ("CopyObject", "DeleteObjects")]
    bench.fs.rename("/a", "/b")
    until(lambda: rules[0].hits)
    bench.settle(60)
    bench.check({"b": SMALL})


@pytest.mark.parametrize("fault", [Fault.LOST_REPLY, Fault.RESET_BEFORE])
def test_delete_and_make_anew(bench: NetworkBench, fault: Fault) -> None:
    bench.write("/a", b"old")
    bench.settle()
    fails(bench, fault, "DeleteObjects", 5)
    bench.fs.unlink("/a")
    bench.write("/a", SMALL)
    bench.settle(40)
    bench.check({"a": SMALL})


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "InternalError"),
        (503, "SlowDown"),
        (429, "TooManyRequests"),
        (503, ""),
        (502, ""),
        (400, "RequestTimeout"),
    ],
)
@pytest.mark.parametrize("operation", ["PutObject", "GetObject", "ListObjectsV2", "HeadObject", "DeleteObjects"])
def test_refusals_that_pass(bench: NetworkBench, status: int, code: str, operation: str) -> None:
    bench.put_foreign("dir/foreign", SMALL)
    bench.put_foreign("gone", SMALL)
    rule = answers(bench, status, code, operation)
    bench.write("/mine", SMALL)
    bench.fs.getattr("/dir/foreign")
    assert bench.read("/dir/foreign") == SMALL
    bench.fs.unlink("/gone")
    bench.settle(20)
    assert rule.hits == 1
    bench.check({"dir/foreign": SMALL, "mine": SMALL})


@pytest.mark.parametrize("operation", ["CompleteMultipartUpload", "CopyObject"])
@pytest.mark.parametrize("code", ["InternalError", "SlowDown"])
def test_success_that_holds_an_error(bench: NetworkBench, operation: str, code: str) -> None:
    """S3 begins its reply with 200 before it knows how copying or completing will end."""
    rule = answers(bench, 200, code, operation, times=2)
    body = LARGE if operation == "CompleteMultipartUpload" else SMALL
    bench.write("/a", body)
    if operation == "CopyObject":
        bench.settle(20)
        bench.fs.rename("/a", "/b")
    bench.settle(40)
    assert rule.hits == 2
    bench.check({"a" if operation == "CompleteMultipartUpload" else "b": body})


@pytest.mark.parametrize("fault", [Fault.CUT_SHORT, Fault.RESET_IN_REPLY, Fault.RESET_BEFORE])
@pytest.mark.parametrize("operation", ["GetObject", "ListObjectsV2"])
def test_replies_that_end_early(bench: NetworkBench, operation: str, fault: Fault) -> None:
    """What came is never taken for the whole."""
    for number in range(30):
        bench.put_foreign(f"file{number:02}", SMALL)
    bench.put_foreign("large", LARGE)
    rule = fails(bench, fault, operation, 2)
    assert len(bench.names()) == 31
    assert bench.read("/large") == LARGE
    assert bench.read("/file07") == SMALL
    assert rule.hits == 2


def test_replies_that_never_become_whole(bench: NetworkBench) -> None:
    bench.put_foreign("large", LARGE)
    fails(bench, Fault.CUT_SHORT, "GetObject", 1 << 20)
    with pytest.raises(IOFailure, match=r"did not come|IncompleteRead|failed"):
        bench.read("/large")
    assert bench.proxy is not None
    bench.proxy.heal()
    assert bench.read("/large") == LARGE


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (403, "RequestTimeTooSkewed", "check this computer's clock"),
        (301, "PermanentRedirect", "set the region"),
        (307, "TemporaryRedirect", "another"),
    ],
)
@pytest.mark.parametrize("operation", ["PutObject", "ListObjectsV2"])
def test_texts_that_say_what_to_do(bench: NetworkBench, status: int, code: str, text: str, operation: str) -> None:
    assert bench.proxy is not None
    headers = "x-amz-bucket-region: eu-west-1\r\n" if status == 301 else ""
    bench.proxy.answer(status, code, operation=operation, times=1 << 20, headers=headers)
    ask = {
        "PutObject": lambda: bench.s3.put(ObjectKey("k"), b"body", metadata={}, content_type="text/plain"),
        "ListObjectsV2": lambda: bench.s3.list_page(ObjectKey("")),
    }[operation]
    with pytest.raises(StoreError, match=re.escape(text)) as caught:
        ask()
    if status == 301:
        assert "eu-west-1" in str(caught.value)
