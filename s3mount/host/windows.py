"""The host on Windows, by kernel32 and ntdll. What each name means is said in posix.py; here stands how.

Chosen by the package. Threads: any. A `number` is a file descriptor of the C runtime. NTFS keeps a journal of names:
after power loss a name is there or not, and FlushFileBuffers of a file writes the journal up to that moment, and with
it the file's name; there is no call for a folder, and none for a whole file system without administrator's rights.
"""

import ctypes
import errno
import msvcrt
import os
import signal
import string
import subprocess
import sys
import time
from collections.abc import Mapping
from ctypes import wintypes
from pathlib import Path
from typing import Any, Final

assert sys.platform == "win32"

END_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGBREAK)
# The user's profile keeps others out; os.stat says mode 0666 or 0777 and owner 0 of everything.
HAS_OWNERS: Final = False
PROCESS_HOLDS_DRIVE: Final = True

_INVALID_HANDLE: Final = ctypes.c_void_p(-1).value
_GENERIC_READ: Final = 0x80000000
_GENERIC_WRITE: Final = 0x40000000
_ACCESS: Final = {os.O_RDONLY: _GENERIC_READ, os.O_WRONLY: _GENERIC_WRITE, os.O_RDWR: _GENERIC_READ | _GENERIC_WRITE}
# GENERIC_WRITE without the right to write anywhere but at the end.
_APPEND_ONLY: Final = 0x120114
_SHARE_READ_WRITE_DELETE: Final = 7
_CREATE_NEW, _CREATE_ALWAYS, _OPEN_EXISTING, _OPEN_ALWAYS, _TRUNCATE_EXISTING = range(1, 6)
_FILE_ATTRIBUTE_NORMAL: Final = 0x80
_FILE_END_OF_FILE_INFO: Final = 6
_MOVEFILE_REPLACE_EXISTING: Final = 1
_MOVEFILE_WRITE_THROUGH: Final = 8
_FSCTL_SET_SPARSE: Final = 0x900C4
_FSCTL_SET_ZERO_DATA: Final = 0x980C8
_PROCESS_QUERY_LIMITED_INFORMATION: Final = 0x1000
_STILL_ACTIVE: Final = 259
_SYSTEM_TIME_OF_DAY_INFORMATION: Final = 3
_ERROR_HANDLE_EOF: Final = 38
_ERROR_BROKEN_PIPE: Final = 109
# Python takes these for EINVAL.
_ERRNO_OF_FULL: Final = {39: errno.ENOSPC, 1295: errno.EDQUOT}
# Windows refuses reads of locked bytes; the holder's pid at the beginning is to be read.
_LOCKED_AT: Final = 1 << 30
_LARGEST_TRANSFER: Final = 1 << 30
_POLL_INTERVAL_S: Final = 0.05
# Logon number of the first user of most Linux systems, where such files may be seen too.
_OWN_ID: Final = 1000
# Between the first word to end and the next, which means without a drain.
_SECOND_WORD_AFTER_S: Final = 1.0

AnyPath = str | os.PathLike[str]


class _Overlapped(ctypes.Structure):
    _fields_ = (
        ("internal", ctypes.c_void_p),
        ("internal_high", ctypes.c_void_p),
        ("offset", wintypes.DWORD),
        ("offset_high", wintypes.DWORD),
        ("event", wintypes.HANDLE),
    )


