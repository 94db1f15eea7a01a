"""Fetches missing bytes: ranged GETs with If-Match, in parallel, at most one for any byte of a file version.

Called by FileCache. `gather_locked` and `read_ahead_locked` run under the block file's lock and only plan and queue;
requests run on the fetcher's own threads with no lock held. Bounds: FETCH_THREADS requests, IN_FLIGHT_BYTES_MAX bytes
of replies not yet written. When the cache has no room a reader still gets its bytes; they are just not kept.
"""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

from s3mount.cache.blockfile import BlockFile
from s3mount.cache.budget import Reservation
from s3mount.cache.evictor import Evictor
from s3mount.cache.ground import Flight, Ground
from s3mount.cache.readahead import NEVER, Access, block_bytes_for, random_reach, unit
from s3mount.ending import end_pool
from s3mount.errors import Corrupt, FsError, Unreachable
from s3mount.model import ObjectInfo, RemoteObject
from s3mount.store import patience
from s3mount.store.base import Body, ObjectStore

log = logging.getLogger(__name__)

FETCH_THREADS = 16
IN_FLIGHT_BYTES_MAX = 64 << 20
# What is written into a file at once, its lock held, while readers of other bytes wait. With 1 MiB at once a cold read
# took 1.3 times as long on a busy machine.
LANDING_BYTES = 256 << 10
# Longer than any store's own deadline for the requests queued before this one.
FLIGHT_WAIT_S_MAX = 900.0
CLOSE_DEADLINE_S = 30.0

Piece = bytes | tuple[Flight, int, int]


class Gate:
    """Lets through as many bytes as may be in flight."""

    def __init__(self, limit_bytes: int):
        self._left = limit_bytes
        self._changed = threading.Condition(threading.Lock())

    def enter(self, size: int, timeout_s: float) -> bool:
        with self._changed:
            entered = self._changed.wait_for(lambda: self._left >= size, timeout_s)
            if entered:
                self._left -= size
            return entered

    def leave(self, size: int) -> None:
        with self._changed:
            self._left += size
            self._changed.notify_all()


