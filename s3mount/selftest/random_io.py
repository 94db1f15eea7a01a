"""Writes, reads, truncates, maps and reopens a file at random, and compares each answer with what it must be.

The method of fsx, as it is told in its manual page; used by the checks of both systems. The same seed and number of
steps do the same.
"""

import random
from typing import Protocol

from s3mount.selftest.checks import Mismatch, expect

FILE_BYTES_MAX = 512 << 10
PIECE_BYTES_MAX = 64 << 10
# Bytes that follow one another differ, so that a piece at a wrong place is seen.
_ALPHABET = bytes(range(1, 256))


class RandomFile(Protocol):
    """A file that is open for reading and writing. Offsets and sizes in bytes."""

    def read(self, offset: int, size: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None: ...

    def truncate(self, size: int) -> None: ...

    def size(self) -> int: ...

    def flush(self) -> None:
        """To disk."""

    def reopen(self) -> None: ...

    def map_read(self, offset: int, size: int) -> bytes: ...

    def map_write(self, offset: int, data: bytes) -> None: ...

    @property
    def can_map(self) -> bool: ...

    def close(self) -> None: ...


class _Exercise:
    def __init__(self, file: RandomFile, chance: random.Random) -> None:
        self._file = file
        self._chance = chance
        self._wanted = bytearray()

    def step(self, number: int) -> None:
        moves = [self._write, self._write, self._read, self._read, self._truncate, self._reopen, self._flush]
        if self._file.can_map and self._wanted:
            moves += [self._map_read, self._map_write]
        move = self._chance.choice(moves)
        try:
            move()
            expect("size", self._file.size(), len(self._wanted))
        except Mismatch as error:
            raise Mismatch(f"step {number}, {move.__name__.strip('_')}: {error}") from error

    def whole(self) -> None:
        self._compare(self._file.read(0, FILE_BYTES_MAX), 0, len(self._wanted))

    def _place(self, end_max: int) -> tuple[int, int]:
        """(offset, size), size at least 1."""
        offset = self._chance.randrange(end_max)
        return offset, self._chance.randint(1, min(PIECE_BYTES_MAX, end_max - offset))

    def _data(self, size: int) -> bytes:
        start = self._chance.randrange(len(_ALPHABET))
        return (_ALPHABET * (size // len(_ALPHABET) + 2))[start : start + size]

    def _put(self, offset: int, data: bytes) -> None:
        self._wanted.extend(bytes(max(0, offset - len(self._wanted))))
        self._wanted[offset : offset + len(data)] = data

    def _compare(self, found: bytes, offset: int, size: int) -> None:
        wanted = bytes(self._wanted[offset : offset + size])
        if found == wanted:
            return
        expect(f"bytes read at {offset}", len(found), len(wanted))
        first = next(place for place, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b)
        raise Mismatch(f"byte {offset + first} of {len(self._wanted)}: {found[first]}, not {wanted[first]}")

    def _write(self) -> None:
        offset, size = self._place(FILE_BYTES_MAX)
        data = self._data(size)
        self._file.write(offset, data)
        self._put(offset, data)

    def _read(self) -> None:
        offset, size = self._place(FILE_BYTES_MAX)
        self._compare(self._file.read(offset, size), offset, size)

    def _truncate(self) -> None:
        size = self._chance.randrange(FILE_BYTES_MAX)
        self._file.truncate(size)
        self._wanted.extend(bytes(max(0, size - len(self._wanted))))
        del self._wanted[size:]

    def _reopen(self) -> None:
        self._file.reopen()

    def _flush(self) -> None:
        self._file.flush()

    def _map_read(self) -> None:
        offset, size = self._place(len(self._wanted))
        self._compare(self._file.map_read(offset, size), offset, size)

    def _map_write(self) -> None:
        offset, size = self._place(len(self._wanted))
        data = self._data(size)
        self._file.map_write(offset, data)
        self._put(offset, data)


def exercise(file: RandomFile, *, seed: int, steps: int) -> None:
    """Closes the file. Raises Mismatch naming the seed and the step."""
    try:
        work = _Exercise(file, random.Random(seed))
        for number in range(1, steps + 1):
            work.step(number)
        file.reopen()
        work.whole()
    except Mismatch as error:
        raise Mismatch(f"seed {seed}: {error}") from error
    finally:
        file.close()
