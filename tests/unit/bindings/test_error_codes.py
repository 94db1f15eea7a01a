import errno

import pytest

from s3mount import errors
from s3mount.bindings.error_codes import ERRNO, NTSTATUS, NTSTATUS_OF_CAUSE, errno_of, no_attribute_errno, ntstatus_of
from s3mount.store.s3_errors import CredentialsExpired, Silent


def test_every_error_has_its_own_line() -> None:
    ours = {kind for kind in errors.FsError.__subclasses__() if kind.__module__ == errors.__name__}
    assert ours == set(ERRNO)
    assert ours | {errors.ParentNotFound, errors.InvalidName} == set(NTSTATUS)


def test_no_two_errors_look_alike() -> None:
    assert len(set(ERRNO.values())) == len(ERRNO)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("x"), errno.ENOENT),
        (errors.Stale("x"), errno.ESTALE),
        (errors.NotSupported("x"), errno.EOPNOTSUPP),
        (errors.FsError("x"), errno.EIO),
    ],
)
def test_errno_of(error: errors.FsError, code: int) -> None:
    assert errno_of(error) == code


def test_no_such_attribute_has_a_code_of_its_own_on_macos() -> None:
    assert no_attribute_errno("darwin") == 93
    assert no_attribute_errno("linux") == errno.ENODATA


def test_a_subclass_takes_its_parents_code() -> None:
    assert errno_of(errors.Damaged("x")) == errno.EIO


# Checked against winfspy's list of all statuses in tests/winfsp.
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotFound("x"), 0xC0000034),
        (errors.ParentNotFound("x"), 0xC000003A),
        (errors.Exists("x"), 0xC0000035),
        (errors.NotADirectory("x"), 0xC0000103),
        (errors.IsADirectory("x"), 0xC00000BA),
        (errors.NotEmpty("x"), 0xC0000101),
        (errors.NotPermitted("x"), 0xC0000022),
        (errors.AccessDenied("x"), 0xC0000022),
        (errors.ReadOnly("x"), 0xC00000A2),
        (errors.InvalidArgument("x"), 0xC000000D),
        (errors.InvalidName("x"), 0xC0000033),
        (errors.NameTooLong("x"), 0xC0000106),
        (errors.FileTooLarge("x"), 0xC0000904),
        (errors.NoSpace("x"), 0xC000007F),
        (errors.BadHandle("x"), 0xC0000008),
        (errors.Stale("x"), 0xC0000043),
        (errors.NotSupported("x"), 0xC0000010),
        (errors.NoSuchOffset("x"), 0xC0000011),
        (errors.NoAttribute("x"), 0xC0000052),
        (errors.OutOfRange("x"), 0xC0000050),
        (errors.TooBig("x"), 0xC0000050),
        (errors.TooManyLinks("x"), 0xC0000265),
        (errors.IOFailure("x"), 0xC0000185),
        (errors.Damaged("x"), 0xC0000185),
        (errors.FsError("x"), 0xC0000185),
    ],
)
def test_ntstatus_of(error: errors.FsError, status: int) -> None:
    assert ntstatus_of(error) == status


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        (Silent("y"), 0xC00000C4),
        (CredentialsExpired("y"), 0xC0000022),
        (errors.Missing("y"), 0xC0000185),
        (TimeoutError("y"), 0xC00000C4),
    ],
)
def test_a_narrower_cause_is_heard_too(cause: Exception, status: int) -> None:
    error = errors.IOFailure("x")
    error.__cause__ = cause
    assert ntstatus_of(error) == status


@pytest.mark.parametrize("cause", NTSTATUS_OF_CAUSE)
def test_windows_hears_why_s3_failed(cause: type[Exception]) -> None:
    error = errors.IOFailure("x")
    error.__cause__ = cause("y")
    assert ntstatus_of(error) == NTSTATUS_OF_CAUSE[cause]


def test_the_lower_error_of_a_file_operation_is_not_its_cause() -> None:
    error = errors.Stale("x")
    error.__cause__ = errors.PreconditionFailed("y")
    assert ntstatus_of(error) == 0xC0000043
