"""WinFsp's kernel driver and winfsp.dll, as far as a file system can tell: which callbacks come, in which order.

A `Volume` is what programs see of a drive: NtCreateFile's dispositions, sharing, deletes that wait for the last handle,
READONLY, and what a closing handle makes the driver ask for. Each rule names where WinFsp has it (v2.1, src/). It calls
the function pointers of the interface that winfspy filled in, as the dispatcher's threads do.
"""

import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SUPERSEDE, OPEN, CREATE, OPEN_IF, OVERWRITE, OVERWRITE_IF = range(6)
DIRECTORY_FILE, NON_DIRECTORY_FILE, DELETE_ON_CLOSE = 0x1, 0x40, 0x1000
READ_DATA, WRITE_DATA, APPEND_DATA, READ_ATTRIBUTES, WRITE_ATTRIBUTES = 0x1, 0x2, 0x4, 0x80, 0x100
DELETE, ALL_ACCESS = 0x10000, 0x1F01FF
SHARE_READ, SHARE_WRITE, SHARE_DELETE, SHARE_ALL = 0x1, 0x2, 0x4, 0x7
READONLY, HIDDEN, SYSTEM, DIRECTORY, ARCHIVE, NORMAL = 0x1, 0x2, 0x4, 0x10, 0x20, 0x80
KEEP_ATTRIBUTES = 0xFFFFFFFF

NAME_INVALID, NAME_NOT_FOUND, NAME_COLLISION, PATH_NOT_FOUND = 0xC0000033, 0xC0000034, 0xC0000035, 0xC000003A
ACCESS_DENIED, SHARING_VIOLATION, DELETE_PENDING, END_OF_FILE = 0xC0000022, 0xC0000043, 0xC0000056, 0xC0000011
IS_A_DIRECTORY, NOT_A_DIRECTORY, NOT_EMPTY, CANNOT_DELETE = 0xC00000BA, 0xC0000103, 0xC0000101, 0xC0000121
WRITE_PROTECTED, INVALID_PARAMETER = 0xC00000A2, 0xC000000D
DELETES, SETS_SIZE, SETS_ARCHIVE, SETS_READ, SETS_WRITTEN, SETS_CHANGED = 0x1, 0x2, 0x10, 0x20, 0x40, 0x80

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
    is_modified: bool = False


