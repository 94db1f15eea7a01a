"""WinFsp's kernel driver, as far as a file system can tell: which requests it makes, and in which order.

A `Volume` is what programs see of a drive: NtCreateFile's dispositions, sharing, deletes that wait for the last handle,
READONLY, and what a closing handle makes the driver ask for. Each rule names where WinFsp has it (v2.1, src/sys). The
requests go to a `Dll`: winfsp.dll itself (winfsp_device.py, where there is a Windows or a Wine), or a stand-in
(winfsp_stub_dll.py).
"""

import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

SUPERSEDE, OPEN, CREATE, OPEN_IF, OVERWRITE, OVERWRITE_IF = range(6)
DIRECTORY_FILE, NON_DIRECTORY_FILE, DELETE_ON_CLOSE = 0x1, 0x40, 0x1000
READ_DATA, WRITE_DATA, APPEND_DATA, READ_ATTRIBUTES, WRITE_ATTRIBUTES = 0x1, 0x2, 0x4, 0x80, 0x100
DELETE, ALL_ACCESS, MAXIMUM_ALLOWED = 0x10000, 0x1F01FF, 0x2000000
SHARE_READ, SHARE_WRITE, SHARE_DELETE, SHARE_ALL = 0x1, 0x2, 0x4, 0x7
READONLY, HIDDEN, SYSTEM, DIRECTORY, ARCHIVE, NORMAL = 0x1, 0x2, 0x4, 0x10, 0x20, 0x80
KEEP_ATTRIBUTES = 0xFFFFFFFF

NAME_INVALID, NAME_NOT_FOUND, NAME_COLLISION, PATH_NOT_FOUND = 0xC0000033, 0xC0000034, 0xC0000035, 0xC000003A
ACCESS_DENIED, SHARING_VIOLATION, DELETE_PENDING, END_OF_FILE = 0xC0000022, 0xC0000043, 0xC0000056, 0xC0000011
IS_A_DIRECTORY, NOT_A_DIRECTORY, NOT_EMPTY, CANNOT_DELETE = 0xC00000BA, 0xC0000103, 0xC0000101, 0xC0000121
WRITE_PROTECTED, INVALID_PARAMETER, NO_SUCH_FILE = 0xC00000A2, 0xC000000D, 0xC000000F
DELETES, SETS_SIZE, SETS_ARCHIVE, SETS_READ, SETS_WRITTEN, SETS_CHANGED = 0x1, 0x2, 0x10, 0x20, 0x40, 0x80
SUPERSEDED, OPENED, CREATED, OVERWRITTEN = range(4)

DIR_INFO_BYTES = 104
_FORBIDDEN = re.compile(r'["*/:<>?|\x00-\x1f]')  # sys/name.c


class NtError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"NTSTATUS 0x{status:08X}")
        self.status = status


class Notified(NamedTuple):
    """One change that the driver was told of: sys/volume.c FspVolumeNotifyWork."""

    path: str
    filters: int
    action: int


class Info(NamedTuple):
    attributes: int
    size: int
    allocated: int
    created: int
    accessed: int
    written: int
    changed: int
    index: int


class Opened(NamedTuple):
    """What winfsp.dll answers to an open. `how`: SUPERSEDED, OPENED, ...; `name`: the path in its real case."""

    how: int
    context: Any
    granted: int
    info: Info
    name: str


class Facts(NamedTuple):
    """What the file system told WinFsp of the volume."""

    device: str
    mount_point: str
    prefix: str
    name: str
    is_case_sensitive: bool
    keeps_case: bool
    has_context_per_open: bool
    cleans_up_when_modified_only: bool
    is_read_only: bool


class Notices(Protocol):
    """What the driver was told of changes by others, between Begin and End (sys/volume.c FspVolumeNotify)."""

    def begins(self) -> int:
        """How often it was asked to hold back renames, also in vain."""

    def records(self) -> bytes: ...
    def refuse(self, is_renaming: bool) -> None:
        """Whether a rename goes on, and Begin has to wait."""

    def check(self) -> None:
        """Fails when a Begin has no End, or something was told outside of them."""


