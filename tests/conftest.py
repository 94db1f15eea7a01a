"""Servers that all tests share: started at first use, stopped at the end of the run."""

import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.s3_server import S3Server, bucket_count, drop_buckets, run_ministack, run_seaweed

# Hundreds of s3mount processes are started. Where Python is told to keep no bytecode, each of them would compile the
# package again: a third of a mount's CPU time until it answers. And pytest would rewrite the assertions of 200 modules
# anew in each of its processes, which is most of what it does before the first test.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Under nohup(1) it is ignored, by every process started from here too; some tests send it to a mount. The tests that
# scripts/test-windows runs load this too, where there is none.
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long an example takes says more of the machine's other work than of ours; pytest-timeout catches what hangs.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


# What mostly waits (for a silent network, for the pause before another try) runs beside what mostly works: each of
# these files comes before a folder, where the processes that share the files would otherwise come to all at once.
WAITS_BEFORE = {
    "network/test_faults.py": "acceptance",
    "network/test_stopping.py": "contract",
    "network/test_offline.py": "faults",
    "network/test_workloads.py": "functional",
    "faults/test_odd_keys.py": "mount",
    "faults/test_nth_call.py": "programs",
    "faults/test_random_junk.py": "security",
    "faults/test_streaming.py": "unit",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> tuple[str, bool]:
        path = item.path.relative_to(Path(__file__).parent)
        folder = WAITS_BEFORE.get(path.as_posix())
        return folder or path.parts[0], folder is None

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Thousands of tests are 200 000 objects that stay: garbage collection need not look at them, then or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with run_seaweed(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(autouse=True)
def _buckets_end_with_their_test() -> Iterator[None]:
    kept = bucket_count()
    yield
    drop_buckets(kept)


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with run_ministack(Path(tmp_path_factory.mktemp("ministack"))) as server:
        yield server
