"""Which names are a desktop system's, and which are not though they look like it."""

import pytest

from s3mount.junk import is_junk


@pytest.mark.parametrize(
    "name",
    [".DS_Store", "._photo.jpg", "._.DS_Store", ".localized", ".metadata_never_index", "desktop.ini", "Desktop.ini",
     "Thumbs.db", "THUMBS.DB", "ehthumbs.db"],
)  # fmt: skip
def test_junk(name: str) -> None:
    assert is_junk(name, is_dir=False)
    assert not is_junk(name, is_dir=True)


@pytest.mark.parametrize("name", [".Spotlight-V100", ".fseventsd", "System Volume Information"])
def test_junk_directories(name: str) -> None:
    assert is_junk(name, is_dir=True)
    assert not is_junk(name, is_dir=False)


@pytest.mark.parametrize(
    "name",
    [".ds_store", ".DS_Store2", "x.DS_Store", "._", "_.x", "my desktop.ini", "desktop.ini.bak", "Thumbs.db:x",
     "folder.jpg", "AlbumArtSmall.jpg", "autorun.inf", ".hidden", "Icon\r", ".Trashes", "$RECYCLE.BIN", ".fseventsd2",
     "report.doc", ""],
)  # fmt: skip
def test_a_users_own(name: str) -> None:
    assert not is_junk(name, is_dir=False)
    assert not is_junk(name, is_dir=True)
