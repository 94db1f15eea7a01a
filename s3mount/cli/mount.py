"""`s3mount mount`: from words to a running mount.

Puts options, `-o` and the environment together into a MountConfig, checks what can be checked first, then starts the
mount in the background, or serves it in this process with --foreground. The mount itself is mount.py.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import click

from s3mount import garbage
from s3mount.cli.find import place_of
from s3mount.cli.group import exit_code_after, exit_code_of, one_line
from s3mount.cli.log import LOG_NAME, log_to
from s3mount.cli.preflight import (
    check_fuse,
    check_mountpoint,
    check_s3_client,
    free_bytes,
    prepare_state_dir,
)
from s3mount.config import (
    ADDRESSING_STYLES,
    FLAG_SETTINGS,
    LOG_LEVELS,
    VALUE_SETTINGS,
    MountConfig,
    build_config,
    parse_mount_options,
)
from s3mount.control.detach import detach
from s3mount.control.mount_table import find_mount
from s3mount.control.registry import Registry, state_root
from s3mount.daemon import ReadyPipe, StartFailed, start_detached
from s3mount.errors import (
    BucketMissing,
    BucketUnavailable,
    Denied,
    MountError,
    MountPointUnusable,
    S3mountError,
    StoreError,
    Unreachable,
)
from s3mount.host import own_ids

BUCKETS_FOLDER: Final = "buckets"
_HELP: Final = {
    "endpoint-url": ("URL", "S3 server to talk to. Default: the AWS configuration, else AWS itself."),
    "profile": ("NAME", "Profile of ~/.aws to take credentials and region from."),
    "region": ("NAME", "Region of the bucket. Default: the AWS configuration."),
    "addressing-style": ("|".join(ADDRESSING_STYLES), "Bucket in the host name or in the path.  [default: auto]"),
    "cache-dir": ("DIR", "Where the cache, the index and the log are kept, a folder for each bucket and prefix."),
    "cache-size": ("SIZE", "Limit of the cache: 10GiB, 500M, or auto: half of the free space, at most 50GiB."),
    "capacity": ("SIZE", "Size of the drive as df shows it.  [default: 1PiB]"),
    "atime": ("relatime|off", "Whether reading a file moves its access time.  [default: relatime]"),
    "hard-links": ("copy|deny", "Hard links: an object for each name, or refused.  [default: copy]"),
    "junk": (
        "local|bucket",
        "Where files of Finder and Explorer are kept (.DS_Store).  [default: bucket; macOS: local]",
    ),
    "fsync": ("local|remote", "What fsync waits for: the local disk, or S3.  [default: local]"),
    "write-back-delay": ("TIME", "How long a file must rest before it is uploaded.  [default: 1s]"),
    "metadata-ttl": ("TIME", "How long a listing of the bucket is believed.  [default: 60s]"),
    "offline-timeout": ("TIME", "How long a file operation waits for a silent S3 before it fails.  [default: 30s]"),
    "prefetch": ("SIZE|off", "How much of small files is fetched before it is asked for.  [default: 32MiB]"),
    "upload-concurrency": ("N", "How many uploads at once at most; how many is found out.  [default: 16]"),
    "bandwidth-limit": ("UP:DOWN[@TIMES]", "Bytes a second, by the time of day: 10M:off@08:00,1M:4M 19:00,off."),
    "uid": ("N", "Owner of objects without metadata.  [default: you]"),
    "gid": ("N", "Group of objects without metadata.  [default: yours]"),
    "umask": ("OCTAL", "Permission bits taken from objects without metadata.  [default: 022]"),
    "storage-class": ("NAME", "Storage class of new objects.  [default: the bucket's]"),
    "log-level": ("|".join(LOG_LEVELS), "How much is logged.  [default: info]"),
}
_FLAG_HELP: Final = {
    "read-only": "Refuse every change.",
    "allow-other": "Let other users in (for other than root: user_allow_other in /etc/fuse.conf).",
    "foreground": "Stay in the foreground and log to stderr.",
}


class MountRequest(NamedTuple):
    """What the person asked for, before it is checked: settings and flags by long option name."""

    source: str
    mountpoint: Path
    settings: Mapping[str, str]
    flags: frozenset[str]
    fuse_options: tuple[str, ...]

    def config(self) -> MountConfig:
        """Raises UsageError."""
        own_uid, own_gid = own_ids()
        return build_config(
            self.source,
            self.mountpoint,
            self.settings,
            self.flags,
            self.fuse_options,
            state_root=state_root() / BUCKETS_FOLDER,
            own_uid=own_uid,
            own_gid=own_gid,
            free_bytes=free_bytes,
        )

    def arguments(self) -> list[str]:
        """The same request as arguments of the child that serves it."""
        words = [f"--{name}={value}" for name, value in self.settings.items()]
        words += [f"--{name}" for name in sorted(self.flags - {"foreground"})]
        words += [f"-o{option.replace(',', chr(92) + ',')}" for option in self.fuse_options]
        return ["mount", *words, self.source, str(self.mountpoint)]


def make_request(
    source: str,
    mountpoint: Path,
    settings: Mapping[str, str],
    flags: Iterable[str],
    option_texts: Iterable[str],
    environment: Mapping[str, str],
) -> MountRequest:
    """Merge the ways to say a setting: its own option wins over `-o`, and `-o` over the environment."""
    options = parse_mount_options(option_texts)
    merged = {**_endpoint_of(environment), **options.settings, **settings}
    if "cache-dir" in merged:
        merged["cache-dir"] = os.path.abspath(os.path.expanduser(merged["cache-dir"]))
    all_flags = options.flags | frozenset(flags)
    return MountRequest(source, mountpoint, merged, all_flags, options.fuse_options)


def _endpoint_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The endpoint that botocore would take from the environment: it decides which state folder is meant."""
    if environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return {}
    url = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    return {"endpoint-url": url} if url else {}


