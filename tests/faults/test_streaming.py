"""Large files: parts go up while the file is written, an interrupted upload goes on, and never a mixture (P1, P5, P8).

Contents are stamps: each piece holds its number and the round that wrote it, so that bytes of two moments in one object
are told apart. A piece stands for a MiB: with parts of 8 pieces all is as with parts of 8 MiB, and an eighth of the
work. tests/network and tests/acceptance have parts as they are.
"""

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from s3mount.errors import Rejected
from s3mount.model import ETag, Fh, ObjectKey
from s3mount.store.base import StoreProperties
from s3mount.writeback import multipart, scheduler, steps, streaming, uploader
from tests.faults.bench import KIB, Bench, until
from tests.faults.test_crash import Death, clone, reborn
from tests.support import memory_store
from tests.support.faulty_store import FOR_GOOD, Moment

Make = Callable[..., Bench]
PIECE = 128 * KIB
PART_BYTES = 8 * PIECE


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (multipart, steps, streaming, uploader):
        monkeypatch.setattr(module, "PART_BYTES", PART_BYTES)
    monkeypatch.setattr(streaming, "PASSED_BYTES", PIECE)
    monkeypatch.setattr(memory_store, "StoreProperties", lambda: StoreProperties(part_bytes_min=PART_BYTES))


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "STREAM_LOOK_NS", 10**7)
    monkeypatch.setattr(scheduler, "STREAM_AFTER_NS", 0)


