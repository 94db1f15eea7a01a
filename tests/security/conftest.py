"""What the security tests share: they need FUSE, and root, who alone can be two users. Without, they are loudly
skipped."""

import os
import sys

import pytest

MISSING = [
    *([] if sys.platform == "linux" and os.geteuid() == 0 else ["root on Linux, to be another user"]),
    *([] if os.access("/dev/fuse", os.R_OK | os.W_OK) else ["/dev/fuse"]),
]


@pytest.fixture(autouse=True)
def _needs_root_and_fuse() -> None:
    if MISSING:
        pytest.skip(f"needs {' and '.join(MISSING)}: NOT TESTED: security")
