"""Processes of Windows under Wine, driven from Linux. scripts/test-windows runs these: they need what it installs."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.support.wine_process import PYTHONS, WineProcess

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
