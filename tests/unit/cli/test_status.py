"""What status shows for a person and as JSON, also of mounts that cannot answer."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from s3mount.cli.group import s3mount
from s3mount.cli.progress import size_text
from s3mount.control import registry as registry_module
from s3mount.control.mount_table import MountedFilesystem
from s3mount.control.protocol import OwedFile
from s3mount.control.registry import Registry
from tests.unit.control.fake_mount import FAR_PID, FakeHandlers, announce, fake_entry


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(s3mount, ["status", *map(str, arguments)])
    assert result.exit_code == 0, result.stderr
    return result


def test_nothing_mounted() -> None:
    assert run().stdout == "nothing is mounted\n"
    assert json.loads(run("--json").stdout) == []


def test_json_is_an_object_for_one_mount_and_a_list_for_all(tmp_path: Path, drive: Path) -> None:
    handlers = FakeHandlers()
    with announce(tmp_path.resolve(), handlers):
        assert json.loads(run(drive, "--json").stdout) == handlers.status()
        assert json.loads(run("--json").stdout) == [handlers.status()]


def test_the_table_shows_numbers_and_names_problems(tmp_path: Path, drive: Path) -> None:
    handlers = FakeHandlers()
    handlers.owed = [OwedFile("a", "x"), OwedFile("b", "x")]
    handlers.extra = {
        "errors": [
            {"path": f"file-{number}", "cause": "403 [denied]", "since": 1_800_000_000.5} for number in range(25)
        ],
        "conflicts": 2,
    }
    with announce(tmp_path.resolve(), handlers):
        text = run(drive).stdout
    for words in ("s3://fake/", "mounted", "2 (2.0 KiB)", "7 s", "1.0 MiB of 10.0 GiB", " 27"):
        assert words in text
    assert "error: file-0: 403 [denied] (since 2027-01-1" in text
    assert "and 6 more" in text


def test_a_mount_that_refuses_and_a_dead_one_are_listed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "find_mount", lambda path: MountedFilesystem(path, "fuse.s3mount"))
    handlers = FakeHandlers()
    handlers.status_error = RuntimeError("broken")
    with announce(tmp_path.resolve(), handlers):
        Registry().add(fake_entry("/mnt/dead", pid=FAR_PID, started="1"))
        states = {status["mountpoint"]: status["state"] for status in json.loads(run("--json").stdout)}
        assert states == {str(tmp_path.resolve() / "drive"): "not answering", "/mnt/dead": "dead"}
        assert "run s3mount unmount /mnt/dead" in run().stdout


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 << 30, "5.0 GiB"),
        (1 << 40, "1.0 TiB"),
        (1 << 52, "4096.0 TiB"),
    ],
)
def test_sizes_for_a_person(count: int, text: str) -> None:
    assert size_text(count) == text


def test_conflicts_are_told(tmp_path: Path, drive: Path) -> None:
    handlers = FakeHandlers()
    handlers.extra = {"conflicts": 1}
    with announce(tmp_path.resolve(), handlers):
        assert "1 file changed in the bucket as well" in run(drive).stdout
