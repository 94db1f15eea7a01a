"""What WinFsp asks of a drive, over a WindowsDrive: decode, call, answer. No decisions, and no pointers.

Called by WinFsp's threads, many at once, through one of two libraries: winfspy (winfsp_winfspy.py) or, where it has no
wheel, ctypes (winfsp_ctypes.py); each has a child of WinFspOperations. A callback's contract is that of
FSP_FILE_SYSTEM_INTERFACE in winfsp.h. It cannot be interrupted, and holds up the program until it returns: every wait
below has a deadline.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

from s3mount.bindings.error_codes import (
    STATUS_ACCESS_DENIED,
    STATUS_END_OF_FILE,
    STATUS_IO_DEVICE_ERROR,
    STATUS_UNEXPECTED_IO_ERROR,
    ntstatus_of,
)
from s3mount.bindings.served import ServedFileSystem
from s3mount.bindings.winfsp_abi import DIR_INFO_BYTES, wide
from s3mount.bindings.winfsp_dll import security_descriptor
from s3mount.bindings.winfsp_drive import Info, WindowsDrive
from s3mount.bindings.winfsp_opened import Cleanup, Opened
from s3mount.errors import FsError

log = logging.getLogger(__name__)

FILE_DIRECTORY_FILE = 0x1
FILE_DELETE_ON_CLOSE = 0x1000
UNCHANGED_ATTRIBUTES = 0xFFFFFFFF
LABEL_UNITS_MAX = 32
# What an entry of a listing takes at least: one character, aligned to 8.
ENTRY_BYTES_MIN = DIR_INFO_BYTES + 8
# Everybody may do everything: who may use the drive is decided by who is logged in, as with a USB stick.
SECURITY = "O:BAG:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;WD)"

P = ParamSpec("P")
R = TypeVar("R")
Operations = TypeVar("Operations", bound="WinFspOperations")


def answered(callback: Callable[Concatenate[Operations, P], R]) -> Callable[Concatenate[Operations, P], R]:
    """Make a status of FsError."""

    @wraps(callback)
    def wrapper(self: Operations, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return callback(self, *args, **kwargs)
        except FsError as error:
            status = ntstatus_of(error)
            if status == STATUS_IO_DEVICE_ERROR:
                log.error("%s: %s", callback.__name__, error, exc_info=error.__cause__ is not None)
            raise self.status_error(status) from error

    return wrapper


def caught(callback: Callable[Concatenate[Operations, P], int]) -> Callable[Concatenate[Operations, P], int]:
    """For what WinFsp calls with nothing in between: an exception would be taken for success."""

    @wraps(callback)
    def wrapper(self: Operations, /, *args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return callback(self, *args, **kwargs)
        except self.status_error as error:
            return int(error.args[0])
        except BaseException:
            log.exception("%s failed in a way nobody foresaw", callback.__name__)
            return STATUS_UNEXPECTED_IO_ERROR

    return wrapper


def unanswered(callback: Callable[Concatenate[Operations, P], None]) -> Callable[Concatenate[Operations, P], None]:
    """For what has no status to fail with."""

    @wraps(callback)
    def wrapper(self: Operations, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(self, *args, **kwargs)
        except FsError as error:
            log.error("%s: %s: %s", callback.__name__, type(error).__name__, error)
        except BaseException:
            log.exception("%s failed in a way nobody foresaw", callback.__name__)

    return wrapper


class WinFspOperations(ABC):
    """`status_error`: what the library takes a status from, as its only argument."""

    status_error: ClassVar[type[Exception]]

    def __init__(self, filesystem: ServedFileSystem, *, label: str, read_only: bool):
        super().__init__()
        self.drive = WindowsDrive(filesystem, read_only=read_only)
        self._label = _cut(label, LABEL_UNITS_MAX)
        self._security = security_descriptor(wide(SECURITY))

    @abstractmethod
    def opens(self) -> list[Opened]:
        """Those that are not closed yet."""

    # -- the volume --

    @answered
    def get_volume_info(self) -> dict[str, Any]:
        total, free = self.drive.capacity()
        return {"total_size": total, "free_size": free, "volume_label": self._label}

    def set_volume_label(self, volume_label: str) -> None:
        raise self.status_error(STATUS_ACCESS_DENIED)

    # -- security --

    @answered
    def get_security_by_name(self, file_name: str) -> tuple[int, bytes, int]:
        return self.drive.attributes_at(file_name), self._security, len(self._security)

    def get_security(self, file_context: Opened) -> tuple[bytes, int]:
        return self._security, len(self._security)

    def set_security(self, file_context: Opened, security_information: int, modification_descriptor: Any) -> None:
        """Taken and not kept, as on FAT: a copy that brings its access list along shall not fail."""
        log.debug("the access list set on %r is not kept", file_context.path)

    # -- opening and closing --

    @answered
    def create(
        self, file_name: str, create_options: int, granted_access: int, file_attributes: int,
        security_descriptor: Any, allocation_size: int,
    ) -> Opened:  # fmt: skip
        is_dir = bool(create_options & FILE_DIRECTORY_FILE)
        return self.drive.create(file_name, is_dir=is_dir, bits=file_attributes)

    @answered
    def open(self, file_name: str, create_options: int, granted_access: int) -> Opened:
        return self.drive.open(
            file_name, granted_access, deletes_on_close=bool(create_options & FILE_DELETE_ON_CLOSE)
        )  # fmt: skip

    @answered
    def overwrite(
        self, file_context: Opened, file_attributes: int, replace_file_attributes: bool, allocation_size: int
    ) -> None:
        self.drive.overwrite(file_context, file_attributes, replaces=bool(replace_file_attributes))

    def cleanup(self, file_context: Opened, file_name: str | None, flags: int) -> None:
        self.drive.cleanup(file_context, file_name, Cleanup(flags & (Cleanup.DELETE | Cleanup.SET_ARCHIVE)))

    def close(self, file_context: Opened) -> None:
        self.drive.close(file_context)

    # -- bytes --

    @answered
    def read(self, file_context: Opened, offset: int, length: int) -> bytes:
        data = self.drive.read(file_context, offset, length)
        if length and not data:
            raise self.status_error(STATUS_END_OF_FILE)
        return data

    @answered
    def write(
        self, file_context: Opened, buffer: Any, offset: int, write_to_end_of_file: bool, constrained_io: bool
    ) -> int:
        place = None if write_to_end_of_file else offset
        return self.drive.write(file_context, memoryview(buffer), place, is_constrained=bool(constrained_io))

    @answered
    def flush(self, file_context: Opened) -> None:
        self.drive.flush(file_context)

    def flush_volume(self) -> None:
        """A failure is the status, and the rest is flushed all the same."""
        failure = None
        for opened in self.opens():
            try:
                self.flush(opened)
            except self.status_error as error:
                failure = error
        if failure is not None:
            raise failure

    # -- attributes --

    def get_file_info(self, file_context: Opened) -> Info:
        return self.drive.info(file_context)

    @answered
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

    @answered
    def set_file_size(self, file_context: Opened, new_size: int, set_allocation_size: bool) -> None:
        self.drive.set_size(file_context, new_size, is_allocation=bool(set_allocation_size))

    # -- names --

    @answered
    def can_delete(self, file_context: Opened, file_name: str) -> None:
        self.drive.require_deletable(file_context)

    @answered
    def rename(self, file_context: Opened, file_name: str, new_file_name: str, replace_if_exists: bool) -> None:
        self.drive.rename(file_context, file_name, new_file_name, replaces=replace_if_exists)

    @answered
    def read_directory(self, file_context: Opened, marker: str | None) -> list[dict[str, Any]]:
        entries = self.drive.list(file_context, marker, file_context.room)
        return [{"file_name": name, **info} for name, info in entries]

    @answered
    def get_dir_info_by_name(self, file_context: Opened, file_name: str) -> dict[str, Any]:
        name, info = self.drive.entry(file_context, file_name)
        return {"file_name": name, **info}


def _cut(text: str, units_max: int) -> str:
    while len(text.encode("utf-16-le")) > units_max * 2:
        text = text[:-1]
    return text
