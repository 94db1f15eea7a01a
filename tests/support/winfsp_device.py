"""WinFsp's kernel device without a kernel: it answers winfsp.dll in its own process, on Windows or under Wine.

`the_device()` puts functions of this module into the import table of winfsp-x64.dll. What the DLL does with
`\\Device\\WinFsp.*` comes here from then on, and its dispatcher's threads fetch their requests from the queue of a
`KernelVolume`; all other handles go to Windows. Nothing of the DLL is changed besides: it is the released one.
"""

import ctypes
import itertools
import logging
import queue
import struct
import threading
from collections.abc import Callable, Iterator
from ctypes import wintypes
from functools import cache
from typing import Any

from tests.support import winfsp_wire as wire
from tests.support.winfsp_folder import SET_REPARSE_POINT, Junctions

log = logging.getLogger(__name__)

DLL = "winfsp-x64.dll"
# No process has a handle of this number: they count from 4.
FIRST_HANDLE = 0x00F50000
ANSWER_DEADLINE_S = 60.0
ERROR_INVALID_FUNCTION, ERROR_GEN_FAILURE, ERROR_OPERATION_ABORTED = 1, 31, 995
ERROR_CANT_WAIT = 552
PAGE_READWRITE = 4

HANDLE, DWORD, BOOL, POINTER = wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL, ctypes.c_void_p
HOOKED: dict[str, tuple[Any, ...]] = {
    "CreateFileW": (HANDLE, wintypes.LPCWSTR, DWORD, DWORD, POINTER, DWORD, DWORD, HANDLE),
    "DeviceIoControl": (BOOL, POINTER, DWORD, POINTER, DWORD, POINTER, DWORD, POINTER, POINTER),
    "CloseHandle": (BOOL, POINTER),
    "DefineDosDeviceW": (BOOL, DWORD, wintypes.LPCWSTR, wintypes.LPCWSTR),
}


def _control_code(device: int, function: str, method: int = 0) -> int:
    return device << 16 | (0x800 + ord(function)) << 2 | method


# winfsp/fsctl.h; the device is FILE_DEVICE_FILE_SYSTEM, or its own for the fast way of WinFsp 2.
FILE_SYSTEM, FAST = 9, 0x8000 | ord("F") << 8 | ord("W")
TRANSACT = {_control_code(FILE_SYSTEM, "T"), _control_code(FAST, "T")}
STOP = {_control_code(FILE_SYSTEM, "s"), _control_code(FILE_SYSTEM, "S")}
VOLUME_NAME = _control_code(FILE_SYSTEM, "N")
NOTIFY = _control_code(FILE_SYSTEM, "n", 3)
NOTIFY_INFO_BYTES = 12


class KernelNotices:
    """Of one volume: sys/volume.c FspVolumeNotify. Nothing at all begins, a record that is too small ends."""

    def __init__(self) -> None:
        self._begins, self._records, self._misuses = 0, b"", 0
        self._is_renaming = self._is_begun = False

    def control(self, told: bytes) -> int:
        """Windows' error."""
        if not told:
            self._begins += 1
            if self._is_renaming:
                return ERROR_CANT_WAIT
            self._misuses += self._is_begun
            self._is_begun = True
            return 0
        self._misuses += not self._is_begun
        (size,) = struct.unpack_from("<H", told)
        if size < NOTIFY_INFO_BYTES:
            self._is_begun = False
        else:
            self._records += told
        return 0

    def begins(self) -> int:
        return self._begins

    def records(self) -> bytes:
        return self._records

    def refuse(self, is_renaming: bool) -> None:
        self._is_renaming = is_renaming

    def check(self) -> None:
        assert (self._is_begun, self._misuses) == (False, 0)


class KernelVolume:
    """The driver's side of one volume: requests wait for a thread of the dispatcher, and programs for their answers."""

    def __init__(self, name: str, device: str, params: bytes) -> None:
        self.name, self.device = name, device
        self.params = wire.VolumeParams.from_buffer_copy(params)
        self.threads: set[int] = set()
        self._asked: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._answers: dict[int, queue.SimpleQueue[bytes]] = {}
        self._hints = itertools.count(1)
        self._is_stopped = threading.Event()
        self.notices = KernelNotices()

    def ask(self, request: wire.Request, after: bytes) -> bytes:
        """Post the request with the bytes after it; the response with the bytes after it."""
        request.hint = next(self._hints)
        request.size = ctypes.sizeof(wire.Request) + len(after)
        answer = self._answers[request.hint] = queue.SimpleQueue()
        self._asked.put(bytes(request) + after)
        return answer.get(timeout=ANSWER_DEADLINE_S)

    def control(self, code: int, given: int, given_size: int, wanted: int) -> tuple[int, int]:
        """(bytes at `wanted`, Windows' error)"""
        if code == VOLUME_NAME:
            name = wire.wide(self.name)
            ctypes.memmove(wanted, name, len(name))
            return len(name), 0
        if code in STOP:
            self._is_stopped.set()
            for _ in self.threads:
                self._asked.put(None)
            return 0, 0
        if code == NOTIFY:
            return 0, self.notices.control(ctypes.string_at(given, given_size) if given_size else b"")
        if code in TRANSACT:
            return self._transact(given, given_size, wanted)
        return 0, ERROR_INVALID_FUNCTION

    def _transact(self, given: int, given_size: int, wanted: int) -> tuple[int, int]:
        if given_size >= ctypes.sizeof(wire.Response):
            answer = ctypes.string_at(given, given_size)
            self._answers.pop(wire.Response.from_buffer_copy(answer).hint).put(answer)
        if not wanted:
            return 0, 0
        self.threads.add(threading.get_ident())
        request = None if self._is_stopped.is_set() else self._asked.get()
        if request is None:
            return 0, ERROR_OPERATION_ABORTED  # which ends a thread of the dispatcher
        ctypes.memmove(wanted, request, len(request))
        return len(request), 0