def stamp(number: int, turn: int = 0) -> bytes:
    """The number-th piece as it is written in a turn."""
    return (number.to_bytes(4, "big") + turn.to_bytes(4, "big")) * (PIECE // 8)


def stamps(count: int, turn: int = 0, first: int = 0) -> bytes:
    return b"".join(stamp(number, turn) for number in range(first, first + count))


def write_pieces(bench: Bench, fh: Fh, count: int, *, first: int = 0, turn: int = 0) -> None:
    for number in range(first, first + count):
        bench.fs.write(fh, number * PIECE, stamp(number, turn))


def sent(bench: Bench) -> int:
    """How many parts S3 has taken for uploads that are on record."""
    return sum(len(bench.index.multiparts.parts(upload.upload_id)) for upload in bench.index.multiparts.all())


def death(bench: Bench, folder: Path) -> Death:
    with bench.index.locked():
        shutil.copytree(bench.folder, folder)
        return Death("", folder, clone(bench.memory), 0)


@contextmanager
def after_death(bench: Bench, folder: Path) -> Iterator[Bench]:
    with reborn(death(bench, folder)) as again:
        yield again


# -- streaming ---------------------------------------------------------------------------------------------------------


def test_parts_go_up_while_the_file_is_open_and_only_the_rest_at_the_close(bench: Bench) -> None:
    fh = bench.create("/big")
    write_pieces(bench, fh, 50)
    until(lambda: sent(bench) == 6)
    assert not bench.bucket()
    backlog = bench.drive.writeback.backlog()
    bench.fs.flush(fh)
    assert bench.drive.writeback.backlog().size == 2 * PIECE, backlog
    before = bench.store.count("upload_part")
    bench.close_file(fh)
    bench.check({"big": stamps(50)})
    assert bench.store.count("upload_part") == before + 1
    assert bench.store.count("create_multipart") == bench.store.count("complete_multipart") == 1


def test_the_object_has_the_times_of_the_end_though_it_was_begun_before(bench: Bench) -> None:
    fh = bench.create("/big")
    write_pieces(bench, fh, 50)
    until(lambda: sent(bench) == 6)
    bench.close_file(fh)
    bench.fs.utimens("/big", 5 * 10**18 // 3, 10**18 // 3)
    bench.check({"big": stamps(50)})
    assert bench.memory.objects()[ObjectKey("big")].metadata["mtime"].startswith("333333333.33333")


@pytest.mark.parametrize("count", [1, 31, 32])
def test_a_file_of_few_parts_is_left_alone_until_it_is_closed(bench: Bench, count: int) -> None:
    fh = bench.create("/small")
    write_pieces(bench, fh, count)
    time.sleep(0.2)
    assert not bench.store.count("create_multipart")
    bench.close_file(fh)
    bench.check({"small": stamps(count)})


def test_a_file_that_was_lengthened_first_waits_for_the_close(bench: Bench) -> None:
    fh = bench.create("/big")
    bench.fs.truncate("/big", 60 * PIECE)
    write_pieces(bench, fh, 50)
    time.sleep(0.2)
    assert not bench.store.count("create_multipart")
    bench.close_file(fh)
    bench.check({"big": stamps(50) + bytes(10 * PIECE)})


def test_a_write_into_a_sent_part_sends_it_again_and_no_other(bench: Bench) -> None:
    fh = bench.create("/big")
    write_pieces(bench, fh, 50)
    until(lambda: sent(bench) == 6)
    bench.fs.write(fh, 9 * PIECE, b"edit")
    assert sent(bench) == 5
    time.sleep(0.1)  # ten looks at what could be sent: this one waits for the close
    assert sent(bench) == 5
    bench.close_file(fh)
    data = stamps(50)
    bench.check({"big": data[: 9 * PIECE] + b"edit" + data[9 * PIECE + 4 :]})
    assert bench.store.count("upload_part") == 8


@pytest.mark.parametrize("size", [0, 3 * PIECE, 16 * PIECE, 45 * PIECE])
def test_a_truncate_into_sent_parts_and_new_bytes_after_it(bench: Bench, size: int) -> None:
    fh = bench.create("/big")
    write_pieces(bench, fh, 50)
    until(lambda: sent(bench) == 6)
    bench.fs.truncate("/big", size)
    bench.fs.truncate("/big", 50 * PIECE)
    bench.close_file(fh)
    bench.check({"big": stamps(50)[:size] + bytes(50 * PIECE - size)})


@pytest.mark.parametrize("moment", list(Moment))
def test_a_write_into_a_part_in_flight_makes_no_mixture(bench: Bench, moment: Moment) -> None:
    gate = bench.store.hold("upload_part", "big", moment=moment, skip=2)
    fh = bench.create("/big")
    write_pieces(bench, fh, 50)
    gate.wait_arrived()
    write_pieces(bench, fh, 50, turn=1)
    gate.open()
    bench.close_file(fh)
    bench.check({"big": stamps(50, turn=1)})


def test_a_truncate_over_a_part_in_flight_makes_no_mixture(bench: Bench) -> None:
    gate = bench.store.hold("upload_part", "big", moment=Moment.AFTER, skip=5)
    fh = bench.create("/big")
    write_pieces(bench, fh, 50)
    gate.wait_arrived()
    bench.fs.truncate("/big", 20 * PIECE)
    bench.fs.truncate("/big", 50 * PIECE)
    gate.open()
    bench.close_file(fh)
    bench.check({"big": stamps(20) + bytes(30 * PIECE)})


def test_a_write_into_a_part_that_waits_to_be_copied_makes_no_mixture(
    make_bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(multipart, "PARTS_IN_FLIGHT", 1)  # so that the second part waits for its thread
        bench = make_bench()
    bench.write("/big", stamps(24))
    bench.drain()
    gate = bench.store.hold("copy_part")
    fh = bench.open("/big")
    write_pieces(bench, fh, 1, first=20, turn=1)
    bench.fs.flush(fh)
    bench.drive.writeback.hurry()
    gate.wait_arrived()
    write_pieces(bench, fh, 1, first=9, turn=1)
    gate.open()
    bench.close_file(fh)
    bench.check({"big": stamps(9) + stamp(9, 1) + stamps(10, first=10) + stamp(20, 1) + stamps(3, first=21)})


def test_a_truncate_while_parts_wait_to_be_sent(make_bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(multipart, "PARTS_IN_FLIGHT", 1)
        bench = make_bench()
    gate = bench.store.hold("upload_part")
    bench.write("/big", stamps(40))
    gate.wait_arrived()
    bench.fs.truncate("/big", 20 * PIECE)
    gate.open()
    bench.check({"big": stamps(20)})


def test_a_file_renamed_after_parts_were_sent_is_not_sent_twice(bench: Bench) -> None:
    fh = bench.create("/.big.tmp")
    write_pieces(bench, fh, 50)
    until(lambda: sent(bench) == 6)
    bench.fs.rename("/.big.tmp", "/big")
    bench.close_file(fh)
    bench.check({"big": stamps(50)})
    assert bench.store.count("upload_part") == 7
    assert bench.store.count("complete_multipart", ".big.tmp") == 1


def test_a_renamed_file_leaves_its_old_name_to_a_new_one(bench: Bench) -> None:
    fh = bench.create("/a")
    write_pieces(bench, fh, 50)
    until(lambda: sent(bench) == 6)
    bench.fs.rename("/a", "/b")
    bench.write("/a", b"new")
    bench.close_file(fh)
    bench.check({"a": b"new", "b": stamps(50)})


def test_a_renamed_file_whose_old_key_somebody_else_took(bench: Bench) -> None:
    fh = bench.create("/a")
    write_pieces(bench, fh, 50)
    until(lambda: sent(bench) == 6)
    bench.fs.rename("/a", "/b")
    bench.memory.foreign_put("a", b"theirs")
    bench.close_file(fh)
    bench.drain()
    assert bench.bucket() == {"a": b"theirs", "b": stamps(50)}
    assert not bench.memory.uploads()


def test_a_directory_renamed_above_a_file_whose_parts_were_sent(bench: Bench) -> None:
    bench.mkdir("/d")
    fh = bench.create("/d/big")
    write_pieces(bench, fh, 50)
    until(lambda: sent(bench) == 6)
    bench.fs.rename("/d", "/e")
    bench.close_file(fh)
    bench.check({"e/big": stamps(50)})
    assert bench.object_keys() == {"e/", "e/big"}


def test_an_unlinked_file_s_parts_are_taken_out_of_the_bucket(bench: Bench) -> None:
    fh = bench.create("/big")
    write_pieces(bench, fh, 50)
    until(lambda: sent(bench) == 6)
    bench.fs.unlink("/big")
    until(lambda: not bench.memory.uploads())
    write_pieces(bench, fh, 10, first=50)
    bench.close_file(fh)
    bench.check({})


def test_a_file_larger_than_the_cache_streams_and_keeps_the_limit(make_bench: Make) -> None:
    bench = make_bench(cache_bytes=64 * PIECE)
    fh = bench.create("/big")
    highest = 0
    for number in range(150):
        bench.fs.write(fh, number * PIECE, stamp(number))
        highest = max(highest, bench.drive.cache.used_bytes)
    bench.close_file(fh)
    assert highest <= 64 * PIECE
    bench.drain()
    assert bench.store.count("complete_multipart") <= 4, "the cache was emptied for a few writes at a time"
    assert bench.store.count("copy_part") <= 3 * 150 / 8
    assert bench.bucket() == {"big": stamps(150)}
    assert bench.read("/big") == stamps(150)
    assert not bench.memory.uploads()


@pytest.mark.parametrize("moment", list(Moment))
def test_parts_that_fail_while_streaming_are_sent_later(bench: Bench, moment: Moment) -> None:
    for operation in ("create_multipart", "upload_part"):
        bench.store.fail(operation, moment=moment)
    fh = bench.create("/big")
    write_pieces(bench, fh, 50)
    until(lambda: bench.store.count("create_multipart"))
    bench.close_file(fh)
    bench.drain()
    assert bench.bucket() == {"big": stamps(50)}
    bench.restart()
    until(lambda: not bench.memory.uploads())


# -- going on after a failure or a death -------------------------------------------------------------------------------


def test_after_a_failure_only_what_is_missing_is_sent(bench: Bench) -> None:
    rule = bench.store.fail("upload_part", skip=7, times=FOR_GOOD)
    bench.write("/big", stamps(80))
    until(lambda: bench.store.count("upload_part") >= 8)
    until(lambda: not bench.drive.writeback.backlog().uploading)
    arrived = sent(bench)
    assert arrived >= 7
    rule.times = 0
    before = bench.store.count("upload_part")
    bench.check({"big": stamps(80)})
    assert bench.store.count("upload_part") - before == 10 - arrived
    assert bench.store.count("create_multipart") == bench.store.count("list_parts") == 1


@pytest.mark.parametrize("is_closed", [True, False])
def test_after_kill_the_upload_goes_on(bench: Bench, tmp_path: Path, is_closed: bool) -> None:
    gate = bench.store.hold("upload_part", "big", skip=6)
    fh = bench.create("/big")
    write_pieces(bench, fh, 80)
    bench.fs.flush(fh)
    if is_closed:
        bench.fs.release(fh)
    gate.wait_arrived()
    until(lambda: sent(bench) >= 6)
    with after_death(bench, tmp_path / "death") as again:
        arrived = sent(again)
        again.check({"big": stamps(80)})
        assert again.store.count("upload_part") == 10 - arrived
        assert not again.store.count("create_multipart")
        assert again.store.count("complete_multipart") == 1
    gate.open()


def test_after_kill_a_part_changed_since_is_sent_again(bench: Bench, tmp_path: Path) -> None:
    fh = bench.create("/big")
    write_pieces(bench, fh, 50)
    until(lambda: sent(bench) == 6)
    bench.fs.flush(fh)
    bench.fs.write(fh, 9 * PIECE, b"edit")  # not flushed: it survives in the cache file, as dirty as before
    data = stamps(50)
    with after_death(bench, tmp_path / "death") as again:
        again.check({"big": data[: 9 * PIECE] + b"edit" + data[9 * PIECE + 4 :]})
        assert again.store.count("upload_part") == 2


def test_an_upload_that_s3_forgot_starts_over(bench: Bench, tmp_path: Path) -> None:
    fh = bench.create("/big")
    write_pieces(bench, fh, 50)
    until(lambda: sent(bench) == 6)
    bench.fs.flush(fh)
    left = death(bench, tmp_path / "death")
    for upload_id, upload in left.memory.uploads().items():
        left.memory.abort_multipart(upload.key, upload_id)
    with reborn(left) as again:
        again.check({"big": stamps(50)})


def test_a_part_that_s3_lost_or_has_otherwise_is_sent_again(bench: Bench, tmp_path: Path) -> None:
    fh = bench.create("/big")
    write_pieces(bench, fh, 50)
    until(lambda: sent(bench) == 6)
    bench.fs.flush(fh)
    left = death(bench, tmp_path / "death")
    (upload,) = left.memory.uploads().values()
    del upload.parts[2]
    upload.parts[4] = b"other"
    with reborn(left) as again:
        again.check({"big": stamps(50)})
        assert again.store.count("upload_part") == 3


def test_a_complete_whose_reply_the_process_did_not_live_to_see(bench: Bench, tmp_path: Path) -> None:
    gate = bench.store.hold("complete_multipart", "big", moment=Moment.AFTER)
    bench.write("/big", stamps(50))
    gate.wait_arrived()
    with after_death(bench, tmp_path / "death") as again:
        again.check({"big": stamps(50)})
        assert not again.store.count("upload_part")
        assert not again.store.count("create_multipart")
    gate.open()


def test_after_power_loss_parts_prove_nothing(bench: Bench, tmp_path: Path) -> None:
    fh = bench.create("/big")
    write_pieces(bench, fh, 50)
    until(lambda: sent(bench) == 6)
    bench.fs.flush(fh)
    bench.fs.fsync(fh)
    left = death(bench, tmp_path / "death")
    mark = next(path for path in (left.folder / "cache").iterdir() if path.is_file() and b"\n" in path.read_bytes())
    mark.write_bytes(mark.read_bytes().split(b"\n")[0] + b"\nanother boot")
    with reborn(left) as again:
        again.check({"big": stamps(50)})
        assert again.store.count("upload_part") == 7


# -- uploads whose id was lost -----------------------------------------------------------------------------------------


def test_an_upload_begun_but_not_recorded_is_found_and_aborted_and_no_other(bench: Bench, tmp_path: Path) -> None:
    for name in ("big", "bigger"):
        bench.memory.create_multipart(ObjectKey(name), metadata={}, content_type="")
    old = bench.memory.uploads()
    for name, upload in old.items():
        object.__setattr__(bench.memory._uploads[name], "initiated_ns", upload.initiated_ns - 3600 * 10**9)
    gate = bench.store.hold("create_multipart", "big", moment=Moment.AFTER)
    bench.write("/big", stamps(10))
    gate.wait_arrived()
    assert len(bench.memory.uploads()) == 3
    with after_death(bench, tmp_path / "death") as again:
        again.drain()
        until(lambda: again.memory.uploads().keys() == old.keys())
        assert again.bucket() == {"big": stamps(10)}
        again.drive.close()
        again.start()
        until(lambda: not again.index.multiparts.intents())
        assert again.memory.uploads().keys() == old.keys()
    gate.open()


# -- chance ------------------------------------------------------------------------------------------------------------


def test_random_writers_and_deaths_never_make_a_mixture(make_bench: Make, tmp_path: Path) -> None:
    """Every object that ever appears is what the file was at one moment."""
    seed = os.environ.get("S3MOUNT_TEST_SEED") or str(random.randrange(1 << 32))
    print("S3MOUNT_TEST_SEED =", seed)
    dice = random.Random(seed)
    bench = make_bench(cache_bytes=96 * PIECE)
    moments: set[bytes] = {b""}
    seen: list[bytes] = []

    def watch(operation: str, key: str, moment: Moment) -> None:
        if operation == "complete_multipart" and moment is Moment.AFTER:
            seen.append(bench.memory.objects()[key].body)  # type: ignore[index]
        if operation in ("upload_part", "complete_multipart") and dice.random() < 0.05:
            bench.store.fail(operation, key, moment=dice.choice(list(Moment)))

    bench.store.watch = watch
    content = bytearray()
    fh = bench.create("/big")
    for turn in range(1, 13):
        first = dice.choice((0, len(content) // PIECE, dice.randrange(len(content) // PIECE + 1)))
        for number in range(first, first + dice.randrange(1, 30)):
            if number >= 64:
                break
            bench.fs.write(fh, number * PIECE, stamp(number, turn))
            content[number * PIECE : (number + 1) * PIECE] = stamp(number, turn)
            moments.add(hash_of(content))
        if dice.random() < 0.3:
            size = dice.randrange(len(content) + PIECE)
            bench.fs.truncate("/big", size)
            content = content[:size] + bytes(max(0, size - len(content)))
            moments.add(hash_of(content))
        time.sleep(dice.random() * 0.05)
        if dice.random() < 0.3:
            bench.close_file(fh)
            with after_death(bench, tmp_path / f"death{turn}") as again:
                again.check({"big": bytes(content)})
            fh = bench.open("/big")
    # However slow the machine is, something goes up in parts.
    bench.fs.write(fh, 63 * PIECE, stamp(63, 13))
    content.extend(bytes(max(0, 64 * PIECE - len(content))))
    content[63 * PIECE :] = stamp(63, 13)
    moments.add(hash_of(content))
    bench.close_file(fh)
    bench.store.heal()
    bench.check({"big": bytes(content)})
    assert seen
    assert all(hash_of(body) in moments for body in seen)


def hash_of(body: bytes | bytearray) -> bytes:
    return ETag(str(hash(bytes(body)))).encode()


def test_refused_for_good_leaves_nothing_in_the_bucket(bench: Bench) -> None:
    bench.store.fail("complete_multipart", error=Rejected("no"), times=FOR_GOOD)
    bench.write("/big", stamps(10))
    left = bench.drive.drain(10.0, lambda backlog: None)
    assert left
    assert not bench.memory.uploads()


def test_the_part_size_grows_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert multipart.part_bytes(50 * KIB) == multipart.part_bytes(78 << 30) == 8 << 20
    assert multipart.part_bytes(79 << 30) == 16 << 20
    assert -(-(5 << 40) // multipart.part_bytes(5 << 40)) <= multipart.PART_COUNT_MAX
