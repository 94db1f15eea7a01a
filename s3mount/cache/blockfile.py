"""One sparse file per inode: which of its bytes are present, which are dirty, and the order of every change to both.

Called by the table, the fetcher, the evictor and FileCache. Every `_locked` method is called with `lock` held; the
lock is taken after the caller's inode lock and before the index lock, and no S3 request and no wait for room happens
under it. Does not fetch, does not choose what to evict.

present  bytes the file holds. All of them lie inside the file's physical length: a shorter file has lost bytes.
dirty    what local edits changed since mark_clean. Never evicted.
holes    a part of present: zeros made here, that take no room and do not count against the limit (holes.py).
epoch    grows whenever bytes fetched for the version before must no longer be filled in.

Bytes on disk outside `present` may be anything and are never read, so punching them is always harmless.

What a later run sees if the process dies inside a window (the row is what `entries` holds):
| operation | window | next run |
|---|---|---|
| write over clean bytes | row saved with the window as dirty, bytes not or half written | more counts as dirty than changed: uploaded from here, the same as what is read here |
| write, other bytes | bytes written, row not saved | not present: fetched again or, past the index's size, cut off by the next grow |
| fill by a fetch | bytes written, row not saved | not present: fetched again |
| resize, shrink | row clipped, file not cut | stale bytes outside `present`: never read, zeroed by the next grow |
| resize, grow | file cut at the old size and lengthened, row not saved | bytes past the index's size: never read |
| evict | row shrunk, hole not punched | stale bytes outside `present`: never read, space given back when the rest is evicted |
| discard | row removed, file not unlinked | stale bytes outside `present`: never read, space given back by sweep |
| write into a hole | bytes written, row not saved | still a hole: punched again when the file is next opened |
| punch | row saved with the window as dirty, not punched | as for a write |
| mark_clean | index clean, row dirty | the index owes no content: load counts the row's dirty bytes as clean |
Power loss: trust.py for clean bytes; dirty ones are in the file before the row that names them is durable (fsync is
sync, then save, then the index's commit), clean ones are synced before a row calls them dirty, and the evictor makes rows durable before it punches what was once dirty.
A write into missing bytes can be lost while its row survives: what a former run or an earlier upload left there is
punched and synced before the first such write (_settle_locked), so it reads as what was there since then, or zeros.
A dirty byte that is lost all the same (never fsynced, or discarded just before) lies past the file's length: reading
it is Damaged, never zeros, and nothing lengthens the file over it.
"""  # noqa: E501

import threading
from collections.abc import Callable

from s3mount.cache.budget import Reservation
from s3mount.cache.disk import Buffer, disk_failure
from s3mount.cache.extents import Extents
from s3mount.cache.ground import Flight, Ground
from s3mount.cache.holes import Holes
from s3mount.cache.lazyfile import LazyFile
from s3mount.cache.readahead import ReadAhead
from s3mount.cache.seals import Seals
from s3mount.errors import Damaged
from s3mount.model import CacheRow, Ino

# Past the last byte of any file.
OFFSET_MAX = 1 << 62
# Overwriting clean bytes saves the row once per window of this size.
DECLARED_WINDOW_BYTES = 8 << 20
# A crash forgets, and fetches again, at most this much of what was fetched into one file, and what was still landing.
FILLED_UNSAVED_BYTES_MAX = 1 << 20


