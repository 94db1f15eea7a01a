"""From options, -o and the environment to a request, and from a request to the child's command line."""

import sys
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner

from s3mount.cli import mount as mount_module
from s3mount.cli.find import place_of
from s3mount.cli.group import s3mount
from s3mount.cli.mount import make_request, mount_in_background
from s3mount.config import FsyncMode
from s3mount.daemon import StartFailed
from s3mount.errors import MountError


def test_an_option_wins_over_fstab_and_fstab_over_the_environment(drive: Path) -> None:
    environment = {"AWS_ENDPOINT_URL": "http://environment"}
    bare = make_request("s3://bucket", drive, {}, (), (), environment)
    assert bare.config().endpoint_url == "http://environment"
    fstab = ("endpoint-url=http://fstab,fsync=remote,ro",)
    request = make_request("s3://bucket", drive, {"fsync": "local"}, ["allow-other"], fstab, environment)
    config = request.config()
    assert (config.endpoint_url, config.fsync_mode) == ("http://fstab", FsyncMode.LOCAL)
    assert config.read_only
    assert config.allow_other


def test_the_endpoint_of_the_environment_can_be_switched_off(drive: Path) -> None:
    environment = {"AWS_ENDPOINT_URL_S3": "http://environment", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
    assert make_request("s3://bucket", drive, {}, (), (), environment).config().endpoint_url is None


def test_a_relative_cache_directory_is_made_absolute(
    tmp_path: Path, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = make_request("s3://bucket", place_of("drive"), {"cache-dir": "cache"}, (), (), {}).config()
    assert config.state_dir.parent == tmp_path / "cache"
    assert config.mountpoint == drive


def test_state_is_kept_in_the_state_directory(drive: Path, own_state_dir: Path) -> None:
    config = make_request("s3://bucket/x", drive, {}, (), (), {}).config()
    assert config.state_dir.parent == own_state_dir / "s3mount" / "buckets"


def test_the_child_gets_the_same_config(drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line of the child, parsed by the real command, gives what the parent had."""
    settings = {"cache-size": "1GiB", "umask": "077", "endpoint-url": "http://h:1/x", "profile": "my backup"}
    options = (r"fsname=a\,b,noatime,ro", "uid=5")
    request = make_request("s3://bucket/p q", drive, settings, ["allow-other"], options, {})
    seen: list[object] = []

    def serve_here(child: object, *_arguments: object, **_keywords: object) -> NoReturn:
        seen.append(child)
        sys.exit(0)

    monkeypatch.setattr(mount_module, "serve_here", serve_here)
    result = CliRunner().invoke(s3mount, [*request.arguments(), "--foreground"])
    assert result.exit_code == 0, result.stderr
    (child,) = seen
    assert isinstance(child, mount_module.MountRequest)
    assert child.config() == request.config()


def test_nothing_stays_mounted_when_the_start_fails(drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detached: list[Path] = []

    def fail(*_arguments: object, **_keywords: object) -> None:
        raise StartFailed("no answer", 1)

    monkeypatch.setattr(mount_module, "_check", lambda config: config.state_dir.mkdir(parents=True))
    monkeypatch.setattr(mount_module, "start_detached", fail)
    monkeypatch.setattr(mount_module, "find_mount", lambda path: path)
    monkeypatch.setattr(mount_module, "detach", lambda path, lazy: detached.append(path))
    with pytest.raises(MountError, match="no answer"):
        mount_in_background(make_request("s3://bucket", drive, {}, (), (), {}))
    assert detached == [drive]
