"""What s3mount/host promises, of the system that runs the test: on Linux in `scripts/test`, on Windows where there is
one (docs/windows.md)."""

import contextlib
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3mount import host

MIB = 1 << 20
RW = os.O_RDWR


@pytest.fixture
def number(tmp_path: Path) -> Iterator[int]:
    opened = host.open_sparse(tmp_path / "block", RW | os.O_CREAT)
    yield opened
    os.close(opened)


def run(code: str, *arguments: object) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


# -- files -------------------------------------------------------------------------------------------------------


def test_bytes_are_kept_as_they_are_at_their_offset(number: int) -> None:
    assert host.pwrite(number, b"a\r\nb\nc\x1a", 5) == 7
    assert host.pwrite(number, memoryview(b"xyz")[1:], 1) == 2
    assert host.pwrite(number, bytearray(b"!"), (5 << 30) + 1) == 1
    assert host.pread(number, 100, 0)[:12] == b"\0yz\0\0a\r\nb\nc\x1a"
    assert host.pread(number, 2, (5 << 30) + 1) == b"!"
    assert host.pread(number, 2, (5 << 30) + 2) == b""
    assert host.pread(number, 0, 0) == b""
    assert os.fstat(number).st_size == (5 << 30) + 2


def test_two_threads_do_not_meet_at_one_place(number: int) -> None:
    host.pwrite(number, b"0" * 4096 + b"1" * 4096, 0)
    wrong: list[bytes] = []

    def read(place: int) -> None:
        for _ in range(500):
            data = host.pread(number, 4096, place * 4096)
            if data != b"%d" % place * 4096:
                wrong.append(data)

    threads = [threading.Thread(target=read, args=(place,)) for place in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_truncating_lengthens_with_zeros_and_cuts(number: int) -> None:
    host.pwrite(number, b"abc", 0)
    host.truncate(number, 64 * MIB)
    assert host.pread(number, 4, 1) == b"bc\0\0"
    host.truncate(number, 2)
    host.truncate(number, 4)
    assert host.pread(number, 9, 0) == b"ab\0\0"


def test_a_hole_reads_as_zeros_or_is_refused(number: int) -> None:
    host.pwrite(number, b"x" * (3 * MIB), 0)
    try:
        host.punch_hole(number, MIB, 2 * MIB)
    except OSError:
        assert host.pread(number, 3 * MIB, 0) == b"x" * (3 * MIB)
    else:
        assert host.pread(number, 3 * MIB, 0) == b"x" * MIB + bytes(MIB) + b"x" * MIB


def test_allocating_changes_nothing_that_is_seen(number: int) -> None:
    host.pwrite(number, b"abc", 0)
    with contextlib.suppress(OSError):
        host.allocate(number, 0, MIB)
    assert host.pread(number, 9, 0) == b"abc"


@pytest.mark.parametrize("open_", [host.open_shared, host.open_sparse])
def test_an_open_file_can_be_renamed_and_removed(tmp_path: Path, open_: Callable[[Path, int], int]) -> None:
    number = open_(tmp_path / "file", RW | os.O_CREAT)
    try:
        host.pwrite(number, b"here", 0)
        os.rename(tmp_path / "file", tmp_path / "moved")
        assert host.pread(number, 4, 0) == b"here"
        os.unlink(tmp_path / "moved")
        assert host.pwrite(number, b"still", 0) == 5
    finally:
        os.close(number)
    assert os.listdir(tmp_path) == []


def test_flags_of_open_mean_what_they_mean(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError) as missing:
        host.open_shared(path, RW)
    assert missing.value.filename in (path, str(path))
    os.close(host.open_shared(path, RW | os.O_CREAT | os.O_EXCL))
    with pytest.raises(FileExistsError):
        host.open_shared(path, RW | os.O_CREAT | os.O_EXCL)
    path.write_bytes(b"abc")
    with open(path, "ab", opener=host.open_shared) as file:
        file.write(b"d\n")
    assert path.read_bytes() == b"abcd\n"
    os.close(host.open_shared(path, RW | os.O_CREAT))
    assert path.read_bytes() == b"abcd\n"
    reader = host.open_shared(path, os.O_RDONLY)
    with pytest.raises(OSError):  # noqa: PT011 - which one differs
        host.pwrite(reader, b"x", 0)
    os.close(reader)
    os.close(host.open_shared(path, RW | os.O_CREAT | os.O_TRUNC))
    assert path.read_bytes() == b""


def test_two_processes_write_after_each_other(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open(path, "ab", opener=host.open_shared) as log, open(path, "ab", opener=host.open_shared) as again:
        code = "import sys; print('child', flush=True); sys.stdin.read(); print('late')"
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=log) as child:
            while not path.read_bytes().endswith(b"\n"):
                assert child.poll() is None
            again.write(b"parent, at length\n")
            again.flush()
            child.communicate()
    assert path.read_text().split() == ["child", "parent,", "at", "length", "late"]


def test_what_was_opened_is_not_inherited(tmp_path: Path) -> None:
    number = host.open_shared(tmp_path / "file", RW | os.O_CREAT)
    assert not os.get_inheritable(number)
    os.close(number)


def test_a_draft_takes_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "draft").write_bytes(b"new")
    (tmp_path / "file").write_bytes(b"old")
    host.replace(tmp_path / "draft", tmp_path / "file")
    host.sync_folder(tmp_path)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]
    with pytest.raises(FileNotFoundError):
        host.replace(tmp_path / "draft", tmp_path / "file")


