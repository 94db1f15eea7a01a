"""What macOS is shown of a drive: forms of names, attributes without a namespace, and what keeps Spotlight out. Over
the real drive, without a kernel."""

import errno
import os
import stat
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3mount.bindings.darwin_view import NEVER_INDEX, NEVER_INDEX_INO, DarwinView, fitting, forms_of
from s3mount.bindings.error_codes import errno_of
from s3mount.errors import (
    Exists,
    FsError,
    InvalidArgument,
    NameTooLong,
    NoAttribute,
    NotFound,
    NotPermitted,
    NotSupported,
)
from s3mount.model import ROOT_INO, AttrChange, Caller, Ino
from tests.support.fs_factory import MEMORY, open_drive

NFC, NFD = "caf\u00e9", "cafe\u0301"
# Neither: one letter composed, one not.
MIXED = "\u00e9e\u0301"
ROOT = Caller(0, 0)
RENAME_SWAP, RENAME_EXCL = 2, 4
XATTR_CREATE, XATTR_REPLACE = 2, 4


@pytest.fixture
def view(tmp_path: Path) -> Iterator[DarwinView]:
    drive = open_drive(MEMORY, tmp_path)
    yield DarwinView(drive.filesystem, keeps_spotlight_out=True)
    drive.close()


def make(view: DarwinView, name: str, content: bytes = b"") -> Ino:
    attr, fh = view.create(ROOT_INO, name, 0o644, os.O_RDWR | os.O_EXCL, ROOT)
    view.write(fh, 0, content)
    view.release(fh)
    return attr.ino


def names(view: DarwinView) -> list[str]:
    fh = view.opendir(ROOT_INO)
    found = [entry.name for entry in view.readdir(fh, 0)]
    view.releasedir(fh)
    return found


@pytest.mark.parametrize(("stored", "asked"), [(NFC, NFD), (NFD, NFC), (NFC, NFC), (NFD, NFD), (MIXED, MIXED)])
def test_either_form_finds_the_name_that_is_there(view: DarwinView, stored: str, asked: str) -> None:
    ino = make(view, stored)
    assert view.lookup(ROOT_INO, asked).ino == ino
    assert names(view) == [stored]


def test_neither_form_of_a_mixed_name_finds_it() -> None:
    assert MIXED not in (unicodedata.normalize("NFC", MIXED), unicodedata.normalize("NFD", MIXED))
    assert forms_of(MIXED)[0] == MIXED


def test_the_exact_name_wins_over_the_other_form(view: DarwinView, tmp_path: Path) -> None:
    inner = view._filesystem
    there = {name: inner.mkdir(ROOT_INO, name, 0o755, ROOT).ino for name in (NFC, NFD)}
    assert {name: view.lookup(ROOT_INO, name).ino for name in there} == there
    view.rmdir(ROOT_INO, NFD)
    assert names(view) == [NFC]


def test_a_name_is_not_made_again_in_its_other_form(view: DarwinView) -> None:
    make(view, NFC)
    with pytest.raises(Exists):
        make(view, NFD)
    makers: list[Callable[[], object]] = [
        lambda: view.mkdir(ROOT_INO, NFD, 0o755, ROOT),
        lambda: view.symlink("to", ROOT_INO, NFD, ROOT),
        lambda: view.mknod(ROOT_INO, NFD, stat.S_IFIFO | 0o644, 0, ROOT),
        lambda: view.link(make(view, "other"), ROOT_INO, NFD),
    ]
    for again in makers:
        with pytest.raises(Exists):
            again()
    assert sorted(names(view)) == sorted([NFC, "other"])


def test_a_rename_meets_what_is_there_in_the_other_form(view: DarwinView) -> None:
    target, source = make(view, NFC), make(view, "source")
    with pytest.raises(Exists):
        view.rename(ROOT_INO, "source", ROOT_INO, NFD, RENAME_EXCL)
    view.rename(ROOT_INO, "source", ROOT_INO, NFD)
    assert view.lookup(ROOT_INO, NFC).ino == source != target
    view.rename(ROOT_INO, NFD, ROOT_INO, NFC)
    assert names(view) == [NFC]
    view.rename(ROOT_INO, NFD, ROOT_INO, "plain")
    assert names(view) == ["plain"]


def test_renames_by_the_flags_of_macos(view: DarwinView) -> None:
    one, other = make(view, "one"), make(view, "other")
    view.rename(ROOT_INO, "one", ROOT_INO, "other", RENAME_SWAP)
    assert (view.lookup(ROOT_INO, "one").ino, view.lookup(ROOT_INO, "other").ino) == (other, one)
    for flags in (1, RENAME_SWAP | RENAME_EXCL, 8):
        with pytest.raises(InvalidArgument):
            view.rename(ROOT_INO, "one", ROOT_INO, "new", flags)


def test_removing_by_the_other_form(view: DarwinView) -> None:
    make(view, NFC)
    view.unlink(ROOT_INO, NFD)
    assert names(view) == []
    with pytest.raises(NotFound):
        view.unlink(ROOT_INO, NFD)


