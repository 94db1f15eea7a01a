"""WinFsp's callbacks, as winfspy hands them on, over a WindowsDrive: decode, call, answer. No decisions.

Called by WinFsp's threads, many at once. A callback's contract is that of FSP_FILE_SYSTEM_INTERFACE in winfsp.h. The
`ll_` methods replaced here are those in which winfspy 0.8.4 falls short; docs/windows.md says how. A callback cannot be
interrupted, and holds up the program until it returns: every wait below has a deadline.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from winfspy import BaseFileSystemOperations, NTStatusError
from winfspy.operations import configure_file_info
from winfspy.plumbing import SecurityDescriptor, ffi, lib

from s3mount.bindings.error_codes import (
    STATUS_ACCESS_DENIED,
    STATUS_END_OF_FILE,
    STATUS_IO_DEVICE_ERROR,
    STATUS_SUCCESS,
    ntstatus_of,
)
from s3mount.bindings.served import ServedFileSystem
from s3mount.bindings.winfsp_drive import Info, WindowsDrive
from s3mount.bindings.winfsp_opened import Cleanup, Opened
from s3mount.errors import FsError

log = logging.getLogger(__name__)

FILE_DIRECTORY_FILE = 0x1
FILE_DELETE_ON_CLOSE = 0x1000
UNCHANGED_ATTRIBUTES = 0xFFFFFFFF
LABEL_UNITS_MAX = 32
STATUS_UNEXPECTED_IO_ERROR = 0xC00000E9
# What an entry of a listing takes at least: FSP_FSCTL_DIR_INFO and one character, aligned to 8.
DIR_INFO_BYTES_MIN = 112
# Everybody may do everything: who may use the drive is decided by who is logged in, as with a USB stick.
SECURITY = "O:BAG:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;WD)"

P = ParamSpec("P")
R = TypeVar("R")
Self = TypeVar("Self")


def _answered(callback: Callable[Concatenate[Self, P], R]) -> Callable[Concatenate[Self, P], R]:
    """Make a status of FsError."""

    @wraps(callback)
    def wrapper(self: Self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return callback(self, *args, **kwargs)
        except FsError as error:
            status = ntstatus_of(error)
            if status == STATUS_IO_DEVICE_ERROR:
                log.error("%s: %s", callback.__name__, error, exc_info=error.__cause__ is not None)
            raise NTStatusError(status) from error

    return wrapper


def _caught(callback: Callable[Concatenate[Self, P], int]) -> Callable[Concatenate[Self, P], int]:
    """For what WinFsp calls without winfspy in between: an exception would be taken for success."""

    @wraps(callback)
    def wrapper(self: Self, /, *args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return callback(self, *args, **kwargs)
        except BaseException:
            log.exception("%s failed in a way nobody foresaw", callback.__name__)
            return STATUS_UNEXPECTED_IO_ERROR

    return wrapper


def _unanswered(callback: Callable[Concatenate[Self, P], None]) -> Callable[Concatenate[Self, P], None]:
    """For what has no status to fail with; winfspy would answer with one all the same, which cffi takes ill."""

    @wraps(callback)
    def wrapper(self: Self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(self, *args, **kwargs)
        except FsError as error:
            log.error("%s: %s: %s", callback.__name__, type(error).__name__, error)
        except BaseException:
            log.exception("%s failed in a way nobody foresaw", callback.__name__)

    return wrapper


class WinFspOperations(BaseFileSystemOperations):  # type: ignore[misc]  # winfspy has no types
    def __init__(self, filesystem: ServedFileSystem, *, label: str, read_only: bool):
        super().__init__()
        self.drive = WindowsDrive(filesystem, read_only=read_only)
        self._label = _cut(label, LABEL_UNITS_MAX)
        self._security = SecurityDescriptor.from_string(SECURITY)

    # -- the volume --

    @_answered
    def get_volume_info(self) -> dict[str, Any]:
        total, free = self.drive.capacity()
        return {"total_size": total, "free_size": free, "volume_label": self._label}

    def set_volume_label(self, volume_label: str) -> None:
        raise NTStatusError(STATUS_ACCESS_DENIED)

    # -- security --

    @_answered
    def get_security_by_name(self, file_name: str) -> tuple[int, Any, int]:
        return self.drive.attributes_at(file_name), self._security.handle, self._security.size

    def get_security(self, file_context: Opened) -> tuple[Any, int]:
        return self._security.handle, self._security.size

    def set_security(self, file_context: Opened, security_information: int, modification_descriptor: Any) -> None:
        """Taken and not kept, as on FAT: a copy that brings its access list along shall not fail."""

    # -- opening and closing --

    @_answered
    def create(
        self, file_name: str, create_options: int, granted_access: int, file_attributes: int,
        security_descriptor: Any, allocation_size: int,
    ) -> Opened:  # fmt: skip
        is_dir = bool(create_options & FILE_DIRECTORY_FILE)
        return self.drive.create(file_name, is_dir=is_dir, bits=file_attributes)

    @_answered
    def open(self, file_name: str, create_options: int, granted_access: int) -> Opened:
        return self.drive.open(
            file_name, granted_access, deletes_on_close=bool(create_options & FILE_DELETE_ON_CLOSE)
        )  # fmt: skip

    @_answered
    def overwrite(
        self, file_context: Opened, file_attributes: int, replace_file_attributes: bool, allocation_size: int
    ) -> None:
        self.drive.overwrite(file_context, file_attributes, replaces=bool(replace_file_attributes))

    def cleanup(self, file_context: Opened, file_name: str | None, flags: int) -> None:
        self.drive.cleanup(file_context, file_name, Cleanup(flags & (Cleanup.DELETE | Cleanup.SET_ARCHIVE)))

    @_unanswered
    def ll_cleanup(self, file_context: Any, file_name: Any, flags: int) -> None:
        self.cleanup(ffi.from_handle(file_context), ffi.string(file_name) if file_name else None, flags)

    def close(self, file_context: Opened) -> None:
        self.drive.close(file_context)

    @_unanswered
    def ll_close(self, file_context: Any) -> None:
        # winfspy forgets an open only when closing it went well.
        self.close(self._opened_objs.pop(file_context))

    @_caught
    def ll_create(self, file_name: Any, *arguments: Any) -> int:
        return self._with_name(super().ll_create(file_name, *arguments), *arguments[-2:])

    @_caught
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

    # -- bytes --

    @_answered
    def read(self, file_context: Opened, offset: int, length: int) -> bytes:
        data = self.drive.read(file_context, offset, length)
        if length and not data:
            raise NTStatusError(STATUS_END_OF_FILE)
        return data

    @_answered
    def write(
        self, file_context: Opened, buffer: Any, offset: int, write_to_end_of_file: bool, constrained_io: bool
    ) -> int:
        place = None if write_to_end_of_file else offset
        return self.drive.write(file_context, memoryview(buffer), place, is_constrained=bool(constrained_io))

    @_answered
    def flush(self, file_context: Opened) -> None:
        self.drive.flush(file_context)

    @_caught
    def ll_flush(self, file_context: Any, file_info: Any) -> int:
        if file_context != ffi.NULL:
            return int(super().ll_flush(file_context, file_info))
        # The whole volume, which winfspy does not know: a failure is the status, and the rest is flushed all the same.
        status = STATUS_SUCCESS
        for opened in list(self._opened_objs.values()):
            try:
                self.flush(opened)
            except NTStatusError as error:
                status = error.value
        return status

    # -- attributes --

    def get_file_info(self, file_context: Opened) -> Info:
        return self.drive.info(file_context)

    @_answered
    def set_basic_info(
        self, file_context: Opened, file_attributes: int, creation_time: int, last_access_time: int,
        last_write_time: int, change_time: int, file_info: Any,
    ) -> Info:  # fmt: skip
        self.drive.set_basic_info(
            file_context,
            bits=None if file_attributes == UNCHANGED_ATTRIBUTES else file_attributes,
            created=creation_time or None,
            accessed=last_access_time or None,
            written=last_write_time or None,
        )
        return self.drive.info(file_context)

    @_answered
    def set_file_size(self, file_context: Opened, new_size: int, set_allocation_size: bool) -> None:
        self.drive.set_size(file_context, new_size, is_allocation=bool(set_allocation_size))

    # -- names --

    @_answered
    def can_delete(self, file_context: Opened, file_name: str) -> None:
        self.drive.require_deletable(file_context)

    @_answered
    def rename(self, file_context: Opened, file_name: str, new_file_name: str, replace_if_exists: bool) -> None:
        self.drive.rename(file_context, file_name, new_file_name, replaces=replace_if_exists)

    @_caught
    def ll_read_directory(
        self, file_context: Any, pattern: Any, marker: Any, buffer: Any, length: int, p_bytes_transferred: Any
    ) -> int:
        # Never fewer than fit, which would end the listing; winfspy does not tell read_directory how many that are.
        ffi.from_handle(file_context).room = length // DIR_INFO_BYTES_MIN + 1
        return int(super().ll_read_directory(file_context, pattern, marker, buffer, length, p_bytes_transferred))

    @_answered
    def read_directory(self, file_context: Opened, marker: str | None) -> list[dict[str, Any]]:
        entries = self.drive.list(file_context, marker, file_context.room)
        return [{"file_name": name, **info} for name, info in entries]

    @_answered
    def get_dir_info_by_name(self, file_context: Opened, file_name: str) -> dict[str, Any]:
        name, info = self.drive.entry(file_context, file_name)
        return {"file_name": name, **info}

    @_caught
    def ll_get_dir_info_by_name(self, file_context: Any, file_name: Any, dir_info: Any) -> int:
        # winfspy answers with the name in the case that it was asked for.
        try:
            info = self.get_dir_info_by_name(ffi.from_handle(file_context), ffi.string(file_name))
        except NTStatusError as error:
            return int(error.value)
        name = info["file_name"].encode("utf-16-le")
        ffi.memmove(dir_info.FileNameBuf, name, len(name))
        configure_file_info(dir_info.FileInfo, **info)
        dir_info.Size = ffi.sizeof("FSP_FSCTL_DIR_INFO") + len(name)
        return STATUS_SUCCESS


def _cut(text: str, units_max: int) -> str:
    while len(text.encode("utf-16-le")) > units_max * 2:
        text = text[:-1]
    return text
