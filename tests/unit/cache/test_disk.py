"""The folders of block files: made when first needed, their names safe against power loss as the files' are (P2)."""

from pathlib import Path

import pytest

from s3mount import host
from s3mount.cache.disk import FOLDERS, LocalDisk
from s3mount.model import Ino

INO = Ino(7)


@pytest.mark.parametrize("is_overtaken", [False, True])
def test_a_new_folder_is_synced_with_the_first_file_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_overtaken: bool
) -> None:
    """Also when another file of that folder, removed or never made, is synced a moment before the folder is there."""
    disk = LocalDisk(tmp_path / "cache")
    make = Path.mkdir

    def mkdir(folder: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if is_overtaken:
            disk.fsync_directory(Ino(INO + FOLDERS))
        make(folder, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    disk.open(INO, create=True).close()
    synced: list[Path] = []
    monkeypatch.setattr(host, "sync_folder", synced.append)
    disk.fsync_directory(INO)
    assert synced == [tmp_path / "cache" / "07", tmp_path / "cache"]
    disk.fsync_directory(INO)
    assert len(synced) == 3, "the folder's own name was synced before"
