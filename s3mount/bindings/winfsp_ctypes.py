"""The way to WinFsp by ctypes, for Pythons that winfspy has no wheel for: 3.12 and later, and ARM64.

Chosen by winfsp_library.py. What winfsp.py answers is written where WinFsp wants it, as winfsp_abi.py describes; an
open goes by a number. The callbacks come on the threads of WinFsp's dispatcher.
"""

import ctypes
import itertools
from collections.abc import Callable, Mapping
from ctypes import c_size_t, c_uint32
from ctypes import c_void_p as address
from typing import Any

from s3mount.bindings import winfsp_abi as abi
from s3mount.bindings.callback import borrowed, keep_thread_state
from s3mount.bindings.error_codes import STATUS_BUFFER_OVERFLOW, STATUS_SUCCESS
from s3mount.bindings.winfsp import ENTRY_BYTES_MIN, WinFspOperations, caught, unanswered
from s3mount.bindings.winfsp_dll import function
from s3mount.bindings.winfsp_opened import Opened
from s3mount.errors import MountPointUnusable

DISK, NETWORK = "WinFsp.Disk", "WinFsp.Net"
FAILED = 0x80000000

_ulong_at = c_uint32.from_address
_size_at = c_size_t.from_address
_pointer_at = address.from_address


class StatusError(Exception):
    """Its argument is the status."""


def _text_or_none(place: int | None) -> str | None:
    return abi.text_at(place) if place else None


class CtypesOperations(WinFspOperations):
    status_error = StatusError

    def __init__(self, *arguments: Any, **more: Any):
        super().__init__(*arguments, **more)
        self._opened: dict[int, Opened] = {}
        # 0 would be no open at all.
        self._numbers = itertools.count(1)
        self._add_dir_info = function("FspFileSystemAddDirInfo")

    def opens(self) -> list[Opened]:
        return list(self._opened.values())

    def _tell_info(self, opened: Opened, info: int) -> int:
        abi.put(info, abi.file_info(self.get_file_info(opened)))
        return STATUS_SUCCESS

    # -- the volume --

    @caught
    def ll_get_volume_info(self, info: int) -> int:
        told = self.get_volume_info()
        abi.put(info, abi.volume_info(told["total_size"], told["free_size"], told["volume_label"]))
        return STATUS_SUCCESS

    @caught
    def ll_set_volume_label(self, label: int, info: int) -> int:
        self.set_volume_label(abi.text_at(label))
        return self.ll_get_volume_info(info)

    # -- security --

    @caught
    def ll_get_security_by_name(self, name: int, attributes: int | None, buffer: int | None, size: int | None) -> int:
        shown, descriptor, _ = self.get_security_by_name(abi.text_at(name))
        if attributes:
            _ulong_at(attributes).value = shown
        return _tell_security(descriptor, buffer, size)

    @caught
    def ll_get_security(self, number: int, buffer: int | None, size: int | None) -> int:
        descriptor, _ = self.get_security(self._opened[number])
        return _tell_security(descriptor, buffer, size)

    @caught
    def ll_set_security(self, number: int, which: int, change: int) -> int:
        self.set_security(self._opened[number], which, change)
        return STATUS_SUCCESS

    # -- opening and closing --

    @caught
    def ll_create(
        self, name: int, options: int, granted: int, attributes: int, descriptor: int | None, allocation: int,
        context: int, info: int,
    ) -> int:  # fmt: skip
        path = abi.text_at(name)
        return self._keep(self.create(path, options, granted, attributes, descriptor, allocation), context, info)

    @caught
    def ll_open(self, name: int, options: int, granted: int, context: int, info: int) -> int:
        return self._keep(self.open(abi.text_at(name), options, granted), context, info)

    def _keep(self, opened: Opened, context: int, info: int) -> int:
        # In its real case; the driver would go on in upper case.
        name, told = opened.path.encode("utf-16-le"), abi.OpenFileInfo.from_address(info)
        if len(name) <= told.name_size:
            abi.put(told.name, name)
            told.name_size = len(name)
        self._tell_info(opened, info)
        number = next(self._numbers)
        self._opened[number] = opened
        _pointer_at(context).value = number
        return STATUS_SUCCESS

    @caught
    def ll_overwrite(self, number: int, attributes: int, replaces: int, allocation: int, info: int) -> int:
        opened = self._opened[number]
        self.overwrite(opened, attributes, bool(replaces), allocation)
        return self._tell_info(opened, info)

    @unanswered
    def ll_cleanup(self, number: int, name: int | None, flags: int) -> None:
        self.cleanup(self._opened[number], _text_or_none(name), flags)

    @unanswered
    def ll_close(self, number: int) -> None:
        self.close(self._opened.pop(number))

    # -- bytes --

    @caught
    def ll_read(self, number: int, buffer: int, offset: int, length: int, count: int) -> int:
        data = self.read(self._opened[number], offset, length)
        abi.put(buffer, data)
        _ulong_at(count).value = len(data)
        return STATUS_SUCCESS

    @caught
    def ll_write(
        self, number: int, buffer: int, offset: int, length: int, to_end: int, is_constrained: int, count: int,
        info: int,
    ) -> int:  # fmt: skip
        opened = self._opened[number]
        data = borrowed(buffer, length)
        _ulong_at(count).value = self.write(opened, data, offset, bool(to_end), bool(is_constrained))
        return self._tell_info(opened, info)

    @caught
    def ll_flush(self, number: int | None, info: int) -> int:
        if number is None:
            self.flush_volume()
            return STATUS_SUCCESS
        opened = self._opened[number]
        self.flush(opened)
        return self._tell_info(opened, info)

    # -- attributes --

    @caught
    def ll_get_file_info(self, number: int, info: int) -> int:
        return self._tell_info(self._opened[number], info)

    @caught
    def ll_set_basic_info(
        self, number: int, attributes: int, created: int, accessed: int, written: int, changed: int, info: int
    ) -> int:
        opened = self._opened[number]
        told = self.set_basic_info(opened, attributes, created, accessed, written, changed, info)
        abi.put(info, abi.file_info(told))
        return STATUS_SUCCESS

    @caught
    def ll_set_file_size(self, number: int, size: int, is_allocation: int, info: int) -> int:
        opened = self._opened[number]
        self.set_file_size(opened, size, bool(is_allocation))
        return self._tell_info(opened, info)

    # -- names --

    @caught
    def ll_can_delete(self, number: int, name: int) -> int:
        self.can_delete(self._opened[number], abi.text_at(name))
        return STATUS_SUCCESS

    @caught
    def ll_rename(self, number: int, name: int, new_name: int, replaces: int) -> int:
        self.rename(self._opened[number], abi.text_at(name), abi.text_at(new_name), bool(replaces))
        return STATUS_SUCCESS

    @caught
    def ll_read_directory(
        self, number: int, pattern: int | None, marker: int | None, buffer: int, length: int, count: int
    ) -> int:
        opened = self._opened[number]
        # Never fewer than fit, which would end the listing.
        opened.room = length // ENTRY_BYTES_MIN + 1
        for entry in self.read_directory(opened, _text_or_none(marker)):
            if not self._add_dir_info(abi.dir_info(entry["file_name"], entry), buffer, length, count):
                return STATUS_SUCCESS
        self._add_dir_info(None, buffer, length, count)
        return STATUS_SUCCESS

    @caught
    def ll_get_dir_info_by_name(self, number: int, name: int, info: int) -> int:
        entry = self.get_dir_info_by_name(self._opened[number], abi.text_at(name))
        abi.put(info, abi.dir_info(entry["file_name"], entry))
        return STATUS_SUCCESS


