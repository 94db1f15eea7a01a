"""The differential machine: the same random calls, from several processes, on a mounted drive and on a local folder.

After each step outcome, errno, attributes and the whole tree are compared, also after a remount with an empty cache.
Each example has a folder of its own on one mount. `S3MOUNT_DIFFERENTIAL_EXAMPLES` and `S3MOUNT_DIFFERENTIAL_STEPS`
make it longer; `pytest --hypothesis-seed=N` repeats a run whose seed pytest printed, and a failure prints its steps and
the blob for `reproduce_failure`. What it finds lands, shrunken, in tests/functional.
"""

import itertools
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
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

from tests.differential.choices import (
    ACCESS,
    ACCESS_LISTS,
    ALLOCATIONS,
    DATA,
    EXTRAS,
    MODES,
    OFFSETS,
    OWNERS,
    PATHS,
    REMOUNTS,
    SLOT,
    TARGETS,
    TIMES,
    WHO,
)
from tests.differential.sides import Sides, Slot, Where
from tests.differential.worker import Outcome, Refused
from tests.support.linux import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
)

EXAMPLES = int(os.environ.get("S3MOUNT_DIFFERENTIAL_EXAMPLES", "60"))
STEPS = int(os.environ.get("S3MOUNT_DIFFERENTIAL_STEPS", "30"))
FUSE_MISSING = not (sys.platform.startswith("linux") and os.access("/dev/fuse", os.R_OK | os.W_OK))
HANDLES_MAX = 6

STRANGERS = 2  # worker


