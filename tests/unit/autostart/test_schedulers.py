"""What is written for each system's scheduler, read back as that system reads it; stand-ins note what they are told."""

import configparser
import json
import os
import plistlib
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3mount.autostart import task_scheduler
from s3mount.autostart.entry import Entry, Scheduler, name_of
from s3mount.autostart.launchd import Launchd, agent
from s3mount.autostart.systemd import Systemd, unit, word
from s3mount.autostart.task_scheduler import TaskScheduler, task
from s3mount.errors import MountError

PLAIN = Entry("s3://bucket/prefix", "/mnt/backup", ("--profile=backup", "--read-only"))
ODD = Entry("s3://bucket/a b%n$HOME\"'\\;&<>\u00fc", "/mnt/my backup\\", ("--cache-dir=/x y/100%", "-onoexec\\,a"))
SCHEDULERS: dict[str, Callable[[Path], Scheduler]] = {
    "systemd": Systemd,
    "launchd": Launchd,
    "task scheduler": TaskScheduler,
}
STAND_IN = """#!/bin/sh
for word in "$@"; do printf '%s\\037' "$word" >> {log}; done; printf '\\n' >> {log}
case " $* " in {fails}) echo "$1 does not work" >&2; exit 1;; esac
"""
NAMESPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


class StandIns:
    """`systemctl` and `schtasks`, alone on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._log = folder, folder / "log"
        self.fail("never told")

    def fail(self, pattern: str) -> None:
        for name in ("systemctl", "schtasks"):
            path = self.folder / name
            path.write_text(STAND_IN.format(log=self._log, fails=f'*"{pattern}"*'))
            path.chmod(0o755)

    def told(self) -> list[list[str]]:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        self._log.unlink(missing_ok=True)
        return [line.split("\x1f")[:-1] for line in lines]


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("USERNAME", "me")
    monkeypatch.setenv("USERDOMAIN", "HERE")
    return StandIns(folder)


@pytest.fixture(params=SCHEDULERS)
def scheduler(request: pytest.FixtureRequest, tmp_path: Path, stand_ins: StandIns) -> Scheduler:
    return SCHEDULERS[request.param](tmp_path / "own" / "files")


def files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "own").rglob("*") if path.is_file()]


def test_entries_come_back_as_they_were_and_go(scheduler: Scheduler, tmp_path: Path) -> None:
    assert scheduler.entries() == []
    for entry in (PLAIN, ODD):
        scheduler.add(entry)
    assert scheduler.entries() == sorted((PLAIN, ODD), key=lambda entry: entry.mountpoint)
    other = Entry("s3://other", PLAIN.mountpoint, ())
    scheduler.add(other)
    assert set(scheduler.entries()) == {other, ODD}
    assert scheduler.remove(PLAIN.mountpoint)
    assert not scheduler.remove(PLAIN.mountpoint)
    assert scheduler.entries() == [ODD]
    assert scheduler.remove(ODD.mountpoint)
    assert files(tmp_path) == []


def test_what_others_have_put_there_is_not_touched(scheduler: Scheduler, tmp_path: Path) -> None:
    scheduler.add(PLAIN)
    (written,) = files(tmp_path)
    for name, content in (("broken", b"\xff\xfe\xd8"), ("other", b"[Unit]\nDescription=mine\n")):
        written.with_name(f"s3mount-{name}{written.suffix}").write_bytes(content)
    written.with_name(f"mine{written.suffix}").write_bytes(b"<plist/>")
    assert scheduler.entries() == [PLAIN]
    assert scheduler.remove(PLAIN.mountpoint)
    assert len(files(tmp_path)) == 3


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (
            "systemd",
            [
                ["--user", "daemon-reload"],
                ["--user", "enable", f"{PLAIN.name}.service"],
                ["--user", "disable", f"{PLAIN.name}.service"],
                ["--user", "daemon-reload"],
            ],
        ),
        (
            "task scheduler",
            [
                ["/Create", "/TN", f"\\s3mount\\{PLAIN.name}", "/XML", "FILE", "/F"],
                ["/Delete", "/TN", f"\\s3mount\\{PLAIN.name}", "/F"],
            ],
        ),
        ("launchd", []),
    ],
)
def test_what_the_system_is_told(kind: str, told: list[list[str]], tmp_path: Path, stand_ins: StandIns) -> None:
    scheduler = SCHEDULERS[kind](tmp_path / "own")
    scheduler.add(PLAIN)
    (written,) = [path for path in files(tmp_path) if path.suffix != ".log"]
    scheduler.remove(PLAIN.mountpoint)
    assert stand_ins.told() == [[str(written) if word == "FILE" else word for word in words] for words in told]


@pytest.mark.parametrize(("kind", "fails"), [("systemd", "enable"), ("task scheduler", "/Create")])
def test_a_scheduler_that_refuses_leaves_nothing(kind: str, fails: str, tmp_path: Path, stand_ins: StandIns) -> None:
    stand_ins.fail(fails)
    scheduler = SCHEDULERS[kind](tmp_path / "own")
    with pytest.raises(MountError, match="does not work"):
        scheduler.add(PLAIN)
    assert files(tmp_path) == []


@pytest.mark.parametrize(("kind", "fails"), [("systemd", "enable"), ("task scheduler", "/Create")])
def test_one_that_refuses_another_entry_leaves_the_former(
    kind: str, fails: str, tmp_path: Path, stand_ins: StandIns
) -> None:
    scheduler = SCHEDULERS[kind](tmp_path / "own")
    scheduler.add(PLAIN)
    stand_ins.fail(fails)
    with pytest.raises(MountError, match="does not work"):
        scheduler.add(Entry("s3://another", PLAIN.mountpoint, ()))
    assert scheduler.entries() == [PLAIN]
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("kind", ["systemd", "task scheduler"])
def test_a_system_without_the_scheduler(kind: str, tmp_path: Path, stand_ins: StandIns) -> None:
    for name in ("systemctl", "schtasks"):
        (stand_ins.folder / name).unlink()
    with pytest.raises(MountError, match="is missing: it starts mounts at logon"):
        SCHEDULERS[kind](tmp_path / "own").add(PLAIN)
    assert files(tmp_path) == []


def test_a_task_that_somebody_deleted_can_be_removed(tmp_path: Path, stand_ins: StandIns) -> None:
    scheduler = TaskScheduler(tmp_path / "own")
    scheduler.add(PLAIN)
    stand_ins.fail("/Delete")
    with pytest.raises(MountError, match="does not work"):
        scheduler.remove(PLAIN.mountpoint)
    assert scheduler.entries() == [PLAIN]
    stand_ins.fail("/TN")
    assert scheduler.remove(PLAIN.mountpoint)
    assert scheduler.entries() == []


@pytest.mark.parametrize("kind", ["launchd", "task scheduler"])
def test_what_a_file_of_text_cannot_hold_is_refused(kind: str, tmp_path: Path, stand_ins: StandIns) -> None:
    scheduler = SCHEDULERS[kind](tmp_path / "own")
    with pytest.raises(MountError, match="cannot be written down"):
        scheduler.add(Entry("s3://b/\x01", "/mnt", ()))
    assert files(tmp_path) == []


def test_names() -> None:
    """Of letters and digits, one for each mount point, and no longer than a file's name may be."""
    places = ["/mnt/a b", "/mnt/a-b", "S:\\", "T:\\", "/", "/" + "x" * 4000, "/\udcff", "\\\\s3mount\\x"]
    names = [name_of(place) for place in places]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"s3mount-[A-Za-z0-9-]{1,60}", name), name
    assert name_of("/mnt/backup") == "s3mount-mnt-backup-1c75b784"


