"""Structures of macFUSE's libfuse 3 and of macOS: sizes and places, as their headers give them to a C compiler there.

Reckoned from include/fuse_common.h and fuse_lowlevel.h of macfuse/library (3.18) and sys/mount.h of xnu; those of
fuse_darwin_attr, statfs and fuse_file_info are also what jextract wrote down on a Mac (cryptomator/jfuse, jfuse-mac).
All fields have widths that arm64 and x86-64 share, so there is one table.
"""

import ctypes
from pathlib import Path

import pytest

from s3mount.bindings import darwin_abi
from s3mount.model import VolumeInfo

ATTR = {
    "st_ino": 0, "st_mode": 8, "st_nlink": 10, "st_uid": 12, "st_gid": 16, "st_rdev": 20, "st_atimespec": 24,
    "st_mtimespec": 40, "st_ctimespec": 56, "st_birthtimespec": 72, "st_bkuptimespec": 88, "st_size": 104,
    "st_blocks": 112, "st_blksize": 120, "st_flags": 124, "reserved": 128,
}  # fmt: skip
STATFS = {
    "f_bsize": 0, "f_iosize": 4, "f_blocks": 8, "f_bfree": 16, "f_bavail": 24, "f_files": 32, "f_ffree": 40,
    "f_fsid": 48, "f_owner": 56, "f_type": 60, "f_flags": 64, "f_fssubtype": 68, "f_fstypename": 72,
    "f_mntonname": 88, "f_mntfromname": 1112, "f_flags_ext": 2136, "f_reserved": 2140,
}  # fmt: skip
FILE_INFO = {
    "flags": 0, "writepage": 4, "padding2": 8, "padding3": 12, "fh": 16, "lock_owner": 24, "poll_events": 32,
    "backing_id": 36, "compat_flags": 40, "reserved": 48,
}  # fmt: skip
CONNECTION = {
    "proto_major": 0, "max_write": 8, "max_read": 12, "max_readahead": 16, "capable": 20, "want": 24,
    "max_background": 28, "congestion_threshold": 32, "time_gran": 36, "max_backing_stack_depth": 40,
    "no_interrupt": 44, "capable_ext": 48, "want_ext": 56, "capable_darwin": 64, "want_darwin": 72, "reserved": 80,
}  # fmt: skip


@pytest.mark.parametrize(
    ("structure", "size", "places"),
    [
        (darwin_abi.timespec, 16, {"tv_sec": 0, "tv_nsec": 8}),
        (darwin_abi.c_stat, 192, ATTR),
        (darwin_abi.c_statvfs, 2168, STATFS),
        (darwin_abi.file_info, 64, FILE_INFO),
        (darwin_abi.conn_info, 144, CONNECTION),
        (darwin_abi.libfuse_version, 16, {"hotfix": 8, "darwin_extensions_enabled": 12}),
    ],
)
def test_sizes_and_offsets(structure: type[ctypes.Structure], size: int, places: dict[str, int]) -> None:
    assert ctypes.sizeof(structure) == size
    assert {name: getattr(structure, name).offset for name in places} == places


def test_widths_that_are_not_linux_s() -> None:
    assert (ctypes.sizeof(darwin_abi.mode_t), ctypes.sizeof(darwin_abi.dev_t)) == (2, 4)
    assert (darwin_abi.c_stat.st_mode.size, darwin_abi.c_stat.st_nlink.size, darwin_abi.c_stat.st_ino.size) == (2, 2, 8)


def test_bits_of_an_open_file() -> None:
    """As `open` sets them and `write` reads them; the C compilers of both begin with the lowest bit."""
    info = darwin_abi.file_info()
    word = darwin_abi.file_info.writepage.offset
    for bit, name in enumerate(("writepage", "direct_io", "keep_cache", "flush", "nonseekable", "flock_release")):
        ctypes.memset(ctypes.addressof(info), 0, ctypes.sizeof(info))
        setattr(info, name, 1)
        assert bytes(info)[word : word + 4] == (1 << bit).to_bytes(4, "little"), name


def test_a_volume_of_a_pebibyte_keeps_its_size() -> None:
    """In the other form of the library it would not: its numbers of blocks have 32 bits."""
    filled = darwin_abi.volume_of(VolumeInfo(4096, 1 << 38, (1 << 38) - 1, 1 << 40, (1 << 40) - 2, 255))
    assert (filled.f_bsize, filled.f_iosize, filled.f_blocks) == (4096, 4096, 1 << 38)
    assert (filled.f_bfree, filled.f_bavail) == ((1 << 38) - 1, (1 << 38) - 1)
    assert (filled.f_files, filled.f_ffree) == (1 << 40, (1 << 40) - 2)


def test_which_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(darwin_abi.libraries(tmp_path)) == []
    for name in ("opt/homebrew/lib/libfuse3.dylib", "usr/local/lib/libfuse3.4.dylib", "usr/local/lib/libfuse3.dylib"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "usr/local/lib/libfuse-t.dylib").touch()
    found = [str(path.relative_to(tmp_path)) for path in darwin_abi.libraries(tmp_path)]
    assert found == [
        "usr/local/lib/libfuse3.dylib",
        "usr/local/lib/libfuse3.4.dylib",
        "opt/homebrew/lib/libfuse3.dylib",
    ]
    monkeypatch.setenv("FUSE_LIBRARY_PATH", "/mine.dylib")
    assert darwin_abi.library_path() == "/mine.dylib"
    monkeypatch.delenv("FUSE_LIBRARY_PATH")
    with pytest.raises(OSError, match=r"no libfuse3\*\.dylib in /usr/local/lib or /opt/homebrew/lib"):
        darwin_abi.library_path()
