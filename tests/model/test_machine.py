"""The model machine: random operations on a drive and on the reference tree, compared after every step.

`S3MOUNT_MODEL_EXAMPLES` and `S3MOUNT_MODEL_STEPS` make it longer; `pytest --hypothesis-seed=N` repeats a run whose
seed pytest printed, and a failure prints the blob for `reproduce_failure`.
"""

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from s3mount.errors import FsError
from s3mount.model import Attr, AttrChange, Caller, DirEntry, Fh, Ino
from s3mount.vfs.paths import PathFileSystem
from tests.model.reference import RENAME_NOREPLACE, ReferenceTree
from tests.support.entries import all_entries
from tests.support.fs_factory import DriveUnderTest, kinds, open_drive

EXAMPLES = int(os.environ.get("S3MOUNT_MODEL_EXAMPLES", "40"))
STEPS = int(os.environ.get("S3MOUNT_MODEL_STEPS", "40"))
CALLER = Caller(os.getuid(), os.getgid())
HANDLES_MAX = 6
SIZE_MAX = 300_000

# Few names and shallow paths, so that operations meet each other.
NAMES = st.sampled_from(["a", "b", "c", "d e", "é%+#?"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
MODES = st.sampled_from([0o600, 0o644, 0o755, 0o4755, 0o2775, 0o1777, 0o000])
TIMES = st.one_of(st.none(), st.integers(-(10**18), 4 * 10**18))
OFFSETS = st.one_of(st.integers(0, 40), st.sampled_from([4095, 4096, 65_536, 131_071, 200_000]))
DATA = st.one_of(
    st.binary(max_size=20), st.builds(lambda byte, size: byte * size, st.binary(min_size=1, max_size=1), OFFSETS)
)
ACCESS = st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
OPEN_EXTRAS = st.sampled_from([0, 0, os.O_TRUNC, os.O_APPEND])
CREATE_EXTRAS = st.sampled_from([0, os.O_EXCL, os.O_TRUNC, os.O_APPEND])


class StepClock:
    """Stands still within a step, so that both sides stamp the same time."""

    def __init__(self) -> None:
        self.wall_ns = 1_700_000_000_000_000_000

    def step(self) -> None:
        self.wall_ns += 1_000_000_007

    def now_ns(self) -> int:
        return self.wall_ns

    def monotonic_s(self) -> float:
        return self.wall_ns / 1e9


class DriveMachine(RuleBasedStateMachine):
    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="s3mount-model-")
        self.clock = StepClock()
        self.drive: DriveUnderTest = open_drive(self.kind, Path(self._folder.name), self.clock)
        self.tree = ReferenceTree(self.clock)
        self.reference = PathFileSystem(self.tree)
        # (drive's fh, reference's fh); they need not be equal
        self.handles: list[tuple[Fh, Fh]] = []

    def teardown(self) -> None:
        self.drive.close()
        self._folder.cleanup()

    @initialize()
    def same_root(self) -> None:
        attr = self.drive.paths.getattr("/")
        self.tree.root.mode, self.tree.root.uid, self.tree.root.gid = attr.mode, attr.uid, attr.gid

    # -- both sides --

    def both(self, call: Callable[[PathFileSystem], object]) -> tuple[object, object]:
        """Do `call` on both; they give equal results or raise the same FsError. Fhs may differ."""
        self.clock.step()
        expected = outcome(call, self.reference)
        found = outcome(call, self.drive.paths)
        if isinstance(expected, type) or isinstance(found, type):
            assert found == expected
        return found, expected

    def same(self, call: Callable[[PathFileSystem], object]) -> None:
        found, expected = self.both(call)
        assert found == expected

    def same_on_handle(self, number: int, call: Callable[[PathFileSystem, Fh], object]) -> None:
        fhs = self.handles[number % len(self.handles)]
        self.same(lambda fs: call(fs, fhs[1] if fs is self.reference else fhs[0]))

    def keep_handle(self, call: Callable[[PathFileSystem], Fh]) -> None:
        found, expected = self.both(call)
        if isinstance(found, int) and isinstance(expected, int):
            self.handles.append((Fh(found), Fh(expected)))

    # -- names --

    @rule(path=PATHS, mode=MODES)
    def mkdir(self, path: str, mode: int) -> None:
        self.same(lambda fs: fs.mkdir(path, mode, CALLER))

    @rule(path=PATHS)
    def rmdir(self, path: str) -> None:
        self.same(lambda fs: fs.rmdir(path))

    @rule(path=PATHS)
    def unlink(self, path: str) -> None:
        self.same(lambda fs: fs.unlink(path))

    @rule(old=PATHS, new=PATHS, flags=st.sampled_from([0, 0, 0, RENAME_NOREPLACE, 2]))
    def rename(self, old: str, new: str, flags: int) -> None:
        self.same(lambda fs: fs.rename(old, new, flags))

    @rule(path=PATHS, points_to=st.one_of(PATHS, st.just("t" * 3000)))
    def symlink(self, path: str, points_to: str) -> None:
        self.same(lambda fs: fs.symlink(points_to, path, CALLER))

    @rule(path=PATHS)
    def readlink(self, path: str) -> None:
        self.same(lambda fs: fs.readlink(path))

    # -- attributes --

    @rule(path=PATHS, mode=MODES)
    def chmod(self, path: str, mode: int) -> None:
        if self.is_settable(path):
            self.same(lambda fs: fs.chmod(path, mode))

    @rule(path=PATHS, uid=st.sampled_from([-1, 0, 1000]), gid=st.sampled_from([-1, 0, 100]))
    def chown(self, path: str, uid: int, gid: int) -> None:
        self.same(lambda fs: fs.chown(path, uid, gid))

    @rule(path=PATHS, atime_ns=TIMES, mtime_ns=TIMES)
    def utimens(self, path: str, atime_ns: int | None, mtime_ns: int | None) -> None:
        self.same(lambda fs: fs.utimens(path, atime_ns, mtime_ns))

    def is_settable(self, path: str) -> bool:
        """Linux has no chmod of a symlink, so no kernel asks for one."""
        try:
            return not stat.S_ISLNK(self.reference.getattr(path).mode)
        except FsError:
            return True

    # -- content --

    @precondition(lambda self: len(self.handles) < HANDLES_MAX)
    @rule(path=PATHS, mode=MODES, access=ACCESS, extra=CREATE_EXTRAS)
    def create(self, path: str, mode: int, access: int, extra: int) -> None:
        if self.is_file_or_absent(path):
            self.keep_handle(lambda fs: fs.create(path, mode, access | os.O_CREAT | extra, CALLER))

    @precondition(lambda self: len(self.handles) < HANDLES_MAX)
    @rule(path=PATHS, access=ACCESS, extra=OPEN_EXTRAS)
    def open(self, path: str, access: int, extra: int) -> None:
        if self.is_file_or_absent(path):
            self.keep_handle(lambda fs: fs.open(path, access | extra))

    def is_file_or_absent(self, path: str) -> bool:
        """The kernel follows a symlink before it opens."""
        return self.is_settable(path)

    @rule(path=PATHS, data=DATA)
    def put(self, path: str, data: bytes) -> None:
        """What a copying tool does: the whole life of a file in one step."""
        if self.is_file_or_absent(path):
            self.same(lambda fs: put(fs, path, data))

    @precondition(lambda self: self.handles)
    @rule(number=st.integers(0, HANDLES_MAX), offset=OFFSETS, data=DATA.filter(bool))
    def write(self, number: int, offset: int, data: bytes) -> None:
        """Never of nothing: the kernel does not send that on."""
        self.same_on_handle(number, lambda fs, fh: fs.write(fh, offset, data))

    @precondition(lambda self: self.handles)
    @rule(number=st.integers(0, HANDLES_MAX), offset=OFFSETS, size=st.integers(0, SIZE_MAX))
    def read(self, number: int, offset: int, size: int) -> None:
        self.same_on_handle(number, lambda fs, fh: fs.read(fh, offset, size))

    @precondition(lambda self: self.handles)
    @rule(number=st.integers(0, HANDLES_MAX), size=OFFSETS)
    def ftruncate(self, number: int, size: int) -> None:
        """Of a handle that may write: the kernel refuses the others itself."""
        handle = self.tree.handles[self.handles[number % len(self.handles)][1]]
        if handle.flags & os.O_ACCMODE != os.O_RDONLY:
            self.same_on_handle(number, lambda fs, fh: fs.truncate(None, size, fh))

    @rule(path=PATHS, size=OFFSETS)
    def truncate(self, path: str, size: int) -> None:
        if self.is_file_or_absent(path):
            self.same(lambda fs: fs.truncate(path, size))

    @precondition(lambda self: self.handles)
    @rule(number=st.integers(0, HANDLES_MAX), mode=MODES)
    def fchmod(self, number: int, mode: int) -> None:
        self.same_on_handle(number, lambda fs, fh: fs.chmod(None, mode, fh))

    @precondition(lambda self: self.handles)
    @rule(number=st.integers(0, HANDLES_MAX), durable=st.booleans())
    def flush(self, number: int, durable: bool) -> None:
        self.same_on_handle(number, lambda fs, fh: fs.fsync(fh, False) if durable else fs.flush(fh))

    @precondition(lambda self: self.handles)
    @rule(number=st.integers(0, HANDLES_MAX))
    def release(self, number: int) -> None:
        self.same_on_handle(number, lambda fs, fh: fs.release(fh))
        self.handles.pop(number % len(self.handles))

    # -- what the user does not see --

    @rule()
    def drain(self) -> None:
        self.drive.drain()

    @rule()
    def evict(self) -> None:
        self.drive.evict()

    @rule(keep_index=st.booleans())
    def remount(self, keep_index: bool) -> None:
        while self.handles:
            self.release(0)
        if not keep_index:
            self.drive.drain()
        self.drive.remount(keep_index=keep_index)

    # -- the comparison --

    @invariant()
    def trees_are_equal(self) -> None:
        assert shape(self.drive.paths) == shape(self.reference)

    @invariant()
    def open_files_are_equal(self) -> None:
        for found, expected in self.handles:
            attr, wanted = self.drive.paths.getattr(None, found), self.reference.getattr(None, expected)
            assert (attr.size, attr.mode, attr.nlink) == (wanted.size, wanted.mode, wanted.nlink)


def outcome(call: Callable[[PathFileSystem], object], fs: PathFileSystem) -> object:
    try:
        return call(fs)
    except FsError as error:
        return type(error)


def put(fs: PathFileSystem, path: str, data: bytes) -> None:
    fh = fs.create(path, 0o644, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, CALLER)
    try:
        if data:
            assert fs.write(fh, 0, data) == len(data)
        fs.flush(fh)
    finally:
        fs.release(fh)


def shape(fs: PathFileSystem) -> dict[str, tuple[object, ...]]:
    """Everything a user can see, by path. The root's own times have no object to be kept in and are left out."""
    found: dict[str, tuple[object, ...]] = {}
    waiting = [""]
    while waiting:
        base = waiting.pop()
        for entry in entries(fs, base or "/"):
            path = f"{base}/{entry.name}"
            attr = fs.getattr(path)
            if entry.is_complete:
                assert entry.attr == attr
            what: object = None
            if stat.S_ISDIR(attr.mode):
                waiting.append(path)
            elif stat.S_ISLNK(attr.mode):
                what = fs.readlink(path)
            else:
                what = content(fs, path, attr.size)
            size = 0 if stat.S_ISDIR(attr.mode) else attr.size
            found[path] = (oct(attr.mode), attr.uid, attr.gid, size, attr.mtime_ns, what)
    return found


def entries(fs: PathFileSystem, path: str) -> list[DirEntry]:
    fh = fs.opendir(path)
    try:
        return all_entries(fs, fh)
    finally:
        fs.releasedir(fh)


def content(fs: PathFileSystem, path: str, size: int) -> bytes:
    fh = fs.open(path, os.O_RDONLY)
    try:
        return fs.read(fh, 0, size + 10)
    finally:
        fs.release(fh)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", kinds())
def test_drive_does_what_the_reference_does(kind: str) -> None:
    machine = type("Machine", (DriveMachine,), {"kind": kind})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            derandomize=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_comparison_can_fail() -> None:
    """A drive that keeps no mode is found out; without this the machine could compare nothing."""

    class ForgetsModes(ReferenceTree):
        def setattr(self, ino: Ino, change: AttrChange, fh: Fh | None = None) -> Attr:
            return super().setattr(ino, change._replace(mode=None), fh)

    clock = StepClock()
    good, bad = PathFileSystem(ReferenceTree(clock)), PathFileSystem(ForgetsModes(clock))
    for tree in (good, bad):
        put(tree, "/a", b"x")
    assert shape(good) == shape(bad)
    for tree in (good, bad):
        tree.chmod("/a", 0o600)
    assert shape(good) != shape(bad)