# -- systemd --


def unquoted(line: str) -> list[str]:
    """systemd.syntax(7), QUOTING, and the specifiers and variables of systemd.service(5), for words in quotes."""
    words: list[str] = []
    for quoted in re.findall(r'"((?:[^"\\]|\\.)*)"', line):
        data = re.sub(
            rb'\\x([0-9a-f]{2})|\\(["\\])|%%|\$\$',
            lambda m: bytes([int(m[1], 16)]) if m[1] else m[2] or m[0][:1],
            quoted.encode(),
        )
        words.append(os.fsdecode(data))
    return words


def lines_of(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=True, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_word_reaches_the_program_as_it_is(text: str) -> None:
    quoted = word(text)
    assert quoted.isascii()
    assert quoted.isprintable()
    assert unquoted(quoted) == [text]


@pytest.mark.parametrize("entry", [PLAIN, ODD, Entry("s3://b/\n[Install]\nx=", "/mnt/\udcff", ())])
def test_a_unit_holds_the_command_and_nothing_more(entry: Entry) -> None:
    parsed = lines_of(unit(entry))
    assert parsed.sections() == ["Unit", "Service", "Install", "X-S3mount"]
    service = parsed["Service"]
    assert unquoted(service["ExecStart"]) == [
        sys.executable, "-P", "-m", "s3mount", "mount", *entry.arguments, "--foreground", "--", entry.source,
        entry.mountpoint,
    ]  # fmt: skip
    assert (service["KillMode"], service["TimeoutStopSec"]) == ("mixed", "infinity")
    assert parsed["Install"]["WantedBy"] == "default.target"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
@pytest.mark.parametrize("entry", [PLAIN, ODD])
def test_systemd_takes_the_unit(entry: Entry, tmp_path: Path) -> None:
    path = tmp_path / f"{entry.name}.service"

    def verify(text: str) -> subprocess.CompletedProcess[str]:
        path.write_text(text)
        command = ["systemd-analyze", "verify", "--user", str(path)]
        with tempfile.TemporaryDirectory(dir="/tmp") as short:  # the sockets of other units are to be in there
            environment = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": short, "PATH": os.environ["PATH"]}
            return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    done = verify(unit(entry))
    assert (done.returncode, done.stderr) == (0, "")
    assert verify(unit(entry).replace('"-P"', '"-P')).stderr != ""
    assert verify(unit(entry).replace("infinity", "never")).stderr != ""


@pytest.mark.parametrize(("how", "is_cleared"), [("exited", False), ("killed", True), ("dumped", True)])
def test_a_dead_mount_is_cleared_after_a_crash_only(how: str, is_cleared: bool, tmp_path: Path) -> None:
    """ExecStopPost, as systemd would run it, with a program in place of Python that notes its words."""
    log = tmp_path / "log"
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {log}\n')
    program.chmod(0o755)
    line = lines_of(unit(ODD))["Service"]["ExecStopPost"]
    assert line.startswith("-/bin/sh -c ")
    script, python, *arguments = unquoted(line)
    assert python == sys.executable
    command = ["/bin/sh", "-c", script, str(program), *arguments]
    done = subprocess.run(command, env={"EXIT_CODE": how}, check=False, timeout=60)
    assert done.returncode == 0
    assert log.exists() == is_cleared
    if is_cleared:
        wanted = ["-P", "-m", "s3mount", "unmount", "--no-drain", "--", ODD.mountpoint]
        assert log.read_text().splitlines() == wanted


# -- launchd --


def test_an_agent_of_launchd(tmp_path: Path) -> None:
    found = plistlib.loads(agent(ODD, tmp_path))
    assert found["ProgramArguments"] == ODD.command(foreground=True)
    assert (found["RunAtLoad"], found["KeepAlive"], found["ExitTimeOut"]) == (True, {"SuccessfulExit": False}, 0)
    assert re.fullmatch(r"org\.s3mount\.s3mount-[A-Za-z0-9-]+", found["Label"])
    assert found["StandardErrorPath"] == str(tmp_path / f"{ODD.name}.log")


# -- Task Scheduler --


def windows_words(line: str) -> list[str]:
    """As the C runtime splits a command line (learn.microsoft.com/cpp/c-language/parsing-c-command-line-arguments)."""
    words, current, is_quoted, has_word = [], "", False, False
    place = 0
    while place < len(line):
        slashes = len(line[place:]) - len(line[place:].lstrip("\\"))
        if slashes:
            place += slashes
            is_before_quote = line[place : place + 1] == '"'
            current += "\\" * (slashes // 2 if is_before_quote else slashes)
            has_word = True
            if is_before_quote and slashes % 2:
                current += '"'
                place += 1
            continue
        char = line[place]
        place += 1
        if char == '"':
            is_quoted, has_word = not is_quoted, True
        elif char in " \t" and not is_quoted:
            words += [current] if has_word else []
            current, has_word = "", False
        else:
            current, has_word = current + char, True
    return words + ([current] if has_word else [])


@pytest.mark.parametrize("mountpoint", ["S:\\", "C:\\my drives\\bucket", "\\\\s3mount\\bucket\\"])
def test_a_task(mountpoint: str) -> None:
    entry = Entry(ODD.source, mountpoint, ODD.arguments)
    data = task(entry, user="HERE\\me", python="C:\\Program Files\\Python\\pythonw.exe")
    assert data.startswith(b"\xff\xfe<\0?\0")
    found = ET.fromstring(data.decode("utf-16"))

    def text(path: str) -> str | None:
        return found.findtext("/".join(f"{NAMESPACE}{name}" for name in path.split("/")))

    assert text("Actions/Exec/Command") == "C:\\Program Files\\Python\\pythonw.exe"
    words = windows_words(text("Actions/Exec/Arguments") or "")
    assert words == ["-P", "-m", "s3mount", "mount", *entry.arguments, "--", entry.source, mountpoint]
    assert text("Triggers/LogonTrigger/UserId") == text("Principals/Principal/UserId") == "HERE\\me"
    assert text("Principals/Principal/LogonType") == "InteractiveToken"
    assert text("Principals/Principal/RunLevel") == "LeastPrivilege"
    assert text("Settings/ExecutionTimeLimit") == "PT0S"
    assert [child.tag.removeprefix(NAMESPACE) for child in found] == [
        "RegistrationInfo", "Triggers", "Principals", "Settings", "Actions",
    ]  # fmt: skip


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stand_ins: StandIns) -> None:
    monkeypatch.delenv("USERNAME")
    with pytest.raises(MountError, match="whose logon it is"):
        TaskScheduler(tmp_path / "own").add(PLAIN)
    monkeypatch.setenv("USERNAME", "me")
    monkeypatch.delenv("USERDOMAIN")
    assert task_scheduler.current_user(os.environ) == "me"


def test_no_console_window_where_python_has_a_way_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python.exe"))
    assert task_scheduler._windowless_python() == str(tmp_path / "python.exe")
    (tmp_path / "pythonw.exe").touch()
    assert task_scheduler._windowless_python() == str(tmp_path / "pythonw.exe")


def test_an_entry_is_one_line_of_ascii() -> None:
    assert ODD.to_json().isascii()
    assert "\n" not in Entry("s3://b/\n", "/", ()).to_json()
    assert json.loads(ODD.to_json())["mountpoint"] == ODD.mountpoint
