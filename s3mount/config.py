"""What one mount is asked to be: the frozen MountConfig, and the parsers that make it from words a person typed.

Built by the command line (cli/mount.py) and read by mount.py, which hands each floor its part. Pure: no file, no
environment, no network; what must be measured or asked (free space, the user's id) is passed in. Every parser raises
UsageError with one line that names the setting, the wrong value and an example. Does not know click.
"""

import hashlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from s3mount.amounts import parse_duration, parse_size
from s3mount.bandwidth import UNLIMITED, Bandwidth, parse_bandwidth
from s3mount.errors import UsageError

CACHE_LIMIT_BYTES_MIN: Final = 1 << 20
CACHE_LIMIT_AUTO_BYTES_MAX: Final = 50 << 30
# A bucket has no size; 1 PiB is what tools that check for room are content with.
CAPACITY_BYTES: Final = 1 << 50
CAPACITY_BYTES_MIN: Final = 1 << 30
CAPACITY_BYTES_MAX: Final = 1 << 60
PREFETCH_BYTES: Final = 32 << 20
OFFLINE_TIMEOUT_S_MIN: Final = 1.0
OFFLINE_TIMEOUT_S_MAX: Final = 3600.0
PREFIX_BYTES_MAX: Final = 900
UPLOAD_CONCURRENCY: Final = 16
UPLOAD_CONCURRENCY_MAX: Final = 64
ID_MAX: Final = (1 << 32) - 2
FOLDER_NAME_LENGTH_MAX: Final = 60

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
ADDRESSING_STYLES: Final = ("auto", "virtual", "path")


class AtimeMode(Enum):
    """Whether reading a file moves its atime."""

    RELATIME = "relatime"
    OFF = "off"


class FsyncMode(Enum):
    """What fsync(2) waits for: the local disk, or S3."""

    LOCAL = "local"
    REMOTE = "remote"


class HardLinkMode(Enum):
    """What link(2) does: each name an object of its own, copied inside S3; or EPERM."""

    COPY = "copy"
    DENY = "deny"


class JunkMode(Enum):
    """Where what desktop systems leave behind (junk.py) is kept: on this computer, or in the bucket as anything."""

    LOCAL = "local"
    BUCKET = "bucket"


def default_junk_mode(platform: str) -> JunkMode:
    """By `sys.platform`. Finder leaves files in every folder that is looked at."""
    return JunkMode.LOCAL if platform == "darwin" else JunkMode.BUCKET


JUNK_MODE: Final = default_junk_mode(sys.platform)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountConfig:
    """One mount. Sizes are bytes, durations seconds.

    `prefix` is "" or ends in "/". `mountpoint` and `state_dir` are absolute; `state_dir` belongs to this
    endpoint, bucket and prefix alone and holds the index, the cache and the log. `uid`, `gid` and `umask` are shown
    for objects that carry no metadata. `fuse_options` are handed on to FUSE as they are ("noatime", "fsname=x").
    """

    bucket: str
    mountpoint: Path
    state_dir: Path
    cache_limit_bytes: int
    uid: int
    gid: int
    prefix: str = ""
    endpoint_url: str | None = None
    profile: str | None = None
    region: str | None = None
    addressing_style: str = "auto"
    fsync_mode: FsyncMode = FsyncMode.LOCAL
    atime_mode: AtimeMode = AtimeMode.RELATIME
    capacity_bytes: int = CAPACITY_BYTES
    hard_link_mode: HardLinkMode = HardLinkMode.COPY
    junk_mode: JunkMode = JUNK_MODE
    write_back_delay_s: float = 1.0
    metadata_ttl_s: float = 60.0
    offline_timeout_s: float = 30.0
    prefetch_bytes: int = PREFETCH_BYTES
    upload_concurrency: int = UPLOAD_CONCURRENCY
    bandwidth: Bandwidth = UNLIMITED
    read_only: bool = False
    allow_other: bool = False
    umask: int = 0o022
    storage_class: str | None = None
    log_level: str = "info"
    fuse_options: tuple[str, ...] = ()


_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


def parse_source(text: str) -> tuple[str, str]:
    """`s3://BUCKET[/PREFIX]` → bucket and prefix; the prefix is "" or ends in "/"."""
    if not text.startswith("s3://"):
        raise UsageError(f"{text!r} is not a bucket: write s3://BUCKET or s3://BUCKET/PREFIX")
    bucket, _, prefix = text.removeprefix("s3://").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise UsageError(f"{bucket!r} in {text!r} is not a bucket name: write s3://BUCKET or s3://BUCKET/PREFIX")
    if not prefix:
        return bucket, ""
    prefix = prefix.removesuffix("/")
    if any(segment in ("", ".", "..") for segment in prefix.split("/")) or "\0" in prefix:
        raise UsageError(f"the prefix {prefix!r} has an empty, '.' or '..' part: such keys have no path to mount")
    if len(prefix.encode("utf-8", "surrogateescape")) > PREFIX_BYTES_MAX:
        raise UsageError(f"the prefix is longer than {PREFIX_BYTES_MAX} bytes, which leaves no room for names")
    return bucket, prefix + "/"


