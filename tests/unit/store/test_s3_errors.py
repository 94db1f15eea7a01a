"""The error table: codes over statuses, texts a person understands, one line each."""

import botocore.exceptions
import pytest
from awscrt.s3 import S3ResponseError

from s3mount import errors
from s3mount.store.s3_errors import CODES, EXCEPTIONS, STATUSES, ErrorContext

CONTEXT = ErrorContext("photos", "https://s3.example.com")


def _crt_error(status: int, body: bytes | None) -> S3ResponseError:
    return S3ResponseError(
        code=1, name="N", message="m", status_code=status, headers=[], body=body, operation_name="PutObject"
    )


def _boto_error(status: int, code: str) -> botocore.exceptions.ClientError:
    return botocore.exceptions.ClientError(
        {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}}},  # type: ignore[typeddict-item]
        "GetObject",
    )


@pytest.mark.parametrize("code", CODES)
def test_both_clients_agree_on_a_code(code: str) -> None:
    for namespace in ("", ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'):
        body = f"<Error{namespace}><Code>{code}</Code></Error>".encode()
        assert type(CONTEXT.translate(_crt_error(400, body), "PutObject")) is CODES[code]
    assert type(CONTEXT.translate(_boto_error(400, code), "GetObject")) is CODES[code]


@pytest.mark.parametrize("status", [*STATUSES, 400, 409, 500, 502, 504, 599])
def test_both_clients_agree_on_a_status_without_a_body(status: int) -> None:
    expected = STATUSES.get(status, errors.Unreachable if status >= 500 else errors.Rejected)
    for body in (None, b"", b"<html>not S3", b"<html>not S3</html>"):
        assert type(CONTEXT.translate(_crt_error(status, body), "GetObject")) is expected
    assert type(CONTEXT.translate(_boto_error(status, str(status)), "GetObject")) is expected


def test_a_400_to_a_head_may_be_anything() -> None:
    assert type(CONTEXT.translate(_crt_error(400, b""), "HeadObject")) is errors.Unreachable
    assert type(CONTEXT.translate(_boto_error(400, "400"), "HeadObject")) is errors.Unreachable
    assert type(CONTEXT.translate(_boto_error(400, "InvalidArgument"), "HeadObject")) is errors.Rejected


def test_texts() -> None:
    def text(code: str) -> str:
        return str(CONTEXT.refusal("PutObject", code, 400))

    assert text("NoSuchBucket") == "there is no bucket 'photos' at https://s3.example.com"
    assert "secret key" in text("SignatureDoesNotMatch")
    assert "clock" in text("RequestTimeTooSkewed")
    assert "~/.aws" in str(CONTEXT.translate(botocore.exceptions.NoCredentialsError(), "PutObject"))
    unreachable = CONTEXT.translate(ConnectionResetError("reset\nby peer"), "GetObject")
    assert str(unreachable) == "cannot reach https://s3.example.com: reset by peer (GetObject)"


def test_a_store_error_stays_what_it_is() -> None:
    error = errors.Corrupt("c")
    assert CONTEXT.translate(error, "GetObject") is error


def test_anything_else_is_rejected() -> None:
    assert type(CONTEXT.translate(ValueError("v"), "GetObject")) is errors.Rejected


def test_no_row_of_the_exception_table_is_hidden_by_an_earlier_one() -> None:
    for at, (raised, _) in enumerate(EXCEPTIONS):
        assert not any(issubclass(raised, earlier) for earlier, _ in EXCEPTIONS[:at]), raised
