"""Makes the index show what others changed at a path, whenever it was listed last.

Called for `s3mount refresh`, from threads of the control socket, under no lock. A change of metadata alone keeps the
ETag, so metadata is asked for anew too, at its next use. The kernel keeps attributes and names for a second more
(bindings/).
"""

from collections.abc import Callable, Sequence

from s3mount.errors import NotADirectory, NotFound
from s3mount.index.index import Index
from s3mount.model import ROOT_INO, Ino
from s3mount.remote.followed import FollowedWalk
from s3mount.remote.lister import Lister

FORGOTTEN_AT_ONCE = 500


class Refresher:
    def __init__(self, index: Index, lister: Lister, *, on_listed: Callable[[int], None]):
        """`on_listed` is told now and then how many directories were listed; what it raises ends the refresh."""
        self._index = index
        self._lister = lister
        self._on_listed = on_listed
        self._listed = 0

    def refresh(self, path: Sequence[str], *, recursive: bool) -> int:
        """List what the names of `path` lead to, and the directory it is in; with `recursive` all below that was listed
        before, for the rest is listed at its first use. Returns how many directories were listed. Raises NotFound,
        NotADirectory, StoreError."""
        target: Ino | None = ROOT_INO
        *above, name = path or [""]
        if path:
            parent = ROOT_INO
            for between in above:
                parent = self._child(parent, between)
            was_there = self._index.dentries.lookup(parent, name)
            self._relist(parent, but=name)
            target = self._index.dentries.lookup(parent, name)
            if target is None and was_there is None:
                raise NotFound(f"/{'/'.join(path)}: no such file or directory in the bucket")
        if target is not None:
            self._refresh(target, recursive=recursive)
        return self._listed

    def _refresh(self, target: Ino, *, recursive: bool) -> None:
        inode = self._index.inodes.find(target)
        if inode is None:
            return
        self._index.inodes.forget_metadata([inode.ino])
        if not inode.is_dir:
            return
        self._relist(inode.ino)
        if recursive:
            followed = self._lister.followed(inode)
            try:
                self._descend(inode.ino, followed)
            finally:
                followed.end()

    def _descend(self, top: Ino, followed: FollowedWalk) -> None:
        """In the order of keys, as far as that is one of names. Bounded by the directories that the index has."""
        waiting = self._listed_in(top)
        while waiting:
            inode = self._index.inodes.find(waiting.pop())
            if inode is None:
                continue
            self._index.inodes.forget_metadata([inode.ino])
            if followed.serve(inode):
                self._note_listed(inode.ino)
            else:
                self._relist(inode.ino)
            waiting += self._listed_in(inode.ino)

    def _listed_in(self, ino: Ino) -> list[Ino]:
        """The directories there that were listed before, the first at the end."""
        return [child.ino for child in reversed(self._index.inodes.directories_in(ino)) if child.is_listed]

    def _child(self, parent: Ino, name: str) -> Ino:
        ino = self._index.dentries.lookup(parent, name)
        if ino is None:
            self._relist(parent)
            ino = self._index.dentries.lookup(parent, name)
        inode = None if ino is None else self._index.inodes.find(ino)
        if inode is None:
            raise NotFound(f"{name}: no such directory in the bucket")
        if not inode.is_dir:
            raise NotADirectory(f"{name} is not a directory")
        return inode.ino

    def _relist(self, ino: Ino, but: str | None = None) -> None:
        """List a directory and forget the metadata of what is in it; with `but`, of this name alone."""
        self._lister.relist(ino, lambda: self._on_listed(self._listed))
        self._note_listed(ino, but)

    def _note_listed(self, ino: Ino, but: str | None = None) -> None:
        self._listed += 1
        if but is None:
            children = self._index.dentries.inos(ino)
            for place in range(0, len(children), FORGOTTEN_AT_ONCE):
                self._index.inodes.forget_metadata(children[place : place + FORGOTTEN_AT_ONCE])
        else:
            child = self._index.dentries.lookup(ino, but)
            self._index.inodes.forget_metadata([] if child is None else [child])
        self._on_listed(self._listed)
