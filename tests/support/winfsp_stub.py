"""winfspy on Linux: its Python files as they are, over a compiled stand-in for its bindings to winfsp.dll.

`load()` puts the package that scripts/install unpacked into `.winfspy` on the path, builds the stand-in with cffi and
the C compiler, and gives it to winfspy under the name of its own extension module. The stand-in has the functions that
winfspy and s3mount call, with the layouts and limits of the real ones as far as they can be seen from Python; it has no
dispatcher and no kernel: tests/support/winfsp_driver.py calls the callbacks in its place.
"""

import ast
import ctypes
import importlib
import importlib.util
import sys
import tempfile
import types
from functools import cache
from pathlib import Path
from typing import Any

from s3mount.bindings import winfsp_notification

UNPACKED = Path(__file__).parents[2] / ".winfspy"

TYPES = """
typedef char16_t WCHAR; typedef WCHAR *PWSTR; typedef void *PVOID;
typedef uint8_t UINT8, BOOLEAN; typedef uint16_t UINT16; typedef uint32_t UINT32, ULONG, NTSTATUS, DWORD;
typedef uint64_t UINT64; typedef size_t SIZE_T; typedef int BOOL;
typedef ULONG *PULONG; typedef UINT32 *PUINT32; typedef SIZE_T *PSIZE_T;
typedef struct { NTSTATUS Status; SIZE_T Information; } IO_STATUS_BLOCK, *PIO_STATUS_BLOCK;
typedef struct { UINT32 Length; char Text[252]; } SECURITY_DESCRIPTOR, *PSECURITY_DESCRIPTOR;
typedef struct {
    UINT64 TotalSize, FreeSize; UINT16 VolumeLabelLength; WCHAR VolumeLabel[32];
} FSP_FSCTL_VOLUME_INFO;
typedef struct {
    UINT32 FileAttributes, ReparseTag;
    UINT64 AllocationSize, FileSize, CreationTime, LastAccessTime, LastWriteTime, ChangeTime, IndexNumber;
    UINT32 HardLinks, EaSize;
} FSP_FSCTL_FILE_INFO;
typedef struct {
    FSP_FSCTL_FILE_INFO FileInfo; PWSTR NormalizedName; UINT16 NormalizedNameSize;
} FSP_FSCTL_OPEN_FILE_INFO;
typedef struct {
    UINT16 Size; FSP_FSCTL_FILE_INFO FileInfo; UINT8 Padding[24]; WCHAR FileNameBuf[];
} FSP_FSCTL_DIR_INFO;
"""
# Name, arguments after the file system; a "!" for those that return nothing. In the order of winfsp.h.
CALLBACKS = """
GetVolumeInfo FSP_FSCTL_VOLUME_INFO *
SetVolumeLabel PWSTR, FSP_FSCTL_VOLUME_INFO *
GetSecurityByName PWSTR, PUINT32, PSECURITY_DESCRIPTOR, PSIZE_T
Create PWSTR, UINT32, UINT32, UINT32, PSECURITY_DESCRIPTOR, UINT64, PVOID *, FSP_FSCTL_FILE_INFO *
Open PWSTR, UINT32, UINT32, PVOID *, FSP_FSCTL_FILE_INFO *
Overwrite PVOID, UINT32, BOOLEAN, UINT64, FSP_FSCTL_FILE_INFO *
!Cleanup PVOID, PWSTR, ULONG
!Close PVOID
Read PVOID, PVOID, UINT64, ULONG, PULONG
Write PVOID, PVOID, UINT64, ULONG, BOOLEAN, BOOLEAN, PULONG, FSP_FSCTL_FILE_INFO *
Flush PVOID, FSP_FSCTL_FILE_INFO *
GetFileInfo PVOID, FSP_FSCTL_FILE_INFO *
SetBasicInfo PVOID, UINT32, UINT64, UINT64, UINT64, UINT64, FSP_FSCTL_FILE_INFO *
SetFileSize PVOID, UINT64, BOOLEAN, FSP_FSCTL_FILE_INFO *
CanDelete PVOID, PWSTR
Rename PVOID, PWSTR, PWSTR, BOOLEAN
GetSecurity PVOID, PSECURITY_DESCRIPTOR, PSIZE_T
SetSecurity PVOID, ULONG, PSECURITY_DESCRIPTOR
ReadDirectory PVOID, PWSTR, PWSTR, PVOID, ULONG, PULONG
ResolveReparsePoints PWSTR, UINT32, BOOLEAN, PIO_STATUS_BLOCK, PVOID, PSIZE_T
GetReparsePoint PVOID, PWSTR, PVOID, PSIZE_T
SetReparsePoint PVOID, PWSTR, PVOID, SIZE_T
DeleteReparsePoint PVOID, PWSTR, PVOID, SIZE_T
GetStreamInfo PVOID, PVOID, ULONG, PULONG
GetDirInfoByName PVOID, PWSTR, FSP_FSCTL_DIR_INFO *
"""
# In the released wheel these have a trampoline and no place in the interface.
UNCONNECTED = """
Control PVOID, UINT32, PVOID, ULONG, PVOID, ULONG, PULONG
SetDelete PVOID, PWSTR, BOOLEAN
"""
CREATE_OPTIONS = {
    "DIRECTORY_FILE": 0x1, "WRITE_THROUGH": 0x2, "SEQUENTIAL_ONLY": 0x4, "NO_INTERMEDIATE_BUFFERING": 0x8,
    "SYNCHRONOUS_IO_ALERT": 0x10, "SYNCHRONOUS_IO_NONALERT": 0x20, "NON_DIRECTORY_FILE": 0x40,
    "CREATE_TREE_CONNECTION": 0x80, "COMPLETE_IF_OPLOCKED": 0x100, "NO_EA_KNOWLEDGE": 0x200, "RANDOM_ACCESS": 0x800,
    "DELETE_ON_CLOSE": 0x1000, "OPEN_BY_FILE_ID": 0x2000, "OPEN_FOR_BACKUP_INTENT": 0x4000,
    "OPEN_REQUIRING_OPLOCK": 0x10000, "RESERVE_OPFILTER": 0x100000, "OPEN_REPARSE_POINT": 0x200000,
}  # fmt: skip
CONSTANTS = {
    **{f"WFSPY_FILE_{name}": value for name, value in CREATE_OPTIONS.items()},
    "WFSPY_FILE_ATTRIBUTE_INVALID_FILE_ATTRIBUTES": 0xFFFFFFFF,
    "WFSPY_STRING_SECURITY_DESCRIPTOR_REVISION": 1,
}
FUNCTIONS = """
NTSTATUS FspFileSystemCreate(PWSTR, FSP_FSCTL_VOLUME_PARAMS *, FSP_FILE_SYSTEM_INTERFACE *, FSP_FILE_SYSTEM **);
NTSTATUS FspFileSystemSetMountPoint(FSP_FILE_SYSTEM *, PWSTR);
NTSTATUS FspFileSystemStartDispatcher(FSP_FILE_SYSTEM *, ULONG);
void FspFileSystemStopDispatcher(FSP_FILE_SYSTEM *);
void FspFileSystemDelete(FSP_FILE_SYSTEM *);
void FspFileSystemSetDebugLogF(FSP_FILE_SYSTEM *, UINT32);
void FspFileSystemSetOperationGuardF(FSP_FILE_SYSTEM *, PVOID, PVOID);
FSP_FSCTL_OPEN_FILE_INFO *FspFileSystemGetOpenFileInfo(FSP_FSCTL_FILE_INFO *);
BOOLEAN FspFileSystemAddDirInfo(FSP_FSCTL_DIR_INFO *, PVOID, ULONG, PULONG);
NTSTATUS FspFileSystemNotifyBegin(FSP_FILE_SYSTEM *, ULONG);
NTSTATUS FspFileSystemNotify(FSP_FILE_SYSTEM *, PVOID, SIZE_T);
NTSTATUS FspFileSystemNotifyEnd(FSP_FILE_SYSTEM *);
BOOL ConvertStringSecurityDescriptorToSecurityDescriptorW(PWSTR, DWORD, PSECURITY_DESCRIPTOR *, PULONG);
ULONG GetSecurityDescriptorLength(PSECURITY_DESCRIPTOR);
DWORD GetLastError(void);
PVOID LocalFree(PVOID);
PVOID malloc(SIZE_T);
"""
BODIES = """
WCHAR WFSPY_FSP_FSCTL_DISK_DEVICE_NAME[] = u"WinFsp.Disk", WFSPY_FSP_FSCTL_NET_DEVICE_NAME[] = u"WinFsp.Net";

int Volumes, Mounted; /* there are now; made so far */
/* What the driver was told: how deep between Begin and End, how often, with what, and what Begin is to answer. */
int NotifyDepth, NotifyBegins, NotifyMisuses;
ULONG NotifyTimeout;
NTSTATUS NotifyRefusal;
char NotifyRecords[65536];
SIZE_T NotifySize;

static void copy_text(WCHAR *to, SIZE_T size, WCHAR *from)
{
    SIZE_T at = 0;
    for (; at + 1 < size && from && from[at]; at++) to[at] = from[at];
    to[at] = 0;
}
NTSTATUS FspFileSystemCreate(PWSTR device, FSP_FSCTL_VOLUME_PARAMS *params, FSP_FILE_SYSTEM_INTERFACE *interface,
    FSP_FILE_SYSTEM **made)
{
    *made = calloc(1, sizeof **made);
    Volumes++;
    (*made)->Params = *params;
    (*made)->HasGuard = 1;
    copy_text((*made)->Device, 16, device);
    return 0;
}
NTSTATUS FspFileSystemSetMountPoint(FSP_FILE_SYSTEM *fs, PWSTR place)
{
    if (place[0] == 'C' && place[1] == ':' && !place[2]) return 0xC0000035; /* there is one */
    if (place[0] == 'F' && place[1] == ':' && place[2]) return 0xC00000BB; /* a disk that has no junctions */
    copy_text(fs->MountPoint, 260, place);
    fs->Mounts++;
    Mounted++;
    return 0;
}
NTSTATUS FspFileSystemStartDispatcher(FSP_FILE_SYSTEM *fs, ULONG threads) { fs->Threads = threads; return 0; }
void FspFileSystemStopDispatcher(FSP_FILE_SYSTEM *fs) {}
void FspFileSystemDelete(FSP_FILE_SYSTEM *fs) { Volumes--; free(fs); }
void FspFileSystemSetDebugLogF(FSP_FILE_SYSTEM *fs, UINT32 mask) {}
void FspFileSystemSetOperationGuardF(FSP_FILE_SYSTEM *fs, PVOID enter, PVOID leave) { fs->HasGuard = enter != 0; }
FSP_FSCTL_OPEN_FILE_INFO *FspFileSystemGetOpenFileInfo(FSP_FSCTL_FILE_INFO *info)
{
    return (FSP_FSCTL_OPEN_FILE_INFO *)info;
}
BOOLEAN FspFileSystemAddDirInfo(FSP_FSCTL_DIR_INFO *info, PVOID buffer, ULONG length, PULONG used)
{
    static UINT16 end = 0;
    ULONG size = info ? info->Size : sizeof end, room = info ? (size + 7) & ~7u : size;
    if (*used + room > length) return 0;
    memcpy((char *)buffer + *used, info ? (void *)info : (void *)&end, size);
    *used += room;
    return 1;
}
NTSTATUS FspFileSystemNotifyBegin(FSP_FILE_SYSTEM *fs, ULONG timeout)
{
    NotifyBegins++;
    NotifyTimeout = timeout;
    if (!fs->Threads || NotifyDepth) NotifyMisuses++;
    if (NotifyRefusal) return NotifyRefusal;
    NotifyDepth++;
    return 0;
}
NTSTATUS FspFileSystemNotify(FSP_FILE_SYSTEM *fs, PVOID records, SIZE_T size)
{
    if (NotifyDepth != 1) NotifyMisuses++;
    if (NotifySize + size > sizeof NotifyRecords) return 0xC0000023;
    memcpy(NotifyRecords + NotifySize, records, size);
    NotifySize += size;
    return 0;
}
NTSTATUS FspFileSystemNotifyEnd(FSP_FILE_SYSTEM *fs) { NotifyDepth--; return 0; }
BOOL ConvertStringSecurityDescriptorToSecurityDescriptorW(PWSTR text, DWORD revision, PSECURITY_DESCRIPTOR *made,
    PULONG size)
{
    *made = calloc(1, sizeof **made);
    (*made)->Length = *size = sizeof **made;
    for (int at = 0; text[at] && at < 251; at++) (*made)->Text[at] = (char)text[at];
    return 1;
}
ULONG GetSecurityDescriptorLength(PSECURITY_DESCRIPTOR descriptor) { return descriptor->Length; }
DWORD GetLastError(void) { return 0; }
PVOID LocalFree(PVOID block) { free(block); return 0; }
"""


