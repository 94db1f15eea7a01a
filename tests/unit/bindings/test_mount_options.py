"""How a mount is asked for: options of each library, and of libfuse's loop."""

import pytest

from s3mount.bindings.mount_options import THREADS_MAX, Library, MountOptions, library_of, mount_options
from s3mount.errors import MountPointUnusable


def options(library: Library, *extra: str, source_name: str = "s3mount#b/p,q/", **flags: bool) -> MountOptions:
    flags = {"read_only": False, "allow_other": False} | flags
    return mount_options(library, source_name=source_name, extra_options=extra, **flags)


def test_linux() -> None:
    text = options(Library.LINUX, "noatime", "x=a,b", read_only=True).text
    assert text.startswith(r"fsname=s3mount#b/p\,q/,subtype=s3mount,default_permissions,ro,")
    assert text.endswith(r",noatime,x=a\,b")
    assert "allow_other" not in text
    assert ",allow_other," in options(Library.LINUX, allow_other=True).text


def test_macfuse() -> None:
    text = options(Library.MACFUSE, "volicon=x", allow_other=True).text
    assert text == (
        r"volname=b p\,q,fsname=s3mount#b/p\,q/,default_permissions,auto_cache,daemon_timeout=600,iosize=1048576,"
        "allow_other,max_read=1048576,volicon=x"
    )


def test_fuse_t_knows_the_name_of_the_volume_and_nothing_else() -> None:
    assert options(Library.FUSE_T).text == r"volname=b p\,q"
    assert options(Library.FUSE_T, source_name="odd").text == "volname=odd"
    assert options(Library.FUSE_T, "x", read_only=True).text == r"volname=b p\,q,ro,x"


def test_whose_library_it_is() -> None:
    assert library_of("linux", is_macfuse=False) is Library.LINUX
    assert library_of("darwin", is_macfuse=True) is Library.MACFUSE
    assert library_of("darwin", is_macfuse=False) is Library.FUSE_T


def test_options_of_the_loop_are_not_the_mount_s() -> None:
    assert options(Library.LINUX)[1:] == (THREADS_MAX, THREADS_MAX, False)
    found = options(Library.LINUX, "max_threads=4", "max_idle_threads=3", "clone_fd")
    assert found[1:] == (4, 3, True)
    assert "threads" not in found.text
    assert "clone_fd" not in found.text
    with pytest.raises(MountPointUnusable, match="max_threads"):
        options(Library.LINUX, "max_threads=many")
