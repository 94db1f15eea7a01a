"""What a binding may ask of the drive: the signatures of vfs.filesystem.FileSystem, and nothing below them.

A Protocol, so that the bindings can be run over any tree that keeps the same contract (the tests' reference tree).
All methods may be called from many threads at once and raise FsError only. Names hold non-UTF-8 bytes
surrogate-escaped. The root's inode is ROOT_INO; no inode's number is ever another's.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from s3mount.model import Attr, AttrChange, Caller, DirEntry, Fh, Ino, VolumeInfo

Ready = Callable[[], None]


# (ino, None): content and attributes of this inode are not what they were; (parent, name): the name is gone.
Tell = Callable[[Ino, str | None], None]


class ServedFileSystem(Protocol):
    def watch(self, tell: Tell) -> None:
        """`tell` is called for each change that someone else made, from any thread; it must not block."""

    def lookup(self, parent: Ino, name: str) -> Attr: ...

    def getattr(self, ino: Ino) -> Attr: ...

    def setattr(self, ino: Ino, change: AttrChange, fh: Fh | None = None) -> Attr: ...

    def readlink(self, ino: Ino) -> str: ...

    def mknod(self, parent: Ino, name: str, mode: int, rdev: int, caller: Caller) -> Attr: ...

    def mkdir(self, parent: Ino, name: str, mode: int, caller: Caller) -> Attr: ...

    def unlink(self, parent: Ino, name: str) -> None: ...

    def rmdir(self, parent: Ino, name: str) -> None: ...

    def symlink(self, target: str, parent: Ino, name: str, caller: Caller) -> Attr: ...

    def rename(self, parent: Ino, name: str, new_parent: Ino, new_name: str, flags: int = 0) -> None: ...

    def link(self, ino: Ino, new_parent: Ino, new_name: str) -> Attr: ...

    def create(self, parent: Ino, name: str, mode: int, flags: int, caller: Caller) -> tuple[Attr, Fh]: ...

    def open(self, ino: Ino, flags: int) -> Fh: ...

    def read(self, fh: Fh, offset: int, size: int) -> bytes: ...

    def write(self, fh: Fh, offset: int, data: bytes | memoryview, *, is_page: bool = False) -> int:
        """`data` is borrowed: it is not valid after the call returns. `is_page`: a page of a shared mapping, which
        goes to `offset` even when the handle appends."""

    def flush(self, fh: Fh) -> None: ...

    def fsync(self, fh: Fh, datasync: bool) -> None: ...

    def release(self, fh: Fh) -> None: ...

    def opendir(self, ino: Ino) -> Fh: ...

    def readdir(self, fh: Fh, *, from_start: bool) -> Sequence[DirEntry]:
        """All entries; `from_start`: those of now, if the handle was read from its start before."""

    def fsyncdir(self, fh: Fh, datasync: bool) -> None: ...

    def releasedir(self, fh: Fh) -> None: ...

    def statfs(self) -> VolumeInfo: ...