def parse_cache_size(text: str) -> int | None:
    """A size of at least CACHE_LIMIT_BYTES_MIN, or None for `auto`."""
    if text.strip().lower() == "auto":
        return None
    size = parse_size(text)
    if size < CACHE_LIMIT_BYTES_MIN:
        raise UsageError(f"{text!r} is too small for a cache: at least {CACHE_LIMIT_BYTES_MIN >> 20}MiB, or auto")
    return size


def _parse_prefetch(text: str) -> int:
    """A size in bytes; 0 for `off`."""
    return 0 if text.strip().lower() == "off" else parse_size(text)


def _parse_capacity(text: str) -> int:
    size = parse_size(text)
    if not CAPACITY_BYTES_MIN <= size <= CAPACITY_BYTES_MAX:
        raise UsageError(f"{text!r} is not from 1GiB to 1024PiB: write for example 10TiB")
    return size


def auto_cache_limit_bytes(free_bytes: int) -> int:
    """What `auto` means on a file system with that much room."""
    return max(CACHE_LIMIT_BYTES_MIN, min(CACHE_LIMIT_AUTO_BYTES_MAX, free_bytes // 2))


def _parse_offline_timeout(text: str) -> float:
    seconds = parse_duration(text)
    if not OFFLINE_TIMEOUT_S_MIN <= seconds <= OFFLINE_TIMEOUT_S_MAX:
        raise UsageError(f"{text!r} is not from {OFFLINE_TIMEOUT_S_MIN:.0f}s to 1h: write for example 30s")
    return seconds


def _parse_upload_concurrency(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= UPLOAD_CONCURRENCY_MAX:
        raise UsageError(f"{text!r} is not from 1 to {UPLOAD_CONCURRENCY_MAX}: write for example 8")
    return int(text)


def _parse_endpoint(text: str) -> str:
    # Whatever stands before the last @ may be a password, and neither the text nor the error may show one.
    shown = text.rpartition("@")[2]
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{shown!r} is not an endpoint: write http://HOST:PORT or https://HOST") from error
    if parts.username is not None or parts.password is not None:
        raise UsageError("the endpoint holds a user name or password: give credentials in ~/.aws or the environment")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise UsageError(f"{shown!r} is not an endpoint: write http://HOST:PORT or https://HOST")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _parse_id(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text) or int(text) > ID_MAX:
        raise UsageError(f"{text!r} is not a user or group number: write for example 1000")
    return int(text)


def _parse_umask(text: str) -> int:
    if not re.fullmatch(r"0?[0-7]{1,3}", text):
        raise UsageError(f"{text!r} is not a umask: write octal digits, for example 022")
    return int(text, 8)


def _parse_storage_class(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_]+", text):
        raise UsageError(f"{text!r} is not a storage class: write for example STANDARD_IA")
    return text.upper()


def _parse_word(text: str) -> str:
    if not text or text != text.strip() or not text.isprintable():
        raise UsageError(f"{text!r} is empty or holds blanks around it")
    return text


def _one_of(words: Iterable[str]) -> Callable[[str], str]:
    allowed = tuple(words)

    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise UsageError(f"{text!r} is not one of {', '.join(allowed)}")
        return text.lower()

    return parse


# Every setting that takes a value, under its long option's name: the command line and `-o name=value` both use it.
_PARSERS: Final[Mapping[str, Callable[[str], object]]] = {
    "endpoint-url": _parse_endpoint,
    "profile": _parse_word,
    "region": _parse_word,
    "addressing-style": _one_of(ADDRESSING_STYLES),
    "cache-dir": _parse_word,
    "cache-size": parse_cache_size,
    "capacity": _parse_capacity,
    "atime": _one_of(mode.value for mode in AtimeMode),
    "fsync": _one_of(mode.value for mode in FsyncMode),
    "hard-links": _one_of(mode.value for mode in HardLinkMode),
    "junk": _one_of(mode.value for mode in JunkMode),
    "write-back-delay": parse_duration,
    "metadata-ttl": parse_duration,
    "offline-timeout": _parse_offline_timeout,
    "prefetch": _parse_prefetch,
    "upload-concurrency": _parse_upload_concurrency,
    "bandwidth-limit": lambda text: parse_bandwidth(text, parse_size),
    "uid": _parse_id,
    "gid": _parse_id,
    "umask": _parse_umask,
    "storage-class": _parse_storage_class,
    "log-level": _one_of(LOG_LEVELS),
}
VALUE_SETTINGS: Final = tuple(_PARSERS)
_DURATION_SETTINGS: Final = ("write-back-delay", "metadata-ttl", "offline-timeout")
FLAG_SETTINGS: Final = ("read-only", "allow-other", "foreground")

_OPTION_ALIASES: Final = {"ro": "read-only"}
# Words of fstab that mount(8), systemd or the kernel's defaults have already acted on; FUSE would refuse some of them.
_FSTAB_WORDS: Final = frozenset(
    {"rw", "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "comment"}
    | {"_netdev", "async", "exec", "suid", "dev", "relatime"}
)


class MountOptions(NamedTuple):
    """What `-o` said: settings by long option name, flags that were set, and what FUSE shall get."""

    settings: Mapping[str, str]
    flags: frozenset[str]
    fuse_options: tuple[str, ...]


def parse_mount_options(texts: Iterable[str]) -> MountOptions:
    r"""Take `-o OPT[,OPT]` apart. A comma inside a value is written `\,`; `_` and `-` are the same in our names."""
    settings: dict[str, str] = {}
    flags: set[str] = set()
    fuse_options: list[str] = []
    for option in (part for text in texts for part in re.split(r"(?<!\\),", text) if part):
        plain = option.replace("\\,", ",")
        name, has_value, value = plain.partition("=")
        known = _OPTION_ALIASES.get(name, name.replace("_", "-"))
        if name == "noatime":
            settings["atime"] = AtimeMode.OFF.value  # the kernel does not tell FUSE of it
            fuse_options.append(plain)
        elif known in _PARSERS:
            if not has_value:
                raise UsageError(f"-o {name} needs a value: write -o {name}=VALUE")
            settings[known] = value
        elif known in FLAG_SETTINGS:
            if has_value:
                raise UsageError(f"-o {name} takes no value")
            flags.add(known)
        elif name not in _FSTAB_WORDS and not name.lower().startswith("x-"):
            fuse_options.append(plain)
    return MountOptions(settings, frozenset(flags), tuple(fuse_options))


def state_folder_name(endpoint_url: str | None, bucket: str, prefix: str) -> str:
    """A folder name that a person can read and that no other endpoint, bucket and prefix has."""
    identity = "\n".join((endpoint_url or "aws", bucket, prefix)).encode("utf-8", "surrogateescape")
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{bucket}_{prefix}".strip("_/"))[:FOLDER_NAME_LENGTH_MAX]
    return f"{readable}-{hashlib.sha256(identity).hexdigest()[:12]}"


def build_config(
    source: str,
    mountpoint: Path,
    settings: Mapping[str, str],
    flags: Iterable[str] = (),
    fuse_options: Iterable[str] = (),
    *,
    state_root: Path,
    own_uid: int,
    own_gid: int,
    free_bytes: Callable[[Path], int],
) -> MountConfig:
    """The whole config from words. `state_root` is where state folders go unless `cache-dir` names another place;
    `free_bytes` is asked for that place when the cache size is `auto`. Raises UsageError."""
    bucket, prefix = parse_source(source)
    values: dict[str, object] = {}
    for name, text in settings.items():
        try:
            values[name] = _PARSERS[name](text)
        except UsageError as error:
            raise UsageError(f"--{name}: {error}") from error
    flag_set = frozenset(flags)
    root = Path(settings["cache-dir"]) if "cache-dir" in settings else state_root
    if not root.is_absolute() or not mountpoint.is_absolute():
        raise UsageError(f"{root if mountpoint.is_absolute() else mountpoint} is not an absolute path")
    cache_size = values.get("cache-size")
    optional = {
        name.replace("-", "_"): values[name]
        for name in ("endpoint-url", "profile", "region", "addressing-style", "umask", "storage-class", "log-level")
        if name in values
    }
    optional |= {f"{name.replace('-', '_')}_s": values[name] for name in _DURATION_SETTINGS if name in values}
    if "upload-concurrency" in values:
        optional["upload_concurrency"] = values["upload-concurrency"]
    if "bandwidth-limit" in values:
        optional["bandwidth"] = values["bandwidth-limit"]
    if "fsync" in values:
        optional["fsync_mode"] = FsyncMode(values["fsync"])
    if "atime" in values:
        optional["atime_mode"] = AtimeMode(values["atime"])
    optional |= {f"{name}_bytes": values[name] for name in ("capacity", "prefetch") if name in values}
    if "hard-links" in values:
        optional["hard_link_mode"] = HardLinkMode(values["hard-links"])
    if "junk" in values:
        optional["junk_mode"] = JunkMode(values["junk"])
    identity = (values.get("endpoint-url"), bucket, prefix)
    return MountConfig(
        bucket=bucket,
        prefix=prefix,
        mountpoint=mountpoint,
        state_dir=root / state_folder_name(*identity),  # type: ignore[arg-type]
        cache_limit_bytes=cache_size if isinstance(cache_size, int) else auto_cache_limit_bytes(free_bytes(root)),
        uid=values.get("uid", own_uid),  # type: ignore[arg-type]
        gid=values.get("gid", own_gid),  # type: ignore[arg-type]
        read_only="read-only" in flag_set,
        allow_other="allow-other" in flag_set,
        fuse_options=tuple(fuse_options),
        **optional,  # type: ignore[arg-type]
    )
