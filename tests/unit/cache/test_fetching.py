import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice

import pytest

from s3mount.errors import Missing, PreconditionFailed, Unreachable
from s3mount.model import ETag, Ino, ObjectKey, RemoteObject
from tests.unit.cache.support import KIB, MIB, Bench, content

INO = Ino(7)


def test_small_object_comes_whole_in_one_request(bench: Bench) -> None:
    body = content(3 * MIB)
    remote = bench.store.object("a", body)
    assert bench.cache.read(INO, remote, start=MIB, end=MIB + 5) == body[MIB : MIB + 5]
    assert bench.cache.read(INO, remote, start=0, end=len(body)) == body
    assert bench.store.gets == [(0, 3 * MIB)]
    assert bench.cache.present_bytes(INO) == bench.cache.used_bytes == len(body)


def test_two_readers_of_a_range_send_one_request(bench: Bench) -> None:
    body = content(100 * KIB)
    remote = bench.store.object("a", body)
    bench.store.hold.clear()
    with ThreadPoolExecutor(8) as readers:
        reads = [readers.submit(bench.cache.read, INO, remote, start=n, end=n + 50_000) for n in range(8)]
        assert bench.store.waiting.acquire(timeout=5)
        bench.store.hold.set()
        assert [read.result(5) for read in reads] == [body[n : n + 50_000] for n in range(8)]
    assert bench.store.gets == [(0, len(body))]


def test_sequential_reader_is_fetched_ahead_of_in_blocks(bench: Bench) -> None:
    bench.limit = 256 * MIB
    cache = bench.restart()
    body = content(MIB) * 40
    remote = bench.store.object("a", body)
    got = b"".join(cache.read(INO, remote, start=n, end=n + 256 * KIB) for n in range(0, len(body), 256 * KIB))
    assert got == body
    assert sorted(bench.store.gets) == [(n * 8 * MIB, (n + 1) * 8 * MIB) for n in range(5)]


def test_only_the_head_of_a_large_object(bench: Bench) -> None:
    bench.limit = 256 * MIB
    cache = bench.restart()
    remote = bench.store.object("a", content(MIB) * 40)
    cache.read(INO, remote, start=0, end=4096)
    assert bench.store.gets == [(0, 8 * MIB)]


def test_random_reads_fetch_what_they_need(bench: Bench) -> None:
    body = content(MIB) * 40
    remote = bench.store.object("a", body)
    for start in (20 * MIB + 5, 5 * MIB, 33 * MIB):
        assert bench.cache.read(INO, remote, start=start, end=start + 4096) == body[start : start + 4096]
    assert bench.store.gets == [(n * MIB, n * MIB + 128 * KIB) for n in (20, 5, 33)]


def test_overlapping_requests_do_not_bring_a_byte_twice(bench: Bench) -> None:
    body = content(MIB) * 40
    remote = bench.store.object("a", body)
    at = 20 * MIB
    bench.store.hold.clear()
    far = 5 * MIB
    with ThreadPoolExecutor(3) as readers:
        reads = []
        for start, end in ((at, at + 4096), (far, far + 4096), (at + 100 * KIB, at + 500 * KIB)):
            reads.append((readers.submit(bench.cache.read, INO, remote, start=start, end=end), body[start:end]))
            assert bench.store.waiting.acquire(timeout=5)
        bench.store.hold.set()
        assert all(read.result(5) == expected for read, expected in reads)
    assert sorted(bench.store.gets) == [
        (far, far + 128 * KIB),
        (at, at + 128 * KIB),
        (at + 128 * KIB, at + 512 * KIB),
    ]


def test_local_edit_wins_over_a_fetch_under_way(bench: Bench) -> None:
    body = content(100_000)
    remote = bench.store.object("a", body)
    bench.store.hold.clear()
    with ThreadPoolExecutor(1) as readers:
        read = readers.submit(bench.cache.read, INO, remote, start=0, end=100_000)
        assert bench.store.waiting.acquire(timeout=5)
        bench.write(INO, 10, b"edited")
        bench.store.hold.set()
        assert read.result(5) == body  # as it was when the read began
    expected = body[:10] + b"edited" + body[16:]
    assert bench.cache.read(INO, remote, start=0, end=100_000) == expected
    assert list(bench.cache.dirty_extents(INO)) == [(10, 16)]


