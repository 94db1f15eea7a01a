"""Attributes are asked for ahead, many at once, and recorded together: what becomes of the rest when one of them, or
the recording, goes wrong. Nobody waits for an answer that does not come, and what is not known is asked for when
needed."""

import contextlib
import shutil
import threading
import time
from pathlib import Path

import pytest

from s3mount.errors import Denied, FsError, IOFailure, NoSpace, NotFound, Unreachable
from s3mount.index.index import Index
from s3mount.model import Inode
from tests.faults.bench import Bench, until
from tests.faults.test_crash import Death, Reborn, clone
from tests.support.faulty_store import FOR_GOOD, Moment

FILES = 12
MODE = 0o100640


def _fill(bench: Bench) -> None:
    for n in range(FILES):
        bench.memory.foreign_put(f"f{n:02}", b"x", {"mode": str(MODE)})


def _known(bench: Bench) -> set[str]:
    """By the index alone."""
    root = bench.index.dentries.children(bench.fs.getattr("/").ino)
    return {name for name, ino in root if bench.index.inodes.get(ino).metadata_known}


def _all_names() -> set[str]:
    return {f"f{n:02}" for n in range(FILES)}


def _check(bench: Bench) -> None:
    for name in _all_names():
        assert bench.fs.getattr(f"/{name}").mode == MODE
    assert _known(bench) == _all_names()


@pytest.mark.parametrize("moment", list(Moment))
def test_one_head_that_fails_leaves_the_others(bench: Bench, moment: Moment) -> None:
    _fill(bench)
    bench.store.fail("head", "f05", error=Unreachable("injected"), moment=moment)
    bench.names()
    until(lambda: _known(bench) == _all_names() - {"f05"}, 5.0, "the others are known")
    # Who asks while the failing one is under way is told its error.
    until(lambda: not bench.drive._attributes._is_asking, 5.0, "it is over")
    _check(bench)
    assert bench.store.count("head", "f05") == 2


def test_one_that_is_gone_or_changed_leaves_the_others(bench: Bench) -> None:
    _fill(bench)
    gate = bench.store.hold("head", "f00")
    bench.names()
    gate.wait_arrived()
    bench.memory.foreign_delete("f03")
    bench.memory.foreign_put("f04", b"longer", {"mode": str(MODE)})
    gate.open()
    until(lambda: _known(bench) == _all_names() - {"f03"}, 5.0, "the others are known")
    with pytest.raises(NotFound):
        bench.fs.getattr("/f03")
    assert bench.read("/f04") == b"longer"
    assert bench.fs.getattr("/f00").mode == MODE


def test_who_waits_for_one_is_told_its_error_and_no_other(bench: Bench) -> None:
    _fill(bench)
    bench.store.fail("head", "f07", error=Denied("injected"), times=FOR_GOOD)
    gate = bench.store.hold("head", "f00")
    bench.names()
    gate.wait_arrived()
    outcomes: dict[str, object] = {}

    def look(name: str) -> None:
        try:
            outcomes[name] = bench.fs.getattr(f"/{name}").mode
        except FsError as error:
            outcomes[name] = type(error)

    waiting = [threading.Thread(target=look, args=(name,)) for name in ("f06", "f07")]
    for thread in waiting:
        thread.start()
    time.sleep(0.1)
    assert not outcomes, "both wait for the requests that are under way"
    gate.open()
    for thread in waiting:
        thread.join(5.0)
    assert outcomes["f06"] == MODE
    assert outcomes["f07"] is IOFailure
    assert bench.store.count("head", "f06") == 1


@pytest.mark.parametrize("error", [NoSpace("injected"), IOFailure("injected"), ZeroDivisionError()])
def test_what_cannot_be_recorded_is_asked_for_again(
    bench: Bench, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that fails undoes all that came with it, and whoever waits asks for itself."""
    _fill(bench)
    update, refused = bench.index.inodes.update, threading.Event()

    def refuse_one(inode: Inode) -> None:
        if inode.remote_key == "f02" and inode.metadata_known and not refused.is_set():
            refused.set()
            raise error
        update(inode)

    monkeypatch.setattr(bench.index.inodes, "update", refuse_one)
    bench.names()
    assert refused.wait(5.0)
    _check(bench)
    until(lambda: "stumbled" in caplog.text, 5.0, "the log tells")  # once nobody waits any more
    caplog.clear()


def test_close_waits_for_none_that_nobody_wants(bench: Bench) -> None:
    _fill(bench)
    gate = bench.store.hold("head", "f00")
    bench.names()
    gate.wait_arrived()
    closing = threading.Thread(target=bench.drive.close)
    closing.start()
    time.sleep(0.1)
    gate.open()
    closing.join(5.0)
    assert not closing.is_alive()
    assert bench.store.count("head") <= FILES + 1
    bench.start()
    _check(bench)


def test_what_is_wanted_after_the_close_is_nobodys(bench: Bench) -> None:
    """A walk that goes on while the drive is being closed must neither fail nor keep the asking thread busy."""
    _fill(bench)
    gate = bench.store.hold("head", "f00")
    bench.names()
    gate.wait_arrived()
    reader, inos = bench.drive._attributes, [ino for _, ino in bench.index.dentries.children(bench.fs.getattr("/").ino)]
    assert not reader.close(0.0)
    reader.prefetch(inos)
    gate.open()
    until(lambda: reader.close(0.0), 5.0, "the thread ends")
    reader.prefetch(inos)


@pytest.mark.parametrize("at", [0, FILES // 2, FILES - 1])
@pytest.mark.parametrize("moment", list(Moment))
def test_killed_with_answers_that_were_not_recorded(bench: Bench, tmp_path: Path, at: int, moment: Moment) -> None:
    _fill(bench)
    gate = bench.store.hold("head", f"f{at:02}", moment=moment)
    bench.names()
    gate.wait_arrived()
    with bench.index.locked():
        shutil.copytree(bench.folder, tmp_path / "left", ignore=shutil.ignore_patterns("lock"))
    gate.open()
    with contextlib.closing(Reborn(Death("", tmp_path / "left", clone(bench.memory), 0))) as reborn:
        _check(reborn)
        assert reborn.index.uuid == bench.index.uuid


def test_a_move_with_answers_that_fail(bench: Bench) -> None:
    """What a moved directory's files are is asked for ahead, and again by each whose answer was lost."""
    for n in range(FILES):
        bench.memory.foreign_put(f"d/f{n:02}", b"x", {"mode": str(MODE), "color": "red"})
    bench.store.fail("head", error=Unreachable("injected"), moment=Moment.AFTER, times=FILES // 2)
    bench.fs.rename("/d", "/e")
    bench.drain(30.0)
    objects = bench.memory.objects()
    files = {key: item for key, item in objects.items() if not key.endswith("/")}
    assert files.keys() == {f"e/f{n:02}" for n in range(FILES)}
    assert all(item.metadata["color"] == "red" for item in files.values())


def test_what_is_recorded_together_survives_kill_9(bench: Bench, tmp_path: Path) -> None:
    _fill(bench)
    bench.names()
    until(lambda: _known(bench) == _all_names(), 5.0, "all are known")
    with bench.index.locked():
        shutil.copytree(bench.folder, tmp_path / "left", ignore=shutil.ignore_patterns("lock"))
    copy = Index(tmp_path / "left" / "index.sqlite", bench.drive.filesystem._context.clock)
    root = copy.dentries.children(bench.fs.getattr("/").ino)
    assert all(copy.inodes.get(ino).metadata_known for _, ino in root)
    copy.close()
