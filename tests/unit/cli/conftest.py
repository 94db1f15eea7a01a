"""Every test here has a state directory of its own, so that no mount of the person is seen or touched."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    state = tmp_path / "own-state"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own-data"))
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        monkeypatch.delenv(name, raising=False)
    return state


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """An empty folder to mount on."""
    folder = tmp_path / "drive"
    folder.mkdir()
    return folder.resolve()
