"""Random calls of programs on a drive of Windows and on the reference, compared after every step.

`S3MOUNT_MODEL_EXAMPLES` and `S3MOUNT_MODEL_STEPS` make it longer; `pytest --hypothesis-seed=N` repeats a run.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path as FolderPath

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.support import winfsp_driver as nt
from tests.support.fs_factory import MEMORY, open_drive
from tests.support.winfsp_driver import Handle, NtError
from tests.support.winfsp_volume import WindowsDriveUnderTest
from tests.winfsp.reference import Open, Path, WindowsReference

EXAMPLES = int(os.environ.get("S3MOUNT_MODEL_EXAMPLES", "10"))
STEPS = int(os.environ.get("S3MOUNT_MODEL_STEPS", "30"))
HANDLES_MAX = 3

# Few names and shallow paths, so that calls meet each other.
NAMES = st.sampled_from(["a", "A", "É：", "é："])
PATHS = st.one_of(st.tuples(NAMES), st.tuples(NAMES), st.tuples(NAMES, NAMES))
# Something that is there, by its place among all, in another case for an odd one; for 0 any path.
PICKS = st.integers(0, 12)
DISPOSITIONS = st.sampled_from([nt.SUPERSEDE, nt.OPEN, nt.CREATE, nt.OPEN_IF, nt.OVERWRITE, nt.OVERWRITE_IF])
ATTRIBUTES = st.sampled_from([0, 0, nt.HIDDEN, nt.SYSTEM | nt.ARCHIVE, nt.READONLY, nt.ARCHIVE])
OFFSETS = st.one_of(st.none(), st.integers(0, 30), st.just(70_000))
DATA = st.binary(min_size=1, max_size=20)
WRITING = nt.READ_DATA | nt.WRITE_DATA | nt.READ_ATTRIBUTES


class WindowsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="s3mount-windows-")
        self.drive = WindowsDriveUnderTest(open_drive(MEMORY, FolderPath(self._folder.name)))
        self.reference = WindowsReference()
        self.handles: list[tuple[Handle, Open]] = []

    def teardown(self) -> None:
        while self.handles:
            self.close(0)
        self.drive.close()
        self._folder.cleanup()

    def both(self, on_drive: Callable[[], object], on_reference: Callable[[], object]) -> tuple[object, object] | None:
        """What both give; None when both refuse, with the same status."""
        found, expected = outcome(on_drive), outcome(on_reference)
        if isinstance(found, NtError) or isinstance(expected, NtError):
            assert str(found) == str(expected)
            return None
        return found, expected

    def open(
        self, path: Path, disposition: int, access: int, *, is_dir: bool = False, attributes: int = 0
    ) -> tuple[Handle, Open] | None:
        options = nt.DIRECTORY_FILE if is_dir else 0
        return self.both(  # type: ignore[return-value]
            lambda: self.drive.volume.create(text(path), disposition, access, options=options, attributes=attributes),
            lambda: self.reference.create(path, disposition, access, is_dir=is_dir, attributes=attributes),
        )

    def end(self, opened: tuple[Handle, Open]) -> None:
        self.drive.volume.close(opened[0])
        self.reference.close(opened[1])

    def at(self, path: Path, pick: int) -> Path:
        there = sorted(self.reference.shape())
        if not pick or not there:
            return path
        found = there[pick // 2 % len(there)]
        return tuple(name.swapcase() for name in found) if pick % 2 else found

    # -- programs that open, do one thing, and close --

    @rule(path=PATHS, pick=PICKS, disposition=DISPOSITIONS, attributes=ATTRIBUTES, data=DATA)
    def put(self, path: Path, pick: int, disposition: int, attributes: int, data: bytes) -> None:
        opened = self.open(self.at(path, pick), disposition, WRITING, attributes=attributes)
        if opened is not None:
            if not opened[1].entry.is_dir:
                self.drive.volume.write(opened[0], 0, data)
                self.reference.write(opened[1], 0, data)
            self.end(opened)

    @rule(path=PATHS, attributes=ATTRIBUTES)
    def make_directory(self, path: Path, attributes: int) -> None:
        opened = self.open(path, nt.CREATE, nt.READ_DATA, is_dir=True, attributes=attributes)
        if opened is not None:
            self.end(opened)

    @rule(path=PATHS, pick=PICKS, attributes=ATTRIBUTES)
    def set_attributes(self, path: Path, pick: int, attributes: int) -> None:
        opened = self.open(self.at(path, pick), nt.OPEN, nt.WRITE_ATTRIBUTES)
        if opened is not None:
            self.drive.volume.set_basic(opened[0], attributes=attributes or nt.NORMAL)
            self.reference.set_attributes(opened[1], attributes)
            self.end(opened)

    @rule(path=PATHS, pick=PICKS)
    def delete(self, path: Path, pick: int) -> None:
        opened = self.open(self.at(path, pick), nt.OPEN, nt.DELETE)
        if opened is not None:
            self.both(
                lambda: self.drive.volume.set_delete(opened[0]), lambda: self.reference.set_delete(opened[1])
            )  # fmt: skip
            self.end(opened)

    @rule(old=PATHS, new=PATHS, picks=st.tuples(PICKS, PICKS), replaces=st.booleans())
    def rename(self, old: Path, new: Path, picks: tuple[int, int], replaces: bool) -> None:
        old, new = self.at(old, picks[0]), self.at(new, picks[1])
        opened = self.open(old, nt.OPEN, nt.DELETE)
        if opened is not None:
            handle, mine = opened
            self.both(
                lambda: self.drive.volume.rename(handle, text(new), replaces=replaces),
                lambda: self.reference.rename(mine, old, new, replaces=replaces),
            )
            self.end(opened)

    # -- programs that keep a file open --

    @precondition(lambda self: len(self.handles) < HANDLES_MAX)
    @rule(path=PATHS, pick=PICKS, disposition=DISPOSITIONS)
    def keep_open(self, path: Path, pick: int, disposition: int) -> None:
        opened = self.open(self.at(path, pick), disposition, WRITING)
        if opened is not None:
            if opened[1].entry.is_dir:
                self.end(opened)
            else:
                self.handles.append(opened)

    @precondition(lambda self: self.handles)
    @rule(number=st.integers(0, HANDLES_MAX), offset=OFFSETS, data=DATA)
    def write(self, number: int, offset: int | None, data: bytes) -> None:
        handle, mine = self.handles[number % len(self.handles)]
        assert self.drive.volume.write(handle, offset, data) == len(data)
        self.reference.write(mine, offset, data)

    @precondition(lambda self: self.handles)
    @rule(number=st.integers(0, HANDLES_MAX), size=st.integers(0, 40))
    def set_size(self, number: int, size: int) -> None:
        handle, mine = self.handles[number % len(self.handles)]
        self.drive.volume.set_size(handle, size)
        self.reference.set_size(mine, size)

    @precondition(lambda self: self.handles)
    @rule(number=st.integers(0, HANDLES_MAX))
    def close(self, number: int) -> None:
        self.end(self.handles.pop(number % len(self.handles)))

    # -- what programs do not see --

    @rule(keep_index=st.booleans())
    def remount(self, keep_index: bool) -> None:
        while self.handles:
            self.close(0)
        self.drive.remount(keep_index=keep_index)

    @invariant()
    def trees_are_equal(self) -> None:
        assert self.shape() == self.reference.shape()

    @invariant()
    def open_files_are_equal(self) -> None:
        for handle, mine in self.handles:
            assert self.drive.volume.info(handle).size == len(mine.entry.data)
            if mine.entry.data:
                assert self.drive.volume.read(handle, 0, 100_000) == mine.entry.data

    def shape(self) -> dict[Path, tuple[int, bytes | None]]:
        volume = self.drive.volume
        found: dict[Path, tuple[int, bytes | None]] = {}
        waiting: list[Path] = [()]
        while waiting:
            path = waiting.pop()
            with volume.opened(text(path), access=nt.READ_DATA, options=nt.DIRECTORY_FILE) as handle:
                entries = [entry for entry in volume.entries(handle) if entry[0] not in (".", "..")]
            for name, info in entries:
                below = (*path, name)
                opened = outcome(lambda path=below: volume.create(text(path), access=nt.READ_DATA))  # type: ignore[misc]
                data: bytes | None = None
                if isinstance(opened, NtError):
                    assert opened.status == nt.DELETE_PENDING
                else:
                    assert volume.info(opened) == info
                    data = volume.read(opened, 0, 100_000) if info.size else b""
                    volume.close(opened)
                found[below] = (info.attributes, data)
                waiting += [below] if info.attributes & nt.DIRECTORY and data is not None else []
        return found


def text(path: Path) -> str:
    return "\\" + "\\".join(path)


def outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except NtError as error:
        return error


@pytest.mark.timeout(0)
def test_a_drive_of_windows_does_what_the_reference_does() -> None:
    run_state_machine_as_test(
        WindowsMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            derandomize=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
