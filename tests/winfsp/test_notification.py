"""What Windows is told of changes that others make in the bucket: which names, what of them, in nobody's way."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s3mount.bindings import courier
from s3mount.bindings.winfsp_notification import News, record
from s3mount.drive import Drive
from s3mount.remote.refresh import Refresher
from tests.faults.bench import Bench, until
from tests.support import winfsp_driver as nt
from tests.support.winfsp_driver import Notified, Volume
from tests.support.winfsp_volume import start_volume, volume_count
from tests.winfsp.test_opening import put

CONTENT, NAMES = 0x4 | 0x8 | 0x10, 0x1 | 0x2
ADDED, REMOVED, MODIFIED = 1, 2, 3


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "state").mkdir()
    bench = Bench(tmp_path / "state")
    yield bench
    bench.close()


@pytest.fixture
def started(bench: Bench, library: None) -> Iterator[tuple[Any, Volume]]:
    session, volume = start_volume(bench.drive.filesystem)
    yield session, volume
    if session.is_started:
        session.stop()
    volume.notices.check()


@pytest.fixture
def session(started: tuple[Any, Volume]) -> Any:
    return started[0]


@pytest.fixture
def volume(started: tuple[Any, Volume]) -> Volume:
    return started[1]


def refresh(drive: Drive, *path: str) -> None:
    Refresher(drive.index, drive.lister, on_listed=lambda _: None).refresh(path, recursive=True)


def until_told(volume: Volume, *wanted: Notified) -> None:
    until(lambda: volume.notified() == list(wanted), what=f"{volume.notified()} is {wanted}")


def test_a_file_that_others_replace(bench: Bench, volume: Volume) -> None:
    bench.memory.foreign_put("Dir/File", b"1")
    assert volume.names("\\dir") == ["File"]
    bench.memory.foreign_put("Dir/File", b"two")
    refresh(bench.drive, "Dir")
    until(volume.notified)
    assert set(volume.notified()) == {Notified("\\Dir\\File", CONTENT, MODIFIED)}
    assert volume.stat("\\Dir\\File").size == 3


def test_a_file_that_others_replace_while_it_is_open_is_another_file(bench: Bench, volume: Volume) -> None:
    """Told as gone alone, it would vanish from Explorer."""
    bench.memory.foreign_put("f", b"1")
    with volume.opened("\\f", access=nt.READ_DATA):
        bench.memory.foreign_put("f", b"two")
        refresh(bench.drive)
        until(lambda: len(volume.notified()) >= 2)
    told = [entry for entry in volume.notified() if entry.filters == NAMES]
    assert told == [Notified("\\f", NAMES, REMOVED), Notified("\\f", NAMES, ADDED)]


def test_names_that_others_remove_and_add(bench: Bench, volume: Volume) -> None:
    bench.memory.foreign_put("d/a:b", b"1")
    bench.memory.foreign_put("d/kept", b"1")
    assert sorted(volume.names("\\d")) == ["a：b", "kept"]
    assert volume.notified() == []
    bench.memory.foreign_delete("d/a:b")
    bench.memory.foreign_put("d/con", b"1")
    bench.memory.foreign_put("d/sub/inner", b"1")
    refresh(bench.drive, "d")
    until(lambda: len(volume.notified()) == 3)
    assert sorted(volume.notified()) == [
        Notified("\\d\\a：b", NAMES, REMOVED),
        Notified("\\d\\sub", NAMES, ADDED),
        Notified("\\d\\ｃon", NAMES, ADDED),
    ]


def test_what_is_looked_at_for_the_first_time_is_not_new(bench: Bench, volume: Volume) -> None:
    for number in range(30):
        bench.memory.foreign_put(f"d{number % 3}/f{number}", b"1")
    for name in volume.names("\\"):
        volume.names(f"\\{name}")
    put(volume, "\\own", b"1")
    bench.drain()
    refresh(bench.drive)
    bench.memory.foreign_put("last", b"1")
    refresh(bench.drive)
    until_told(volume, Notified("\\last", NAMES, ADDED))


def test_a_name_that_others_add_is_found_whatever_its_case(bench: Bench, volume: Volume) -> None:
    assert volume.names("\\") == []
    with pytest.raises(nt.NtError):
        volume.stat("\\NEW")
    bench.memory.foreign_put("new", b"1")
    refresh(bench.drive)
    assert volume.stat("\\NEW").attributes == nt.ARCHIVE


def test_many_changes_go_together(bench: Bench, volume: Volume) -> None:
    assert volume.names("\\") == []
    for number in range(1000):
        bench.memory.foreign_put(f"f{number:04}", b"1")
    refresh(bench.drive)
    until(lambda: len(volume.notified()) == 1000)
    assert {entry.path for entry in volume.notified()} == {f"\\f{number:04}" for number in range(1000)}
    assert volume.notices.begins() < 100


def test_a_rename_that_goes_on_and_on_costs_the_news_and_no_more(
    bench: Bench, volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert volume.names("\\") == []
    volume.notices.refuse(True)
    bench.memory.foreign_put("a", b"1")
    refresh(bench.drive)
    until(lambda: "Windows was not told of 1 changes" in caplog.text, deadline_s=15.0)
    assert volume.notices.begins() >= 1
    volume.notices.refuse(False)
    bench.memory.foreign_put("b", b"1")
    refresh(bench.drive)
    until_told(volume, Notified("\\b", NAMES, ADDED))


def test_a_driver_that_does_not_answer_holds_up_nobody(
    bench: Bench, session: Any, volume: Volume, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor is the volume freed under the call."""
    is_told, goes_on = threading.Event(), threading.Event()
    functions = session._notification._functions
    begin = functions.begin

    def begin_late(file_system: int, timeout_ms: int) -> int:
        is_told.set()
        assert goes_on.wait(10.0)
        return int(begin(file_system, timeout_ms))

    monkeypatch.setattr(functions, "begin", begin_late)
    monkeypatch.setattr(courier, "END_DEADLINE_S", 0.05)
    assert volume.names("\\") == []
    bench.memory.foreign_put("a", b"1")
    refresh(bench.drive)
    assert is_told.wait(5.0)
    put(volume, "\\b", b"1")
    volume.move("\\b", "\\c")
    bench.memory.foreign_delete("a")
    refresh(bench.drive)
    assert volume.names("\\") == ["c"]
    volumes = volume_count()
    session.stop()
    assert volume_count() == volumes
    assert "the volume is left to it" in caplog.text
    goes_on.set()
    monkeypatch.undo()
    session.stop()
    assert volume_count() == volumes - 1


def test_a_record_is_as_the_driver_reads_it() -> None:
    """FSP_FSCTL_NOTIFY_INFO, fsctl.h: three numbers in 12 bytes, the name without an end, the next one at 8."""
    name = "\\é\U0001f600".encode("utf-16-le")
    assert len(name) == 8
    assert record("\\é\U0001f600", News.GONE) == b"\x14\0\0\0\x03\0\0\0\x02\0\0\0" + name + bytes(4)
    assert record("\\", News.CHANGED) == b"\x0e\0\0\0\x1c\0\0\0\x03\0\0\0\\\0\0\0"
    assert len(record("\\1", News.NEW)) == 16
