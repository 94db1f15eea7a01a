"""The checks of `s3mount selftest` for Windows, on our drive behind the model of WinFsp's driver: they pass, and each
of them fails on a system that lies about what it is for.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from s3mount.selftest import windows_api as win
from s3mount.selftest import windows_checks
from s3mount.selftest.checks import Check, Outcome, Verdict
from s3mount.selftest.runner import CLEARED, run_checks
from s3mount.selftest.windows_api import Times, Win32Error
from s3mount.selftest.windows_checks import CHECKS
from s3mount.selftest.windows_folders import WindowsFolders
from tests.support.windows_api import DRIVE, VolumeApi
from tests.support.winfsp_volume import WindowsDriveUnderTest
from tests.winfsp.test_opening import put

NAMES = [check.name for check in CHECKS]


@pytest.fixture
def api(drive: WindowsDriveUnderTest, monkeypatch: pytest.MonkeyPatch) -> Iterator[VolumeApi]:
    monkeypatch.setattr(windows_checks, "NAMES_MANY", 50)
    api = VolumeApi(drive.volume)
    yield api
    for handle in list(api._handles):
        api.close(handle)


def failed(api: VolumeApi, checks: Sequence[Check[WindowsFolders]] = CHECKS) -> dict[str, str]:
    outcomes: list[Outcome] = []
    run_checks(DRIVE, WindowsFolders(api), checks, seed=1, steps=60, report=outcomes.append)
    assert {outcome.verdict for outcome in outcomes} <= {Verdict.PASSED, Verdict.FAILED}
    return {outcome.name: outcome.detail for outcome in outcomes if outcome.verdict is Verdict.FAILED}


def test_our_drive_passes_and_is_left_as_it_was(drive: WindowsDriveUnderTest, api: VolumeApi) -> None:
    put(drive.volume, "\\mine", b"kept")
    assert failed(api) == {}
    assert drive.volume.names("\\") == ["mine"]


Lie = Callable[[pytest.MonkeyPatch, VolumeApi], None]


def answers(name: str, answer: Callable[..., Any]) -> Lie:
    """`answer` is given the real call, then what it was called with."""

    def lie(patch: pytest.MonkeyPatch, api: VolumeApi) -> None:
        real = getattr(api, name)
        patch.setattr(api, name, lambda *args: answer(real, *args))

    return lie


def fails(code: int) -> Callable[..., Any]:
    def call(*_: object) -> None:
        raise Win32Error(code)

    return call


def create_with(**changed: Callable[[int], int]) -> Lie:
    """CreateFile that takes something for something else."""

    def create(real: Callable[..., int], path: str, *arguments: int) -> int:
        given = dict(zip(("access", "share", "disposition", "flags"), arguments, strict=True))
        return real(path, *(changed.get(name, int)(value) for name, value in given.items()))

    return answers("create", create)


def found_as(change: Callable[[win.Entry], win.Entry]) -> Lie:
    return answers("find", lambda real, pattern: [change(entry) for entry in real(pattern)])


def lost_at_odd_places(real: Callable[..., None], handle: int, place: int | None, data: bytes) -> None:
    if not (place and place % 2 and len(data) > 100):
        real(handle, place, data)


def listed_twice(real: Callable[[str], list[win.Entry]], pattern: str) -> list[win.Entry]:
    found = real(pattern)
    return found if pattern.startswith("\\\\?") else [*found, *found[:1]]  # the clearing up sees them once


# A lie, and the check that finds it.
LIES: dict[str, tuple[Lie, int]] = {
    "the last byte that is read is another": (answers("read", lambda real, *args: real(*args)[:-1] + b"?"), 0),
    "CREATE_NEW opens": (
        create_with(disposition=lambda given: win.OPEN_ALWAYS if given == win.CREATE_NEW else given),
        1,
    ),
    "a file never becomes larger": (
        answers("set_size", lambda real, handle, size: None if size == 6 else real(handle, size)),
        2,
    ),
    "names are lower case": (found_as(lambda entry: entry._replace(name=entry.name.lower())), 3),
    "a rename replaces": (answers("move", lambda real, old, new, _: real(old, new, win.REPLACE_EXISTING)), 4),
    "everything is shared": (create_with(share=lambda _: win.SHARE_ALL), 5),
    "nothing is deleted on close": (create_with(flags=lambda given: given & ~win.DELETE_ON_CLOSE), 6),
    "nothing is hidden": (
        answers("set_attributes", lambda real, path, bits: real(path, bits & ~win.HIDDEN or win.NORMAL)),
        7,
    ),
    "archive is always set": (found_as(lambda entry: entry._replace(attributes=entry.attributes | win.ARCHIVE)), 8),
    "archive is never set": (found_as(lambda entry: entry._replace(attributes=entry.attributes & ~win.ARCHIVE)), 8),
    "times are microseconds": (
        answers("times", lambda real, handle: Times(*(time // 10 * 10 for time in real(handle)))),
        9,
    ),
    "illegal characters are replaced": (
        answers("create", lambda real, path, *args: real(path.replace("a<b", "a_b"), *args)),
        10,
    ),
    "long paths are none": (
        answers("make_directory", lambda real, path: fails(206)() if len(path) > 260 else real(path)),
        11,
    ),
    "a name is listed twice": (answers("find", listed_twice), 12),
    "flushing fails": (answers("flush", fails(1117)), 13),
    "there is no room": (answers("space", lambda real, folder: (0, real(folder)[1])), 14),
    "writes at odd places are lost": (answers("write", lost_at_odd_places), 15),
    "folders stay": (answers("remove_directory", fails(win.ERROR_DIR_NOT_EMPTY)), 16),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found_by_the_check_for_it(lie: str, api: VolumeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    tell, number = LIES[lie]
    tell(monkeypatch, api)
    assert set(failed(api, CHECKS[number : number + 1] or CHECKS[:1])) == {[*NAMES, CLEARED][number]}


def test_each_check_can_fail() -> None:
    assert {number for _, number in LIES.values()} == set(range(len(CHECKS) + 1))


def test_errors_have_names() -> None:
    """What a person reads where a code was expected."""
    assert str(Win32Error(32)) == "error 32 (sharing violation)"
    assert str(Win32Error(1117)) == "error 1117"


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("S:\\a", "\\\\?\\S:\\a"),
        ("\\\\s3mount\\b\\a", "\\\\?\\UNC\\s3mount\\b\\a"),
        ("\\\\?\\S:\\a", "\\\\?\\S:\\a"),
    ],
)
def test_the_form_without_a_limit(path: str, wanted: str) -> None:
    assert win.verbatim(path) == wanted
