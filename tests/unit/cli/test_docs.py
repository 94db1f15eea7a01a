"""The documents say what the commands take: no example that does not parse, no option or exit code left out."""

import re
import shlex
from pathlib import Path

import click
import pytest

from s3mount.cli.group import EXIT_CODES, s3mount
from s3mount.cli.mount import make_request

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")

# Lines of code blocks, and inline code: `s3mount status`.
EXAMPLES = sorted(
    {
        line.strip()
        for text in (README, COMMANDS)
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("s3mount ")
    }
    | {inline for text in (README, COMMANDS) for inline in re.findall(r"`(s3mount [^`]+/[^`]+)`", text)}
)


def command_named(name: str) -> click.Command:
    command = s3mount.get_command(click.Context(s3mount), name)
    assert command is not None, name
    return command


def section(name: str) -> str:
    """The part of docs/commands.md about one command."""
    match = re.search(rf"^## s3mount {name}\n(.*?)(?=^## |\Z)", COMMANDS, re.MULTILINE | re.DOTALL)
    assert match is not None, f"docs/commands.md has no section for {name}"
    return match[1]


def test_there_are_examples_of_every_command() -> None:
    named = {shlex.split(example)[1] for example in EXAMPLES}
    assert named >= set(s3mount.list_commands(click.Context(s3mount)))


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_parses(example: str) -> None:
    _, name, *arguments = shlex.split(example)
    command = command_named(name)
    if isinstance(command, click.Group):
        name, *arguments = arguments
        inner = command.get_command(click.Context(command), name)
        assert inner is not None, name
        command = inner
    context = command.make_context(name, arguments)
    if command.name == "add":
        (words,) = context.params.values()
        command_named("mount").make_context("mount", list(words))
    if name == "mount":
        parameters = {key.replace("_", "-"): value for key, value in context.params.items() if isinstance(value, str)}
        source, mountpoint = parameters.pop("source"), parameters.pop("mountpoint")
        make_request(source, Path(mountpoint), parameters, (), (), {}).config()


def test_the_line_of_fstab_is_understood(tmp_path: Path) -> None:
    (line,) = [line for line in COMMANDS.splitlines() if " fuse.s3mount " in line]
    source, _mountpoint, _fstype, options, _dump, _pass = line.split()
    request = make_request(source, tmp_path, {}, (), (options,), {})
    assert request.fuse_options == ()
    assert request.config().profile == "backup"


@pytest.mark.parametrize("name", s3mount.list_commands(click.Context(s3mount)))
def test_every_option_is_documented_and_none_that_is_not_there(name: str) -> None:
    options = {
        option
        for parameter in command_named(name).params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for option in parameter.opts
    }
    text = section(name)
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+|-o(?= OPT))", text))
    assert options <= named
    known = {
        option for other in s3mount.list_commands(click.Context(s3mount)) for option in command_named(other).params
    }
    assert named <= {word for option in known for word in option.opts} | {"--help", "--version"}


@pytest.mark.parametrize("text", [README, COMMANDS], ids=["README.md", "commands.md"])
def test_exit_codes_are_documented(text: str) -> None:
    for code, meaning in EXIT_CODES.items():
        assert f"| {code} | {meaning} |" in text


def test_the_readme_opens_with_the_two_commands() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert blocks[:3] == ["scripts/demo\n", "scripts/test\n", "s3mount mount s3://my-bucket /mnt/backup\n"]
    for script in ("demo", "test", "install"):
        assert (ROOT / "scripts" / script).stat().st_mode & 0o111


def test_the_status_fields_that_scripts_rely_on_are_documented() -> None:
    wanted = (
        "mountpoint bucket prefix pid state dirty_files dirty_bytes uploading oldest_dirty_age_s uploaded_files_total "
        "uploaded_bytes_total requests cache_bytes cache_limit_bytes conflicts errors"
    )
    fields = set(re.findall(r"`([a-z_]+)`", "\n".join(re.findall(r"^\| (`.*?) \|", section("status"), re.MULTILINE))))
    assert fields >= set(wanted.split())
