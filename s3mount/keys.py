"""Names and S3 keys: which names and keys there can be, and how they join. Pure.

A key is a "/" between the components of its path, each the name or its encoding (names.py); a directory's key ends in
"/", the root's is "". An object with such a key is the directory's marker when it is empty. With content it is a file
in that directory, of the empty component: its own file. The two have the key in common, so that it takes a key and a
kind to name an inode, and a directory with an own file has no marker. Limits: 255 bytes a name (NAME_MAX, Linux
limits.h), 1024 bytes a key (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
"""

from s3mount import names
from s3mount.errors import InvalidArgument, NameTooLong
from s3mount.model import ObjectInfo, ObjectKey

KEY_BYTES_MAX = 1024
ROOT_KEY = ObjectKey("")


def check_name(name: str) -> None:
    """Raise NameTooLong or InvalidArgument when no entry can have this name."""
    try:
        size = len(names.to_bytes(name))
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"not a name: {name!r}") from error
    if size > names.NAME_BYTES_MAX:
        raise NameTooLong(f"over {names.NAME_BYTES_MAX} bytes: {name!r}")
    if not names.is_name(name):
        raise InvalidArgument(f"not a name: {name!r}")


def check_key(key: ObjectKey) -> None:
    """Raise NameTooLong when the store could not hold this key."""
    if len(key.encode("utf-8")) > KEY_BYTES_MAX:
        raise NameTooLong(f"the path is over {KEY_BYTES_MAX} bytes as an S3 key")


def is_dir_key(key: ObjectKey) -> bool:
    return not key or key.endswith("/")


def is_marker(there: ObjectInfo) -> bool:
    """Whether an object is a directory's, and no file."""
    return not there.size and is_dir_key(there.key)


def split_path(path: str) -> list[str]:
    """The names of an absolute path; [] for the root."""
    return [name for name in path.split("/") if name]


def split_key(key: ObjectKey) -> list[str]:
    """The components of a key, some perhaps empty; [] for the root's."""
    return key.removesuffix("/").split("/") if key else []


def child_key(dir_key: ObjectKey, name: str, *, is_dir: bool) -> ObjectKey:
    component = names.component_of(name, is_dir=is_dir)
    return ObjectKey(f"{dir_key}{component}/" if is_dir else f"{dir_key}{component}")


def ancestor_keys(key: ObjectKey) -> list[ObjectKey]:
    """The directory keys above `key`, nearest last, without the root: "a/b/c" gives ["a/", "a/b/"]."""
    parts = split_key(key)[:-1]
    return [ObjectKey("/".join(parts[: i + 1]) + "/") for i in range(len(parts))]


def range_end(dir_key: ObjectKey) -> str:
    """The first string after every key below `dir_key`: "a/" gives "a0" ("0" follows "/" in ASCII)."""
    return dir_key[:-1] + "0"
