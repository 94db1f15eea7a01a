"""What doctor says of a bucket; what S3 answers stands in."""

from pathlib import Path

import pytest

from s3mount.cli.doctor import bucket
from s3mount.cli.doctor.diagnosis import Diagnosis, Verdict
from s3mount.config import MountConfig
from s3mount.errors import BucketMissing, Denied, StoreError, Throttled
from s3mount.examination import BucketAnswer

CONFIG = MountConfig(
    bucket="photos", mountpoint=Path("/"), state_dir=Path("/state"), cache_limit_bytes=1 << 30, uid=0, gid=0
)


class Examination:
    """In the place of BucketExamination, with answers of the test's."""

    def __init__(self, answer: BucketAnswer | StoreError, conditions: bool | StoreError = True) -> None:
        self.answer, self.conditions = answer, conditions

    def __call__(self, **_: object) -> "Examination":
        return self

    def ask(self) -> BucketAnswer:
        if isinstance(self.answer, StoreError):
            raise self.answer
        return self.answer

    def are_conditions_honoured(self) -> bool:
        if isinstance(self.conditions, StoreError):
            raise self.conditions
        return self.conditions


def answer(
    refusal: StoreError | None = None, ahead_s: float | None = 0.4, bucket_region: str | None = None
) -> BucketAnswer:
    return BucketAnswer("https://s3.example.com", "eu-west-1", refusal, ahead_s, bucket_region)


def look(
    monkeypatch: pytest.MonkeyPatch, examination: Examination, *, tries_writes: bool = False
) -> dict[str, Diagnosis]:
    monkeypatch.setattr(bucket, "BucketExamination", examination)
    found = {each.subject: each for each in bucket.look(CONFIG, tries_writes=tries_writes)}
    assert tuple(found) == bucket.SUBJECTS
    return found


def test_all_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    found = look(monkeypatch, Examination(answer(bucket_region="eu-west-1")), tries_writes=True)
    assert {each.verdict for each in found.values()} == {Verdict.FINE}
    assert found["bucket"].detail == "s3://photos/ at https://s3.example.com can be listed"


def test_no_write_is_tried_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    found = look(monkeypatch, Examination(answer(), conditions=Throttled("never asked")))
    assert found["conditional writes"].verdict is Verdict.SKIPPED


@pytest.mark.parametrize("error", [Denied("no"), BucketMissing("none")])
def test_a_bucket_that_cannot_be_listed(error: StoreError, monkeypatch: pytest.MonkeyPatch) -> None:
    for given in (answer(error), error):
        found = look(monkeypatch, Examination(given), tries_writes=True)
        assert (found["bucket"].verdict, found["bucket"].exit_code) == (Verdict.WRONG, 3)
        assert "check" in found["bucket"].detail
        assert found["conditional writes"].verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    ("ahead_s", "verdict", "text"),
    [
        (None, Verdict.SKIPPED, ""),
        (-3.0, Verdict.FINE, "agrees"),
        (-100.0, Verdict.NOTE, "100 s behind"),
        (100.0, Verdict.NOTE, "100 s ahead of"),
        (1000.0, Verdict.WRONG, "NTP"),
    ],
)
def test_clocks(ahead_s: float | None, verdict: Verdict, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = look(monkeypatch, Examination(answer(ahead_s=ahead_s)))["clock"]
    assert clock.verdict is verdict
    assert text in clock.detail


def test_another_region_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    region = look(monkeypatch, Examination(answer(bucket_region="us-west-2")))["region"]
    assert (region.verdict, "us-west-2" in region.detail) == (Verdict.NOTE, True)


@pytest.mark.parametrize("conditions", [False, Throttled("slow down")])
def test_conditions_that_do_not_hold_are_told(conditions: bool | StoreError, monkeypatch: pytest.MonkeyPatch) -> None:
    found = look(monkeypatch, Examination(answer(), conditions), tries_writes=True)
    assert found["conditional writes"].verdict is Verdict.NOTE


def test_where_credentials_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "credentials_source", lambda _profile: "sso")
    assert bucket.credentials("backup").detail == "from SSO, profile backup"
    monkeypatch.setattr(bucket, "credentials_source", lambda _profile: None)
    assert (bucket.credentials(None).verdict, bucket.credentials(None).exit_code) == (Verdict.WRONG, 3)

    def fail(_profile: str | None) -> str:
        raise Denied("the profile could not be found")

    monkeypatch.setattr(bucket, "credentials_source", fail)
    assert bucket.credentials("none").exit_code == 3
