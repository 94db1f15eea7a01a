"""What `s3mount doctor` learns from a scripted S3."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from s3mount.errors import BucketMissing, Denied, StoreError, Unreachable
from s3mount.examination import BucketExamination, credentials_source
from tests.unit.store.conftest import Endpoint, Reply, error_reply

LISTING = b"<ListBucketResult><Name>bucket</Name></ListBucketResult>"


def examination(endpoint_url: str, now_s: Callable[[], float] = time.time) -> BucketExamination:
    return BucketExamination(
        bucket="bucket", prefix="p/", endpoint_url=endpoint_url, profile=None, region="eu-west-1",
        addressing_style="path", now_s=now_s,
    )  # fmt: skip


def test_one_list_tells_all(endpoint: Endpoint) -> None:
    endpoint.replies = [Reply(body=LISTING, headers={"x-amz-bucket-region": "us-west-2"})]
    answer = examination(endpoint.url).ask()
    assert (answer.refusal, answer.region, answer.bucket_region) == (None, "eu-west-1", "us-west-2")
    assert answer.endpoint_url == endpoint.url
    assert answer.clock_ahead_s is not None
    assert abs(answer.clock_ahead_s) < 5
    assert [request.method for request in endpoint.requests] == ["GET"]


def test_a_clock_that_is_off_is_seen_in_refusals_too(endpoint: Endpoint) -> None:
    endpoint.replies = [error_reply(403, "RequestTimeTooSkewed")]
    answer = examination(endpoint.url, lambda: time.time() + 3600).ask()
    assert isinstance(answer.refusal, Denied)
    assert answer.clock_ahead_s is not None
    assert abs(answer.clock_ahead_s - 3600) < 5


def test_a_bucket_that_is_not_there(endpoint: Endpoint) -> None:
    endpoint.replies = [error_reply(404, "NoSuchBucket")]
    assert isinstance(examination(endpoint.url).ask().refusal, BucketMissing)


def test_nobody_answers(endpoint: Endpoint) -> None:
    endpoint.close()
    answer = examination(endpoint.url).ask()
    assert isinstance(answer.refusal, Unreachable)
    assert answer.clock_ahead_s is None


@pytest.mark.parametrize(("reply", "are_honoured"), [(error_reply(412, "PreconditionFailed"), True), (Reply(), False)])
def test_conditions(reply: Reply, are_honoured: bool, endpoint: Endpoint) -> None:
    endpoint.replies = [reply if are_honoured else Reply(headers={"ETag": '"1"'}), Reply(body=b"<DeleteResult/>")]
    assert examination(endpoint.url).are_conditions_honoured() is are_honoured
    assert [request.method for request in endpoint.requests] == ["PUT"] + ["POST"] * (not are_honoured)
    assert endpoint.requests[0].path.startswith("/bucket/p/.s3mount-probe-")


def test_where_credentials_come_from(tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    assert credentials_source(None) == "env"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    (tmp_path / "config").write_text("[profile backup]\nregion=eu-west-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    assert credentials_source(None) is None
    (tmp_path / "credentials").write_text("[backup]\naws_access_key_id=a\naws_secret_access_key=b\n")
    assert credentials_source("backup") == "shared-credentials-file"
    with pytest.raises(StoreError, match="missing"):
        credentials_source("missing")
