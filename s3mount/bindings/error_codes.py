"""FsError to errno, and to NTSTATUS: two tables, each total over the children of FsError in errors.py.

Called by the bindings for each failed operation, from any thread; pure. It does not log.
"""

import errno
import sys

from s3mount import errors
from s3mount.errors import FsError

# sys/errno.h of macOS, where programs take ENODATA for another failure.
DARWIN_ENOATTR = 93


def no_attribute_errno(platform: str) -> int:
    """What getxattr(2) answers on that platform, as sys.platform has it, when there is none of that name."""
    return DARWIN_ENOATTR if platform == "darwin" else errno.ENODATA


ERRNO: dict[type[FsError], int] = {
    errors.NotFound: errno.ENOENT,
    errors.Exists: errno.EEXIST,
    errors.NotADirectory: errno.ENOTDIR,
    errors.IsADirectory: errno.EISDIR,
    errors.NotEmpty: errno.ENOTEMPTY,
    errors.NotPermitted: errno.EPERM,
    errors.AccessDenied: errno.EACCES,
    errors.ReadOnly: errno.EROFS,
    errors.InvalidArgument: errno.EINVAL,
    # "Illegal byte sequence" is what other file systems answer for a name that their encoding cannot hold.
    errors.NameTooLong: errno.ENAMETOOLONG,
    errors.FileTooLarge: errno.EFBIG,
    errors.NoSpace: errno.ENOSPC,
    errors.BadHandle: errno.EBADF,
    errors.Stale: errno.ESTALE,
    errors.NotSupported: errno.ENOTSUP,
    errors.NoSuchOffset: errno.ENXIO,
    errors.NoAttribute: no_attribute_errno(sys.platform),
    errors.OutOfRange: errno.ERANGE,
    errors.TooBig: errno.E2BIG,
    errors.TooManyLinks: errno.EMLINK,
    errors.IOFailure: errno.EIO,
}


def errno_of(error: FsError) -> int:
    """The positive errno for `error`; a subclass takes its nearest listed ancestor's, a bare FsError is EIO."""
    for kind in type(error).__mro__:
        code = ERRNO.get(kind)
        if code is not None:
            return code
    return errno.EIO


STATUS_SUCCESS = 0
STATUS_END_OF_FILE = 0xC0000011
STATUS_IO_DEVICE_ERROR = 0xC0000185
STATUS_UNEXPECTED_IO_ERROR = 0xC00000E9
STATUS_BUFFER_OVERFLOW = 0x80000005
STATUS_ACCESS_DENIED = 0xC0000022
STATUS_INVALID_DEVICE_REQUEST = 0xC0000010

# https://learn.microsoft.com/openspecs/windows_protocols/ms-erref/596a1078-e883-4972-9bbc-49e60bebca55
NTSTATUS: dict[type[Exception], int] = {
    errors.NotFound: 0xC0000034,  # OBJECT_NAME_NOT_FOUND
    errors.ParentNotFound: 0xC000003A,  # OBJECT_PATH_NOT_FOUND
    errors.Exists: 0xC0000035,  # OBJECT_NAME_COLLISION
    errors.NotADirectory: 0xC0000103,  # NOT_A_DIRECTORY
    errors.IsADirectory: 0xC00000BA,  # FILE_IS_A_DIRECTORY
    errors.NotEmpty: 0xC0000101,  # DIRECTORY_NOT_EMPTY
    errors.NotPermitted: STATUS_ACCESS_DENIED,
    errors.AccessDenied: STATUS_ACCESS_DENIED,
    errors.ReadOnly: 0xC00000A2,  # MEDIA_WRITE_PROTECTED
    errors.InvalidArgument: 0xC000000D,  # INVALID_PARAMETER
    errors.InvalidName: 0xC0000033,  # OBJECT_NAME_INVALID
    errors.NameTooLong: 0xC0000106,  # NAME_TOO_LONG
    errors.FileTooLarge: 0xC0000904,  # FILE_TOO_LARGE
    errors.NoSpace: 0xC000007F,  # DISK_FULL
    errors.BadHandle: 0xC0000008,  # INVALID_HANDLE
    # A program that meets it tries again, as it does when another one has the file open.
    errors.Stale: 0xC0000043,  # SHARING_VIOLATION
    errors.NotSupported: STATUS_INVALID_DEVICE_REQUEST,
    errors.NoSuchOffset: STATUS_END_OF_FILE,
    errors.NoAttribute: 0xC0000052,  # NO_EAS_ON_FILE
    errors.OutOfRange: 0xC0000050,  # EA_TOO_LARGE
    errors.TooBig: 0xC0000050,
    errors.TooManyLinks: 0xC0000265,  # TOO_MANY_LINKS
    errors.IOFailure: STATUS_IO_DEVICE_ERROR,
}
# Why S3 failed, where Windows has a word that makes a program offer to try again.
NTSTATUS_OF_CAUSE: dict[type[BaseException], int] = {
    errors.Unreachable: 0xC00000C4,  # UNEXPECTED_NETWORK_ERROR
    # Of one that waited for another's request, which S3 gave no answer either.
    TimeoutError: 0xC00000C4,
    errors.Throttled: 0xC00000B5,  # IO_TIMEOUT
    errors.Denied: STATUS_ACCESS_DENIED,
}


def ntstatus_of(error: FsError) -> int:
    """The status for `error`: by its cause, then as errno_of; a bare FsError is an error of the device."""
    for table, found in ((NTSTATUS_OF_CAUSE, error.__cause__), (NTSTATUS, error)):
        for kind in type(found).__mro__:
            code = table.get(kind)
            if code is not None:
                return code
    return STATUS_IO_DEVICE_ERROR
