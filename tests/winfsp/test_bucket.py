"""What the bucket and other systems have to do with a drive of Windows: failures, and what each sees of the other."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3mount.bindings.winfsp_attributes import XATTR, decode
from s3mount.errors import Denied, Unreachable
from s3mount.vfs.context import VfsOptions
from tests.faults.bench import Bench, until
from tests.support import winfsp_driver as nt
from tests.support.faulty_store import FOR_GOOD
from tests.support.winfsp_driver import Volume
from tests.support.winfsp_volume import start_volume
from tests.winfsp.test_opening import content, put, status_of


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "state").mkdir()
    bench = Bench(tmp_path / "state", vfs=VfsOptions(offline_timeout_s=1.0))
    yield bench
    bench.close()


@pytest.fixture
def volume(bench: Bench, library: None) -> Iterator[Volume]:
    session, volume = start_volume(bench.drive.filesystem)
    yield volume
    session.stop()


def test_flush_tells_of_an_upload_that_was_refused(bench: Bench, volume: Volume) -> None:
    """P4: the one call that can."""
    bench.store.fail("put", "a", error=Denied("no permission"), times=FOR_GOOD)
    put(volume, "\\a", b"1")
    until(lambda: bench.drive.writeback.backlog().parked == 1)
    with volume.opened("\\a") as handle:
        assert status_of(volume.flush, handle) == 0xC0000185
        assert status_of(volume.flush, None) == 0xC0000185
    bench.store.heal()
    bench.drain()
    with volume.opened("\\a") as handle:
        volume.flush(handle)


@pytest.mark.parametrize(
    ("error", "status"), [(Unreachable("no route"), 0xC00000C4), (Denied("no permission"), nt.ACCESS_DENIED)]
)
def test_a_read_tells_why_it_failed(bench: Bench, volume: Volume, error: Exception, status: int) -> None:
    bench.memory.foreign_put("a", b"content")
    bench.store.fail("get", "a", error=error, times=FOR_GOOD)
    with volume.opened("\\a", access=nt.READ_DATA) as handle:
        assert status_of(volume.read, handle, 0, 7) == status
    bench.store.heal()
    assert content(volume, "\\a") == b"content"


def test_an_object_of_another_tool_is_due_for_backup(bench: Bench, volume: Volume) -> None:
    bench.memory.foreign_put("a", b"content")
    assert volume.stat("\\a").attributes == nt.ARCHIVE
    with volume.opened("\\a", access=nt.WRITE_ATTRIBUTES) as handle:
        volume.set_basic(handle, attributes=nt.NORMAL)
    assert volume.stat("\\a").attributes == 0


def test_samba_and_windows_see_the_same_attributes(bench: Bench, volume: Volume) -> None:
    put(volume, "\\a", b"1", nt.HIDDEN)
    value = bench.fs.getxattr("/a", XATTR)
    assert decode(value).bits == nt.HIDDEN | nt.ARCHIVE
    bench.fs.setxattr("/a", XATTR, b"0x5")
    assert volume.stat("\\a").attributes == nt.READONLY | nt.SYSTEM


def test_a_file_made_on_windows_looks_like_one_of_linux(bench: Bench, volume: Volume) -> None:
    put(volume, "\\a", b"1")
    with volume.opened("\\d", nt.CREATE, options=nt.DIRECTORY_FILE):
        pass
    assert [oct(bench.fs.getattr(path).mode) for path in ("/a", "/d")] == ["0o100644", "0o40755"]


def test_a_deadline_ends_every_wait(bench: Bench, volume: Volume) -> None:
    bench.memory.foreign_put("a", b"content")
    assert volume.names("\\") == ["a"]
    gate = bench.store.hold("get", "a")
    with volume.opened("\\a", access=nt.READ_DATA) as handle:
        assert status_of(volume.read, handle, 0, 7) == 0xC00000C4
    gate.open()


def test_names_and_closing_do_not_wait_for_the_bucket(bench: Bench, volume: Volume) -> None:
    put(volume, "\\a", b"1")
    bench.drain()
    gates = [bench.store.hold(kind) for kind in ("put", "copy", "delete")]
    put(volume, "\\b", b"2")
    volume.move("\\a", "\\c")
    volume.delete("\\b")
    with volume.opened("\\c", access=nt.WRITE_ATTRIBUTES) as handle:
        volume.set_basic(handle, attributes=nt.HIDDEN)
    assert volume.names("\\") == ["c"]
    for gate in gates:
        gate.open()
    bench.drain()
    assert set(bench.memory.objects()) == {"c"}


@pytest.mark.parametrize("change", ["write", "set_size", "overwrite"])
def test_what_changed_is_due_even_if_the_file_was_never_closed(bench: Bench, volume: Volume, change: str) -> None:
    """A crash must not leave changed bytes that the next backup passes over."""
    put(volume, "\\a", b"12345")
    with volume.opened("\\a", access=nt.WRITE_ATTRIBUTES) as handle:
        volume.set_basic(handle, attributes=nt.NORMAL)
    seen: list[tuple[int, int]] = []

    def note(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def noted(*arguments: object, **more: object) -> object:
            seen.append((volume_of_now.stat("\\a").attributes, volume_of_now.stat("\\a").size))
            return call(*arguments, **more)

        return noted

    session, volume_of_now = start_volume(bench.drive.filesystem)
    filesystem = bench.drive.filesystem
    with pytest.MonkeyPatch.context() as patch:
        for name in ("write", "setattr"):
            patch.setattr(filesystem, name, note(name, getattr(filesystem, name)))
        if change == "overwrite":
            handle = volume.create("\\a", nt.OVERWRITE)
        else:
            handle = volume.create("\\a")
            volume.write(handle, 0, b"x") if change == "write" else volume.set_size(handle, 1)
    assert seen[0] == (nt.ARCHIVE, 5)
    volume.close(handle)
    session.stop()