class Device:
    """`letters`: drive letter -> the name of the volume it leads to, as the DLL defined them."""

    def __init__(self) -> None:
        self.volumes: dict[int, KernelVolume] = {}
        self.letters: dict[str, str] = {}
        self.junctions = Junctions()
        self._controls: set[int] = set()  # handles of the device itself
        self._handles = itertools.count(FIRST_HANDLE, 4)
        self._kept: list[Any] = []

    def hook(self) -> None:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
        kernel.GetModuleHandleW.restype = POINTER
        kernel.VirtualProtect.argtypes = [POINTER, ctypes.c_size_t, DWORD, ctypes.POINTER(DWORD)]
        base = kernel.GetModuleHandleW(DLL)
        assert base, f"{DLL} is not loaded"
        imports = dict(_imports(base))
        for name, types in HOOKED.items():
            kind = ctypes.WINFUNCTYPE(*types, use_last_error=True)  # type: ignore[attr-defined]
            place = POINTER.from_address(imports[name])
            original = kind(place.value)
            replaced = kind(_guarded(getattr(self, f"_{name}"), original))
            self._kept += [original, replaced]
            assert kernel.VirtualProtect(imports[name], 8, PAGE_READWRITE, ctypes.byref(DWORD()))
            place.value = ctypes.cast(replaced, POINTER).value

    def _CreateFileW(self, original: Callable[..., int], name: str, *arguments: Any) -> int:
        if "\\Device\\WinFsp." not in (name or ""):
            return original(name, *arguments)
        handle = next(self._handles)
        path, found, params = name.partition("\\VolumeParams=")
        if not found:
            self._controls.add(handle)
            return handle
        # The DLL writes each byte as a character of Unicode's private area.
        bytes_of = bytes(ord(character) & 0xFF for character in params)
        device = path.rpartition("\\")[2]
        self.volumes[handle] = KernelVolume(f"\\Device\\Volume{{{handle:x}}}", device, bytes_of)
        return handle

    def _CloseHandle(self, original: Callable[..., int], handle: int) -> int:
        self.junctions.forget(handle)
        if handle in self._controls:
            self._controls.remove(handle)
            return 1
        return 1 if self.volumes.pop(handle, None) else original(handle)

    def _DefineDosDeviceW(self, original: Callable[..., int], flags: int, letter: str, target: str) -> int:
        if not any(target == volume.name for volume in self.volumes.values()):
            return original(flags, letter, target)
        is_removed = flags & 0x2  # DDD_REMOVE_DEFINITION
        self.letters.pop(letter, None) if is_removed else self.letters.update({letter: target})
        return 1

    def _DeviceIoControl(
        self, original: Callable[..., int], handle: int, code: int, given: int, given_size: int, wanted: int,
        wanted_size: int, p_count: int, overlapped: int,
    ) -> int:  # fmt: skip
        volume = self.volumes.get(handle)
        if code == SET_REPARSE_POINT:
            count, error = 0, self.junctions.make(handle, ctypes.string_at(given, given_size))
        elif volume is None and handle not in self._controls:
            return original(handle, code, given, given_size, wanted, wanted_size, p_count, overlapped)
        else:
            count, error = (0, 0) if volume is None else volume.control(code, given, given_size, wanted)
        if error:
            ctypes.set_last_error(error)  # type: ignore[attr-defined]
            return 0
        DWORD.from_address(p_count).value = count
        return 1


@cache
def the_device() -> Device:
    """The DLL has to be loaded by then: importing winfspy does that."""
    device = Device()
    device.hook()
    return device


def _guarded(function: Callable[..., int], original: Callable[..., int]) -> Callable[..., int]:
    """An exception would be printed and forgotten, and the DLL go on with what happens to be there."""

    def called(*arguments: Any) -> int:
        try:
            return function(original, *arguments)
        except BaseException:
            log.exception("%s", function.__name__)
            ctypes.set_last_error(ERROR_GEN_FAILURE)  # type: ignore[attr-defined]
            return 0

    return called


def _imports(base: int) -> Iterator[tuple[str, int]]:
    """(name, where the DLL keeps the function's address), out of the headers of a PE32+ file in memory."""
    (headers,) = struct.unpack("<I", ctypes.string_at(base + 0x3C, 4))
    optional = headers + 24
    (descriptor,) = struct.unpack("<I", ctypes.string_at(base + optional + 112 + 8, 4))
    while True:
        names, _, _, library, addresses = struct.unpack("<5I", ctypes.string_at(base + descriptor, 20))
        if not library:
            return
        for number in itertools.count():
            (name,) = struct.unpack("<Q", ctypes.string_at(base + names + 8 * number, 8))
            if not name:
                break
            if not name >> 63:  # else imported by number
                yield ctypes.string_at(base + name + 2).decode(), base + addresses + 8 * number
        descriptor += 20
