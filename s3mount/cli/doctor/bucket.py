"""What a mount needs of S3: credentials, a bucket that can be listed, clocks that agree. Called by command.py.

Loads the S3 client; sends what examination.py sends.
"""

from collections.abc import Iterator
from typing import Final

from s3mount.cli.doctor.diagnosis import Diagnosis, fine, note, skipped, wrong
from s3mount.cli.mount import what_to_do
from s3mount.config import MountConfig
from s3mount.errors import BucketUnavailable, StoreError, UsageError
from s3mount.examination import BucketAnswer, BucketExamination, credentials_source

# S3 refuses requests that are further off.
SKEW_S_MAX: Final = 15 * 60
SKEW_S_NOTED: Final = 30

SOURCES: Final = {
    "env": "the environment (AWS_ACCESS_KEY_ID)",
    "shared-credentials-file": "~/.aws/credentials",
    "config-file": "~/.aws/config",
    "assume-role": "a role that the profile assumes",
    "assume-role-with-web-identity": "a role assumed with a web identity",
    "sso": "SSO",
    "custom-process": "the credential_process of the profile",
    "container-role": "the container's role",
    "iam-role": "the instance's role",
}

SUBJECTS: Final = ("bucket", "region", "clock", "conditional writes")


def credentials(profile: str | None) -> Diagnosis:
    try:
        method = credentials_source(profile)
    except StoreError as error:
        return wrong("credentials", BucketUnavailable(f"{error}; check --profile and ~/.aws"))
    if method is None:
        return wrong(
            "credentials",
            BucketUnavailable("none found: run aws configure, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        )
    whose = f", profile {profile}" if profile is not None else ""
    return fine("credentials", f"from {SOURCES.get(method, method)}{whose}")


def look(config: MountConfig, *, tries_writes: bool) -> Iterator[Diagnosis]:
    """A line for each of SUBJECTS."""
    examination = BucketExamination(
        bucket=config.bucket,
        prefix=config.prefix,
        endpoint_url=config.endpoint_url,
        profile=config.profile,
        region=config.region,
        addressing_style=config.addressing_style,
    )
    try:
        answer = examination.ask()
    except (StoreError, UsageError) as error:
        advice = what_to_do(error) if isinstance(error, StoreError) else "check the endpoint"
        yield wrong("bucket", BucketUnavailable(f"{error}; {advice}"))
        yield from (skipped(subject, "needs a bucket that answers") for subject in SUBJECTS[1:])
        return
    yield _access(config, answer)
    yield _region(answer)
    yield _clock(answer)
    if answer.refusal is not None:
        yield skipped("conditional writes", "needs a bucket that can be listed")
    elif not tries_writes:
        yield skipped("conditional writes", "tried with --try-writes only, or by the first mount, which status shows")
    else:
        yield _conditions(examination)


def _access(config: MountConfig, answer: BucketAnswer) -> Diagnosis:
    if answer.refusal is not None:
        return wrong("bucket", BucketUnavailable(f"{answer.refusal}; {what_to_do(answer.refusal)}"))
    return fine("bucket", f"s3://{config.bucket}/{config.prefix} at {answer.endpoint_url} can be listed")


def _region(answer: BucketAnswer) -> Diagnosis:
    if answer.bucket_region is not None and answer.bucket_region != answer.region:
        # A server that is not AWS names one and takes any; what AWS refuses is told with the bucket.
        return note("region", f"{answer.region}, but the bucket is in {answer.bucket_region}: set --region")
    return fine("region", answer.region)


def _clock(answer: BucketAnswer) -> Diagnosis:
    if answer.clock_ahead_s is None:
        return skipped("clock", "needs an answer that says what time it is there")
    off = f"{abs(answer.clock_ahead_s):.0f} s {'ahead of' if answer.clock_ahead_s > 0 else 'behind'} the server's"
    if abs(answer.clock_ahead_s) > SKEW_S_MAX:
        return wrong("clock", BucketUnavailable(f"{off}: S3 refuses more than 15 minutes; set the clock (NTP)"))
    if abs(answer.clock_ahead_s) > SKEW_S_NOTED:
        return note("clock", f"{off}: set the clock (NTP)")
    return fine("clock", "agrees with the server's")


def _conditions(examination: BucketExamination) -> Diagnosis:
    try:
        are_honoured = examination.are_conditions_honoured()
    except StoreError as error:
        return note("conditional writes", f"the write was refused, so it is not known: {error}")
    if not are_honoured:
        return note("conditional writes", "ignored by this server: when two computers write one key, the last may win")
    return fine("conditional writes", "honoured")
