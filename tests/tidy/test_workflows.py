"""The workflows parse, and every command in them is there and takes the words that it is given."""

import ast
import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from s3mount.cli.group import s3mount

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# PowerShell's own, and Windows'.
SHELL = re.compile(r"\$|Invoke-WebRequest |if \(")


def steps_of(path: Path) -> list[dict[str, Any]]:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    # YAML reads `on` as true.
    assert set(workflow) == {"name", True, "permissions", "jobs"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert all(set(step) <= {"name", "uses", "with", "run", "if"} for step in steps)
    return steps


COMMANDS = [
    (path.name, line)
    for path in WORKFLOWS
    for step in steps_of(path)
    for line in step.get("run", "").splitlines()
    if not SHELL.match(line)
]


def test_there_are_some() -> None:
    assert [path.name for path in WORKFLOWS] == ["windows.yml", "wine.yml"]
    assert {line.split()[1] for _, line in COMMANDS if line.startswith("s3mount")} >= {
        "mount", "unmount", "selftest", "status",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "line"), COMMANDS)
def test_a_command_is_there_and_takes_its_words(name: str, line: str) -> None:
    program, *words = shlex.split(line)
    match [program, *words]:
        case ["s3mount", command, *arguments]:
            found = s3mount.get_command(click.Context(s3mount), command)
            assert found is not None, command
            found.make_context(command, arguments)
        case ["python", "-m", "pip", "install", what]:
            extra = re.fullmatch(r"\.\[(\w+)\]", what)
            assert extra is not None
            project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            assert extra[1] in project["optional-dependencies"]
        case [script] if script.startswith("scripts/"):
            assert os.access(ROOT / script, os.X_OK)
        case ["python", script, *_]:
            ast.parse((ROOT / script).read_text(encoding="utf-8"))
        case _:
            pytest.fail(f"nobody has looked whether {program} is there")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_and_downloads_are_pinned(path: Path) -> None:
    for step in steps_of(path):
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1"))
    text = path.read_text(encoding="utf-8")
    downloads = len(re.findall("Invoke-WebRequest|curl|wget", text))
    pinned = re.findall(r"_URL: \S+-\d+\.\d+\.\d+\.msi\n\s+WINFSP_SHA256: [0-9a-f]{64}\n", text)
    assert len(pinned) == downloads


def test_the_runner_tries_both_ways_to_winfsp() -> None:
    """The last Python that has a wheel of winfspy, and one that has none."""
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "windows.yml").read_text(encoding="utf-8"))["jobs"]["drive"]
    (setup,) = [step for step in job["steps"] if step.get("uses", "").startswith("actions/setup-python@")]
    assert setup["with"]["python-version"] == "${{ matrix.python }}"
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    (winfspy,) = [line for line in dependencies if line.startswith("winfspy")]
    limit = re.search(r"python_version < '3\.(\d+)'", winfspy)
    assert limit is not None
    with_wheel, without = (int(python.removeprefix("3.")) for python in job["strategy"]["matrix"]["python"])
    assert with_wheel + 1 == int(limit[1]) <= without