def mount_in_background(request: MountRequest, environment: Mapping[str, str] | None = None) -> None:
    """Returns once the mount answers. Raises MountError with nothing left mounted."""
    config = request.config()
    _check(config)
    try:
        start_detached(
            request.arguments(),
            log_path=config.state_dir / LOG_NAME,
            environment=environment,
            serve=lambda ready: exit_code_after(lambda: serve_here(request, ready, is_background=True)),
        )
    except StartFailed:
        if find_mount(config.mountpoint) is not None:
            detach(config.mountpoint, lazy=True)
        raise


def serve_here(request: MountRequest, ready: ReadyPipe, *, is_background: bool) -> NoReturn:
    """Serve the mount in this process, which ends with it and with its exit code."""
    try:
        config = request.config()
        # Until the mount has its S3 client.
        with garbage.left_alone():
            _check(config)
            check_s3_client()
            log_to(config.state_dir / LOG_NAME if is_background else None, config.log_level)
            _load_serve()(config, ready.ready)
    except StoreError as error:
        refused = BucketUnavailable(f"cannot use {request.source}: {error}; {what_to_do(error)}")
        ready.failed(one_line(str(refused)), refused.exit_code)
        raise refused from error
    except S3mountError as error:
        ready.failed(one_line(str(error)), exit_code_of(error))
        raise


def _check(config: MountConfig) -> None:
    check_mountpoint(config.mountpoint)
    check_fuse(allow_other=config.allow_other)
    Registry().check()
    prepare_state_dir(config.state_dir)


def _load_serve() -> Callable[[MountConfig, Callable[[], None]], NoReturn]:
    """The composition root, loaded only now: it needs libfuse."""
    try:
        from s3mount.mount import serve
    except OSError as error:
        raise MountPointUnusable(f"the FUSE library cannot be loaded: {error}; apt install fuse3") from error
    return serve


def what_to_do(error: StoreError) -> str:
    """What a person can try when the bucket was refused so."""
    match error:
        case Denied():
            return "check --profile, the credentials, and what they may do with this bucket"
        case BucketMissing():
            return "check its name and --endpoint-url, or make it first"
        case Unreachable():
            return "check --endpoint-url, --region and the network"
        case _:
            return "check the bucket, --endpoint-url, --region and --profile"


def _with_options(function: Callable[..., int]) -> Callable[..., int]:
    for name in reversed(FLAG_SETTINGS):
        function = click.option(f"--{name}", is_flag=True, help=_FLAG_HELP[name])(function)
    for name in reversed(VALUE_SETTINGS):
        metavar, text = _HELP[name]
        function = click.option(f"--{name}", metavar=metavar, help=text)(function)
    return function


@click.command("mount", short_help="Mount a bucket.")
@click.argument("source", metavar="s3://BUCKET[/PREFIX]")
@click.argument("mountpoint", metavar="MOUNTPOINT")
@_with_options
@click.option(
    "-o",
    "option_texts",
    metavar="OPT[,OPT]",
    multiple=True,
    help="Any option above as name=value, ro, allow_other; the rest goes to FUSE. For fstab.",
)
@click.option("--ready-fd", type=int, hidden=True)
def command(source: str, mountpoint: str, option_texts: tuple[str, ...], ready_fd: int | None, **values: Any) -> int:
    """Mount a bucket, or what lies under PREFIX in it, on the empty directory MOUNTPOINT.

    Returns once the mount answers and goes on in the background. Credentials and region come from the standard AWS
    chain: environment, ~/.aws, SSO, instance role.
    """
    ready = ReadyPipe(ready_fd)
    settings = {name: values[name.replace("-", "_")] for name in VALUE_SETTINGS}
    given = {name: value for name, value in settings.items() if value is not None}
    flags = [name for name in FLAG_SETTINGS if values[name.replace("-", "_")]]
    try:
        request = make_request(source, place_of(mountpoint), given, flags, option_texts, os.environ)
    except MountError as error:
        ready.failed(one_line(str(error)), error.exit_code)
        raise
    if "foreground" in request.flags:
        serve_here(request, ready, is_background=ready_fd is not None)
    mount_in_background(request)
    return 0
