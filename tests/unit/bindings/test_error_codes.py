import errno

import pytest

from s3mount import errors
from s3mount.bindings.error_codes import ERRNO, errno_of


def test_every_error_has_its_own_line() -> None:
    ours = {kind for kind in errors.FsError.__subclasses__() if kind.__module__ == errors.__name__}
    assert ours == set(ERRNO)


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


def test_a_subclass_takes_its_parents_code() -> None:
    assert errno_of(errors.Damaged("x")) == errno.EIO
