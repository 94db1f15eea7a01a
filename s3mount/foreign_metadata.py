"""User metadata of an object that is not ours: kept in the index and carried along when we write the object anew. Pure.

S3 replaces metadata as a whole, so what is not sent again is lost. Together with ours it must stay within S3's limit of
2 KB (https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html); what no longer fits is left out.
"""

import json
from collections.abc import Mapping

METADATA_BYTES_MAX = 2048

# Keys whose values are written anew from the inode, in every form that metadata.py reads.
OURS = frozenset(
    (
        *("mode", "uid", "gid", "mtime", "atime", "ctime", "permissions", "owner", "group"),
        *("file-permissions", "file-owner", "file-group", "file-mtime", "file-atime"),
        *("goog-reserved-posix-mode", "goog-reserved-posix-uid", "goog-reserved-posix-gid"),
        *("goog-reserved-file-mtime", "s3cmd-attrs", "s3mount-write", "s3mount-link", "rdev", "xattr"),
    )
)


def pick(metadata: Mapping[str, str]) -> str | None:
    """The part to keep, as JSON; None when there is none."""
    kept = {key: value for key, value in metadata.items() if key not in OURS and value.isascii()}
    return json.dumps(kept, sort_keys=True) if kept else None


def merge(ours: Mapping[str, str], kept: str | None) -> dict[str, str]:
    """`ours` with what `pick` kept, as far as it fits."""
    merged = dict(ours)
    room = METADATA_BYTES_MAX - sum(len(key) + len(value) for key, value in ours.items())
    for key, value in json.loads(kept or "{}").items():
        room -= len(key) + len(value)
        if room >= 0:
            merged.setdefault(key, value)
    return merged


def size(kept: str | None) -> int:
    """How many bytes of metadata `kept` is."""
    return sum(len(key) + len(value) for key, value in json.loads(kept or "{}").items())