class Volume:
    def __init__(self, file_system: Any) -> None:
        from winfspy.plumbing import ffi, lib

        self.ffi, self.lib = ffi, lib
        self._fs = file_system._file_system_ptr[0]
        self._calls = file_system._file_system_interface
        self._nodes: dict[str, Node] = {}
        self._lock = threading.Lock()
        self.params = self._fs.Params

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._calls, name)(self._fs, *arguments)
        if status is not None and status >= 0x80000000:
            raise NtError(status)

    def _text(self, text: str) -> Any:
        return self.ffi.new("WCHAR[]", text)

    # -- opening: dll/fsop.c FspFileSystemOpCreate, sys/create.c --

    def attributes(self, path: str) -> int:
        found = self.ffi.new("UINT32 *")
        size = self.ffi.new("SIZE_T *", 1024)
        self._call("GetSecurityByName", self._text(path), found, self.ffi.new("SECURITY_DESCRIPTOR[4]"), size)
        assert size[0] > 0
        return int(found[0])

    def create(
        self, path: str, disposition: int = OPEN, access: int = ALL_ACCESS, *, options: int = 0, attributes: int = 0,
        share: int = SHARE_ALL,
    ) -> Handle:  # fmt: skip
        self._check_name(path)
        self._check_pending(path)
        # FSD: NORMAL and DIRECTORY are no attributes to be set (sys/create.c).
        attributes &= ~(NORMAL | DIRECTORY)
        if disposition == CREATE:
            return self._create_new(path, access, options, attributes, share)
        try:
            return self._open(path, disposition, access, options, attributes, share)
        except NtError as error:
            makes = disposition in (OPEN_IF, OVERWRITE_IF, SUPERSEDE)
            if not makes or error.status != NAME_NOT_FOUND:
                raise
        return self._create_new(path, access, options, attributes, share)

    def _check_name(self, path: str) -> None:
        parts = path.split("\\")[1:]
        if path != "\\" and (path[0] != "\\" or not all(parts) or any(map(_FORBIDDEN.search, parts))):
            raise NtError(NAME_INVALID)

    def _check_pending(self, path: str) -> None:
        node = self._nodes.get(path.upper())
        if node is not None and node.is_delete_pending:
            raise NtError(DELETE_PENDING)

    def _open(self, path: str, disposition: int, access: int, options: int, attributes: int, share: int) -> Handle:
        there = self.attributes(path)
        self._check_open(there, disposition, access, options, attributes)
        context, info, name = self._opening("Open", path, self._text(path), options, access)
        handle = self._handle(name, bool(there & DIRECTORY), context, access, share, info)
        if handle is None:
            self._call("Close", context)  # and no Cleanup: sys/create.c FspFsvolCreateSharingViolation
            raise NtError(SHARING_VIOLATION)
        handle.deletes_on_close = bool(options & DELETE_ON_CLOSE)
        if disposition not in (OPEN, OPEN_IF):
            made = self.ffi.new("FSP_FSCTL_FILE_INFO *")
            try:
                self._call("Overwrite", context, attributes, disposition == SUPERSEDE, 0, made)
            except NtError:
                self._drop(handle)
                self._call("Close", context)
                raise
            handle.info = _info(made)
            handle.is_modified = True
        return handle

    def _check_open(self, there: int, disposition: int, access: int, options: int, attributes: int) -> None:
        is_dir = bool(there & DIRECTORY)
        overwrites = disposition not in (OPEN, OPEN_IF)
        if options & DIRECTORY_FILE and not is_dir:
            raise NtError(NOT_A_DIRECTORY)
        if options & NON_DIRECTORY_FILE and is_dir:
            raise NtError(IS_A_DIRECTORY)
        writes = access & (WRITE_DATA | APPEND_DATA) or overwrites
        if self.params.read_only_volume and access != ALL_ACCESS and (writes or access & DELETE):
            raise NtError(WRITE_PROTECTED)
        if there & READONLY and access != ALL_ACCESS:  # dll/security.c, of directories too; here MAXIMUM_ALLOWED
            if writes:
                raise NtError(ACCESS_DENIED)
            if options & DELETE_ON_CLOSE:
                raise NtError(CANNOT_DELETE)
        if overwrites and not is_dir and there & (READONLY | ((HIDDEN | SYSTEM) & ~attributes)):
            raise NtError(ACCESS_DENIED)  # what is hidden must be asked for as such (dll/fsop.c)

    def _create_new(self, path: str, access: int, options: int, attributes: int, share: int) -> Handle:
        if path == "\\":
            raise NtError(NAME_COLLISION)
        try:
            above = self.attributes(path.rpartition("\\")[0] or "\\")
        except NtError as error:
            raise NtError(PATH_NOT_FOUND if error.status == NAME_NOT_FOUND else error.status) from error
        if not above & DIRECTORY:
            raise NtError(NOT_A_DIRECTORY)
        if (
            above & READONLY
        ):  # dll/security.c: the right that is wanted there is FILE_ADD_FILE, which is FILE_WRITE_DATA
            raise NtError(ACCESS_DENIED)
        if self.params.read_only_volume:
            raise NtError(WRITE_PROTECTED)
        is_dir = bool(options & DIRECTORY_FILE)
        attributes |= DIRECTORY if is_dir else 0
        arguments = (self._text(path), options, access, attributes, self.ffi.NULL, 0)
        try:
            context, info, name = self._opening("Create", path, *arguments)
        except NtError as error:
            # dll/fsop.c FspFileSystemOpCreate_CollisionCheck
            if error.status == NAME_COLLISION and options & NON_DIRECTORY_FILE and self._is_directory(path):
                raise NtError(IS_A_DIRECTORY) from error
            raise
        handle = self._handle(name, is_dir, context, access, share, info)
        assert handle is not None
        handle.deletes_on_close = bool(options & DELETE_ON_CLOSE)
        return handle

    def _is_directory(self, path: str) -> bool:
        try:
            return bool(self.attributes(path) & DIRECTORY)
        except NtError:
            return False

    def _opening(self, call: str, path: str, *arguments: Any) -> tuple[Any, Info, str]:
        opened = self.ffi.new("FSP_FSCTL_OPEN_FILE_INFO *")
        buffer = self.ffi.new("WCHAR[]", 1024)
        opened.NormalizedName, opened.NormalizedNameSize = buffer, 2048
        context = self.ffi.new("PVOID *")
        self._call(call, *arguments, context, self.ffi.addressof(opened, "FileInfo"))
        name = self.ffi.unpack(buffer, opened.NormalizedNameSize // 2)
        assert name.upper() == path.upper(), f"{path!r} was opened and {name!r} reported"
        return context[0], _info(opened.FileInfo), name

    def _handle(self, path: str, is_dir: bool, context: Any, access: int, share: int, info: Info) -> Handle | None:
        """None when someone has it open who does not share (IoCheckShareAccess)."""
        with self._lock:
            node = self._nodes.get(path.upper()) or Node(path, is_dir)
            for other in node.handles:
                if _excludes(access, other.share) or _excludes(other.access, share):
                    return None
            handle = Handle(node, context, access, share, info)
            node.handles.append(handle)
            self._nodes[path.upper()] = node
            return handle

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
        flags = 0
        if self._drop(handle) and node.is_delete_pending:
            flags = DELETES
        elif handle.is_modified:
            flags = SETS_SIZE | SETS_READ | SETS_CHANGED
            flags |= 0 if handle.did_set_attributes else SETS_ARCHIVE
            flags |= 0 if handle.did_set_written else SETS_WRITTEN
        if flags or not self.params.post_cleanup_when_modified_only:
            name = self._text(node.path) if flags & DELETES else self.ffi.NULL
            self._call("Cleanup", handle.context, name, flags)
        self._call("Close", handle.context)

    @contextmanager
    def opened(self, path: str, disposition: int = OPEN, access: int = ALL_ACCESS, **more: int) -> Iterator[Handle]:
        handle = self.create(path, disposition, access, **more)
        try:
            yield handle
        finally:
            self.close(handle)

    # -- bytes --

    def read(self, handle: Handle, offset: int, size: int) -> bytes:
        buffer, count = self.ffi.new("char[]", size), self.ffi.new("ULONG *")
        self._call("Read", handle.context, buffer, offset, size, count)
        return bytes(self.ffi.buffer(buffer, count[0]))

    def write(self, handle: Handle, offset: int | None, data: bytes, *, is_constrained: bool = False) -> int:
        count, info = self.ffi.new("ULONG *"), self.ffi.new("FSP_FSCTL_FILE_INFO *")
        place = (1 << 64) - 1 if offset is None else offset
        buffer = self.ffi.from_buffer(data)
        self._call("Write", handle.context, buffer, place, len(data), offset is None, is_constrained, count, info)
        handle.is_modified, handle.info = True, _info(info)
        return int(count[0])

    def flush(self, handle: Handle | None) -> None:
        context = self.ffi.NULL if handle is None else handle.context
        self._call("Flush", context, self.ffi.new("FSP_FSCTL_FILE_INFO *"))

    # -- information: sys/fileinfo.c, dll/fsop.c FspFileSystemOpSetInformation --

    def info(self, handle: Handle) -> Info:
        info = self.ffi.new("FSP_FSCTL_FILE_INFO *")
        self._call("GetFileInfo", handle.context, info)
        return _info(info)

    def stat(self, path: str) -> Info:
        with self.opened(path, access=READ_ATTRIBUTES) as handle:
            return self.info(handle)

    def set_basic(
        self,
        handle: Handle,
        *,
        attributes: int = KEEP_ATTRIBUTES,
        created: int = 0,
        accessed: int = 0,
        written: int = 0,
    ) -> Info:
        """NORMAL as the attributes clears all, as for a program: it arrives as 0."""
        info = self.ffi.new("FSP_FSCTL_FILE_INFO *")
        if attributes != KEEP_ATTRIBUTES:
            attributes &= ~NORMAL
            handle.did_set_attributes = True
        handle.did_set_written |= bool(written)
        self._call("SetBasicInfo", handle.context, attributes, created, accessed, written, 0, info)
        return _info(info)

    def set_size(self, handle: Handle, size: int, *, is_allocation: bool = False) -> Info:
        info = self.ffi.new("FSP_FSCTL_FILE_INFO *")
        self._call("SetFileSize", handle.context, size, is_allocation, info)
        handle.is_modified = True
        return _info(info)

    def set_delete(self, handle: Handle, wanted: bool = True) -> None:
        if wanted:
            if self.info(handle).attributes & READONLY:
                raise NtError(CANNOT_DELETE)
            self._call("CanDelete", handle.context, self._text(handle.node.path))
        handle.node.is_delete_pending = wanted

    def delete(self, path: str, *, options: int = 0) -> None:
        """DeleteFile, RemoveDirectory."""
        with self.opened(path, access=DELETE | READ_ATTRIBUTES, options=options) as handle:
            self.set_delete(handle)

    def rename(self, handle: Handle, new: str, *, replaces: bool = False) -> None:
        self._check_name(new)
        self._check_pending(new)
        old, node = handle.node.path, handle.node
        self._open_target_directory(new)
        below = old.upper() + "\\"
        target = self._nodes.get(new.upper())
        if any(key.startswith(below) for key in list(self._nodes)) or (target is not None and target is not node):
            raise NtError(ACCESS_DENIED)  # sys/fileinfo.c FspFsvolSetRenameInformation
        if replaces and new.upper() != old.upper():
            self._check_replaced(new)
        self._call("Rename", handle.context, self._text(old), self._text(new), replaces)
        with self._lock:
            del self._nodes[old.upper()]
            node.path = new
            self._nodes[new.upper()] = node

    def _open_target_directory(self, new: str) -> None:
        """dll/fsop.c FspFileSystemOpCreate_FileOpenTargetDirectory"""
        above, nothing = new.rpartition("\\")[0] or "\\", self.ffi.NULL
        try:
            self.attributes(above)
        except NtError as error:
            raise NtError(PATH_NOT_FOUND if error.status == NAME_NOT_FOUND else error.status) from error
        context, _, _ = self._opening("Open", above, self._text(above), DIRECTORY_FILE, WRITE_DATA)
        with suppress(NtError):
            self._call("GetSecurityByName", self._text(new), nothing, nothing, nothing)
        self._call("Close", context)

    def _check_replaced(self, new: str) -> None:
        """dll/fsop.c FspFileSystemRenameCheck"""
        try:
            there = self.attributes(new)
        except NtError as error:
            if error.status not in (NAME_NOT_FOUND, PATH_NOT_FOUND):
                raise
        else:
            if there & READONLY:
                raise NtError(CANNOT_DELETE)

    def move(self, old: str, new: str, *, replaces: bool = False) -> None:
        """MoveFileEx."""
        with self.opened(old, access=DELETE | READ_ATTRIBUTES) as handle:
            self.rename(handle, new, replaces=replaces)

    # -- directories: sys/dirctl.c --

    def entries(self, handle: Handle, size: int = 4096) -> Iterator[tuple[str, Info]]:
        """One buffer after another, each asked for when the one before is used up."""
        marker = self.ffi.NULL
        while True:
            buffer, count = self.ffi.new("char[]", size), self.ffi.new("ULONG *")
            self._call("ReadDirectory", handle.context, self.ffi.NULL, marker, buffer, size, count)
            place = 0
            while place + 2 <= count[0]:
                entry = self.ffi.cast("FSP_FSCTL_DIR_INFO *", buffer + place)
                if entry.Size < DIR_INFO_BYTES:
                    return
                name = self.ffi.unpack(entry.FileNameBuf, (entry.Size - DIR_INFO_BYTES) // 2)
                yield name, _info(entry.FileInfo)
                marker = self._text(name)
                place += (entry.Size + 7) & ~7
            assert count[0], "a listing ends with a mark, not with nothing"

    def names(self, path: str, size: int = 4096) -> list[str]:
        with self.opened(path, options=DIRECTORY_FILE, access=READ_DATA) as handle:
            return [name for name, _ in self.entries(handle, size) if name not in (".", "..")]

    def entry(self, handle: Handle, name: str) -> tuple[str, Info]:
        """A query for one name without wildcards."""
        buffer = self.ffi.new("char[]", DIR_INFO_BYTES + 2 * 255)
        entry = self.ffi.cast("FSP_FSCTL_DIR_INFO *", buffer)
        self._call("GetDirInfoByName", handle.context, self._text(name), entry)
        return self.ffi.unpack(entry.FileNameBuf, (entry.Size - DIR_INFO_BYTES) // 2), _info(entry.FileInfo)

    # -- the volume --

    def volume(self) -> tuple[int, int, str]:
        found = self.ffi.new("FSP_FSCTL_VOLUME_INFO *")
        self._call("GetVolumeInfo", found)
        label = self.ffi.unpack(found.VolumeLabel, found.VolumeLabelLength // 2)
        return found.TotalSize, found.FreeSize, label

    def set_label(self, label: str) -> None:
        self._call("SetVolumeLabel", self._text(label), self.ffi.new("FSP_FSCTL_VOLUME_INFO *"))

    def notified(self) -> list[Notified]:
        """All so far, as the driver reads them: a record that is too small ends them."""
        data = bytes(self.ffi.buffer(self.lib.NotifyRecords, self.lib.NotifySize))
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
        size = self.ffi.new("SIZE_T *", 1024)
        descriptor = self.ffi.new("SECURITY_DESCRIPTOR[4]")
        self._call("GetSecurity", handle.context, descriptor, size)
        return str(self.ffi.string(descriptor[0].Text), "ascii")

    def set_security(self, handle: Handle) -> None:
        self._call("SetSecurity", handle.context, 4, self.ffi.new("SECURITY_DESCRIPTOR *"))
        handle.is_modified = True


def _info(info: Any) -> Info:
    return Info(
        info.FileAttributes, info.FileSize, info.AllocationSize, info.CreationTime, info.LastAccessTime,
        info.LastWriteTime, info.ChangeTime, info.IndexNumber,
    )  # fmt: skip


def _excludes(access: int, share: int) -> bool:
    return bool(
        (access & READ_DATA and not share & SHARE_READ)
        or (access & (WRITE_DATA | APPEND_DATA) and not share & SHARE_WRITE)
        or (access & DELETE and not share & SHARE_DELETE)
    )