def _tell_security(descriptor: bytes, buffer: int | None, size: int | None) -> int:
    if size:
        room = _size_at(size)
        # WinFsp comes again with as much room as it is told.
        fits, room.value = len(descriptor) <= room.value, len(descriptor)
        if not fits:
            return STATUS_BUFFER_OVERFLOW
        if buffer:
            abi.put(buffer, descriptor)
    return STATUS_SUCCESS


def _interface(operations: CtypesOperations) -> tuple[Any, list[Any]]:
    """(FSP_FILE_SYSTEM_INTERFACE, what has to live as long)"""
    slots, kept = (address * abi.INTERFACE_SLOTS)(), []
    for name, (slot, arguments) in abi.CALLBACKS.items():
        kind = ctypes.CFUNCTYPE(None if name in abi.UNANSWERED else c_uint32, address, *arguments)
        kept.append(kind(_entered(getattr(operations, f"ll_{name}"))))
        slots[slot] = ctypes.cast(kept[-1], address).value
    return slots, kept


def _entered(method: Callable[..., Any]) -> Callable[..., Any]:
    def callback(file_system: int, *arguments: Any) -> Any:
        keep_thread_state()
        return method(*arguments)

    return callback


class CtypesFileSystem:
    def __init__(self, operations: CtypesOperations, params: Mapping[str, Any]):
        """Raises MountPointUnusable."""
        self.operations = operations
        self._interface, self._kept = _interface(operations)
        device = NETWORK if params["prefix"] else DISK
        made = address()
        packed = abi.volume_params(**params)
        create = function("FspFileSystemCreate")
        status = create(abi.wide(device), packed, ctypes.addressof(self._interface), ctypes.byref(made))
        if status >= FAILED:
            raise MountPointUnusable(f"WinFsp makes no volume: {self.name_of(status)}")
        self.address = int(made.value or 0)

    @staticmethod
    def name_of(status: int) -> str:
        return f"status 0x{status:08X}"

    def turn_guard_off(self) -> None:
        function("FspFileSystemSetOperationGuardF")(self.address, None, None)

    def mount(self, mount_point: str) -> int:
        return int(function("FspFileSystemSetMountPoint")(self.address, abi.wide(mount_point)))

    def dispatch(self, threads: int) -> int:
        return int(function("FspFileSystemStartDispatcher")(self.address, threads))

    def end(self) -> None:
        function("FspFileSystemStopDispatcher")(self.address)
        function("FspFileSystemDelete")(self.address)
