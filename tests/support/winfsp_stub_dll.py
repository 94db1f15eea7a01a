"""winfsp.dll on Linux: what it makes of the driver's requests, over the stand-in of winfsp_stub.py.

Each rule names where WinFsp has it (v2.1, src/dll). It calls the function pointers of the interface that was filled
in, as the dispatcher's threads do.
"""

from contextlib import suppress
from typing import Any

from tests.support import winfsp_driver as nt
from tests.support.winfsp_driver import Facts, Info, NtError, Opened
from tests.support.winfsp_stub import FLAGS, build

# In the order of Facts.
FACTS = (
    "case_sensitive_search", "case_preserved_names", "um_file_context_is_user_context2",
    "post_cleanup_when_modified_only", "read_only_volume",
)  # fmt: skip
CANT_WAIT = 0xC00000D8


class StubNotices:
    """The stub keeps them for the whole process: those of the volume that was made last."""

    def __init__(self) -> None:
        self._ffi, self._lib = build().ffi, build().lib
        lib = self._lib
        lib.NotifyBegins = lib.NotifyDepth = lib.NotifyMisuses = lib.NotifySize = lib.NotifyRefusal = 0

    def begins(self) -> int:
        return int(self._lib.NotifyBegins)

    def records(self) -> bytes:
        return bytes(self._ffi.buffer(self._lib.NotifyRecords, self._lib.NotifySize))

    def refuse(self, is_renaming: bool) -> None:
        self._lib.NotifyRefusal = CANT_WAIT if is_renaming else 0

    def check(self) -> None:
        assert (self._lib.NotifyDepth, self._lib.NotifyMisuses) == (0, 0)


