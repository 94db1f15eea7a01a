"""One block file as the disk has it: opened at its first use, made when first written, closed when others need room.

Owned by a BlockFile, called under its lock. Knows lengths and names, not which bytes count. Raises OSError.
"""

from s3mount.cache.disk import Buffer, Disk, DiskFile
from s3mount.cache.open_files import Closable, OpenFiles


class LazyFile:
    """`length`: of the file on disk, in bytes. `unsynced_names`: how often its name was made or removed since it was
    last synced."""

    __slots__ = ("_disk", "_file", "_open_files", "_owner", "length", "unsynced_names")

    def __init__(self, owner: Closable, disk: Disk, open_files: OpenFiles, *, length: int) -> None:
        self.length = length
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
                self._file = self._disk.open(self._owner.ino, create=False)
            except FileNotFoundError:
                if not create:
                    raise
                self._file = self._disk.open(self._owner.ino, create=True)
                self.unsynced_names += 1
            self.length = self._file.length()
            self._open_files.add(self._owner)
        return self._file

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

    def pread(self, size: int, offset: int) -> bytes:
        return (self._file or self.opened(create=False)).pread(size, offset)

    def pwrite(self, data: Buffer, offset: int) -> None:
        (self._file or self.opened(create=True)).pwrite(data, offset)
        self.length = max(self.length, offset + len(data))

    def truncate(self, length: int) -> None:
        self.opened(create=True).truncate(length)
        self.length = length
