"""Words to MountConfig."""

from pathlib import Path

import pytest

from s3mount.config import (
    CACHE_LIMIT_AUTO_BYTES_MAX,
    CACHE_LIMIT_BYTES_MIN,
    AtimeMode,
    FsyncMode,
    HardLinkMode,
    JunkMode,
    MountConfig,
    auto_cache_limit_bytes,
    build_config,
    default_junk_mode,
    parse_cache_size,
    parse_mount_options,
    parse_source,
    state_folder_name,
)
from s3mount.errors import UsageError


def _build(source: str = "s3://bucket", free: int = 1 << 40, **settings: str) -> MountConfig:
    named = {name.replace("_", "-"): value for name, value in settings.items()}
    root = Path("/state")
    return build_config(
        source, Path("/mnt"), named, state_root=root, own_uid=7, own_gid=8, free_bytes=lambda _folder: free
    )


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://my.bucket-1/a", "my.bucket-1", "a/"),
        ("s3://bucket/a/b c/ü/", "bucket", "a/b c/ü/"),
    ],
)
def test_sources(text: str, bucket: str, prefix: str) -> None:
    assert parse_source(text) == (bucket, prefix)


@pytest.mark.parametrize(
    "text",
    [
        *("", "bucket", "S3://bucket", "s3:/bucket", "s3://", "s3:///a", "s3://b", "s3://b_!/x"),
        *("s3://bucket//", "s3://bucket/a//b", "s3://bucket/../a", "s3://bucket/./a", "s3://bucket/" + "x" * 1000),
    ],
)
def test_bad_sources(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_source(text)
    assert "\n" not in str(caught.value)


def test_auto_is_half_of_the_free_space_within_bounds() -> None:
    assert parse_cache_size("AUTO") is None
    assert auto_cache_limit_bytes(10 << 30) == 5 << 30
    assert auto_cache_limit_bytes(1 << 50) == CACHE_LIMIT_AUTO_BYTES_MAX
    assert auto_cache_limit_bytes(0) == CACHE_LIMIT_BYTES_MIN
    assert _build(free=8 << 30).cache_limit_bytes == 4 << 30
    assert _build(free=8 << 30, cache_size="1GiB").cache_limit_bytes == 1 << 30
    with pytest.raises(UsageError, match="too small"):
        _build(cache_size="10")


def test_everything_has_a_default() -> None:
    config = _build()
    assert (config.uid, config.gid, config.umask) == (7, 8, 0o022)
    assert config.fsync_mode is FsyncMode.LOCAL
    assert config.state_dir.parent == Path("/state")
    assert not config.read_only
    assert not config.allow_other


def test_every_setting_arrives() -> None:
    config = _build(
        "s3://bucket/p",
        endpoint_url="http://LOCALHOST:9000/",
        profile="backup",
        region="eu-central-1",
        addressing_style="path",
        cache_dir="/cache",
        cache_size="2GiB",
        capacity="5TiB",
        prefetch="off",
        atime="off",
        fsync="remote",
        hard_links="deny",
        junk="local",
        write_back_delay="250ms",
        metadata_ttl="5m",
        uid="10",
        gid="20",
        umask="077",
        storage_class="standard_ia",
        log_level="DEBUG",
    )
    expected = MountConfig(
        bucket="bucket",
        prefix="p/",
        mountpoint=Path("/mnt"),
        state_dir=Path("/cache") / state_folder_name("http://localhost:9000", "bucket", "p/"),
        endpoint_url="http://localhost:9000",
        profile="backup",
        region="eu-central-1",
        addressing_style="path",
        cache_limit_bytes=2 << 30,
        capacity_bytes=5 << 40,
        prefetch_bytes=0,
        atime_mode=AtimeMode.OFF,
        fsync_mode=FsyncMode.REMOTE,
        hard_link_mode=HardLinkMode.DENY,
        junk_mode=JunkMode.LOCAL,
        write_back_delay_s=0.25,
        metadata_ttl_s=300,
        uid=10,
        gid=20,
        umask=0o077,
        storage_class="STANDARD_IA",
        log_level="debug",
    )
    assert config == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("endpoint_url", "localhost:9000"), ("endpoint_url", "http://h:99999"), ("endpoint_url", "ftp://h")),
        *(
            ("addressing_style", "x"),
            ("fsync", "maybe"),
            ("junk", "trash"),
            ("atime", "strict"),
            ("prefetch", "much"),
            ("capacity", "1M"),
            ("capacity", "2000PiB"),
            ("hard_links", "soft"),
            ("uid", "root"),
            ("gid", "-1"),
            ("umask", "999"),
        ),
        *(("log_level", "loud"), ("storage_class", "a b"), ("region", ""), ("cache_size", "-1")),
        ("cache_dir", "relative"),
    ],
)
def test_a_bad_value_names_the_setting_or_the_path(name: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        _build(**{name: value})
    assert name.replace("_", "-") in str(caught.value) or value in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://me:hidden@host", "http://me:hidden@host:port", "http://hidden@[host"])
def test_a_password_in_the_endpoint_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        _build(endpoint_url=url)
    assert "hidden" not in str(caught.value)


def test_every_place_has_a_state_folder_of_its_own() -> None:
    places = [(None, "b", ""), (None, "b", "a/"), (None, "b", "a_/"), (None, "b_a", ""), ("http://h", "b", "")]
    names = {state_folder_name(*place) for place in places}
    assert len(names) == len(places)
    assert all("/" not in name and len(name) < 100 for name in names)
    assert state_folder_name(None, "bucket", "ü/" * 200).isascii()
    assert state_folder_name(None, "bucket", "a/b/").startswith("bucket_a_b-")


def test_options_of_fstab() -> None:
    options = parse_mount_options(
        ["rw,_netdev,nofail,x-systemd.automount,endpoint-url=http://h:1,cache_size=1GiB", "ro,allow_other,noatime"]
    )
    assert options.settings == {"endpoint-url": "http://h:1", "cache-size": "1GiB", "atime": "off"}
    assert options.flags == {"read-only", "allow-other"}
    assert options.fuse_options == ("noatime",)


def test_an_escaped_comma_belongs_to_the_value() -> None:
    assert parse_mount_options([r"cache-dir=/a\,b,fsname=x\,y"]).settings == {"cache-dir": "/a,b"}
    assert parse_mount_options([r"fsname=x\,y"]).fuse_options == ("fsname=x,y",)


@pytest.mark.parametrize("text", ["cache-size", "read-only=1", "allow_other=x"])
def test_bad_options(text: str) -> None:
    with pytest.raises(UsageError):
        parse_mount_options([text])


def test_junk_stays_local_where_finder_is() -> None:
    assert default_junk_mode("darwin") is JunkMode.LOCAL
    assert default_junk_mode("linux") is default_junk_mode("win32") is JunkMode.BUCKET
