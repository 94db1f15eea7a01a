"""The way to WinFsp by winfspy, where it has a wheel: its callbacks' table, its structures, its calls of the DLL.

Chosen by winfsp_library.py. The `ll_` methods replaced here are those in which winfspy 0.8.4 falls short;
docs/windows.md says how. Importing it loads winfspy, and that winfsp.dll.
"""

from collections.abc import Mapping
from typing import Any

import winfspy
from winfspy import BaseFileSystemOperations, NTStatusError
from winfspy.operations import configure_file_info
from winfspy.plumbing import cook_ntstatus, ffi, lib

from s3mount.bindings.error_codes import STATUS_SUCCESS
from s3mount.bindings.winfsp import ENTRY_BYTES_MIN, WinFspOperations, caught, unanswered
from s3mount.bindings.winfsp_opened import Opened
from s3mount.errors import MountPointUnusable


class WinfspyOperations(WinFspOperations, BaseFileSystemOperations):  # type: ignore[misc]  # winfspy has no types
    status_error = NTStatusError

    def opens(self) -> list[Opened]:
        return list(self._opened_objs.values())

    # winfspy would answer cleanup and close with a status where there is none, which cffi takes ill.

    @unanswered
    def ll_cleanup(self, file_context: Any, file_name: Any, flags: int) -> None:
        self.cleanup(ffi.from_handle(file_context), ffi.string(file_name) if file_name else None, flags)

    @unanswered
    def ll_close(self, file_context: Any) -> None:
        # winfspy forgets an open only when closing it went well.
        self.close(self._opened_objs.pop(file_context))

    @caught
    def ll_create(self, file_name: Any, *arguments: Any) -> int:
        return self._with_name(super().ll_create(file_name, *arguments), *arguments[-2:])

    @caught
    def ll_open(self, file_name: Any, *arguments: Any) -> int:
        return self._with_name(super().ll_open(file_name, *arguments), *arguments[-2:])

    def _with_name(self, status: int, p_file_context: Any, file_info: Any) -> int:
        """Tell the driver the name in its real case; it would go on in upper case."""
        if status == STATUS_SUCCESS:
            name = ffi.from_handle(p_file_context[0]).path.encode("utf-16-le")
            info = lib.FspFileSystemGetOpenFileInfo(file_info)
            if len(name) <= info.NormalizedNameSize:
                ffi.memmove(info.NormalizedName, name, len(name))
                info.NormalizedNameSize = len(name)
        return status

    @caught
    def ll_flush(self, file_context: Any, file_info: Any) -> int:
        if file_context != ffi.NULL:
            return int(super().ll_flush(file_context, file_info))
        # winfspy does not know that the whole volume can be meant.
        self.flush_volume()
        return STATUS_SUCCESS

    @caught
    def ll_read_directory(
        self, file_context: Any, pattern: Any, marker: Any, buffer: Any, length: int, p_bytes_transferred: Any
    ) -> int:
        # Never fewer than fit, which would end the listing; winfspy does not tell read_directory how many that are.
        ffi.from_handle(file_context).room = length // ENTRY_BYTES_MIN + 1
        return int(super().ll_read_directory(file_context, pattern, marker, buffer, length, p_bytes_transferred))

    @caught
    def ll_get_dir_info_by_name(self, file_context: Any, file_name: Any, dir_info: Any) -> int:
        # winfspy answers with the name in the case that it was asked for.
        info = self.get_dir_info_by_name(ffi.from_handle(file_context), ffi.string(file_name))
        name = info["file_name"].encode("utf-16-le")
        ffi.memmove(dir_info.FileNameBuf, name, len(name))
        configure_file_info(dir_info.FileInfo, **info)
        dir_info.Size = ffi.sizeof("FSP_FSCTL_DIR_INFO") + len(name)
        return STATUS_SUCCESS


class WinfspyFileSystem:
    def __init__(self, operations: WinfspyOperations, params: Mapping[str, Any]):
        """Raises MountPointUnusable."""
        self.operations = operations
        try:
            # Mounting and starting are done without it: it starts as many threads as there are processors, and takes
            # no volume without a mount point.
            self._made = winfspy.FileSystem(None, operations, **params)
        except winfspy.WinFSPyError as error:
            raise MountPointUnusable(f"WinFsp makes no volume: {error}") from error
        self._pointer = self._made._file_system_ptr[0]
        self.address = int(ffi.cast("uintptr_t", self._pointer))

    @staticmethod
    def name_of(status: int) -> str:
        return str(cook_ntstatus(status).name)

    def turn_guard_off(self) -> None:
        lib.FspFileSystemSetOperationGuardF(self._pointer, ffi.NULL, ffi.NULL)

    def mount(self, mount_point: str) -> int:
        return int(lib.FspFileSystemSetMountPoint(self._pointer, mount_point))

    def dispatch(self, threads: int) -> int:
        return int(lib.FspFileSystemStartDispatcher(self._pointer, threads))

    def end(self) -> None:
        lib.FspFileSystemStopDispatcher(self._pointer)
        lib.FspFileSystemDelete(self._pointer)