@pytest.mark.parametrize("change", ["discard", "mark_clean", "shrink"])
def test_bytes_of_an_outdated_fetch_are_not_kept(bench: Bench, change: str) -> None:
    remote = bench.store.object("a", content(1000))
    bench.store.hold.clear()
    with ThreadPoolExecutor(1) as readers:
        read = readers.submit(bench.cache.read, INO, remote, start=0, end=1000)
        assert bench.store.waiting.acquire(timeout=5)
        if change == "discard":
            bench.cache.discard(INO)
        elif change == "mark_clean":
            bench.cache.mark_clean(INO)
        else:
            bench.cache.resize(INO, 1000, 500)
        bench.store.hold.set()
        assert read.result(5) == content(1000)
    assert bench.cache.present_bytes(INO) == bench.cache.used_bytes == 0


def test_outdated_versions_are_refused(bench: Bench) -> None:
    remote = bench.store.object("a", b"new")
    with pytest.raises(PreconditionFailed):
        bench.cache.read(INO, RemoteObject(remote.key, ETag("old"), 3), start=0, end=3)
    with pytest.raises(Missing):
        bench.cache.read(INO, RemoteObject(ObjectKey("b"), ETag("old"), 3), start=0, end=3)
    assert bench.cache.read(INO, remote, start=0, end=3) == b"new"


def test_bytes_that_are_nowhere_read_as_zeros(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    remote = bench.store.object("a", b"abc")
    assert bench.cache.read(INO, remote, start=1, end=5) == b"bc\0\0"
    assert bench.cache.read(Ino(8), None, start=0, end=2) == b"\0\0"
    assert "nowhere" in caplog.text


def test_bytes_of_a_file_that_was_cut_meanwhile_are_not_called_lost(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.entries.sizes = {INO: 2, Ino(8): 0}
    remote = bench.store.object("a", b"abc")
    assert bench.cache.read(INO, None, start=2, end=5) == b"\0\0\0"
    bench.cache.load(INO, remote, 5)
    bench.cache.load(Ino(8), remote, 5)
    assert bench.cache.read(INO, remote, start=0, end=2) == b"ab"
    assert "nowhere" not in caplog.text
    assert bench.cache.present_bytes(Ino(8)) == 0


def test_reader_gets_bytes_that_the_cache_has_no_room_for(bench: Bench) -> None:
    bench.limit = MIB
    cache = bench.restart()
    bench.write(1, 0, bytes(MIB))
    body = content(2 * MIB)
    remote = bench.store.object("a", body)
    for start in range(0, 2 * MIB, 128 * KIB):
        assert cache.read(INO, remote, start=start, end=start + 128 * KIB) == body[start : start + 128 * KIB]
    assert cache.used_bytes == MIB
    assert len(bench.store.gets) == 16


def test_file_larger_than_the_cache_is_read(bench: Bench) -> None:
    bench.limit = 4 * MIB
    cache = bench.restart()
    body = content(MIB) * 20
    remote = bench.store.object("a", body)
    for start in range(0, len(body), 128 * KIB):
        assert cache.read(INO, remote, start=start, end=start + 128 * KIB) == body[start : start + 128 * KIB]
        assert cache.used_bytes <= 4 * MIB
    assert sum(end - start for start, end in bench.store.gets) <= 1.2 * len(body)


def test_load_makes_a_file_present(bench: Bench) -> None:
    body = content(MIB) * 20
    remote = bench.store.object("a", body)
    bench.write(INO, 9 * MIB, b"edited")
    bench.cache.load(INO, remote, len(body))
    assert bench.cache.present_bytes(INO) == bench.cache.used_bytes == len(body)
    bench.store.foreign_delete("a")
    expected = body[: 9 * MIB] + b"edited" + body[9 * MIB + 6 :]
    assert bench.cache.read(INO, remote, start=0, end=len(body)) == expected


def test_load_uses_the_callers_reservation(bench: Bench) -> None:
    bench.limit = 2 * MIB
    cache = bench.restart()
    remote = bench.store.object("a", content(2 * MIB))
    with cache.reserve(2 * MIB, 1):
        cache.load(INO, remote, 2 * MIB)
    assert cache.used_bytes == cache.present_bytes(INO) == 2 * MIB


def test_close_fails_readers_whose_fetch_has_not_begun(bench: Bench) -> None:
    remotes = [bench.store.object(f"o{n}", b"x") for n in range(20)]
    bench.store.hold.clear()
    with ThreadPoolExecutor(20) as readers:
        reads = [readers.submit(bench.cache.read, Ino(n + 1), remotes[n], start=0, end=1) for n in range(20)]
        for _ in range(16):
            assert bench.store.waiting.acquire(timeout=5)
        closing = threading.Thread(target=bench.cache.close)
        closing.start()
        failed = list(islice(as_completed(reads, 5), 4))
        bench.store.hold.set()
        closing.join(5)
    assert len(failed) == 4
    assert all(isinstance(read.exception(), Unreachable) for read in failed)
    assert sum(read.exception() is None for read in reads) == 16
