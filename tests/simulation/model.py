"""What the drive has promised of each file, and so what may be found after a crash.

P1: after kill -9, names are as they are now, and a file holds what was closed, or a change made since.
P2: after a power cut, a name is as at the last fsync of a directory or at any time since, and a file holds what was
fsynced, or a change made since.
"""

from dataclasses import dataclass, field
from enum import Enum


class Crash(Enum):
    KILL = "kill -9"
    POWER = "power cut"


@dataclass(eq=False)
class File:
    """Its content at the last fsync and after each change since; `closed`: the first of these that kill -9 leaves."""

    versions: list[bytes] = field(default_factory=lambda: [b""])
    closed: int = 0

    @property
    def now(self) -> bytes:
        return self.versions[-1]


Names = dict[str, File]


@dataclass(frozen=True, slots=True)
class Allowed:
    """The versions that a path may have; a changed file may hold a mixture of them."""

    versions: tuple[bytes, ...]

    def holds(self, found: bytes) -> bool:
        if found in self.versions:
            return True
        if len(self.versions) == 1 or len(found) not in map(len, self.versions):
            return False
        longest = max(map(len, self.versions))
        columns = [version.ljust(longest, b"\0") for version in self.versions]
        return all(any(byte == column[at] for column in columns) or not byte for at, byte in enumerate(found))


@dataclass(frozen=True)
class Mark:
    """The promises at one moment. `lost`: paths that said after a power cut that their bytes are gone, and that were
    removed then; the promises are about the others."""

    names: tuple[Names, ...]
    certain: int
    versions: dict[File, tuple[tuple[bytes, ...], int]]
    after: str
    lost: frozenset[str] = frozenset()

    def choices(self, path: str, crash: Crash) -> list[Allowed | None]:
        """None: the path may be missing."""
        names = self.names if crash is Crash.POWER else self.names[self.certain :]
        files = {id(found): found for found in (each.get(path) for each in names)}
        return [None if file is None else self._allowed(file, crash) for file in files.values()]

    def _allowed(self, file: File, crash: Crash) -> Allowed:
        versions, closed = self.versions[file]
        return Allowed(versions if crash is Crash.POWER else versions[closed:])

    def is_whole(self, body: bytes | None) -> bool:
        """Whether some file had exactly these bytes."""
        return any(body in versions for versions, _ in self.versions.values())


class Model:
    """`names`: since the last fsync of a directory; `certain`: the first of them that kill -9 leaves."""

    def __init__(self) -> None:
        self.names: list[Names] = [{}]
        self.certain = 0
        self.files: list[File] = []

    @property
    def now(self) -> Names:
        return self.names[-1]

    def mark(self, after: str) -> Mark:
        versions = {file: (tuple(file.versions), file.closed) for file in self.files}
        return Mark(tuple(self.names), self.certain, versions, after)

    def adopt(self, tree: dict[str, bytes]) -> None:
        """All of this is certain."""
        self.files = [File([body]) for body in tree.values()]
        self.names = [dict(zip(tree, self.files, strict=True))]
        self.certain = 0

    def see(self, tree: dict[str, bytes]) -> None:
        """This is how it is now, after something that failed; what was promised before stays."""
        found: Names = {}
        for path, body in tree.items():
            file = self._file_at(path, tree)
            if file not in self.files:
                self.files.append(file)
            if file.now != body:
                file.versions.append(body)
            found[path] = file
        self.names.append(found)

    def _file_at(self, path: str, tree: dict[str, bytes]) -> File:
        """The file that was last known there, unless it is known, and seen, under another name by now."""
        elsewhere = [file for name, file in self.now.items() if name in tree and name != path]
        for names in reversed(self.names):
            if path in names and names[path] not in elsewhere:
                return names[path]
        return File()

    def survived(self) -> None:
        """All that is now survives the next kill -9; a power cut may still bring back what was before."""
        self.certain = len(self.names) - 1
        for file in self.files:
            file.closed = len(file.versions) - 1
