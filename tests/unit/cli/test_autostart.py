"""`s3mount autostart`: the words of mount, checked and written down; what is not written down, and what is said."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from s3mount.autostart.entry import Entry
from s3mount.cli import autostart, mount
from s3mount.cli.group import s3mount
from s3mount.errors import MountError

SECRET = "wJalrXUtnFEMIsecret"


class Recorded:
    def __init__(self) -> None:
        self.kept: dict[str, Entry] = {}

    def add(self, entry: Entry) -> None:
        self.kept[entry.mountpoint] = entry

    def remove(self, mountpoint: str) -> bool:
        return self.kept.pop(mountpoint, None) is not None

    def entries(self) -> list[Entry]:
        return list(self.kept.values())


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    scheduler = Recorded()
    monkeypatch.setattr(autostart, "_scheduler", lambda: scheduler)
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", *autostart._CREDENTIALS):
        monkeypatch.delenv(name, raising=False)
    return scheduler


def run(*arguments: str) -> Result:
    return CliRunner().invoke(s3mount, ["autostart", *arguments])


def test_the_words_of_mount_are_written_down(recorded: Recorded, drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(drive.parent)
    done = run("add", "--read-only", "s3://bucket/p", drive.name, "--cache-size", "3GiB", "-o", "noexec", "--profile=b")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"s3://bucket/p is mounted at {drive} from your next logon on\n"
    (entry,) = recorded.entries()
    assert (entry.source, entry.mountpoint) == ("s3://bucket/p", str(drive))
    assert set(entry.arguments) == {"--cache-size=3GiB", "--profile=b", "--read-only", "-onoexec"}
    at_logon = mount.command.make_context("mount", entry.command(foreground=True)[5:]).params
    assert {name: value for name, value in at_logon.items() if value} == {
        "source": "s3://bucket/p", "mountpoint": str(drive), "cache_size": "3GiB", "profile": "b", "read_only": True,
        "foreground": True, "option_texts": ("noexec",),
    }  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ["bucket", "DRIVE"],
        ["s3://bucket"],
        ["s3://bucket", "DRIVE", "--nonsense"],
        ["s3://bucket", "DRIVE", "--cache-size=much"],
        ["s3://bucket", "DRIVE", "--foreground"],
        ["s3://bucket", "DRIVE", f"--endpoint-url=http://me:{SECRET}@host"],
    ],
)
def test_what_mount_would_refuse_is_refused_now(words: list[str], recorded: Recorded, drive: Path) -> None:
    done = run("add", *(str(drive) if word == "DRIVE" else word for word in words))
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert SECRET not in done.stderr
    assert recorded.entries() == []


def test_the_environment_says_where_and_never_who(
    recorded: Recorded, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.example.com")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA0")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    done = run("add", "s3://bucket", str(drive))
    assert done.exit_code == 0
    (entry,) = recorded.entries()
    assert set(entry.arguments) == {
        "--profile=work", "--region=eu-central-1", "--endpoint-url=https://s3.example.com",
    }  # fmt: skip
    assert (
        done.stderr == "s3mount: AWS_ACCESS_KEY_ID of this shell is not there at logon: put what it says into ~/.aws\n"
    )
    assert SECRET not in str(entry)


def test_list_and_remove(recorded: Recorded, drive: Path) -> None:
    assert run("list").stdout == "nothing is mounted at logon\n"
    run("add", "s3://bucket", str(drive), "--read-only")
    assert run("list").stdout == f"{drive} s3://bucket --read-only\n"
    (shown,) = json.loads(run("list", "--json").stdout)
    assert (shown["mountpoint"], shown["arguments"]) == (str(drive), ["--read-only"])
    assert shown["name"].startswith("s3mount-")
    assert run("remove", str(drive)).exit_code == 0
    done = run("remove", str(drive))
    assert done.exit_code == 1
    assert done.stderr == f"s3mount: nothing is mounted at {drive} at logon: see s3mount autostart list\n"


def test_without_a_command_it_says_so_in_a_line(recorded: Recorded) -> None:
    done = run()
    assert done.exit_code == 2
    assert done.stderr == "s3mount: Missing command. (see s3mount autostart --help)\n"


@pytest.mark.parametrize(
    ("platform", "name"), [("linux", "Systemd"), ("darwin", "Launchd"), ("win32", "TaskScheduler")]
)
def test_each_system_has_its_own(platform: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert type(autostart._scheduler()).__name__ == name


def test_a_scheduler_that_refuses_is_one_line(recorded: Recorded, drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(entry: Entry) -> None:
        raise MountError("systemctl --user enable failed with 1:\nno bus")

    monkeypatch.setattr(recorded, "add", refuse)
    done = run("add", "s3://bucket", str(drive))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "s3mount: systemctl --user enable failed with 1: no bus\n"