class _SystemTimeOfDay(ctypes.Structure):
    _fields_ = (
        ("boot_time", ctypes.c_int64),
        ("current_time", ctypes.c_int64),
        ("time_zone_bias", ctypes.c_int64),
        ("time_zone_id", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("boot_time_bias", ctypes.c_uint64),
        ("sleep_time_bias", ctypes.c_uint64),
    )


_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_ntdll = ctypes.WinDLL("ntdll")
_DWORD_OUT = ctypes.POINTER(wintypes.DWORD)
_FILETIME_OUT = ctypes.POINTER(wintypes.FILETIME)
_TRANSFER = (wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD, _DWORD_OUT, ctypes.POINTER(_Overlapped))

_create_file = _kernel32.CreateFileW
_create_file.argtypes = (
    wintypes.LPCWSTR,
    wintypes.DWORD,
    wintypes.DWORD,
    ctypes.c_void_p,
    wintypes.DWORD,
    wintypes.DWORD,
    wintypes.HANDLE,
)
_create_file.restype = wintypes.HANDLE
_close_handle = _kernel32.CloseHandle
_close_handle.argtypes = (wintypes.HANDLE,)
_read_file = _kernel32.ReadFile
_read_file.argtypes = _TRANSFER
_write_file = _kernel32.WriteFile
_write_file.argtypes = _TRANSFER
_set_file_information = _kernel32.SetFileInformationByHandle
_set_file_information.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)
_device_io_control = _kernel32.DeviceIoControl
_device_io_control.argtypes = (
    wintypes.HANDLE,
    wintypes.DWORD,
    ctypes.c_void_p,
    wintypes.DWORD,
    ctypes.c_void_p,
    wintypes.DWORD,
    _DWORD_OUT,
    ctypes.c_void_p,
)
_move_file = _kernel32.MoveFileExW
_move_file.argtypes = (wintypes.LPCWSTR, wintypes.LPCWSTR, wintypes.DWORD)
_open_process = _kernel32.OpenProcess
_open_process.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
_open_process.restype = wintypes.HANDLE
_exit_code_of = _kernel32.GetExitCodeProcess
_exit_code_of.argtypes = (wintypes.HANDLE, _DWORD_OUT)
_times_of = _kernel32.GetProcessTimes
_times_of.argtypes = (wintypes.HANDLE, _FILETIME_OUT, _FILETIME_OUT, _FILETIME_OUT, _FILETIME_OUT)
_peek_pipe = _kernel32.PeekNamedPipe
_peek_pipe.argtypes = (wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD, _DWORD_OUT, _DWORD_OUT, _DWORD_OUT)
_console_handler = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)
_set_console_handler = _kernel32.SetConsoleCtrlHandler
_set_console_handler.argtypes = (_console_handler, wintypes.BOOL)
_query_system = _ntdll.NtQuerySystemInformation
_query_system.argtypes = (ctypes.c_int, ctypes.c_void_p, wintypes.ULONG, ctypes.POINTER(wintypes.ULONG))


def _failure(path: AnyPath | None = None) -> OSError:
    """What the last call of kernel32 in this thread failed with."""
    code = ctypes.get_last_error()
    text = ctypes.FormatError(code)
    name = None if path is None else os.fspath(path)
    if code in _ERRNO_OF_FULL:
        return OSError(_ERRNO_OF_FULL[code], text, name)
    return OSError(0, text, name, code)


# -- files -------------------------------------------------------------------------------------------------------


def open_shared(path: AnyPath, flags: int, mode: int = 0o600) -> int:
    # Python's own os.open shares a file for reading and writing only: nobody could rename or remove it.
    handle = _create_file(
        os.fspath(path),
        _access(flags),
        _SHARE_READ_WRITE_DELETE,
        None,
        _disposition(flags),
        _FILE_ATTRIBUTE_NORMAL,
        None,
    )
    if handle == _INVALID_HANDLE:
        raise _failure(path)
    try:
        return msvcrt.open_osfhandle(handle, (flags & os.O_APPEND) | os.O_BINARY | os.O_NOINHERIT)
    except OSError:
        _close_handle(handle)
        raise


def _access(flags: int) -> int:
    if flags & (os.O_WRONLY | os.O_APPEND) == os.O_WRONLY | os.O_APPEND:
        # A child to whom this is the standard output knows nothing of O_APPEND, which is the C runtime's.
        return _APPEND_ONLY
    return _ACCESS[flags & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR)]


def _disposition(flags: int) -> int:
    if not flags & os.O_CREAT:
        return _TRUNCATE_EXISTING if flags & os.O_TRUNC else _OPEN_EXISTING
    if flags & os.O_EXCL:
        return _CREATE_NEW
    return _CREATE_ALWAYS if flags & os.O_TRUNC else _OPEN_ALWAYS


def open_sparse(path: AnyPath, flags: int, mode: int = 0o600) -> int:
    number = open_shared(path, flags, mode)
    if flags & os.O_CREAT:
        # Refused by FAT and the like, where the file takes all the room of its length.
        _control(number, _FSCTL_SET_SPARSE, None)
    return number


def _control(number: int, code: int, argument: Any) -> bool:
    size = 0 if argument is None else ctypes.sizeof(argument)
    given = None if argument is None else ctypes.byref(argument)
    returned = wintypes.DWORD()
    handle = msvcrt.get_osfhandle(number)
    return bool(_device_io_control(handle, code, given, size, None, 0, ctypes.byref(returned), None))


def pread(number: int, size: int, offset: int) -> bytes:
    size = min(size, _LARGEST_TRANSFER)
    buffer = ctypes.create_string_buffer(size)
    place = _Overlapped(offset=offset & 0xFFFFFFFF, offset_high=offset >> 32)
    done = wintypes.DWORD()
    if not _read_file(msvcrt.get_osfhandle(number), buffer, size, ctypes.byref(done), ctypes.byref(place)):
        if ctypes.get_last_error() == _ERROR_HANDLE_EOF:
            return b""
        raise _failure()
    return ctypes.string_at(buffer, done.value)