class Fetcher:
    def __init__(self, ground: Ground, store: ObjectStore, evictor: Evictor):
        self.block_bytes = block_bytes_for(ground.budget.limit_bytes)
        self._ground = ground
        self._store = store
        self._evictor = evictor
        self._gate = Gate(IN_FLIGHT_BYTES_MAX)
        self._threads = ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="fetch")
        # The last fetch found no room. While that holds, nothing is fetched that nobody asked for.
        self._is_starved = False

    def gather_locked(self, file: BlockFile, remote: RemoteObject | None, start: int, end: int) -> list[Piece]:
        """[start, end) as bytes already here and requests for the rest. Raises IOFailure."""
        access = file.ahead.note(start, end)
        if self._is_starved:
            access = Access.STARVED
        pieces: list[Piece] = []
        position = start
        for missing_start, missing_end in file.present.missing(start, end):
            if position < missing_start:
                pieces.append(file.read_locked(position, missing_start))
            fetch_end = max(missing_start, min(missing_end, remote.size if remote else 0))
            if remote is not None:
                pieces += self._requests_locked(file, remote, missing_start, fetch_end, access)
            if fetch_end < missing_end:
                # Past its end, the reader was overtaken by a cut.
                if (lost_end := file.end_locked(missing_end)) > fetch_end:
                    log.error("inode %d: bytes [%d, %d) are nowhere, read as zeros", file.ino, fetch_end, lost_end)
                pieces.append(bytes(missing_end - fetch_end))
            position = missing_end
        if position < end:
            pieces.append(file.read_locked(position, end))
        return pieces

    def read_ahead_locked(self, file: BlockFile, remote: RemoteObject) -> None:
        """The reader passed its trigger: ask for the blocks ahead of it."""
        if self._is_starved or remote.size <= self.block_bytes:
            file.ahead.trigger = NEVER
            return
        start, end = file.ahead.advance(self.block_bytes, remote.size)
        self._launch_missing_locked(file, remote, start, end, None)

    def load_locked(
        self, file: BlockFile, remote: RemoteObject, start: int, end: int, room: Reservation | None
    ) -> list[Piece]:
        """Requests that make [start, end) present, as far as there is room."""
        return list(self._launch_missing_locked(file, remote, start, end, room))

    def begin_whole_locked(self, file: BlockFile, remote: RemoteObject) -> Flight | None:
        """A flight for all of a small object of which nothing is here, for the caller to finish; None when some of it
        is here or on its way, or when there was no room for the last fetch."""
        if file.present or file.flights or self._is_starved:
            return None
        flight = Flight(0, remote.size, remote.etag, file.epoch)
        flight.done = Future()
        file.flights.append(flight)
        return flight

    def finish_whole(self, file: BlockFile, remote: RemoteObject, flight: Flight) -> ObjectInfo:
        """On the calling thread. Raises StoreError."""
        try:
            data = self._run(file, remote, flight)
        except BaseException as error:
            flight.done.set_exception(error)
            raise
        flight.done.set_result(data)
        assert flight.info is not None
        return flight.info

    def _launch_missing_locked(
        self, file: BlockFile, remote: RemoteObject, start: int, end: int, room: Reservation | None
    ) -> list[Piece]:
        pieces: list[Piece] = []
        for missing_start, missing_end in file.present.missing(start, end):
            pieces += self._requests_locked(file, remote, missing_start, missing_end, Access.SEQUENTIAL, room)
        return pieces

    def _requests_locked(
        self,
        file: BlockFile,
        remote: RemoteObject,
        start: int,
        end: int,
        access: Access,
        room: Reservation | None = None,
    ) -> Iterator[Piece]:
        while start < end:
            flight = next((f for f in file.flights if f.etag == remote.etag and f.start <= start < f.end), None)
            flight = flight or self._launch_locked(file, remote, start, end, access, room)
            stop = min(end, flight.end)
            yield flight, start, stop
            start = stop

    def _launch_locked(
        self,
        file: BlockFile,
        remote: RemoteObject,
        start: int,
        end: int,
        access: Access,
        room: Reservation | None,
    ) -> Flight:
        """One request for `start` and what is sensible around it: nothing present at its edges, nothing that another
        request is bringing."""
        block = self.block_bytes
        reach = file.ahead.window if access is Access.SEQUENTIAL else random_reach(_known_locked(file, start, block))
        low, high = unit(start, end, object_size=remote.size, block_bytes=block, access=access, reach=reach)
        for other in file.flights:
            if other.etag == remote.etag:
                low = max(low, other.end) if other.end <= start else low
                high = min(high, other.start) if other.start > start else high
        missing = file.present.missing(low, high)
        flight = Flight(missing[0][0], missing[-1][1], remote.etag, file.epoch, room)
        file.flights.append(flight)
        try:
            flight.done = self._threads.submit(self._run, file, remote, flight)
        except RuntimeError as error:
            file.flights.remove(flight)
            raise Unreachable("the cache is closed") from error
        return flight

    def _run(self, file: BlockFile, remote: RemoteObject, flight: Flight) -> Body:
        size = flight.end - flight.start
        room: Reservation | None = None
        data: Body = b""
        try:
            if not self._gate.enter(size, FLIGHT_WAIT_S_MAX):
                raise Unreachable(f"no turn to fetch {remote.key!r} within {FLIGHT_WAIT_S_MAX:.0f} s")
            try:
                room = flight.reservation
                if room is None or room.left < size:
                    room = self._make_room(size)
                data = self._ask(remote, flight)
                if len(data) != size:
                    raise Corrupt(f"{remote.key!r}: {len(data)} bytes came instead of {size}")
                return data
            finally:
                self._land(file, flight, data, room)
                self._gate.leave(size)
        finally:
            if room is not None and room is not flight.reservation:
                room.close()

    def _ask(self, remote: RemoteObject, flight: Flight) -> Body:
        if (flight.start, flight.end) == (0, remote.size):
            flight.info, data = self._store.get_whole(remote.key, size=remote.size, if_match=remote.etag)
            return data
        return self._store.get(remote.key, start=flight.start, end=flight.end, if_match=remote.etag)

    def _land(self, file: BlockFile, flight: Flight, data: Body, room: Reservation | None) -> None:
        """Slice by slice, so that who reads or writes other bytes of the file need not wait for all of it."""
        try:
            view = memoryview(data)
            for at in range(0, len(data), LANDING_BYTES) if len(data) == flight.end - flight.start else ():
                with file.lock:
                    file.fill_locked(flight, flight.start + at, view[at : at + LANDING_BYTES], room)
        except (OSError, FsError) as error:
            log.warning("inode %d: fetched bytes cannot be kept: %s", file.ino, error)
        finally:
            with file.lock:
                if flight in file.flights:
                    file.flights.remove(flight)

    def _make_room(self, size: int) -> Reservation | None:
        room = self._ground.budget.try_reserve(size)
        if room is None and not self._evictor.is_barren:
            self._evictor.evict(size)
            room = self._ground.budget.try_reserve(size)
        self._is_starved = room is None
        return room

    def resolve(self, pieces: list[Piece]) -> bytes:
        """Wait for the requests and put the bytes together. Raises the StoreError of the first that failed."""
        if len(pieces) == 1 and isinstance(pieces[0], bytes):
            return pieces[0]
        parts: list[Body] = []
        for piece in pieces:
            if isinstance(piece, bytes):
                parts.append(piece)
            else:
                flight, start, end = piece
                data = result_of(flight.done)
                parts.append(memoryview(data)[start - flight.start : end - flight.start])
        return b"".join(parts)

    def close(self, deadline_s: float = CLOSE_DEADLINE_S) -> bool:
        """Requests not yet begun fail with Unreachable; those under way are waited for until the deadline. False when
        some still are."""
        return end_pool(self._threads, deadline_s)


def _known_locked(file: BlockFile, position: int, block_bytes: int) -> int:
    """How much of the block around `position` is here."""
    block_start = position - position % block_bytes
    return sum(end - start for start, end in file.present.within(block_start, block_start + block_bytes))


def result_of(done: Future[Body]) -> Body:
    try:
        return patience.wait(done, FLIGHT_WAIT_S_MAX)
    except CancelledError as error:
        raise Unreachable("the cache was closed before the fetch began") from error
    except TimeoutError as error:
        raise Unreachable("the fetch did not end in time") from error
