"""What a drive of Windows is, in a page: names without case, attributes, deletes that wait, and statuses.

The specification that tests/winfsp/test_machine.py holds the real drive against. Paths are tuples of names.
"""

from dataclasses import dataclass, field

from tests.support import winfsp_driver as nt
from tests.support.winfsp_driver import NtError

Path = tuple[str, ...]
KEPT = nt.READONLY | nt.HIDDEN | nt.SYSTEM | nt.ARCHIVE


@dataclass
class Entry:
    name: str
    is_dir: bool
    attributes: int
    data: bytes = b""
    children: "dict[str, Entry]" = field(default_factory=dict)
    opens: int = 0
    is_pending: bool = False

    def shown(self) -> int:
        return self.attributes | (nt.DIRECTORY if self.is_dir else 0)


@dataclass
class Open:
    entry: Entry
    parent: Entry
    is_modified: bool = False
    did_set_attributes: bool = False


class WindowsReference:
    def __init__(self) -> None:
        self.root = Entry("", True, 0)

    def _find(self, path: Path) -> tuple[Entry, Entry]:
        """(the entry, its directory)"""
        parent, here = self.root, self.root
        for place, name in enumerate(path):
            is_last = place == len(path) - 1
            found = here.children.get(name.upper()) if here.is_dir else None
            if found is None:
                raise NtError(nt.NAME_NOT_FOUND if is_last and here.is_dir else nt.PATH_NOT_FOUND)
            parent, here = here, found
        return here, parent

    def create(self, path: Path, disposition: int, access: int, *, is_dir: bool = False, attributes: int = 0) -> Open:
        if disposition != nt.CREATE:
            try:
                entry, parent = self._find(path)
            except NtError as error:
                if disposition in (nt.OPEN, nt.OVERWRITE) or error.status != nt.NAME_NOT_FOUND:
                    raise
            else:
                return self._open(entry, parent, disposition, access, is_dir, attributes)
        try:
            parent, _ = self._find(path[:-1])
        except NtError as error:
            raise NtError(nt.PATH_NOT_FOUND) from error
        if not parent.is_dir:
            raise NtError(nt.NOT_A_DIRECTORY)
        if path[-1].upper() in parent.children:
            raise NtError(nt.NAME_COLLISION)
        entry = Entry(path[-1], is_dir, attributes & KEPT if is_dir else attributes & KEPT | nt.ARCHIVE, opens=1)
        parent.children[path[-1].upper()] = entry
        return Open(entry, parent)

    def _open(self, entry: Entry, parent: Entry, disposition: int, access: int, is_dir: bool, attributes: int) -> Open:
        overwrites = disposition not in (nt.OPEN, nt.OPEN_IF)
        if is_dir and not entry.is_dir:
            raise NtError(nt.NOT_A_DIRECTORY)
        writes = access & (nt.WRITE_DATA | nt.APPEND_DATA) or overwrites
        if writes and entry.attributes & nt.READONLY and not entry.is_dir:
            raise NtError(nt.ACCESS_DENIED)
        if entry.is_pending:
            raise NtError(nt.DELETE_PENDING)
        if overwrites:
            if entry.attributes & (nt.HIDDEN | nt.SYSTEM) & ~attributes:
                raise NtError(nt.ACCESS_DENIED)
            if entry.is_dir:
                raise NtError(nt.IS_A_DIRECTORY)
            old = 0 if disposition == nt.SUPERSEDE else entry.attributes
            entry.data, entry.attributes = b"", old | attributes & KEPT | nt.ARCHIVE
        entry.opens += 1
        return Open(entry, parent, is_modified=overwrites)

    def close(self, opened: Open) -> None:
        entry = opened.entry
        entry.opens -= 1
        if not entry.opens and entry.is_pending:
            del opened.parent.children[entry.name.upper()]
        elif opened.is_modified and not opened.did_set_attributes and not entry.is_dir:
            entry.attributes |= nt.ARCHIVE

    def _begin_change(self, opened: Open) -> None:
        """Due for backup at once: stricter than NTFS, which may leave that to the close."""
        if not opened.is_modified and not opened.did_set_attributes:
            opened.entry.attributes |= nt.ARCHIVE
        opened.is_modified = True

    def write(self, opened: Open, offset: int | None, data: bytes) -> None:
        self._begin_change(opened)
        entry = opened.entry
        offset = len(entry.data) if offset is None else offset
        entry.data = entry.data.ljust(offset, b"\0")[:offset] + data + entry.data[offset + len(data) :]

    def set_size(self, opened: Open, size: int) -> None:
        self._begin_change(opened)
        opened.entry.data = opened.entry.data[:size].ljust(size, b"\0")

    def set_attributes(self, opened: Open, attributes: int) -> None:
        opened.entry.attributes = attributes & KEPT
        opened.did_set_attributes = True

    def set_delete(self, opened: Open) -> None:
        entry = opened.entry
        if entry.attributes & nt.READONLY:
            raise NtError(nt.CANNOT_DELETE)
        if entry.children:
            raise NtError(nt.NOT_EMPTY)
        entry.is_pending = True

    def rename(self, opened: Open, old: Path, new: Path, *, replaces: bool) -> None:
        entry = opened.entry
        try:
            parent, _ = self._find(new[:-1])
        except NtError as error:
            raise NtError(nt.PATH_NOT_FOUND) from error
        if not parent.is_dir:
            raise NtError(nt.NOT_A_DIRECTORY)
        target = parent.children.get(new[-1].upper())
        if _is_open_below(entry) or (target is not None and target is not entry and target.opens):
            raise NtError(nt.ACCESS_DENIED)
        if target is entry and entry.name == new[-1]:
            return
        if replaces and target is not None and not target.is_dir and target.attributes & nt.READONLY:
            raise NtError(nt.CANNOT_DELETE)
        if target is not None and target is not entry:
            if not replaces:
                raise NtError(nt.NAME_COLLISION)
            if target.is_dir or entry.is_dir:
                raise NtError(nt.ACCESS_DENIED)
        if parent is entry or _is_below(entry, parent):
            raise NtError(nt.INVALID_PARAMETER)
        del opened.parent.children[entry.name.upper()]
        entry.name = new[-1]
        parent.children[entry.name.upper()] = entry
        opened.parent = parent

    def shape(self) -> dict[Path, tuple[int, bytes | None]]:
        """Attributes and content of everything; None for the content of what cannot be opened any more."""
        found: dict[Path, tuple[int, bytes | None]] = {}
        waiting: list[tuple[Path, Entry]] = [((), self.root)]
        while waiting:
            path, folder = waiting.pop()
            for child in folder.children.values():
                below = (*path, child.name)
                found[below] = (child.shown(), None if child.is_pending else child.data)
                waiting += [(below, child)] if child.is_dir and not child.is_pending else []
        return found


def _is_below(entry: Entry, wanted: Entry) -> bool:
    return any(child is wanted or _is_below(child, wanted) for child in entry.children.values())


def _is_open_below(entry: Entry) -> bool:
    return any(child.opens or _is_open_below(child) for child in entry.children.values())
