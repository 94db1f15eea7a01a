"""Where WinFsp's DLL is, and its functions by ctypes, those of Windows that go with them too.

Used by both ways to WinFsp: winfspy loads the same DLL, and lacks what winfsp_notification.py calls.
"""

import ctypes
import importlib
import os
import sysconfig
from collections.abc import Mapping
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint8, c_uint32
from ctypes import c_void_p as address
from functools import cache
from pathlib import Path
from typing import Any, Final

# By the processor that this Python is built for, which need not be that of Windows.
DLL_NAMES: Final[Mapping[str, str]] = {
    "win-amd64": "winfsp-x64.dll",
    "win-arm64": "winfsp-a64.dll",
    "win32": "winfsp-x86.dll",
}
# In the part of the registry for 32 bits, on every Windows.
WINFSP_KEY: Final = r"SOFTWARE\WinFsp"
# winfspy's own variable; it is asked first.
FOLDER_VARIABLE: Final = "WINFSP_LIBRARY_PATH"

NTSTATUS = c_uint32
SDDL_REVISION = 1

# What each returns and takes. Texts are UTF-16 with its end (winfsp_abi.wide), a file system is its address.
FUNCTIONS: Final[Mapping[str, tuple[Any, tuple[Any, ...]]]] = {
    "FspFileSystemCreate": (NTSTATUS, (c_char_p, c_char_p, address, POINTER(address))),
    "FspFileSystemSetOperationGuardF": (None, (address, address, address)),
    "FspFileSystemSetMountPoint": (NTSTATUS, (address, c_char_p)),
    "FspFileSystemStartDispatcher": (NTSTATUS, (address, c_uint32)),
    "FspFileSystemStopDispatcher": (None, (address,)),
    "FspFileSystemDelete": (None, (address,)),
    "FspFileSystemAddDirInfo": (c_uint8, (c_char_p, address, c_uint32, address)),
    "FspFileSystemNotifyBegin": (NTSTATUS, (address, c_uint32)),
    "FspFileSystemNotify": (NTSTATUS, (address, c_char_p, c_size_t)),
    "FspFileSystemNotifyEnd": (NTSTATUS, (address,)),
}
# Called with the interpreter's lock held, for each name of a listing: to give it up costs more than they do.
QUICK: Final = frozenset({"FspFileSystemAddDirInfo"})
_CONVERT: Final = "ConvertStringSecurityDescriptorToSecurityDescriptorW"


def read_registry(key: str, name: str) -> str | None:
    """A value below HKEY_LOCAL_MACHINE in the part for 32 bits, None when there is none."""
    winreg: Any = importlib.import_module("winreg")
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key, 0, winreg.KEY_READ | winreg.KEY_WOW64_32KEY) as opened:
            return str(winreg.QueryValueEx(opened, name)[0])
    except OSError:
        return None


def find_dll() -> Path:
    """Raises FileNotFoundError."""
    platform = sysconfig.get_platform()
    name = DLL_NAMES.get(platform)
    if name is None:
        raise FileNotFoundError(f"it has nothing for {platform}")
    folder = os.environ.get(FOLDER_VARIABLE) or read_registry(WINFSP_KEY, "InstallDir")
    if folder is None:
        raise FileNotFoundError("it is not installed")
    return Path(folder) / "bin" / name


@cache
def load_dll() -> Any:
    """Raises OSError."""
    return ctypes.CDLL(str(find_dll()))


def load_system(name: str) -> Any:
    loader: Any = vars(ctypes)["WinDLL"]
    return loader(name, use_last_error=True)


def function(name: str) -> Any:
    """One of FUNCTIONS. Raises OSError, AttributeError when this version has none of that name."""
    result, arguments = FUNCTIONS[name]
    kind = ctypes.PYFUNCTYPE if name in QUICK else ctypes.CFUNCTYPE
    return kind(result, *arguments)((name, load_dll()))


def security_descriptor(text: bytes) -> bytes:
    """Self-relative, of one in Windows' language for them, as UTF-16 with its end. Raises OSError."""
    convert = getattr(load_system("advapi32"), _CONVERT)
    convert.restype, convert.argtypes = c_int, (c_char_p, c_uint32, POINTER(address), POINTER(c_uint32))
    free = load_system("kernel32").LocalFree
    free.restype, free.argtypes = address, (address,)
    made, size = address(), c_uint32()
    if not convert(text, SDDL_REVISION, byref(made), byref(size)):
        raise OSError(f"{_CONVERT} fails")
    try:
        return ctypes.string_at(made, size.value)
    finally:
        free(made)
