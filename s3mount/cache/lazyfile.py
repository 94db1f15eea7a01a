"""One block file as the disk has it: opened at its first use, made when first written, closed when others need room.

Owned by a BlockFile, called under its lock. Knows lengths and names, not which bytes count. Raises OSError.
"""

from collections.abc import Iterable, Sequence

from s3mount.cache.disk import Buffer, Disk, DiskFile
from s3mount.cache.open_files import Closable, OpenFiles

ZEROS_AT_ONCE = 1 << 20
LENGTH_MAX = 1 << 62


class LazyFile:
    """`length`: of the file on disk, in bytes. `reach`: the greatest length that a power cut may bring back.
    `is_settled`: no byte of a former run, or of before the last upload, can be brought back where none is present now.
    `unsynced_names`: how often its name was made or removed since it was last synced."""

    __slots__ = (
        "_disk",
        "_file",
        "_holes",
        "_is_known",
        "_open_files",
        "_owner",
        "_was_unlinked",
        "is_settled",
        "length",
        "reach",
        "unsynced_names",
    )

    def __init__(
        self, owner: Closable, disk: Disk, open_files: OpenFiles, *, length: int, holes: Sequence[tuple[int, int]] = ()
    ) -> None:
        """`holes`: what reads as zeros as far as the row knows; a former run may have written there and died."""
        self.length = length
        self.reach = 0
        self._holes = holes
        self.is_settled = True
        self._is_known = False
        self._was_unlinked = False
        # Whoever made the file may have died before its name was synced.
        self.unsynced_names = 1
        self._owner = owner
        self._disk = disk
        self._open_files = open_files
        self._file: DiskFile | None = None

    @property
    def is_open(self) -> bool:
        return self._file is not None

    def opened(self, *, create: bool) -> DiskFile:
        if self._file is None:
            self._open_files.make_room(self._owner)
            try:
                file = self._disk.open(self._owner.ino, create=False)
            except FileNotFoundError:
                if not create:
                    raise
                file = self._disk.open(self._owner.ino, create=True)
                self.unsynced_names += 1
                self._is_known = True
            try:
                self._meet(file)
            except OSError:
                file.close()
                raise
            self._file = file
            self._open_files.add(self._owner)
        return self._file

    def _meet(self, file: DiskFile) -> None:
        self._set_length(file.length())
        if not self._is_known:
            # A former run may have cut it, and a power cut may take that back.
            self.is_settled, self.reach = False, LENGTH_MAX
            for start, end in self._holes:
                file.punch_hole(start, end)
            self._is_known, self._holes = True, ()

    def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            self._open_files.remove(self._owner)
            file.close()

    def unlink(self) -> None:
        self.close()
        self._disk.unlink(self._owner.ino)
        self.length = 0
        self.unsynced_names += 1
        self._was_unlinked = True
        self.is_settled = False

    def name_synced(self, count: int) -> None:
        """The directory entry was synced when `unsynced_names` was `count`."""
        if self.unsynced_names == count:
            self.unsynced_names = 0

    def pread(self, size: int, offset: int) -> bytes:
        return (self._file or self.opened(create=False)).pread(size, offset)

    def pwrite(self, data: Buffer, offset: int) -> None:
        (self._file or self.opened(create=True)).pwrite(data, offset)
        self._set_length(max(self.length, offset + len(data)))

    def truncate(self, length: int) -> None:
        self.opened(create=True).truncate(length)
        self._set_length(length)

    def zero(self, start: int, end: int) -> None:
        """[start, end) reads as zeros, and takes no room where the disk can do that."""
        file = self.opened(create=True)
        self._clear(file, start, min(end, self.length))
        if self.length < end:
            self.truncate(end)

    def _clear(self, file: DiskFile, start: int, end: int) -> None:
        if start < end and self._disk.can_punch:
            file.punch_hole(start, end)
            return
        for at in range(start, end, ZEROS_AT_ONCE):
            file.pwrite(bytes(min(ZEROS_AT_ONCE, end - at)), at)

    def _set_length(self, length: int) -> None:
        self.length = length
        self.reach = max(self.reach, length)

    def settle(self, holes: Iterable[tuple[int, int]], end: int) -> None:
        """Become settled, where nothing is present in `holes` nor at or after `end`."""
        file = self.opened(create=True)
        if self.length > end:
            self.truncate(end)
        for hole in holes:
            self._clear(file, *hole)
        file.fdatasync()
        if self._was_unlinked:
            self._disk.fsync_directory(self._owner.ino)
            self._was_unlinked = False
        self.reach = self.length
        self.is_settled = True
