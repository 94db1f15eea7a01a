"""What a listing that differs from the index is told to, once it has been merged.

merge.py collects, lister.py and walk.py tell; vfs/foreign_changes.py is told. Knows neither index nor cache.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from s3mount.model import Ino, ObjectInfo


class LostName(NamedTuple):
    """An inode, and the directory and name it had there."""

    ino: Ino
    parent: Ino
    name: str


class ForeignObserver(Protocol):
    """Who empties the cache of what someone else changed. Called under no lock, but where it says so."""

    def replaced(self, ino: Ino, info: ObjectInfo) -> None:
        """The object behind `ino` is now the version `info`: take it over, cached bytes first."""

    def outdated(self, ino: Ino) -> None:
        """The cached bytes of `ino` are of a version that is gone: drop them, and let no open handle read on. Called
        under the inode lock."""

    def removed(self, lost: Iterable[LostName]) -> None:
        """These inodes have lost their names: forget them."""

    def added(self, new: Iterable[tuple[Ino, str]]) -> None:
        """These names are new in directories that had been listed before."""

    def is_open(self, ino: Ino) -> bool:
        """Whether a handle names this very inode, so that it must stay one. Inside an index transaction."""


@dataclass
class MergeResult:
    """What is to be told to the observer once the merge's transaction is over."""

    replaced: list[tuple[Ino, ObjectInfo]] = field(default_factory=list)
    removed: list[LostName] = field(default_factory=list)
    added: list[tuple[Ino, str]] = field(default_factory=list)

    def tell(self, observer: ForeignObserver) -> None:
        for ino, info in self.replaced:
            observer.replaced(ino, info)
        observer.removed(self.removed)
        observer.added(self.added)
        self.replaced.clear()
        self.removed.clear()
        self.added.clear()
