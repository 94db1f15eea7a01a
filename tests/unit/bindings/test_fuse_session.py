"""How a mount is asked for: options of libfuse, of its loop, and what the kernel is to leave alone."""

import pytest

from s3mount.bindings import load_binding
from s3mount.errors import MountPointUnusable

try:
    load_binding()
except MountPointUnusable as missing:
    pytest.skip(str(missing), allow_module_level=True)

import mfusepy

from s3mount.bindings.fuse_session import THREADS_MAX, _set_up, _settings


def test_mount_options() -> None:
    settings = _settings("s3mount#b/p,q", True, False, ("noatime", "x=a,b"))
    assert settings.mount_options.startswith(r"fsname=s3mount#b/p\,q,subtype=s3mount,default_permissions,ro,")
    assert settings.mount_options.endswith(r",noatime,x=a\,b")
    assert "allow_other" not in settings.mount_options
    assert ",allow_other," in _settings("s", False, True, ()).mount_options


def test_options_of_the_loop_are_not_the_mount_s() -> None:
    assert _settings("s", False, False, ())[1:] == (THREADS_MAX, THREADS_MAX, False)
    settings = _settings("s", False, False, ("max_threads=4", "max_idle_threads=3", "clone_fd"))
    assert settings[1:] == (4, 3, True)
    assert "threads" not in settings.mount_options
    assert "clone_fd" not in settings.mount_options
    with pytest.raises(MountPointUnusable, match="max_threads"):
        _settings("s", False, False, ("max_threads=many",))


def test_what_the_kernel_is_told() -> None:
    connection = mfusepy.fuse_conn_info()
    connection.want = 0xFFFFFFFF
    _set_up(connection)
    assert connection.max_read == connection.max_write == 1 << 20
    # fuse_common.h: FUSE_CAP_AUTO_INVAL_DATA is bit 12, FUSE_CAP_HANDLE_KILLPRIV bit 20
    assert connection.want == 0xFFFFFFFF & ~(1 << 12 | 1 << 20)