class Dll(Protocol):
    """The requests of FSP_FSCTL_TRANSACT that are used here; a failure is an NtError. `context` is Opened.context."""

    def facts(self) -> Facts: ...
    def threads(self) -> int: ...
    def create(self, path: str, disposition: int, options: int, access: int, attributes: int, share: int) -> Opened: ...
    def open_parent(self, path: str) -> Any: ...
    def overwrite(self, context: Any, attributes: int, supersedes: bool) -> Info: ...
    def cleanup(self, context: Any, path: str | None, flags: int) -> None: ...
    def close(self, context: Any) -> None: ...
    def read(self, context: Any, offset: int, size: int) -> bytes: ...
    def write(self, context: Any, offset: int | None, data: bytes, is_constrained: bool) -> tuple[int, Info]: ...
    def flush(self, context: Any | None) -> None: ...
    def info(self, context: Any) -> Info: ...
    def set_basic(self, context: Any, attributes: int, created: int, accessed: int, written: int) -> Info: ...
    def set_size(self, context: Any, size: int, is_allocation: bool) -> Info: ...
    def set_delete(self, context: Any, path: str, wanted: bool) -> None: ...
    def rename(self, context: Any, old: str, new: str, replaces: bool) -> None: ...
    def entries(self, context: Any, marker: str | None, size: int) -> tuple[list[tuple[str, Info]], bool]:
        """Up to `size` bytes of entries after `marker`, and whether the listing ends with them."""

    def entry(self, context: Any, name: str) -> tuple[str, Info] | None: ...
    def volume(self) -> tuple[int, int, str]: ...
    def set_label(self, label: str) -> None: ...
    def security(self, context: Any) -> str: ...
    def set_security(self, context: Any) -> None: ...
    @property
    def notices(self) -> Notices: ...


@dataclass(eq=False)
class Node:
    """A file that is open: FSP_FILE_NODE."""

    path: str
    is_dir: bool
    handles: "list[Handle]" = field(default_factory=list)
    is_delete_pending: bool = False


@dataclass(eq=False)
class Handle:
    """A FILE_OBJECT: FSP_FILE_DESC."""

    node: Node
    context: Any
    access: int
    share: int
    info: Info
    deletes_on_close: bool = False
    did_set_attributes: bool = False
    did_set_written: bool = False
    did_set_accessed: bool = False
    did_set_security: bool = False
    did_set_metadata: bool = False
    is_modified: bool = False