class StubDll:
    def __init__(self, file_system: int) -> None:
        """The address of an FSP_FILE_SYSTEM."""
        self.notices = StubNotices()
        self._ffi = build().ffi
        self._fs = self._ffi.cast("FSP_FILE_SYSTEM *", file_system)
        self._calls = self._fs.Interface

    def facts(self) -> Facts:
        text, params = self._ffi.string, self._fs.Params
        return Facts(
            text(self._fs.Device), text(self._fs.MountPoint), text(params.Prefix), text(params.FileSystemName),
            *(bool(params.Flags >> FLAGS[name] & 1) for name in FACTS),
        )  # fmt: skip

    def threads(self) -> int:
        return int(self._fs.Threads)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._calls, name)(self._fs, *arguments)
        if status is not None and status >= 0x80000000:
            raise NtError(status)

    def _text(self, text: str) -> Any:
        return self._ffi.new("WCHAR[]", text)

    def _new_info(self) -> Any:
        return self._ffi.new("FSP_FSCTL_FILE_INFO *")

    # -- opening: fsop.c FspFileSystemOpCreate --

    def create(self, path: str, disposition: int, options: int, access: int, attributes: int, share: int) -> Opened:
        if disposition != nt.CREATE:
            try:
                return self._open(path, disposition, options, access)
            except NtError as error:
                if disposition in (nt.OPEN, nt.OVERWRITE) or error.status != nt.NAME_NOT_FOUND:
                    raise
        try:
            return self._create(path, options, access, attributes)
        except NtError as error:
            if error.status == nt.NAME_COLLISION and options & nt.NON_DIRECTORY_FILE and self._is_directory(path):
                raise NtError(nt.IS_A_DIRECTORY) from error  # FspFileSystemOpCreate_CollisionCheck
            raise

    def _is_directory(self, path: str) -> bool:
        try:
            return bool(self._attributes(path) & nt.DIRECTORY)
        except NtError:
            return False

    def _open(self, path: str, disposition: int, options: int, access: int) -> Opened:
        overwrites = disposition not in (nt.OPEN, nt.OPEN_IF)
        wanted = access | (nt.DELETE if options & nt.DELETE_ON_CLOSE else 0)
        if overwrites:
            wanted |= nt.DELETE if disposition == nt.SUPERSEDE else nt.WRITE_DATA
        granted = self._check_access(path, wanted, options)
        if not access & nt.MAXIMUM_ALLOWED:
            granted = access
        how = {nt.SUPERSEDE: nt.SUPERSEDED, nt.OVERWRITE: nt.OVERWRITTEN, nt.OVERWRITE_IF: nt.OVERWRITTEN}
        return self._opening(how.get(disposition, nt.OPENED), granted, "Open", self._text(path), options, granted)

    def _create(self, path: str, options: int, access: int, attributes: int) -> Opened:
        # The right that a new directory needs is APPEND_DATA by another name.
        self._check_parent(path, nt.APPEND_DATA if options & nt.DIRECTORY_FILE else nt.WRITE_DATA)
        granted = nt.ALL_ACCESS if access & nt.MAXIMUM_ALLOWED else access
        arguments = (self._text(path), options, granted, attributes, self._ffi.NULL, 0)
        return self._opening(nt.CREATED, granted, "Create", *arguments)

    def _opening(self, how: int, granted: int, call: str, *arguments: Any) -> Opened:
        opened = self._ffi.new("FSP_FSCTL_OPEN_FILE_INFO *")
        buffer = self._ffi.new("WCHAR[]", 1024)
        opened.NormalizedName, opened.NormalizedNameSize = buffer, 2048
        context = self._ffi.new("PVOID *")
        self._call(call, *arguments, context, self._ffi.addressof(opened, "FileInfo"))
        name = self._ffi.unpack(buffer, opened.NormalizedNameSize // 2)
        return Opened(how, context[0], granted, _info(opened.FileInfo), name)

    def open_parent(self, path: str) -> Any:
        """FspFileSystemOpCreate_FileOpenTargetDirectory"""
        self._check_parent(path, nt.WRITE_DATA)
        above, nothing = path.rpartition("\\")[0] or "\\", self._ffi.NULL
        opened = self._opening(nt.OPENED, nt.WRITE_DATA, "Open", self._text(above), nt.DIRECTORY_FILE, nt.WRITE_DATA)
        with suppress(NtError):
            self._call("GetSecurityByName", self._text(path), nothing, nothing, nothing)
        return opened.context

    # -- access: security.c FspAccessCheckEx, for a descriptor that allows everything --

    def _attributes(self, path: str) -> int:
        found = self._ffi.new("UINT32 *")
        size = self._ffi.new("SIZE_T *", 1024)
        self._call("GetSecurityByName", self._text(path), found, self._ffi.new("SECURITY_DESCRIPTOR[4]"), size)
        assert size[0] > 0
        return int(found[0])

    def _check_access(self, path: str, wanted: int, options: int) -> int:
        """What is granted."""
        there = self._attributes(path)
        if options & nt.DIRECTORY_FILE and not there & nt.DIRECTORY:
            raise NtError(nt.NOT_A_DIRECTORY)
        if options & nt.NON_DIRECTORY_FILE and there & nt.DIRECTORY:
            raise NtError(nt.IS_A_DIRECTORY)
        if there & nt.READONLY:
            if wanted & (nt.WRITE_DATA | nt.APPEND_DATA):
                raise NtError(nt.ACCESS_DENIED)
            if options & nt.DELETE_ON_CLOSE:
                raise NtError(nt.CANNOT_DELETE)
        if not wanted & nt.MAXIMUM_ALLOWED:
            return wanted
        return nt.ALL_ACCESS & ~(nt.WRITE_DATA | nt.APPEND_DATA if there & nt.READONLY else 0)

    def _check_parent(self, path: str, wanted: int) -> None:
        try:
            there = self._attributes(path.rpartition("\\")[0] or "\\")
        except NtError as error:
            raise NtError(nt.PATH_NOT_FOUND if error.status == nt.NAME_NOT_FOUND else error.status) from error
        if not there & nt.DIRECTORY:
            raise NtError(nt.NOT_A_DIRECTORY)
        if there & nt.READONLY and wanted & (nt.WRITE_DATA | nt.APPEND_DATA):
            raise NtError(nt.ACCESS_DENIED)

    # -- an open file --

    def overwrite(self, context: Any, attributes: int, supersedes: bool) -> Info:
        info = self._new_info()
        try:
            self._call("Overwrite", context, attributes, supersedes, 0, info)
        except NtError:
            self.close(context)
            raise
        return _info(info)

    def cleanup(self, context: Any, path: str | None, flags: int) -> None:
        self._call("Cleanup", context, self._ffi.NULL if path is None else self._text(path), flags)

    def close(self, context: Any) -> None:
        self._call("Close", context)

    def read(self, context: Any, offset: int, size: int) -> bytes:
        buffer, count = self._ffi.new("char[]", size), self._ffi.new("ULONG *")
        self._call("Read", context, buffer, offset, size, count)
        return bytes(self._ffi.buffer(buffer, count[0]))

    def write(self, context: Any, offset: int | None, data: bytes, is_constrained: bool) -> tuple[int, Info]:
        count, info = self._ffi.new("ULONG *"), self._new_info()
        place = (1 << 64) - 1 if offset is None else offset
        buffer = self._ffi.from_buffer(data)
        self._call("Write", context, buffer, place, len(data), offset is None, is_constrained, count, info)
        return int(count[0]), _info(info)

    def flush(self, context: Any | None) -> None:
        self._call("Flush", self._ffi.NULL if context is None else context, self._new_info())

    # -- information: fsop.c FspFileSystemOpSetInformation --

    def info(self, context: Any) -> Info:
        info = self._new_info()
        self._call("GetFileInfo", context, info)
        return _info(info)

    def set_basic(self, context: Any, attributes: int, created: int, accessed: int, written: int) -> Info:
        info = self._new_info()
        self._call("SetBasicInfo", context, attributes, created, accessed, written, 0, info)
        return _info(info)

    def set_size(self, context: Any, size: int, is_allocation: bool) -> Info:
        info = self._new_info()
        self._call("SetFileSize", context, size, is_allocation, info)
        return _info(info)

    def set_delete(self, context: Any, path: str, wanted: bool) -> None:
        if self.info(context).attributes & nt.READONLY:
            raise NtError(nt.CANNOT_DELETE)
        if wanted:
            self._call("CanDelete", context, self._text(path))

    def rename(self, context: Any, old: str, new: str, replaces: bool) -> None:
        if replaces:
            self._check_replaced(new)
        self._call("Rename", context, self._text(old), self._text(new), replaces)

    def _check_replaced(self, new: str) -> None:
        """FspFileSystemRenameCheck"""
        try:
            self._check_access(new, nt.DELETE, nt.DELETE_ON_CLOSE)
        except NtError as error:
            if error.status not in (nt.NAME_NOT_FOUND, nt.PATH_NOT_FOUND):
                raise

    # -- directories: fsop.c FspFileSystemOpQueryDirectory --

    def entries(self, context: Any, marker: str | None, size: int) -> tuple[list[tuple[str, Info]], bool]:
        buffer, count = self._ffi.new("char[]", size), self._ffi.new("ULONG *")
        after = self._ffi.NULL if marker is None else self._text(marker)
        self._call("ReadDirectory", context, self._ffi.NULL, after, buffer, size, count)
        found: list[tuple[str, Info]] = []
        place = 0
        while place + 2 <= count[0]:
            entry = self._ffi.cast("FSP_FSCTL_DIR_INFO *", buffer + place)
            if entry.Size < nt.DIR_INFO_BYTES:
                return found, True
            found.append(self._entry(entry))
            place += (entry.Size + 7) & ~7
        return found, False

    def _entry(self, entry: Any) -> tuple[str, Info]:
        name = self._ffi.unpack(entry.FileNameBuf, (entry.Size - nt.DIR_INFO_BYTES) // 2)
        return name, _info(entry.FileInfo)

    def entry(self, context: Any, name: str) -> tuple[str, Info] | None:
        entry = self._ffi.cast("FSP_FSCTL_DIR_INFO *", buffer := self._ffi.new("char[]", nt.DIR_INFO_BYTES + 2 * 255))
        try:
            self._call("GetDirInfoByName", context, self._text(name), entry)
        except NtError as error:
            if error.status == nt.NAME_NOT_FOUND:
                return None
            raise
        found = self._entry(entry)
        del buffer  # which kept the entry's memory
        return found

    # -- the volume --

    def volume(self) -> tuple[int, int, str]:
        found = self._ffi.new("FSP_FSCTL_VOLUME_INFO *")
        self._call("GetVolumeInfo", found)
        label = self._ffi.unpack(found.VolumeLabel, found.VolumeLabelLength // 2)
        return found.TotalSize, found.FreeSize, label

    def set_label(self, label: str) -> None:
        self._call("SetVolumeLabel", self._text(label), self._ffi.new("FSP_FSCTL_VOLUME_INFO *"))

    def security(self, context: Any) -> str:
        size = self._ffi.new("SIZE_T *", 1024)
        descriptor = self._ffi.new("SECURITY_DESCRIPTOR[4]")
        self._call("GetSecurity", context, descriptor, size)
        return str(self._ffi.string(descriptor[0].Text), "ascii")

    def set_security(self, context: Any) -> None:
        self._call("SetSecurity", context, 4, self._ffi.new("SECURITY_DESCRIPTOR *"))


def _info(info: Any) -> Info:
    return Info(
        info.FileAttributes, info.FileSize, info.AllocationSize, info.CreationTime, info.LastAccessTime,
        info.LastWriteTime, info.ChangeTime, info.IndexNumber,
    )  # fmt: skip