def test_syncing_works(tmp_path: Path, number: int) -> None:
    host.fdatasync(number)
    assert host.sync_filesystem(tmp_path) in (True, False)


@pytest.mark.skipif(sys.platform == "win32", reason="of POSIX")
def test_on_macos_a_sync_goes_through_the_disk_s_cache(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsync(2) alone does not, there; a file system that knows no better is synced by it."""
    from s3mount.host import posix

    asked: list[int] = []
    synced: list[int] = []

    def fcntl_of_macos(_number: int, command: int) -> int:
        asked.append(command)
        if refusal:
            raise OSError(refusal, "refused")
        return 0

    refusal = 0
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(posix.fcntl, "fcntl", fcntl_of_macos)
    monkeypatch.setattr(posix.os, "fsync", synced.append)
    posix.fdatasync(number)
    posix.sync_folder(tmp_path)
    assert (asked, synced) == ([51, 51], [])
    refusal = errno.ENOTSUP
    posix.fdatasync(number)
    assert synced == [number]
    refusal = errno.EIO
    with pytest.raises(OSError, match="refused"):
        posix.fdatasync(number)


# -- locks -------------------------------------------------------------------------------------------------------

HOLDER = """
import os, sys
from s3mount import host
number = host.open_shared(sys.argv[1], os.O_RDWR | os.O_CREAT)
print(int(host.lock_exclusively(number)), flush=True)
sys.stdin.read()
os._exit(0)
"""


def test_a_lock_has_one_holder_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_bytes(b"123\n")
    with run(HOLDER, path) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline().strip() == b"1"
        number = host.open_shared(path, RW)
        assert not host.lock_exclusively(number)
        assert host.pread(number, 32, 0) == b"123\n"
        holder.kill()
        holder.wait()
        assert host.lock_exclusively(number)
        other = host.open_shared(path, RW)
        assert not host.lock_exclusively(other)
        os.close(number)
        assert host.lock_exclusively(other)
        os.close(other)


# -- who, when, processes ----------------------------------------------------------------------------------------


def test_the_boot_has_one_name_in_all_processes() -> None:
    with run("import sys; from s3mount import host; sys.stdout.buffer.write(host.boot_identity())") as other:
        assert other.stdout is not None
        assert other.stdout.read() == host.boot_identity() != b""


def test_a_process_is_known_by_its_start(tmp_path: Path) -> None:
    own = host.start_time(os.getpid())
    assert own
    child = run("input()")
    started = host.start_time(child.pid)
    assert started
    assert started == host.start_time(child.pid)
    child.kill()
    child.wait()
    # The object of an ended process stays while somebody holds it, as a zombie does.
    assert host.start_time(child.pid) is None
    child.communicate()
    assert host.start_time(os.getpid()) == own


def test_a_file_made_here_is_this_user_s(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert (tmp_path / "file").stat().st_uid == host.effective_uid()
    assert all(0 <= each < 1 << 32 for each in host.own_ids())


CHILD = """
import os, sys
from s3mount import host
number = host.handed_down(int(sys.argv[1]))
assert not os.get_inheritable(number)
os.write(number, b"said\\n")
"""


def test_a_detached_child_says_something_and_ends() -> None:
    read_end, write_end = os.pipe()
    given, how = host.detached(write_end)
    null = subprocess.DEVNULL
    words = [sys.executable, "-c", CHILD, str(given)]
    with subprocess.Popen(words, stdin=null, stdout=null, stderr=null, **how) as child:
        os.close(write_end)
        assert host.wait_readable(read_end, 30)
        assert os.read(read_end, 100) == b"said\n"
        assert child.wait(30) == 0
    # Nobody has the other end any more: the end of the file can be read at once.
    assert host.wait_readable(read_end, 5)
    assert os.read(read_end, 100) == b""
    os.close(read_end)


def test_a_silent_pipe_is_waited_for_no_longer_than_said() -> None:
    read_end, write_end = os.pipe()
    assert not host.wait_readable(read_end, 0.1)
    os.close(write_end)
    os.close(read_end)


def test_letters_that_are_taken() -> None:
    assert ("C" in host.taken_letters()) is (sys.platform == "win32")