class Machine(RuleBasedStateMachine):
    sides: Sides

    def __init__(self) -> None:
        super().__init__()
        self.name = f"e{next(self.sides.numbers)}"
        self.roots = [self.sides.local / self.name, self.sides.drive.mountpoint / self.name]
        for root in self.roots:
            root.mkdir()
            root.chmod(0o777)
        self.handles: list[tuple[int, str]] = []
        self.slots = itertools.count()

    def teardown(self) -> None:
        while self.handles:
            self.close(0)
        for root in self.roots:
            shutil.rmtree(root)
        self.sides.drive.check_log()

    # -- both at once --

    def same(self, who: int, name: str, *args: object) -> Outcome:
        expected, found = self.sides.ask(who, self.roots, name, *args)
        assert found == expected, f"{name}{args} by {who}: the drive {found!r}, the host {expected!r}"
        return found

    def same_on(self, number: int, name: str, *args: object) -> Outcome:
        who, slot = self.handles[number % len(self.handles)]
        return self.same(who, name, Slot(slot), *args)

    # -- names --

    @initialize(data=DATA)
    def start(self, data: bytes) -> None:
        """A directory, files in and beside it, one of them open."""
        self.same(0, "mkdir", Where("a"), 0o777)
        self.make_file(0, "a/b", data)
        self.make_file(1, "b", data)
        self.close(0)

    @rule(who=WHO, path=PATHS, mode=MODES)
    def mkdir(self, who: int, path: str, mode: int) -> None:
        self.same(who, "mkdir", Where(path), mode)

    @rule(who=WHO, path=PATHS)
    def rmdir(self, who: int, path: str) -> None:
        self.same(who, "rmdir", Where(path))

    @rule(who=WHO, path=PATHS)
    def unlink(self, who: int, path: str) -> None:
        self.same(who, "unlink", Where(path))

    @rule(who=WHO, old=PATHS, new=PATHS, flags=st.sampled_from([0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE]))
    def rename(self, who: int, old: str, new: str, flags: int) -> None:
        self.same(who, "rename", Where(old), Where(new), flags)

    @rule(who=WHO, path=PATHS, points_to=TARGETS)
    def symlink(self, who: int, path: str, points_to: str) -> None:
        self.same(who, "symlink", points_to, Where(path))

    @rule(who=WHO, path=PATHS)
    def readlink(self, who: int, path: str) -> None:
        self.same(who, "readlink", Where(path))

    @rule(who=WHO, old=PATHS, new=PATHS)
    def link(self, who: int, old: str, new: str) -> None:
        self.same(who, "link", Where(old), Where(new))

    @rule(who=WHO, path=PATHS, kind=st.sampled_from([stat.S_IFIFO, stat.S_IFREG, stat.S_IFSOCK]), mode=MODES)
    def mknod(self, who: int, path: str, kind: int, mode: int) -> None:
        self.same(who, "mknod", Where(path), kind | mode)

    @rule(who=WHO, path=PATHS)
    def listdir(self, who: int, path: str) -> None:
        self.same(who, "listdir", Where(path))

    # -- attributes --

    @rule(who=WHO, path=PATHS)
    def lstat(self, who: int, path: str) -> None:
        self.same(who, "lstat", Where(path))

    @rule(who=WHO, path=PATHS, mode=st.integers(0, 7))
    def access(self, who: int, path: str, mode: int) -> None:
        self.same(who, "access", Where(path), mode)

    @rule(who=WHO, path=PATHS, mode=MODES)
    def chmod(self, who: int, path: str, mode: int) -> None:
        self.same(who, "chmod", Where(path), mode)

    @rule(who=WHO, path=PATHS, uid=OWNERS, gid=OWNERS)
    def chown(self, who: int, path: str, uid: int, gid: int) -> None:
        self.same(who, "chown", Where(path), uid, gid)

    @rule(who=WHO, path=PATHS, atime=TIMES, mtime=TIMES)
    def utime(self, who: int, path: str, atime: int | str | None, mtime: int | str | None) -> None:
        """An atime that is left as it is was perhaps moved by reading: on the drive, of files only."""
        outcomes = self.same(who, "utime", Where(path), atime, mtime), self.same(0, "lstat", Where(path))
        if any(isinstance(outcome, Refused) for outcome in outcomes):
            return
        is_file = stat.S_ISREG(int(outcomes[1][0], 8))
        if isinstance(atime, int) or (is_file and self.sides.host_is_relatime):
            self.same(0, "atime", Where(path))

    @rule(who=WHO, path=PATHS, name=st.sampled_from(["user.a", "user.b", "security.c", "trusted.d", "unknown.e"]),
          value=st.binary(max_size=20), flags=st.integers(0, 2))  # fmt: skip
    def setxattr(self, who: int, path: str, name: str, value: bytes, flags: int) -> None:
        self.same(who, "setxattr", Where(path), name, value, flags)

    @rule(who=WHO, path=PATHS, name=st.sampled_from(["user.a", "user.b", "security.c", "trusted.d", "unknown.e"]))
    def getxattr(self, who: int, path: str, name: str) -> None:
        self.same(who, "getxattr", Where(path), name)
        self.same(who, "removexattr", Where(path), name)

    @rule(who=WHO, path=PATHS, kind=st.sampled_from(["access", "default"]), entries=ACCESS_LISTS)
    def set_access_list(self, who: int, path: str, kind: str, entries: bytes) -> None:
        self.same(who, "setxattr", Where(path), f"system.posix_acl_{kind}", entries, 0)

    @rule(who=WHO, path=PATHS, kind=st.sampled_from(["access", "default"]), removes=st.booleans())
    def get_access_list(self, who: int, path: str, kind: str, removes: bool) -> None:
        self.same(who, "removexattr" if removes else "getxattr", Where(path), f"system.posix_acl_{kind}")

    # -- bytes --

    @precondition(lambda self: len(self.handles) < HANDLES_MAX)
    @rule(who=WHO, path=PATHS, access=ACCESS, extras=EXTRAS, mode=MODES)
    def open(self, who: int, path: str, access: int, extras: list[int], mode: int) -> None:
        flags = access
        for extra in extras:
            flags |= extra
        if flags & os.O_CREAT and flags & os.O_DIRECTORY:
            flags &= ~os.O_DIRECTORY  # Linux changed its mind about both together
        slot = f"s{next(self.slots)}"
        if not isinstance(self.same(who, "open", Slot(slot), Where(path), flags, mode), Refused):
            self.handles.append((who, slot))

    @precondition(lambda self: len(self.handles) < HANDLES_MAX)
    @rule(who=st.sampled_from([0, 1]), path=PATHS, data=DATA)
    def make_file(self, who: int, path: str, data: bytes) -> None:
        """An open that succeeds more often than those that open() thinks of."""
        slot = f"s{next(self.slots)}"
        if not isinstance(self.same(who, "open", Slot(slot), Where(path), os.O_CREAT | os.O_RDWR, 0o666), Refused):
            self.handles.append((who, slot))
            self.same_on(-1, "write", data)

    @precondition(lambda self: self.handles)
    @rule(number=SLOT, size=OFFSETS)
    def read(self, number: int, size: int) -> None:
        self.same_on(number, "read", size)

    @precondition(lambda self: self.handles)
    @rule(number=SLOT, data=DATA)
    def write(self, number: int, data: bytes) -> None:
        self.same_on(number, "write", data)

    @precondition(lambda self: self.handles)
    @rule(number=SLOT, size=OFFSETS, offset=OFFSETS)
    def pread(self, number: int, size: int, offset: int) -> None:
        self.same_on(number, "pread", size, offset)

    @precondition(lambda self: self.handles)
    @rule(number=SLOT, data=DATA, offset=OFFSETS)
    def pwrite(self, number: int, data: bytes, offset: int) -> None:
        self.same_on(number, "pwrite", data, offset)

    @precondition(lambda self: self.handles)
    @rule(
        number=SLOT, offset=st.integers(-50, 300_000), whence=st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])
    )
    def lseek(self, number: int, offset: int, whence: int) -> None:
        if not self.is_directory(number):  # where an entry is in a directory is the file system's own affair
            self.same_on(number, "lseek", offset, whence)

    @precondition(lambda self: self.handles)
    @rule(number=SLOT, data=DATA, offset=OFFSETS)
    def write_mapped(self, number: int, data: bytes, offset: int) -> None:
        """When a mapping's write moves the mtime is the kernel's affair, so it is set afterwards."""
        if self.is_directory(number) or self.is_strangers(number):
            return
        self.same_on(number, "write_mapped", data, offset)
        self.same_on(number, "fsync")
        self.same_on(number, "futimens", 2_000)

    @precondition(lambda self: self.handles)
    @rule(number=SLOT)
    def holes_are_zeros(self, number: int) -> None:
        """Where holes are is each file system's own affair; that they are zeros is not."""
        if not self.is_directory(number):
            self.same_on(number, "false_holes")

    @precondition(lambda self: self.handles)
    @rule(number=SLOT, size=OFFSETS)
    def ftruncate(self, number: int, size: int) -> None:
        self.same_on(number, "ftruncate", size)

    @rule(who=WHO, path=PATHS, size=OFFSETS)
    def truncate(self, who: int, path: str, size: int) -> None:
        self.same(who, "truncate", Where(path), size)

    @precondition(lambda self: self.handles)
    @rule(number=SLOT, mode=ALLOCATIONS, offset=OFFSETS, size=OFFSETS)
    def fallocate(self, number: int, mode: int | None, offset: int, size: int) -> None:
        """Whether the mtime moves is told nowhere and differs between ext4 and tmpfs, so it is set afterwards, which
        the stranger could not do."""
        if self.is_directory(number) or self.is_strangers(number):
            return
        if mode is None:
            self.same_on(number, "posix_fallocate", offset, size)
        else:
            self.same_on(number, "fallocate", mode, offset, size)
        self.same_on(number, "futimens", 1_000)

    @precondition(lambda self: self.handles)
    @rule(source=SLOT, sink=SLOT, size=OFFSETS, source_offset=OFFSETS, sink_offset=OFFSETS)
    def copy_file_range(self, source: int, sink: int, size: int, source_offset: int, sink_offset: int) -> None:
        who, source_slot = self.handles[source % len(self.handles)]
        other, sink_slot = self.handles[sink % len(self.handles)]
        if who == other:
            self.same(who, "copy_file_range", Slot(source_slot), Slot(sink_slot), size, source_offset, sink_offset)

    @precondition(lambda self: self.handles)
    @rule(number=SLOT)
    def fsync(self, number: int) -> None:
        self.same_on(number, "fsync")

    @precondition(lambda self: self.handles)
    @rule(number=SLOT, mode=MODES)
    def fchmod(self, number: int, mode: int) -> None:
        self.same_on(number, "fchmod", mode)

    @precondition(lambda self: self.handles)
    @rule(number=SLOT, uid=OWNERS, gid=OWNERS)
    def fchown(self, number: int, uid: int, gid: int) -> None:
        self.same_on(number, "fchown", uid, gid)

    @precondition(lambda self: self.handles)
    @rule(number=SLOT, time_ns=st.integers(-(10**18), 15 * 10**17))
    def futimens(self, number: int, time_ns: int) -> None:
        self.same_on(number, "futimens", time_ns)

    @precondition(lambda self: self.handles)
    @rule(number=SLOT)
    def close(self, number: int) -> None:
        self.same_on(number, "close")
        self.handles.pop(number % len(self.handles))

    def is_strangers(self, number: int) -> bool:
        return self.handles[number % len(self.handles)][0] == STRANGERS

    def is_directory(self, number: int) -> bool:
        who, slot = self.handles[number % len(self.handles)]
        state = self.sides.workers[who].call("fstat", f"{slot}:0")
        return stat.S_ISDIR(int(state[0], 8))

    # -- what the user does not see --

    @rule(keep_index=REMOUNTS)
    def remount(self, keep_index: bool | None) -> None:
        """It takes long, so most turns pass."""
        if keep_index is None:
            return
        while self.handles:
            self.close(0)
        before = self.sides.workers[0].call("inodes", str(self.roots[1]))
        self.sides.drive.remount(keep_index=keep_index)
        if keep_index:
            assert self.sides.workers[0].call("inodes", str(self.roots[1])) == before

    @invariant()
    def all_is_equal(self) -> None:
        expected, found = self.sides.ask(0, self.roots, "tree", Where(""))
        differing = {path for path in {*expected, *found} if expected.get(path) != found.get(path)}
        assert not differing, {path: (found.get(path), expected.get(path)) for path in sorted(differing)}
        for number in range(len(self.handles)):
            self.same_on(number, "fstat")


