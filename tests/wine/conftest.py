"""Processes of Windows under Wine, driven from Linux. scripts/test-windows runs these: they need what it installs."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.s3_server import S3Server
from tests.support.wine_process import CHECKOUT, PYTHONS, WineProcess, python_command, windows_path

COMMAND_DEADLINE_S = 120.0

S3mount = Callable[..., "subprocess.CompletedProcess[str]"]

collect_ignore_glob = [] if "WINFSP_LIBRARY_PATH" in os.environ else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A process takes seconds to start under Wine, and some tests start five."""
    for item in items:
        if "tests/wine" in item.nodeid:
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(params=PYTHONS)
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(python: str) -> Iterator[Callable[..., WineProcess]]:
    """Start a module under Wine and wait until it is ready; none outlives its test."""
    started: list[WineProcess] = []

    def begin(module: str, *arguments: str, environment: dict[str, str]) -> WineProcess:
        started.append(WineProcess(python, module, *arguments, environment=environment))
        assert started[-1].receive() == "ready"
        return started[-1]

    yield begin
    for process in started:
        process.kill()


@pytest.fixture
def s3mount(python: str, seaweed: S3Server) -> S3mount:
    """A command, to its end."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            python_command(python, "-m", "s3mount", *arguments), cwd=CHECKOUT,
            env={**os.environ, **seaweed.environment()}, capture_output=True, text=True, timeout=COMMAND_DEADLINE_S,
            check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def mount(start: Callable[..., WineProcess], seaweed: S3Server, tmp_path: Path) -> Callable[..., WineProcess]:
    """By default nothing goes up by itself within an hour, which an option of the test's may change."""

    def begin(bucket: str, place: str = "S:", *options: str, endpoint_url: str = seaweed.endpoint_url) -> WineProcess:
        return start(
            "tests.wine.command", "mount", "--foreground", f"--endpoint-url={endpoint_url}",
            f"--cache-dir={windows_path(tmp_path / 'cache')}", "--write-back-delay=1h", *options,
            f"s3://{bucket}", place, environment=seaweed.environment(),
        )  # fmt: skip

    return begin


def keys(server: S3Server, bucket: str) -> list[str]:
    return [entry["Key"] for entry in server.client.list_objects_v2(Bucket=bucket).get("Contents", ())]