class BlockFile:
    __slots__ = (
        "_declared",
        "_filled_unsaved",
        "_saved_used_ns",
        "ahead",
        "claimed_bytes",
        "dirty",
        "epoch",
        "flights",
        "ground",
        "holes",
        "ino",
        "is_retired",
        "is_saved",
        "lazy",
        "lock",
        "present",
        "seals",
        "used_ns",
    )

    def __init__(
        self,
        ino: Ino,
        ground: Ground,
        present: Extents,
        dirty: Extents,
        holes: Holes,
        seals: Seals,
        *,
        is_saved: bool,
        length: int,
    ):
        self.ino = ino
        self.seals = seals
        self.lock = threading.Lock()
        self.present = present
        self.dirty = dirty
        self.holes = holes
        self.is_saved = is_saved
        # Retired: the table knows another BlockFile for this inode, or none. Nothing may be done with this one.
        self.is_retired = False
        # What the row claimed to take room when it was loaded; the table settles the difference with the budget.
        self.claimed_bytes = self.room_bytes
        self.epoch = 0
        self.flights: list[Flight] = []
        self.ahead = ReadAhead()
        self.used_ns = ground.clock.now_ns()
        self.ground = ground
        self.lazy = LazyFile(self, ground.disk, ground.open_files, length=length, holes=list(holes))
        self._declared = dirty.copy()
        self._filled_unsaved = 0
        self._saved_used_ns = self.used_ns

    @property
    def room_bytes(self) -> int:
        """How much of the cache's limit it takes."""
        return self.present.total - self.holes.total

    def _hold_locked(self, start: int, end: int, room: Reservation | None = None, *, is_hole: bool = False) -> None:
        """[start, end) is present from here on."""
        before = self.room_bytes
        self.present.add(start, end)
        if is_hole:
            self.holes.dig(start, end)
        else:
            self.holes.fill(start, end)
        self._account_locked(before, room)
        self.is_saved = False

    def _account_locked(self, before: int, room: Reservation | None = None) -> None:
        """Let the budget know of a change of room_bytes, and getattr of the holes."""
        change = self.room_bytes - before
        if change > 0:
            self.ground.budget.grew(change, room)
        else:
            self.ground.budget.freed(-change)
        self.ground.sparse.note(self.ino, self.holes.total)

    @property
    def is_open(self) -> bool:
        return self.lazy.is_open

    def close_locked(self) -> None:
        self.lazy.close()

    def read_locked(self, start: int, end: int) -> bytes:
        """The bytes of a present range. Raises Damaged, IOFailure."""
        try:
            data = self.lazy.pread(end - start, start)
        except OSError as error:
            raise disk_failure("read", self.ino, error) from error
        if len(data) != end - start:
            raise Damaged(f"the cache file of inode {self.ino} has lost its bytes after {start + len(data)}")
        return data

    # -- local edits ---------------------------------------------------------------------------------------------

    def write_locked(self, offset: int, data: Buffer) -> None:
        """Raises NoSpace or IOFailure: the content is then as before, but for a part of `data` where bytes were
        present already, and that counts as dirty."""
        end = offset + len(data)
        self._settle_locked(offset, end)
        self.seals.cut(offset, end, self.read_or_nothing_locked)
        self._declare_locked(offset, end)
        self._unseal_locked(offset, end)
        try:
            self.lazy.pwrite(data, offset)
        except OSError as error:
            for start, stop in self.present.within(offset, end):
                self.dirty.add(start, stop)
                self._hold_locked(start, stop)
            raise disk_failure("write", self.ino, error) from error
        self.seals.add(offset, data)
        self.dirty.add(offset, end)
        self._hold_locked(offset, end)

    def punch_locked(self, start: int, end: int) -> None:
        """[start, end) becomes a hole, dirty. Raises NoSpace or IOFailure: as after a write that failed."""
        self._settle_locked(start, end)
        self._declare_locked(start, end)
        self._unseal_locked(start, end)
        try:
            self.lazy.zero(start, end)
        except OSError as error:
            raise disk_failure("write", self.ino, error) from error
        finally:
            for piece in self.present.within(start, end):
                self.dirty.add(*piece)
                self.is_saved = False
        self.dirty.add(start, end)
        self._hold_locked(start, end, is_hole=self.ground.disk.can_punch)

    def allocate_locked(self, start: int, end: int) -> None:
        """The holes in [start, end) take room on disk from here on, as zeros. Raises NoSpace, IOFailure."""
        try:
            for piece in self.holes.within(start, end):
                self.lazy.opened(create=True).allocate(*piece)
                self._hold_locked(*piece)
        except OSError as error:
            raise disk_failure("allocate", self.ino, error) from error

    def _settle_locked(self, start: int, end: int) -> None:
        """Before missing bytes of [start, end) become dirty: what the file had there in a former run, or before its
        last upload, can come back no more. Once a run and upload, and only where it can. Raises NoSpace, IOFailure."""
        if start >= end:
            return
        file = self.lazy
        try:
            file.opened(create=True)
            if not file.is_settled and self.present.missing(start, min(end, file.reach)):
                file.settle(self.present.missing(0, self.present.end), self.present.end)
        except OSError as error:
            raise disk_failure("write", self.ino, error) from error

    def _unseal_locked(self, start: int, end: int) -> None:
        """Before the bytes of [start, end) change: no seal speaks of them, nor does one that a later run would load."""
        self.seals.cut(start, end, self.read_or_nothing_locked)
        segments = self.seals.saved_over(start, end)
        if segments:
            self.ground.entries.save_seals(self.ino, dict.fromkeys(segments, b""))
            self.seals.forget_saved(segments)
            self.is_saved = False

    def end_locked(self, end: int) -> int:
        """`end`, or where the file ends now if it was cut or removed since the caller looked."""
        return end if self.present.covers(0, end) else min(end, self.ground.entries.file_size(self.ino))

    def read_or_nothing_locked(self, start: int, end: int) -> bytes:
        """Nothing when the bytes are gone for good. Raises IOFailure when the disk does not read now."""
        try:
            return self.read_locked(start, end)
        except Damaged:
            return b""

    def _declare_locked(self, start: int, end: int) -> None:
        """Before clean bytes change: let the row say they are dirty, so that no later run takes a half of an edit
        for the object's content. Raises NoSpace, IOFailure."""
        clean = [part for piece in self.present.within(start, end) for part in self.dirty.missing(*piece)]
        if all(self._declared.covers(*part) for part in clean):
            return
        window_end = -(-end // DECLARED_WINDOW_BYTES) * DECLARED_WINDOW_BYTES
        for piece in self.present.within(start - start % DECLARED_WINDOW_BYTES, window_end):
            self._declared.add(*piece)
        for piece in self.dirty:
            self._declared.add(*piece)
        self._sync_bytes_locked()
        self._save_row_locked(self._declared)

    def _sync_bytes_locked(self) -> None:
        """Before clean bytes are called dirty: then they are believed after a power cut, and no more fetched."""
        try:
            self.lazy.opened(create=False).fdatasync()
        except OSError as error:
            raise disk_failure("sync", self.ino, error) from error

    def resize_locked(self, old_size: int, new_size: int) -> None:
        """Raises NoSpace or IOFailure; nothing has changed then, or the tail past the smaller size is not present."""
        kept = min(old_size, new_size)
        self._settle_locked(old_size, new_size)
        self._unseal_locked(kept, OFFSET_MAX)
        if new_size < old_size:
            self._forget_tail_locked(new_size)
            self.save_locked()
        try:
            if new_size > old_size:
                self.lazy.opened(create=True)  # its real length
            if self.lazy.length > kept:
                self.lazy.truncate(kept)
            if new_size > old_size:
                self._forget_tail_locked(old_size)
                self.lazy.truncate(new_size)
        except OSError as error:
            raise disk_failure("resize", self.ino, error) from error
        if new_size > old_size:
            self.dirty.add(old_size, new_size)
            self._hold_locked(old_size, new_size, is_hole=self.ground.disk.can_punch)

    def _forget_tail_locked(self, size: int) -> None:
        """Nothing at or after `size` is present or dirty, nor comes in by a fetch under way."""
        self.supersede_locked()
        before = self.room_bytes
        clipped = self.present.clip(size)
        self.holes.fill(size, OFFSET_MAX)
        self._account_locked(before)
        if self.dirty.clip(size) or clipped:
            self.is_saved = False

    def fill_zeros_locked(self, start: int, end: int) -> None:
        """The missing parts of [start, end) become present zeros, clean. Raises NoSpace or IOFailure."""
        for piece in self.present.missing(start, end):
            self._unseal_locked(*piece)
            try:
                self.lazy.zero(*piece)
            except OSError as error:
                raise disk_failure("write", self.ino, error) from error
            self._hold_locked(*piece)

    def mark_clean_locked(self, along: Callable[[], None] | None = None) -> None:
        if self.dirty or self._declared:
            # Saved at once: a row that calls them dirty must not be there when the index owes the next change.
            self._save_row_locked(Extents(), along)
            self.is_saved = True
        elif along is not None:
            along()
        self.supersede_locked()
        self.lazy.is_settled = False
        self.dirty.clear()

    def mark_all_dirty_locked(self, size: int) -> None:
        # Saved at once: bytes that count as dirty here are overwritten without the row being told again.
        if self.dirty.add(0, size):
            self.is_saved = False
            self._sync_bytes_locked()
            self.save_locked()

    # -- fetched bytes -------------------------------------------------------------------------------------------

    def supersede_locked(self) -> None:
        """Requests under way bring bytes of the version before: whoever waits for them gets them, the file does not."""
        self.epoch += 1
        self.flights.clear()

    def fill_locked(self, flight: Flight, start: int, data: Buffer, room: Reservation | None) -> None:
        """Write what the flight brought for `start` on, where still missing, if it is of this epoch. Raises OSError."""
        is_lost = self.dirty.within(self.lazy.length, flight.end)  # and would be zeros in a longer file (damage.py)
        if self.is_retired or flight.epoch != self.epoch or room is None or is_lost:
            return
        view = memoryview(data)
        for low, high in self.present.missing(start, start + len(view)):
            piece = view[low - start : high - start]
            self._unseal_locked(low, high)
            self.lazy.pwrite(piece, low)
            self.seals.add(low, piece)
            self._hold_locked(low, high, room)
            self._filled_unsaved += high - low
        if start + len(view) == flight.end and (self._filled_unsaved >= FILLED_UNSAVED_BYTES_MAX or flight.start == 0):
            self.save_locked()

    def drop_locked(self, start: int, end: int) -> None:
        """[start, end) is present no more, and its room free."""
        before = self.room_bytes
        self.present.remove(start, end)
        self.holes.fill(start, end)
        self._account_locked(before)
        self.lazy.is_settled = False
        self.is_saved = False

    # -- the row -------------------------------------------------------------------------------------------------

    def save_locked(self, along: Callable[[], None] | None = None) -> None:
        """The row says what the file holds, and `along` is done, all or nothing; durable against kill -9 on return."""
        if not self.is_saved:
            self._save_row_locked(self.dirty, along)
            self.is_saved = True
        elif along is not None:
            along()

    def _save_row_locked(self, dirty: Extents, along: Callable[[], None] | None = None) -> None:
        if self.present or dirty:
            packed = self.ground.tag + self.present.packed()
            seals = {number: seal and self.ground.tag + seal for number, seal in self.seals.unsaved().items()}
            row = CacheRow(packed, dirty.packed(), self.room_bytes, self.used_ns, self.holes.packed())
            self.ground.entries.save(self.ino, row, seals, along)
            self.seals.mark_saved()
        else:
            self.ground.entries.remove(self.ino)
            self.seals.clear()
            if along is not None:
                along()
        if dirty is not self._declared:
            self._declared = dirty.copy()
        self._saved_used_ns = self.used_ns
        self._filled_unsaved = 0

    def retire_locked(self) -> bool:
        """Save, close and leave memory; False when requests are under way."""
        if self.is_retired or self.flights:
            return False
        if self.is_saved and self.present and self._saved_used_ns != self.used_ns:
            self.is_saved = False  # the order of eviction outlives the object
        self.save_locked()
        self.close_locked()
        self.is_retired = True
        return True

    def discard_locked(self) -> None:
        """Forget the content: row, then file. Raises IOFailure when the file stays."""
        self.supersede_locked()
        before = self.room_bytes
        self.present.clear()
        self.holes.clear()
        self.dirty.clear()
        self._declared.clear()
        self.ground.entries.remove(self.ino)
        self.seals.clear()
        self.is_saved = True
        try:
            self.lazy.unlink()
        except OSError as error:
            raise disk_failure("remove", self.ino, error) from error
        finally:
            self._account_locked(before)
