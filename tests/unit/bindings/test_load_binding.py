import importlib.util
import os
import sys
from types import ModuleType, SimpleNamespace

import pytest

import s3mount.bindings as bindings
from s3mount.bindings.darwin_view import NEVER_INDEX
from s3mount.clock import SystemClock
from s3mount.errors import MountPointUnusable, NotFound
from s3mount.model import ROOT_INO
from tests.model.reference import ReferenceTree


class Imports:
    """Stands in for importlib: answers for mfusepy by the library named at that moment."""

    def __init__(self, usable: set[str | None]) -> None:
        self.usable = usable
        self.tried: list[str | None] = []

    def import_module(self, name: str) -> ModuleType:
        if name != "mfusepy":
            module = ModuleType(name)
            module.run_fuse = "the run function"  # type: ignore[attr-defined]
            return module
        library = os.environ.get("FUSE_LIBRARY_NAME")
        self.tried.append(library)
        if library not in self.usable:
            raise OSError("Unable to find libfuse")
        return ModuleType(name)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    # Set first, so that whatever load_binding leaves behind is undone too.
    for name in ("FUSE_LIBRARY_PATH", "FUSE_LIBRARY_NAME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "platform", "linux")
    return monkeypatch


@pytest.mark.parametrize(
    ("usable", "named", "tried"),
    [
        ({"fuse3", "fuse"}, None, ["fuse3"]),
        ({"mine"}, "mine", ["mine"]),
    ],
)
def test_libfuse_3_and_no_other(
    clean_environment: pytest.MonkeyPatch, usable: set[str | None], named: str | None, tried: list[str | None]
) -> None:
    if named:
        clean_environment.setenv("FUSE_LIBRARY_NAME", named)
    imports = Imports(usable)
    clean_environment.setattr(bindings, "importlib", imports)
    assert bindings.load_binding() == "the run function"  # type: ignore[comparison-overlap]
    assert imports.tried == tried


def test_libfuse_2_alone_is_not_enough_and_the_error_says_what_to_do(clean_environment: pytest.MonkeyPatch) -> None:
    imports = Imports({"fuse"})
    clean_environment.setattr(bindings, "importlib", imports)
    with pytest.raises(MountPointUnusable, match=r"fuse3: Unable to find.*apt install fuse3"):
        bindings.load_binding()
    assert imports.tried == ["fuse3"]
    assert "FUSE_LIBRARY_NAME" not in os.environ


def test_on_macos_it_is_macfuse_s_and_mfusepy_is_not_asked(
    clean_environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    imports = Imports(set())
    clean_environment.setattr(sys, "platform", "darwin")
    clean_environment.setattr(bindings, "importlib", imports)
    assert bindings.load_binding() == "the run function"  # type: ignore[comparison-overlap]
    assert imports.tried == []
    assert "nobody has run s3mount on macOS yet" in caplog.text


def test_on_macos_without_macfuse_it_says_what_to_install(clean_environment: pytest.MonkeyPatch) -> None:
    class WithoutLibrary:
        def import_module(self, name: str) -> ModuleType:
            raise OSError("no libfuse3*.dylib in /usr/local/lib")

    clean_environment.setattr(sys, "platform", "darwin")
    clean_environment.setattr(bindings, "importlib", WithoutLibrary())
    with pytest.raises(MountPointUnusable, match=r"no usable macFUSE \(no libfuse3.*install macFUSE.*docs/macos\.md"):
        bindings.load_binding()


def test_only_macos_sees_the_drive_otherwise(clean_environment: pytest.MonkeyPatch) -> None:
    filesystem = ReferenceTree(SystemClock())
    assert bindings.as_seen(filesystem, keeps_junk_here=True) is filesystem
    clean_environment.setattr(sys, "platform", "darwin")
    names = [bindings.as_seen(filesystem, keeps_junk_here=kept).lookup for kept in (True, False)]
    assert names[0](ROOT_INO, NEVER_INDEX).size == 0
    with pytest.raises(NotFound):
        names[1](ROOT_INO, NEVER_INDEX)


def test_importing_the_package_loads_no_library() -> None:
    assert importlib.util.find_spec("s3mount.bindings") is not None
    assert "mfusepy" not in vars(bindings)


LIBRARY = "s3mount.bindings.winfsp_library"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("The WinFsp library path is not provided"), r"no usable WinFsp .*winget install WinFsp\.WinFsp"),
        (OSError("[WinError 126] The specified module could not be found"), r"no usable WinFsp .*https://winfsp\.dev"),
        (None, None),
    ],
)
def test_windows_goes_by_winfsp_and_says_what_is_missing(
    clean_environment: pytest.MonkeyPatch, error: Exception | None, message: str | None
) -> None:
    def choose() -> SimpleNamespace:
        if error is not None:
            raise error
        return SimpleNamespace(name="ctypes")

    class WindowsImports:
        def import_module(self, name: str) -> SimpleNamespace:
            assert name in (LIBRARY, "s3mount.bindings.winfsp_session")
            return SimpleNamespace(choose=choose, run_winfsp="the run function")

    clean_environment.setattr(sys, "platform", "win32")
    clean_environment.setattr(bindings, "importlib", WindowsImports())
    if message is None:
        assert bindings.load_binding() == "the run function"  # type: ignore[comparison-overlap]
        assert bindings.library_version() == "ctypes"
    else:
        with pytest.raises(MountPointUnusable, match=message):
            bindings.load_binding()


def test_ctypes_is_the_way_where_there_is_no_winfspy(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_winfspy() -> None:
        raise ModuleNotFoundError("No module named 'winfspy'")

    ways = importlib.import_module(LIBRARY)
    monkeypatch.setattr(ways, "by_ctypes", lambda: "ctypes")
    monkeypatch.setattr(ways, "by_winfspy", no_winfspy)
    assert ways.choose() == "ctypes"
    monkeypatch.setattr(ways, "by_winfspy", lambda: "winfspy")
    assert ways.choose() == "winfspy"
