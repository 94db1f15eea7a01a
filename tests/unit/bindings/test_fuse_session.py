"""What the kernel is asked for, and what it is to leave alone."""

import pytest

from s3mount.bindings import load_binding
from s3mount.errors import MountPointUnusable

try:
    load_binding()
except MountPointUnusable as missing:
    pytest.skip(str(missing), allow_module_level=True)

import mfusepy

from s3mount.bindings.fuse_session import _set_up


def test_what_the_kernel_is_told() -> None:
    connection = mfusepy.fuse_conn_info()
    connection.want = 0xFFFFFFFF
    _set_up(connection)
    assert connection.max_read == connection.max_write == 1 << 20
    # fuse_common.h: FUSE_CAP_AUTO_INVAL_DATA is bit 12, FUSE_CAP_HANDLE_KILLPRIV bit 20
    assert connection.want == 0xFFFFFFFF & ~(1 << 12 | 1 << 20)
