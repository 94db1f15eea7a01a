"""Every failure s3mount knows by name.

    S3mountError
    ├── FsError                a file operation failed; bindings translate it (bindings/error_codes.py)
    │   ├── NotFound           no such name
    │   │   └── ParentNotFound a directory on the way to it; Windows wants to know
    │   ├── Exists             the name is taken
    │   ├── NotADirectory      a path component, or the target, is not a directory
    │   ├── IsADirectory       the target is a directory
    │   ├── NotEmpty           the directory holds entries
    │   ├── NotPermitted       the operation is never allowed on this inode
    │   ├── AccessDenied       the caller may not do this
    │   ├── ReadOnly           the mount is read-only
    │   ├── InvalidArgument    the arguments make no sense together
    │   │   └── InvalidName    nothing can have this name
    │   ├── NameTooLong        a component over 255 bytes, or a key over 1024
    │   ├── FileTooLarge       past the largest object the store takes
    │   ├── NoSpace            the cache is full of data not yet in the bucket
    │   ├── BadHandle          the handle is closed, or not open for this
    │   ├── Stale              the object was changed by someone else under an open handle
    │   ├── NotSupported       the drive has no such operation
    │   ├── NoAttribute        no such extended attribute
    │   ├── OutOfRange         an extended attribute's name is over 255 bytes
    │   ├── TooBig             an extended attribute's value is over 64 KiB
    │   ├── TooManyLinks       the file has as many names as it can
    │   └── IOFailure          S3 or the local disk failed; the cause is chained
    │       └── Damaged        cached bytes that only the cache had are not what was written
    ├── StoreError             an S3 request failed; `temporary` says whether trying again can help
    │   ├── Missing            no such object, upload or bucket entry
    │   ├── PreconditionFailed the object is not the version the request was conditioned on
    │   ├── Denied             403: credentials or policy
    │   ├── Throttled          503 SlowDown, 429: temporary
    │   ├── Unreachable        no connection, timeout, 5xx: temporary
    │   ├── Corrupt            bytes did not match their checksum or length: temporary
    │   ├── BucketMissing      the bucket itself does not exist
    │   └── Rejected           any other refusal: permanent
    │       └── Archived       the object must be restored before it can be read or copied
    └── MountError             s3mount cannot start or do what a command asked; carries the exit code
        ├── UsageError             2
        ├── BucketUnavailable      3
        ├── MountPointUnusable     4
        └── NotDrained             5

The text of an error is one line for a person: what failed and, for MountError, what to do.
"""


class S3mountError(Exception):
    """Root of the tree."""


class FsError(S3mountError):
    """A file operation failed in a way POSIX has a word for."""


class NotFound(FsError):
    pass


class ParentNotFound(NotFound):
    pass


class Exists(FsError):
    pass


class NotADirectory(FsError):
    pass


class IsADirectory(FsError):
    pass


class NotEmpty(FsError):
    pass


class NotPermitted(FsError):
    pass


class AccessDenied(FsError):
    pass


class ReadOnly(FsError):
    pass


class InvalidArgument(FsError):
    pass


class InvalidName(InvalidArgument):
    pass


class NameTooLong(FsError):
    pass


class FileTooLarge(FsError):
    pass


class NoSpace(FsError):
    pass


class BadHandle(FsError):
    pass


class Stale(FsError):
    pass


class NotSupported(FsError):
    pass


class NoSuchOffset(FsError):
    """lseek found nothing of what it looks for there, or the offset is past the end: ENXIO."""


class NoAttribute(FsError):
    pass


class OutOfRange(FsError):
    pass


class TooBig(FsError):
    pass


class TooManyLinks(FsError):
    pass


class IOFailure(FsError):
    pass


class Damaged(IOFailure):
    pass


class StoreError(S3mountError):
    """An S3 request failed. `temporary`: the same request may succeed later."""

    temporary = False


class Missing(StoreError):
    pass


class PreconditionFailed(StoreError):
    pass


class Denied(StoreError):
    pass


class Throttled(StoreError):
    temporary = True


class Unreachable(StoreError):
    temporary = True


class Corrupt(StoreError):
    temporary = True


class BucketMissing(StoreError):
    pass


class Rejected(StoreError):
    pass


class Archived(Rejected):
    pass


class MountError(S3mountError):
    """A command cannot go on. `exit_code` is part of the command line's contract (docs/commands.md)."""

    exit_code = 1


class UsageError(MountError):
    exit_code = 2


class BucketUnavailable(MountError):
    exit_code = 3


class MountPointUnusable(MountError):
    exit_code = 4


class NotDrained(MountError):
    exit_code = 5