def _callbacks(text: str) -> list[tuple[str, str, str]]:
    """(what it returns, name, arguments)"""
    lines = [line.partition(" ") for line in text.strip().splitlines()]
    return [("void" if name[0] == "!" else "NTSTATUS", name.lstrip("!"), args) for name, _, args in lines]


def _volume_params() -> list[tuple[str, bool]]:
    """The arguments of configure_FSP_FSCTL_VOLUME_PARAMS in winfspy's order, and whether it is a text."""
    tree = ast.parse((UNPACKED / "winfspy" / "file_system.py").read_text())
    factory = next(
        n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "_volume_params_factory"
    )  # fmt: skip
    defaults = [isinstance(d, ast.Constant) and isinstance(d.value, str) for d in factory.args.defaults]
    return list(zip([argument.arg for argument in factory.args.args], defaults, strict=True))


def _sources() -> tuple[str, str]:
    """(declarations for cffi, C)"""
    first = "FSP_FILE_SYSTEM *"
    fields = "".join(f"    {r} (*{name})({first}, {args});\n" for r, name, args in _callbacks(CALLBACKS))
    params = _volume_params()
    numbers = "".join(f"    UINT64 {name};\n" for name, is_text in params if not is_text)
    structs = (
        f"typedef struct {{\n{numbers}    WCHAR prefix[192], file_system_name[16];\n}} FSP_FSCTL_VOLUME_PARAMS;\n"
        "typedef struct {\n    PVOID UserContext; FSP_FSCTL_VOLUME_PARAMS Params; WCHAR Device[16], MountPoint[260];\n"
        "    UINT32 Threads, Mounts; BOOLEAN HasGuard;\n} FSP_FILE_SYSTEM;\n"
        f"typedef struct {{\n{fields}}} FSP_FILE_SYSTEM_INTERFACE;\n"
    )
    arguments = ", ".join(f"WCHAR *{name}" if is_text else f"UINT64 {name}" for name, is_text in params)
    configure = f"void configure_FSP_FSCTL_VOLUME_PARAMS(FSP_FSCTL_VOLUME_PARAMS *to, {arguments})"
    # The released wheel takes half the size of either text for the whole.
    lines = [
        f"copy_text(to->{name}, sizeof to->{name} / 4, {name});" if is_text else f"to->{name} = {name};"
        for name, is_text in params
    ]
    trampolines = "".join(
        f'extern "Python" {r} _trampolin_fs_{name}({first}, {args});\n'
        for r, name, args in _callbacks(CALLBACKS) + _callbacks(UNCONNECTED)
    )
    constants = "".join(f"static const unsigned {name};\n" for name in CONSTANTS)
    devices = "".join(f"extern WCHAR WFSPY_FSP_FSCTL_{kind}_DEVICE_NAME[];\n" for kind in ("DISK", "NET"))
    counters = (
        "extern int Volumes, Mounted, NotifyDepth, NotifyBegins, NotifyMisuses;\nextern ULONG NotifyTimeout;\n"
        "extern NTSTATUS NotifyRefusal;\nextern char NotifyRecords[65536];\nextern SIZE_T NotifySize;\n"
    )
    declarations = TYPES + structs + constants + devices + counters + FUNCTIONS + configure + ";\n" + trampolines
    includes = "".join(f"#include <{name}.h>\n" for name in ("stdint", "stddef", "stdlib", "string", "uchar"))
    defines = "".join(f"#define {name} {value}u\n" for name, value in CONSTANTS.items())
    return declarations, includes + TYPES + structs + defines + BODIES + f"{configure}\n{{ {' '.join(lines)} }}\n"