def test_a_name_that_is_too_long_in_one_form_alone_is_kept_in_the_other(view: DarwinView) -> None:
    nfd = "e\u0301" * 100
    nfc = unicodedata.normalize("NFC", nfd)
    ino = make(view, nfd)
    assert names(view) == [nfc]
    assert view.lookup(ROOT_INO, nfd).ino == view.lookup(ROOT_INO, nfc).ino == ino
    with pytest.raises(NameTooLong):
        view.lookup(ROOT_INO, "\u00e9" * 200)
    with pytest.raises(NameTooLong):
        make(view, "\u00e9" * 200)
    assert fitting(["x" * 300]) == ["x" * 300]


def test_bytes_that_are_no_text_have_one_form() -> None:
    assert forms_of("\udce9x") == ["\udce9x"]
    assert forms_of("plain") == ["plain"]
    assert forms_of(NFD) == [NFD, NFC]


def test_attributes_have_no_namespace(view: DarwinView) -> None:
    ino = make(view, "f")
    view.setxattr(ino, "com.apple.FinderInfo", b"x" * 32, 0)
    inner = view._filesystem
    inner.setxattr(ino, "trusted.hidden", b"1", 0)
    assert inner.getxattr(ino, "user.com.apple.FinderInfo") == b"x" * 32
    assert view.getxattr(ino, "com.apple.FinderInfo") == b"x" * 32
    assert view.listxattr(ino, ROOT) == ["com.apple.FinderInfo"]
    view.removexattr(ino, "com.apple.FinderInfo")
    assert view.listxattr(ino, ROOT) == []
    assert view.getxattr(ino, "com.apple.FinderInfo") is None


def test_attributes_by_the_flags_of_macos(view: DarwinView) -> None:
    ino = make(view, "f")
    with pytest.raises(NoAttribute):
        view.setxattr(ino, "a", b"1", XATTR_REPLACE)
    # XATTR_NOFOLLOW, which is the kernel's business, comes along.
    view.setxattr(ino, "a", b"1", XATTR_CREATE | 1)
    with pytest.raises(Exists):
        view.setxattr(ino, "a", b"2", XATTR_CREATE)
    view.setxattr(ino, "a", b"2", XATTR_REPLACE)
    assert view.getxattr(ino, "a") == b"2"


def test_resource_forks_are_left_to_macos(view: DarwinView) -> None:
    """ENOTSUP, at which its kernel reads and writes `._NAME`."""
    ino = make(view, "f")
    calls: list[Callable[[], object]] = [
        lambda: view.getxattr(ino, "com.apple.ResourceFork"),
        lambda: view.setxattr(ino, "com.apple.ResourceFork", b"x", 0),
        lambda: view.removexattr(ino, "com.apple.ResourceFork"),
    ]
    for call in calls:
        with pytest.raises(NotSupported) as refused:
            call()
        assert errno_of(refused.value) == errno.ENOTSUP


def test_spotlight_finds_that_it_is_not_wanted_and_nobody_else_finds_anything(view: DarwinView) -> None:
    found = view.lookup(ROOT_INO, NEVER_INDEX)
    assert (found.ino, found.mode, found.size) == (NEVER_INDEX_INO, stat.S_IFREG | 0o444, 0)
    assert view.getattr(found.ino) == found
    assert view.getxattr(found.ino, "a") is None
    assert view.listxattr(found.ino, ROOT) == []
    assert names(view) == []
    below = view.mkdir(ROOT_INO, "d", 0o755, ROOT)
    with pytest.raises(NotFound):
        view.lookup(below.ino, NEVER_INDEX)


def test_what_spotlight_finds_cannot_be_changed(view: DarwinView) -> None:
    ino = view.lookup(ROOT_INO, NEVER_INDEX).ino
    calls: list[Callable[[], object]] = [
        lambda: view.open(ino, os.O_RDONLY, ROOT),
        lambda: view.setattr(ino, AttrChange(mode=0)),
        lambda: view.setxattr(ino, "a", b"", 0),
        lambda: view.removexattr(ino, "a"),
        lambda: view.unlink(ROOT_INO, NEVER_INDEX),
    ]
    for call in calls:
        with pytest.raises(NotPermitted):
            call()


def test_a_real_one_is_shown_instead(view: DarwinView) -> None:
    ino = make(view, NEVER_INDEX, b"mine")
    assert view.lookup(ROOT_INO, NEVER_INDEX).ino == ino != NEVER_INDEX_INO
    assert names(view) == [NEVER_INDEX]
    view.unlink(ROOT_INO, NEVER_INDEX)
    assert view.lookup(ROOT_INO, NEVER_INDEX).ino == NEVER_INDEX_INO


def test_with_junk_in_the_bucket_nothing_is_made_up(tmp_path: Path) -> None:
    drive = open_drive(MEMORY, tmp_path)
    view = DarwinView(drive.filesystem, keeps_spotlight_out=False)
    for call in (view.lookup, view.unlink):
        with pytest.raises(FsError) as missing:
            call(ROOT_INO, NEVER_INDEX)
        assert isinstance(missing.value, NotFound)
    drive.close()
