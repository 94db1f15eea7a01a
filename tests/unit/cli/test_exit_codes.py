"""Every way to fail is one line on stderr and an exit code; there is never a traceback."""

import importlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import click
import pytest
from click.testing import CliRunner, Result

import s3mount as s3mount_package
from s3mount import __version__
from s3mount.cli import group
from s3mount.cli import mount as mount_module
from s3mount.cli.group import EXIT_CODES, main, s3mount
from s3mount.config import MountConfig
from s3mount.errors import (
    BucketMissing,
    BucketUnavailable,
    Denied,
    MountError,
    MountPointUnusable,
    NotDrained,
    Rejected,
    S3mountError,
    Unreachable,
    UsageError,
)

drain_module = importlib.import_module("s3mount.cli.drain")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(s3mount, list(arguments))


def one_error_line(result: Result) -> str:
    # An interrupt is preceded by an empty line, so that the terminal's ^C stands alone.
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("s3mount: ")
    return lines[0]


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (MountError("x"), 1),
        (UsageError("x"), 2),
        (BucketUnavailable("x"), 3),
        (MountPointUnusable("x"), 4),
        (NotDrained("x"), 5),
        (S3mountError("x"), 1),
        (Unreachable("x"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_error_has_its_exit_code(error: BaseException, exit_code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_mountpoint: Path) -> None:
        raise error

    monkeypatch.setattr(drain_module, "living_mount", fail)
    result = run("drain", "/mnt")
    assert result.exit_code == exit_code
    one_error_line(result)


def test_a_text_of_many_lines_becomes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_mountpoint: Path) -> None:
        raise MountError("first\n\n  second")

    monkeypatch.setattr(drain_module, "living_mount", fail)
    assert one_error_line(run("drain", "/mnt")) == "s3mount: first second"


def test_what_nobody_foresaw_goes_to_a_log_file(own_state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_mountpoint: Path) -> None:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(drain_module, "living_mount", fail)
    result = run("drain", "/mnt")
    log = own_state_dir / "s3mount" / "s3mount.log"
    assert result.exit_code == 1
    assert str(log) in one_error_line(result)
    assert "Traceback" in log.read_text()
    assert "ZeroDivisionError: odd" in log.read_text()


BROKEN = 'raise ImportError("DLL load failed while importing _awscrt")'


@pytest.mark.parametrize("arguments", [("mount",), ("mount", "--foreground"), ("check",), ("doctor",)])
def test_without_awscrt_one_line_says_what_to_do(tmp_path: Path, drive: Path, arguments: tuple[str, ...]) -> None:
    """As on Windows for ARM64, which AWS has no build of it for."""
    (tmp_path / "broken" / "awscrt").mkdir(parents=True)
    (tmp_path / "broken" / "awscrt" / "__init__.py").write_text(BROKEN)
    paths = [str(tmp_path / "broken"), str(Path(s3mount_package.__file__).parents[1])]
    places = ["s3://bucket", *[str(drive)] * (arguments[0] == "mount")]
    ran = subprocess.run(
        [sys.executable, "-m", "s3mount", *arguments, *places], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert ran.returncode == 1
    lines = ran.stderr.splitlines() or [line for line in ran.stdout.splitlines() if line.startswith("wrong")]
    text = "the S3 client cannot be loaded (DLL load failed while importing _awscrt): pip install 'boto3[crt]'"
    assert lines in ([f"s3mount: {text}"], [f"wrong   S3 client: {text}"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["mount"],
        ["mount", "s3://bucket"],
        ["mount", "s3://bucket", "/mnt", "extra"],
        ["mount", "s3://bucket", "/mnt", "--no-such"],
        ["mount", "bucket", "/mnt"],
        ["mount", "s3://bucket", "/mnt", "--cache-size", "huge"],
        ["mount", "s3://bucket", "/mnt", "-o", "uid=root"],
        ["unmount", "/mnt", "--timeout", "soon"],
        ["drain"],
        ["refresh"],
    ],
)
def test_wrong_use_is_exit_code_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    one_error_line(result)


@pytest.mark.parametrize("command", ["unmount", "drain", "status", "refresh"])
def test_what_is_not_mounted_is_exit_code_4(command: str, drive: Path) -> None:
    result = run(command, str(drive))
    assert result.exit_code == 4
    assert str(drive) in one_error_line(result)


def test_a_mount_point_that_is_missing_is_exit_code_4(tmp_path: Path) -> None:
    result = run("mount", "s3://bucket", str(tmp_path / "missing"))
    assert result.exit_code == 4
    assert "mkdir" in one_error_line(result)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (Denied("403 for HeadBucket"), "--profile"),
        (BucketMissing("no such bucket"), "make it first"),
        (Unreachable("connection refused"), "network"),
        (Rejected("400"), "--region"),
    ],
)
def test_no_access_is_exit_code_3_with_advice(
    error: Exception, advice: str, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve(_config: MountConfig, _on_ready: object) -> NoReturn:
        raise error

    monkeypatch.setattr(mount_module, "_load_serve", lambda: serve)
    monkeypatch.setattr(mount_module, "check_fuse", lambda **_: None)
    monkeypatch.setattr(mount_module, "log_to", lambda *_: None)
    result = run("mount", "s3://bucket", str(drive), "--foreground")
    assert result.exit_code == 3
    assert str(error) in one_error_line(result)
    assert advice in one_error_line(result)


def test_the_exit_code_of_the_mount_in_the_foreground_is_kept(drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[MountConfig] = []

    def serve(config: MountConfig, _on_ready: object) -> NoReturn:
        seen.append(config)
        sys.exit(5)

    monkeypatch.setattr(mount_module, "_load_serve", lambda: serve)
    monkeypatch.setattr(mount_module, "check_fuse", lambda **_: None)
    monkeypatch.setattr(mount_module, "log_to", lambda *_: None)
    # This is how mount(8) asks for a line of fstab: no subcommand.
    result = run("s3://bucket/p", str(drive), "-o", "rw,foreground,region=eu-central-1,noatime")
    assert result.exit_code == 5, result.stderr
    assert (seen[0].prefix, seen[0].region, seen[0].fuse_options) == ("p/", "eu-central-1", ("noatime",))


def test_a_missing_fuse_library_is_exit_code_4(drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # None makes the import fail as if the module were not there; the preflight meets it first.
    monkeypatch.setitem(sys.modules, "mfusepy", None)
    result = run("mount", "s3://bucket", str(drive), "--foreground")
    assert result.exit_code == 4
    assert "fuse" in one_error_line(result).lower()


def test_help_and_version() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for code in EXIT_CODES:
        assert f"\n  {code}  " in result.stdout
    assert run("--version").stdout == f"s3mount {__version__}\n"
    for name in s3mount.list_commands(click.Context(s3mount)):
        assert run(name, "--help").exit_code == 0


def test_a_name_that_the_output_cannot_show_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe, encoding="cp1252"))
    monkeypatch.setattr(sys, "argv", ["s3mount", "--version"])
    monkeypatch.setattr(group, "end_process", sys.exit)
    with pytest.raises(SystemExit):
        main()
    click.echo("ü中")
    assert pipe.getvalue().splitlines()[-1] == b"\xfc\\u4e2d"