def _build() -> Any:
    from cffi import FFI

    declarations, source = _sources()
    builder = FFI()
    builder.cdef(declarations)
    builder.set_source("_winfsp_stub", source, extra_compile_args=["-Wno-unused"])
    with tempfile.TemporaryDirectory(prefix="s3mount-winfsp-") as folder:
        path = builder.compile(tmpdir=folder)
        spec = importlib.util.spec_from_file_location("_winfsp_stub", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        # What winfspy lacks is called in the DLL itself: the same functions, found by name.
        dll = ctypes.CDLL(path)
    # What winfspy lacks is called in the DLL itself: the same functions, found by name.
    winfsp_notification.load_dll = lambda: dll
    return module


@cache
def load() -> Any:
    """The winfspy package. A missing part is a failure, not a skip: scripts/install dev gets all of them."""
    assert (UNPACKED / "winfspy").is_dir(), "winfspy is not unpacked: run scripts/install dev"
    built = _build()
    bindings = types.ModuleType("winfspy.plumbing.bindings")
    vars(bindings).update(ffi=built.ffi, lib=built.lib, enable_debug_log=lambda: None)
    sys.modules["winfspy.plumbing.bindings"] = bindings
    sys.path.append(str(UNPACKED))
    # winfspy imports it and, with the bindings there, does not use it; others take it for a sign of Windows.
    sys.modules["winreg"] = types.ModuleType("winreg")
    try:
        return importlib.import_module("winfspy")
    finally:
        del sys.modules["winreg"]