class Volume:
    """Of a file system that is started. `facts` does not change from then on."""

    def __init__(self, dll: Dll) -> None:
        self._dll = dll
        self.facts = dll.facts()
        self._nodes: dict[str, Node] = {}
        self._lock = threading.Lock()

    def threads(self) -> int:
        """How many requests are taken at once."""
        return self._dll.threads()

    # -- opening: sys/create.c --

    def create(
        self, path: str, disposition: int = OPEN, access: int = MAXIMUM_ALLOWED, *, options: int = 0,
        attributes: int = 0, share: int = SHARE_ALL,
    ) -> Handle:  # fmt: skip
        self._check_name(path)
        if options & DIRECTORY_FILE and options & NON_DIRECTORY_FILE:
            raise NtError(INVALID_PARAMETER)
        if path == "\\" and disposition not in (OPEN, OPEN_IF):
            raise NtError(ACCESS_DENIED)
        if path == "\\" and options & DELETE_ON_CLOSE:
            raise NtError(CANNOT_DELETE)
        # NORMAL and DIRECTORY are no attributes to be set.
        attributes &= ~(NORMAL | DIRECTORY)
        attributes |= DIRECTORY if options & DIRECTORY_FILE else 0
        opened = self._dll.create(path, disposition, options, access, attributes, share)
        if opened.name.upper() != path.upper():
            self._dll.close(opened.context)
            raise NtError(NAME_INVALID)
        handle = self._handle(opened, disposition, share)
        handle.deletes_on_close = bool(options & DELETE_ON_CLOSE)
        if opened.how in (SUPERSEDED, OVERWRITTEN):
            self._overwrite(handle, attributes & ~DIRECTORY, supersedes=opened.how == SUPERSEDED)
        return handle

    def _check_name(self, path: str) -> None:
        parts = path.split("\\")[1:]
        if path != "\\" and (path[0] != "\\" or not all(parts) or any(map(_FORBIDDEN.search, parts))):
            raise NtError(NAME_INVALID)

    def _handle(self, opened: Opened, disposition: int, share: int) -> Handle:
        """FspFileNodeOpen; what it refuses is closed without a Cleanup (FspFsvolCreatePostClose)."""
        also = {SUPERSEDE: DELETE, OVERWRITE: WRITE_DATA, OVERWRITE_IF: WRITE_DATA}.get(disposition, 0)
        access = opened.granted | also
        with self._lock:
            is_dir = bool(opened.info.attributes & DIRECTORY)
            node = self._nodes.get(opened.name.upper()) or Node(opened.name, is_dir)
            status = 0
            if node.is_delete_pending:
                status = DELETE_PENDING
            elif any(_excludes(access, other.share) or _excludes(other.access, share) for other in node.handles):
                status = SHARING_VIOLATION
            else:
                handle = Handle(node, opened.context, opened.granted, share, opened.info)
                node.handles.append(handle)
                self._nodes[opened.name.upper()] = node
        if status:
            self._dll.close(opened.context)
            raise NtError(status)
        return handle

    def _overwrite(self, handle: Handle, attributes: int, *, supersedes: bool) -> None:
        # What is hidden must be asked for as such.
        if handle.info.attributes & (HIDDEN | SYSTEM) & ~attributes:
            self._dll.close(handle.context)
            self._drop(handle)
            raise NtError(ACCESS_DENIED)
        attributes |= DIRECTORY if handle.node.is_dir else 0
        try:
            handle.info = self._dll.overwrite(handle.context, attributes, supersedes)
        except NtError:
            self._drop(handle)  # winfsp.dll has closed it
            raise
        handle.is_modified = True

    def _drop(self, handle: Handle) -> bool:
        """Whether it was the last of its file."""
        node = handle.node
        with self._lock:
            node.handles.remove(handle)
            if not node.handles:
                del self._nodes[node.path.upper()]
            return not node.handles

    # -- closing: sys/cleanup.c, sys/close.c --

    def close(self, handle: Handle) -> None:
        node = handle.node
        node.is_delete_pending |= handle.deletes_on_close
        is_last = len(node.handles) == 1
        flags = 0 if handle.did_set_accessed else SETS_READ
        flags |= DELETES if is_last and node.is_delete_pending else 0
        flags |= SETS_SIZE if is_last and handle.is_modified else 0
        if (handle.is_modified or handle.did_set_security) and not handle.did_set_attributes:
            flags |= SETS_ARCHIVE
        flags |= SETS_WRITTEN if handle.is_modified and not handle.did_set_written else 0
        flags |= SETS_CHANGED if handle.is_modified or handle.did_set_metadata else 0
        if flags & ~SETS_READ or not self.facts.cleans_up_when_modified_only:
            self._dll.cleanup(handle.context, node.path if flags & DELETES else None, flags)
        self._drop(handle)
        self._dll.close(handle.context)

    @contextmanager
    def opened(
        self, path: str, disposition: int = OPEN, access: int = MAXIMUM_ALLOWED, **more: int
    ) -> Iterator[Handle]:
        handle = self.create(path, disposition, access, **more)
        try:
            yield handle
        finally:
            self.close(handle)

    # -- bytes --

    def read(self, handle: Handle, offset: int, size: int) -> bytes:
        return self._dll.read(handle.context, offset, size)

    def write(self, handle: Handle, offset: int | None, data: bytes, *, is_constrained: bool = False) -> int:
        count, handle.info = self._dll.write(handle.context, offset, data, is_constrained)
        handle.is_modified = True
        return count

    def flush(self, handle: Handle | None) -> None:
        self._dll.flush(None if handle is None else handle.context)

    # -- information: sys/fileinfo.c --

    def info(self, handle: Handle) -> Info:
        return self._dll.info(handle.context)

    def stat(self, path: str) -> Info:
        with self.opened(path, access=READ_ATTRIBUTES) as handle:
            return self.info(handle)

    def set_basic(
        self, handle: Handle, *, attributes: int = KEEP_ATTRIBUTES, created: int = 0, accessed: int = 0,
        written: int = 0,
    ) -> Info:  # fmt: skip
        """NORMAL as the attributes clears all, as for a program: it arrives as 0."""
        handle.did_set_metadata = True
        if attributes != KEEP_ATTRIBUTES:
            attributes = attributes & ~(NORMAL | DIRECTORY) | (DIRECTORY if handle.node.is_dir else 0)
            handle.did_set_attributes = True
        handle.did_set_written |= bool(written)
        handle.did_set_accessed |= bool(accessed)
        return self._dll.set_basic(handle.context, attributes, created, accessed, written)

    def set_size(self, handle: Handle, size: int, *, is_allocation: bool = False) -> Info:
        info = self._dll.set_size(handle.context, size, is_allocation)
        handle.is_modified = True
        return info

    def set_delete(self, handle: Handle, wanted: bool = True) -> None:
        self._dll.set_delete(handle.context, handle.node.path, wanted)
        handle.node.is_delete_pending = wanted

    def delete(self, path: str, *, options: int = 0) -> None:
        """DeleteFile, RemoveDirectory."""
        with self.opened(path, access=DELETE | READ_ATTRIBUTES, options=options) as handle:
            self.set_delete(handle)

    def rename(self, handle: Handle, new: str, *, replaces: bool = False) -> None:
        self._check_name(new)
        old, node = handle.node.path, handle.node
        # The I/O manager opens the directory that it goes to (SL_OPEN_TARGET_DIRECTORY).
        self._dll.close(self._dll.open_parent(new))
        # FspFsvolSetRenameInformation
        target = self._nodes.get(new.upper())
        below = old.upper() + "\\"
        if any(key.startswith(below) for key in list(self._nodes)) or (target is not None and target is not node):
            raise NtError(ACCESS_DENIED)
        if new == old:
            return
        self._dll.rename(handle.context, old, new, replaces)
        handle.did_set_metadata = True
        with self._lock:
            del self._nodes[old.upper()]
            node.path = new
            self._nodes[new.upper()] = node

    def move(self, old: str, new: str, *, replaces: bool = False) -> None:
        """MoveFileEx."""
        with self.opened(old, access=DELETE | READ_ATTRIBUTES) as handle:
            self.rename(handle, new, replaces=replaces)

    # -- directories: sys/dirctl.c --

    def entries(self, handle: Handle, size: int = 4096) -> Iterator[tuple[str, Info]]:
        """One buffer after another, each asked for when the one before is used up."""
        marker: str | None = None
        is_end = False
        while not is_end:
            found, is_end = self._dll.entries(handle.context, marker, size)
            yield from found
            assert is_end or found, "a listing ends with a mark, not with nothing"
            marker = found[-1][0] if found else None

    def names(self, path: str, size: int = 4096) -> list[str]:
        with self.opened(path, options=DIRECTORY_FILE, access=READ_DATA) as handle:
            return [name for name, _ in self.entries(handle, size) if name not in (".", "..")]

    def entry(self, handle: Handle, name: str) -> tuple[str, Info]:
        """A query for one name without wildcards."""
        found = self._dll.entry(handle.context, name)
        if found is None:
            raise NtError(NO_SUCH_FILE)
        return found

    # -- the volume --

    def volume(self) -> tuple[int, int, str]:
        return self._dll.volume()

    def set_label(self, label: str) -> None:
        self._dll.set_label(label)

    @property
    def notices(self) -> "Notices":
        return self._dll.notices

    def notified(self) -> list[Notified]:
        """All so far, as the driver reads them: a record that is too small ends them."""
        data = self.notices.records()
        found, place = [], 0
        while place + 12 <= len(data):
            size, filters, action = struct.unpack_from("<HxxII", data, place)
            assert size >= 12, "it would end the driver's hold on renames"
            path = data[place + 12 : place + size].decode("utf-16-le", "surrogatepass")
            assert path.startswith("\\"), "a relative name counts from the one before"
            self._check_name(path)
            found.append(Notified(path, filters, action))
            place += (size + 7) & ~7
        assert place == len(data)
        return found

    def security(self, handle: Handle) -> str:
        return self._dll.security(handle.context)

    def set_security(self, handle: Handle) -> None:
        self._dll.set_security(handle.context)
        handle.did_set_security = handle.did_set_metadata = True


def _excludes(access: int, share: int) -> bool:
    return bool(
        (access & READ_DATA and not share & SHARE_READ)
        or (access & (WRITE_DATA | APPEND_DATA) and not share & SHARE_WRITE)
        or (access & DELETE and not share & SHARE_DELETE)
    )