@pytest.fixture(scope="module")
def sides() -> Iterator[Sides]:
    if FUSE_MISSING:
        pytest.skip("no /dev/fuse that this user may open")
    # On a disk: a host's folder in memory refuses some kinds of fallocate(2).
    with tempfile.TemporaryDirectory(prefix="s3mount-differential-", dir="/var/tmp") as folder:
        sides = Sides(Path(folder))
        yield sides
        sides.end()


@pytest.mark.timeout(0)
def test_the_drive_does_what_the_host_does(sides: Sides) -> None:
    run_state_machine_as_test(
        type("DriveMachine", (Machine,), {"sides": sides}),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            report_multiple_bugs=False,
            print_blob=True,
            derandomize=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


CHANGES = {
    "bytes": lambda root: (root / "b").write_bytes(b"other"),
    "mode": lambda root: (root / "b").chmod(0o600),
    "owner": lambda root: os.chown(root / "b", 7, 8),
    "mtime": lambda root: os.utime(root / "a", ns=(0, 5)),
    "a name": lambda root: (root / "a" / "new").touch(),
    "a link": lambda root: os.link(root / "b", root / "c"),
    "an open file": lambda root: (root / "a" / "b").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_comparison_can_fail(sides: Sides, change: str) -> None:
    """Whatever differs between the two is found; without this the machine could compare nothing."""
    machine = type("DriveMachine", (Machine,), {"sides": sides})()
    machine.start(b"data")
    machine.all_is_equal()
    CHANGES[change](machine.roots[0])
    with pytest.raises(AssertionError):
        machine.all_is_equal()
    machine.teardown()
