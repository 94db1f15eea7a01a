"""What SQLite writes to its files, seen and failed from below: hooks in its own layer over the operating system.

Used by tests of power loss and of full disks. The default VFS of the SQLite library that Python's sqlite3 is linked
with gets its xOpen and xDelete replaced, and each file opened since a table of methods whose write, truncate and sync
go through the observer (https://sqlite.org/vfs.html). Installed once for the process; with no observer all of it
passes through. Any thread; the observer is called on the thread that runs the statement.
"""

import contextlib
import ctypes
import ctypes.util
import threading
from collections.abc import Callable, Iterator
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from enum import Enum

OK = 0
FULL = 13
IOERR_WRITE = 10 | 3 << 8
IOERR_FSYNC = 10 | 4 << 8
IOERR_TRUNCATE = 10 | 6 << 8
OPEN_CREATE = 4

WRITE_TYPE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
TRUNCATE_TYPE = CFUNCTYPE(c_int, c_void_p, c_int64)
SYNC_TYPE = CFUNCTYPE(c_int, c_void_p, c_int)
# The name as an address: SQLite keeps it, and what lies behind it.
OPEN_TYPE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
DELETE_TYPE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
SET_CALL_TYPE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
GET_CALL_TYPE = CFUNCTYPE(c_void_p, c_void_p, c_char_p)
OPEN_FOLDER_TYPE = CFUNCTYPE(c_int, c_char_p, POINTER(c_int))


class Methods(Structure):
    """sqlite3_io_methods, version 3."""

    _fields_ = (
        ("iVersion", c_int), ("xClose", c_void_p), ("xRead", c_void_p), ("xWrite", c_void_p), ("xTruncate", c_void_p),
        ("xSync", c_void_p), ("rest", c_void_p * 13),
    )  # fmt: skip


class Vfs(Structure):
    """sqlite3_vfs, version 3."""

    _fields_ = (
        ("iVersion", c_int), ("szOsFile", c_int), ("mxPathname", c_int), ("pNext", c_void_p), ("zName", c_char_p),
        ("pAppData", c_void_p), ("xOpen", c_void_p), ("xDelete", c_void_p), ("between", c_void_p * 11),
        ("xSetSystemCall", c_void_p), ("xGetSystemCall", c_void_p), ("xNextSystemCall", c_void_p),
    )  # fmt: skip


class Act(Enum):
    """What SQLite is about to do. FOLDER_SYNC: the names in the folder of that file become durable."""

    CREATE = "create"
    WRITE = "write"
    TRUNCATE = "truncate"
    SYNC = "sync"
    DELETE = "delete"
    FOLDER_SYNC = "folder sync"


# (act, path, offset or length, data, the act itself) -> SQLite's result code
Observer = Callable[[Act, str, int, bytes, Callable[[], int]], int]


class Hooks:
    """Lives as long as the process: SQLite keeps pointers into it."""

    def __init__(self) -> None:
        self.observer: Observer | None = None
        self._paths: dict[int, str] = {}
        self._tables: dict[int, Methods] = {}
        self._keep: list[object] = []
        name = ctypes.util.find_library("sqlite3") or "libsqlite3.so.0"
        library = ctypes.CDLL(name)
        library.sqlite3_vfs_find.restype = POINTER(Vfs)
        vfs = library.sqlite3_vfs_find(None).contents
        self._open = OPEN_TYPE(vfs.xOpen)
        self._delete = DELETE_TYPE(vfs.xDelete)
        self._keep.append(opening := OPEN_TYPE(self._on_open))
        self._keep.append(deleting := DELETE_TYPE(self._on_delete))
        vfs.xOpen = ctypes.cast(opening, c_void_p)
        vfs.xDelete = ctypes.cast(deleting, c_void_p)
        address = ctypes.addressof(vfs)
        # The unix VFS syncs a folder through the descriptor that this system call of its table gives.
        self._open_folder = OPEN_FOLDER_TYPE(GET_CALL_TYPE(vfs.xGetSystemCall)(address, b"openDirectory"))
        self._keep.append(folder := OPEN_FOLDER_TYPE(self._on_open_folder))
        SET_CALL_TYPE(vfs.xSetSystemCall)(address, b"openDirectory", ctypes.cast(folder, c_void_p))

    def _observed(self, act: Act, path: str | None, number: int, data: bytes, do: Callable[[], int]) -> int:
        observer = self.observer
        return do() if observer is None or path is None else observer(act, path, number, data, do)

    def _on_open(self, vfs: int, name: int | None, file: int, flags: int, out: "ctypes._Pointer[c_int]") -> int:
        path = None if name is None else ctypes.string_at(name).decode()
        act = Act.CREATE
        do = lambda: int(self._open(vfs, name, file, flags, out))  # noqa: E731
        result = self._observed(act, path, 0, b"", do) if flags & OPEN_CREATE else do()
        pointer = ctypes.cast(file, POINTER(c_void_p))
        original = pointer.contents.value
        if result == OK and path is not None and original:
            self._paths[file] = path
            if original not in self._tables and original not in map(ctypes.addressof, self._tables.values()):
                self._tables[original] = self._watched(Methods.from_address(original))
            table = self._tables.get(original)
            if table is not None:
                pointer.contents.value = ctypes.addressof(table)
        return result

    def _watched(self, original: Methods) -> Methods:
        write, truncate = WRITE_TYPE(original.xWrite), TRUNCATE_TYPE(original.xTruncate)
        sync = SYNC_TYPE(original.xSync)

        def on_write(file: int, data: int, size: int, offset: int) -> int:
            content = ctypes.string_at(data, size)
            return self._observed(
                Act.WRITE, self._paths.get(file), offset, content, lambda: int(write(file, data, size, offset))
            )

        def on_truncate(file: int, size: int) -> int:
            return self._observed(Act.TRUNCATE, self._paths.get(file), size, b"", lambda: int(truncate(file, size)))

        def on_sync(file: int, flags: int) -> int:
            return self._observed(Act.SYNC, self._paths.get(file), 0, b"", lambda: int(sync(file, flags)))

        table = Methods()
        ctypes.memmove(ctypes.byref(table), ctypes.byref(original), ctypes.sizeof(Methods))
        for field, function in (
            ("xWrite", WRITE_TYPE(on_write)),
            ("xTruncate", TRUNCATE_TYPE(on_truncate)),
            ("xSync", SYNC_TYPE(on_sync)),
        ):
            self._keep.append(function)
            setattr(table, field, ctypes.cast(function, c_void_p))
        return table

    def _on_delete(self, vfs: int, name: bytes, sync_folder: int) -> int:
        do = lambda: int(self._delete(vfs, name, sync_folder))  # noqa: E731
        return self._observed(Act.DELETE, name.decode(), 0, b"", do)

    def _on_open_folder(self, name: bytes, out: "ctypes._Pointer[c_int]") -> int:
        do = lambda: int(self._open_folder(name, out))  # noqa: E731
        return self._observed(Act.FOLDER_SYNC, name.decode(), 0, b"", do)


_hooks: Hooks | None = None
_turn = threading.Lock()


@contextlib.contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """`observer` is asked for every act on files opened inside; it must call what it is given, or return a code."""
    global _hooks
    with _turn:
        _hooks = _hooks or Hooks()
        assert _hooks.observer is None, "one observer at a time"
        _hooks.observer = observer
    try:
        yield
    finally:
        _hooks.observer = None
