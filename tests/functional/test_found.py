"""What the differential machine found, in its shortest form."""

import os
from pathlib import Path

import pytest

from tests.support.os_like import OsLike, put


def test_an_access_list_that_is_not_there_can_be_removed(fs: OsLike, mounted: Path, driver: str) -> None:
    """It is a wish for mode bits alone; setfacl -b asks so."""
    if driver == "fuse-reference":
        pytest.skip("the reference tree keeps no attributes")
    put(fs, "f")
    for kind in ("access", "default"):
        os.removexattr(mounted / "f", f"system.posix_acl_{kind}")
    assert os.listxattr(mounted / "f") == []
