"""The body of a request: the bytes that were given, read in any pieces, while other threads run."""

import io
import random
import sys
import threading
from collections.abc import Iterator

import pytest

from s3mount.store.body_stream import FREE_BYTES_MIN, BodyStream

LARGE = 16 << 20


def test_any_pieces_are_those_of_bytes_io() -> None:
    seed = random.randrange(1 << 30)
    dice = random.Random(seed)
    for _ in range(200):
        data = dice.randbytes(dice.choice((0, 1, FREE_BYTES_MIN - 1, FREE_BYTES_MIN, 3 * FREE_BYTES_MIN)))
        ours, reference = BodyStream(data), io.BytesIO(data)
        for _ in range(10):
            if dice.random() < 0.3:
                place = dice.randint(0, len(data))
                assert ours.seek(place, io.SEEK_SET) == reference.seek(place), f"seed {seed}"
            if dice.random() < 0.1:
                assert ours.seek(0, io.SEEK_END) == reference.seek(0, io.SEEK_END), f"seed {seed}"
                assert ours.seek(0, io.SEEK_CUR) == reference.tell(), f"seed {seed}"
            size = dice.choice((0, 1, 1000, FREE_BYTES_MIN, 4 * FREE_BYTES_MIN))
            mine, theirs = bytearray(size), bytearray(size)
            assert ours.readinto1(memoryview(mine)) == reference.readinto1(theirs), f"seed {seed}"
            assert mine == theirs, f"seed {seed}"
            assert ours.read(size) == reference.read(size), f"seed {seed}"


@pytest.mark.parametrize("kind", [bytearray, lambda data: memoryview(bytearray(data))])
def test_a_buffer_that_is_used_again_is_not_read(kind: type[bytearray]) -> None:
    body = kind(b"a" * FREE_BYTES_MIN)
    stream = BodyStream(body)
    body[:4] = b"bbbb"
    assert stream.read() == b"a" * FREE_BYTES_MIN


@pytest.fixture
def only_who_waits_gives_way() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)
    yield
    sys.setswitchinterval(before)


def test_other_threads_run_while_a_large_body_is_copied(only_who_waits_gives_way: None) -> None:
    gate, ran = threading.Lock(), []
    gate.acquire()

    def other() -> None:
        gate.acquire()
        ran.append(True)

    thread = threading.Thread(target=other)
    thread.start()
    stream, target = BodyStream(bytes(LARGE)), memoryview(bytearray(LARGE))
    gate.release()  # from here on the other thread wants the interpreter, and nothing below waits
    for _ in range(500):
        stream.seek(0)
        stream.readinto1(target)
        if ran:
            break
    found = bool(ran)
    thread.join()
    assert found
