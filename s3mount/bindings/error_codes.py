"""FsError to errno: the one table, total over the children of FsError in errors.py.

Called by the FUSE binding for each failed operation, from any thread; pure. It does not log.
"""

import errno

from s3mount import errors
from s3mount.errors import FsError

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
    errors.NoAttribute: errno.ENODATA,
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