def pwrite(number: int, data: bytes | bytearray | memoryview, offset: int) -> int:
    given = data if isinstance(data, bytes) else bytes(data)
    place = _Overlapped(offset=offset & 0xFFFFFFFF, offset_high=offset >> 32)
    done = wintypes.DWORD()
    size = min(len(given), _LARGEST_TRANSFER)
    if not _write_file(msvcrt.get_osfhandle(number), given, size, ctypes.byref(done), ctypes.byref(place)):
        raise _failure()
    return done.value


def truncate(number: int, length: int) -> None:
    # The C runtime would write the zeros.
    end = ctypes.c_int64(length)
    handle = msvcrt.get_osfhandle(number)
    if not _set_file_information(handle, _FILE_END_OF_FILE_INFO, ctypes.byref(end), ctypes.sizeof(end)):
        raise _failure()


def punch_hole(number: int, start: int, end: int) -> None:
    _control(number, _FSCTL_SET_SPARSE, None)
    if not _control(number, _FSCTL_SET_ZERO_DATA, (ctypes.c_int64 * 2)(start, end)):
        raise _failure()


def allocate(number: int, start: int, end: int) -> None:
    # NTFS gives room to a hole of a sparse file only when it is written.
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def fdatasync(number: int) -> None:
    os.fsync(number)


def sync_folder(path: Path) -> None:
    # Windows opens no folder for writing; NTFS journals names by itself.
    pass


def sync_filesystem(path: Path) -> bool:
    return False


def replace(draft: Path, path: Path) -> None:
    if not _move_file(str(draft), str(path), _MOVEFILE_REPLACE_EXISTING | _MOVEFILE_WRITE_THROUGH):
        raise _failure(path)


def lock_exclusively(number: int) -> bool:
    os.lseek(number, _LOCKED_AT, os.SEEK_SET)
    try:
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    return True


# -- who and when ------------------------------------------------------------------------------------------------


def effective_uid() -> int:
    return 0


def own_ids() -> tuple[int, int]:
    return _OWN_ID, _OWN_ID


def boot_identity() -> bytes:
    # When the clock is set, the time of the boot is moved along, and the bias with it: their difference stays.
    told = _SystemTimeOfDay()
    if _query_system(_SYSTEM_TIME_OF_DAY_INFORMATION, ctypes.byref(told), ctypes.sizeof(told), None) != 0:
        return b""
    return str(told.boot_time - told.boot_time_bias).encode()


def taken_letters() -> str:
    drives = _kernel32.GetLogicalDrives()
    return "".join(letter for place, letter in enumerate(string.ascii_uppercase) if drives >> place & 1)


# -- processes ---------------------------------------------------------------------------------------------------


def start_time(pid: int) -> str | None:
    # Refused for processes of other users, of which no mount of this user is one.
    handle = _open_process(_PROCESS_QUERY_LIMITED_INFORMATION, False, pid)
    if not handle:
        return None
    try:
        code = wintypes.DWORD()
        if not _exit_code_of(handle, ctypes.byref(code)) or code.value != _STILL_ACTIVE:
            return None
        started, ended, kernel, user = (wintypes.FILETIME() for _ in range(4))
        if not _times_of(handle, *map(ctypes.byref, (started, ended, kernel, user))):
            return ""
        return str(started.dwHighDateTime << 32 | started.dwLowDateTime)
    finally:
        _close_handle(handle)


def detached(number: int) -> tuple[int, Mapping[str, Any]]:
    handle = msvcrt.get_osfhandle(number)
    os.set_handle_inheritable(handle, True)
    return handle, {
        "startupinfo": subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]}),
        "creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP,
    }


def handed_down(given: int) -> int:
    os.set_handle_inheritable(given, False)
    return msvcrt.open_osfhandle(given, os.O_BINARY | os.O_NOINHERIT)


def wait_readable(number: int, deadline_s: float) -> bool:
    until = time.monotonic() + deadline_s
    handle = msvcrt.get_osfhandle(number)
    available = wintypes.DWORD()
    while True:
        if not _peek_pipe(handle, None, 0, None, ctypes.byref(available), None):
            return ctypes.get_last_error() == _ERROR_BROKEN_PIPE
        if available.value:
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL_INTERVAL_S)


def _on_console(event: int) -> bool:
    if event in (signal.CTRL_C_EVENT, signal.CTRL_BREAK_EVENT):
        return False
    # Windows ends the process when this returns, and some seconds after the event at the latest.
    while True:
        signal.raise_signal(signal.SIGBREAK)
        time.sleep(_SECOND_WORD_AFTER_S)


# Called by Windows as long as the process lives.
_console_handler_kept = _console_handler(_on_console)


def hold_end_signals() -> None:
    pass  # Python's own handlers run in the main thread


def take_end_signals() -> None:
    pass


def end_with_console() -> None:
    _set_console_handler(_console_handler_kept, True)
