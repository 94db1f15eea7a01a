"""The checks of Linux pass on a local folder, and each of them fails on a system that lies about what it is for."""

import errno
import os
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s3mount.selftest.checks import Check, Ground, Outcome, Verdict
from s3mount.selftest.posix_api import PosixApi
from s3mount.selftest.posix_checks import CHECKS
from s3mount.selftest.runner import CLEARED, run_checks

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="calls of POSIX")

Lie = Callable[[pytest.MonkeyPatch, PosixApi], None]


class QuickApi(PosixApi):
    """A disk that others use takes a second for some of them."""

    fsync = staticmethod(os.fstat)  # type: ignore[assignment]


def tried(folder: Path, api: PosixApi) -> dict[str, Outcome]:
    outcomes = run_checks(str(folder), api, CHECKS, seed=1, steps=60, report=lambda _: None)
    return {outcome.name: outcome for outcome in outcomes}


def test_a_local_folder_passes_and_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    outcomes = tried(tmp_path, PosixApi())
    assert len(outcomes) == len(CHECKS) + 1
    assert {o.name: o.detail for o in outcomes.values() if o.verdict is Verdict.FAILED} == {}
    assert os.listdir(tmp_path) == ["mine"]


def answers(name: str, answer: Callable[..., Any]) -> Lie:
    """`answer` is given the real call, then what it was called with."""

    def lie(patch: pytest.MonkeyPatch, api: PosixApi) -> None:
        real = getattr(api, name)
        patch.setattr(api, name, lambda *args, **more: answer(real, *args, **more))

    return lie


def stat_with(**fields: Callable[[os.stat_result], int]) -> Lie:
    class Stat:
        def __init__(self, real: os.stat_result) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            return fields[name](self._real) if name in fields else getattr(self._real, name)

    return answers("stat", lambda real, path: Stat(real(path)))


def rename_by_copy(real: Callable[..., None], old: str, new: str) -> None:
    """Leaves an empty file where one was replaced."""
    was_there = os.path.isfile(new)
    real(old, new)
    if was_there:
        Path(new).write_bytes(b"")


def unlink_at_once(real: Callable[..., None], path: str) -> None:
    """What is open goes with its name."""
    if os.path.isfile(path):
        os.truncate(path, 0)
    real(path)


def fails(code: int) -> Callable[..., Any]:
    def call(real: object, *_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return call


LIES: dict[str, tuple[Lie, set[str]]] = {
    "the last byte that is read is another": (
        answers("read", lambda real, *args: real(*args)[:-1] + b"?"),
        {CHECKS[i].name for i in (0, 1, 2, 3, 6, 7, 11, 12, 14)},
    ),
    "O_EXCL means nothing": (
        answers("open", lambda real, path, flags, *m: real(path, flags & ~os.O_EXCL, *m)),
        {CHECKS[1].name},
    ),
    "a file never becomes larger": (
        answers("truncate", lambda real, fd, size: real(fd, min(size, os.fstat(fd).st_size))),
        {CHECKS[2].name, CHECKS[14].name},
    ),
    "a replaced file is empty": (answers("rename", rename_by_copy), {CHECKS[3].name}),
    "modes are made up": (stat_with(st_mode=lambda real: stat.S_IFMT(real.st_mode) | 0o777), {CHECKS[4].name}),
    "everybody owns everything": (stat_with(st_uid=lambda real: real.st_uid + 1), {CHECKS[4].name}),
    "times are microseconds": (
        stat_with(st_mtime_ns=lambda real: real.st_mtime_ns // 1000 * 1000),
        {CHECKS[5].name},
    ),
    "what is removed is empty": (answers("unlink", unlink_at_once), {CHECKS[6].name, CHECKS[11].name}),
    "names are cut": (
        answers("open", lambda real, path, *args: real(path[: len(os.path.dirname(path)) + 256], *args)),
        {CHECKS[7].name},
    ),
    "a name is listed twice": (
        answers("listdir", lambda real, path: [*real(path), *real(path)[:1]]),
        {CHECKS[i].name for i in (3, 7, 8)},
    ),
    "extended attributes are cut": (
        answers("getxattr", lambda real, *args: real(*args)[:-1]),
        {CHECKS[9].name},
    ),
    "links lead elsewhere": (answers("readlink", lambda real, path: real(path).upper()), {CHECKS[10].name}),
    "hard links are copies": (
        answers("link", lambda real, old, new: Path(new).write_bytes(Path(old).read_bytes())),
        {CHECKS[11].name},
    ),
    "fsync fails": (answers("fsync", fails(errno.EIO)), {CHECKS[12].name, CHECKS[14].name}),
    "there is no room": (
        answers("statvfs", lambda real, path: os.statvfs_result((*real(path)[:3], 0, 0, *real(path)[5:]))),
        {CHECKS[13].name},
    ),
    "a mapping loses what is written": (answers("map_write", lambda real, *_: None), {CHECKS[14].name}),
    "folders stay": (answers("remove_all", fails(errno.ENOTEMPTY)), {CLEARED}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found_by_the_check_for_it(lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = QuickApi()
    tell, wanted = LIES[lie]
    tell(monkeypatch, api)
    outcomes = tried(tmp_path, api)
    assert {o.name for o in outcomes.values() if o.verdict is Verdict.FAILED} == wanted


def test_each_check_can_fail() -> None:
    assert set().union(*(names for _, names in LIES.values())) == {check.name for check in CHECKS} | {CLEARED}


@pytest.mark.parametrize(("name", "code", "check"), [("setxattr", errno.ENOTSUP, 9), ("link", errno.EPERM, 11)])
def test_what_a_drive_does_without_is_skipped(
    name: str, code: int, check: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = QuickApi()
    answers(name, fails(code))(monkeypatch, api)
    outcomes = tried(tmp_path, api)
    assert [o.name for o in outcomes.values() if o.verdict is not Verdict.PASSED] == [CHECKS[check].name]
    assert outcomes[CHECKS[check].name].verdict is Verdict.SKIPPED


def test_a_drive_that_does_not_answer_is_asked_nothing_more(tmp_path: Path) -> None:
    goes_on = threading.Event()

    def hangs(ground: Ground[PosixApi]) -> None:
        assert goes_on.wait(30.0)

    never = Check("never", lambda ground: pytest.fail("asked"))
    checks = [Check("hangs", hangs), never]
    outcomes = run_checks(
        str(tmp_path), PosixApi(), checks, seed=1, steps=1, report=lambda _: None, deadline_s=0.05
    )  # fmt: skip
    goes_on.set()
    assert [(o.name, o.verdict) for o in outcomes] == [("hangs", Verdict.FAILED), (CLEARED, Verdict.FAILED)]
    (left,) = tmp_path.iterdir()
    assert outcomes[1].detail == f"the drive does not answer: {left} is left"


def test_a_failure_of_the_random_check_names_its_seed_and_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = QuickApi()
    answers("map_write", lambda real, *_: None)(monkeypatch, api)
    details = [tried(tmp_path, api)[CHECKS[14].name].detail for _ in range(2)]
    assert details[0] == details[1]
    assert details[0].startswith("seed 1: ")
    assert "byte" in details[0]


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted(_: Outcome) -> None:
        if not seen:
            seen.append(1)
            raise KeyboardInterrupt

    seen: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        run_checks(str(tmp_path), PosixApi(), CHECKS, seed=1, steps=1, report=interrupted)
    assert os.listdir(tmp_path) == []
