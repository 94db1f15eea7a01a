"""Paths of Windows over a drive that goes by inode: `\\Dir\\File.txt`, whatever the case of the names.

Used by winfsp.py, from any thread. A name that is there exactly as asked for always wins; else the one name that
Windows takes for the same. Where there are several (`A.txt` and `a.txt` are two objects), each is listed and is found
by its exact name, and nothing else is: which one is meant cannot be known, so asking for a third spelling is refused
with Exists, and no third one can be made.

Names compared without case need the names of the whole directory; FoldIndex keeps those of a few.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from cachetools import LRUCache

from s3mount.bindings.served import ServedFileSystem
from s3mount.bindings.winfsp_names import fold, to_drive, to_windows
from s3mount.errors import Exists, InvalidArgument, InvalidName, NotADirectory, NotFound, ParentNotFound
from s3mount.model import ROOT_INO, Attr, DirEntry, Ino

log = logging.getLogger(__name__)

NAMES_KEPT_MAX = 500_000
# Names that others add are told one by one; those of a listing that was under way just then come this much later.
BELIEVED_S = 30.0

Names = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Found:
    """`path` in the case that the names have; `parent` and `name`, the drive's, of the root are itself and ""."""

    path: str
    parent: Ino
    name: str
    attr: Attr


class FoldIndex:
    """Folded name -> names of the drive, for directories asked of lately. Changes made through here are told to it."""

    def __init__(self, names_of: Callable[[Ino], Sequence[str]]):
        self._names_of = names_of
        self._lock = threading.Lock()
        self._kept: LRUCache[Ino, tuple[float, Names]] = LRUCache(
            NAMES_KEPT_MAX, getsizeof=lambda kept: len(kept[1]) + 1
        )
        # Names that came while those of their directory were being read, by each reader.
        self._reading: dict[object, tuple[Ino, list[str]]] = {}

    def find(self, directory: Ino, shown: str) -> list[str]:
        """Names that may be meant; some may be gone by now."""
        key = fold(shown)
        with self._lock:
            kept = self._kept.get(directory)
            if kept is not None and time.monotonic() - kept[0] < BELIEVED_S:
                return list(kept[1].get(key, ()))
        return list(self._read(directory).get(key, ()))

    def _read(self, directory: Ino) -> Mapping[str, list[str]]:
        reader, added = object(), list[str]()
        with self._lock:
            self._reading[reader] = (directory, added)
        started = time.monotonic()
        names: Names = defaultdict(list)
        try:
            for name in self._names_of(directory):
                names[fold(to_windows(name))].append(name)
        finally:
            with self._lock:
                del self._reading[reader]
        with self._lock:
            for name in added:
                _add(names, name)
            if len(names) < NAMES_KEPT_MAX:
                self._kept[directory] = (started, names)
        return names

    def added(self, directory: Ino, name: str) -> None:
        with self._lock:
            kept = self._kept.get(directory)
            if kept is not None:
                _add(kept[1], name)
            for reading, names in self._reading.values():
                if reading == directory:
                    names.append(name)

    def removed(self, directory: Ino, name: str) -> None:
        with self._lock:
            kept = self._kept.get(directory)
            if kept is not None and name in (names := kept[1].get(fold(to_windows(name)), [])):
                names.remove(name)

    def forget(self, directory: Ino) -> None:
        with self._lock:
            self._kept.pop(directory, None)


def _add(names: Names, name: str) -> None:
    same = names[fold(to_windows(name))]
    if name not in same:
        same.append(name)


class WindowsTree:
    def __init__(self, filesystem: ServedFileSystem):
        self._filesystem = filesystem
        self._root = Found("\\", ROOT_INO, "", filesystem.getattr(ROOT_INO))
        self.folded = FoldIndex(self.names_of)

    def names_of(self, directory: Ino) -> Sequence[str]:
        return [entry.name for entry in self.entries_of(directory)]

    def entries_of(self, directory: Ino) -> list[DirEntry]:
        """All of a moment: Windows goes on by name, and in the order of names as it folds them."""
        fh = self._filesystem.opendir(directory)
        try:
            entries: list[DirEntry] = []
            while page := self._filesystem.readdir(fh, entries[-1].next_place if entries else 0):
                entries += page
            return entries
        finally:
            self._filesystem.releasedir(fh)

    def find(self, path: str, *, wanted: Ino | None = None) -> Found:
        """What is at `path`; `wanted` decides between names that are the same to Windows. Raises ParentNotFound when it
        is not the last name that is missing, NotFound, Exists for one of several, InvalidName."""
        if path == "\\":
            return replace(self._root, attr=self._filesystem.getattr(ROOT_INO))
        found, parts = self._root, path.split("\\")[1:]
        for place, part in enumerate(parts, 1):
            is_last = place == len(parts)
            try:
                found = self.child(found, part, wanted=wanted if is_last else None)
            except (NotFound, NotADirectory) as error:
                if is_last and isinstance(error, NotFound):
                    raise
                raise ParentNotFound(path) from error
        return found

    def child(self, above: Found, shown: str, *, wanted: Ino | None = None) -> Found:
        parent = above.attr.ino
        name = _name_of(shown)
        try:
            found = self._found(above, name)
        except NotFound:
            pass
        else:
            if wanted is None or found.attr.ino == wanted:
                return found
        candidates = (self._found_if_there(above, name) for name in self.folded.find(parent, shown))
        same = [candidate for candidate in candidates if candidate is not None]
        if wanted is not None:
            same = [candidate for candidate in same if candidate.attr.ino == wanted]
        if not same:
            raise NotFound(shown)
        if len(same) > 1:
            log.warning("%r in %r is the name of several: %r", shown, above.path, [one.name for one in same])
            raise Exists(shown)
        return same[0]

    def _found(self, above: Found, name: str) -> Found:
        parent = above.attr.ino
        base = "" if above.path == "\\" else above.path
        return Found(f"{base}\\{to_windows(name)}", parent, name, self._filesystem.lookup(parent, name))

    def _found_if_there(self, above: Found, name: str) -> Found | None:
        try:
            return self._found(above, name)
        except NotFound:
            return None

    def place(self, path: str) -> tuple[Found, str]:
        """(directory, name) of what is to be at `path`. Raises ParentNotFound, InvalidName."""
        above, _, shown = path.rpartition("\\")
        try:
            directory = self.find(above or "\\")
        except NotFound as error:
            raise ParentNotFound(path) from error
        return directory, _name_of(shown)


def _name_of(shown: str) -> str:
    try:
        name = to_drive(shown)
    except InvalidArgument as error:
        raise InvalidName(shown) from error
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise InvalidName(shown)
    return name
