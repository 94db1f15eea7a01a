"""Names and S3 keys: which names can be keys, which keys can be names, and how they join. Pure.

A key is the path with "/" between components; a directory's key ends in "/", the root's is "".
Limits: 255 bytes a component (NAME_MAX, Linux limits.h), 1024 bytes a key
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
"""

from s3mount.errors import InvalidArgument, InvalidName, NameTooLong
from s3mount.model import ObjectKey

NAME_BYTES_MAX = 255
KEY_BYTES_MAX = 1024
ROOT_KEY = ObjectKey("")


def check_name(name: str) -> None:
    """Raise NameTooLong or InvalidName when a new entry cannot have this name."""
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError as error:
        # S3 keys are UTF-8; a name of other bytes reaches us with surrogates in it.
        raise InvalidName(f"not UTF-8, so not an S3 key: {name!r}") from error
    if size > NAME_BYTES_MAX:
        raise NameTooLong(f"over {NAME_BYTES_MAX} bytes: {name!r}")
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise InvalidArgument(f"not a name: {name!r}")


def check_key(key: ObjectKey) -> None:
    """Raise NameTooLong when the store could not hold this key."""
    if len(key.encode("utf-8")) > KEY_BYTES_MAX:
        raise NameTooLong(f"the path is over {KEY_BYTES_MAX} bytes as an S3 key")


def is_listable(name: str) -> bool:
    """Whether a component found in the bucket can be shown as a file name as it is."""
    return bool(name) and name not in (".", "..") and "\0" not in name and len(name.encode("utf-8")) <= NAME_BYTES_MAX


def split_path(path: str) -> list[str]:
    """The components of an absolute path; [] for the root."""
    return [name for name in path.split("/") if name]


def child_key(dir_key: ObjectKey, name: str, *, is_dir: bool) -> ObjectKey:
    return ObjectKey(f"{dir_key}{name}/" if is_dir else f"{dir_key}{name}")


def ancestor_keys(key: ObjectKey) -> list[ObjectKey]:
    """The directory keys above `key`, nearest last, without the root: "a/b/c" gives ["a/", "a/b/"]."""
    parts = key.rstrip("/").split("/")[:-1]
    return [ObjectKey("/".join(parts[: i + 1]) + "/") for i in range(len(parts))]


def range_end(dir_key: ObjectKey) -> str:
    """The first string after every key below `dir_key`: "a/" gives "a0" ("0" follows "/" in ASCII)."""
    return dir_key[:-1] + "0"
