"""What a drive must do on Windows, check by check, in the order in which they are run.

Where NTFS and WinFsp's own file systems differ, or versions of Windows do, both answers pass.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from s3mount.selftest import windows_api as win
from s3mount.selftest.checks import Check, Ground, Mismatch, Outcome, expect
from s3mount.selftest.random_io import exercise
from s3mount.selftest.runner import run_checks
from s3mount.selftest.windows_api import Times, Win32Error, WindowsApi, opened, shown_error, verbatim
from s3mount.selftest.windows_folders import WindowsFile, WindowsFolders

Windows = Ground[WindowsFolders]
READ_WRITE: Final = win.GENERIC_READ | win.GENERIC_WRITE
NAMES_MANY: Final = 300
TIME: Final = 132_223_104_123_456_789  # in 2020, and no whole microsecond
ODD_NAMES: Final = ("with space.txt", "ümlaut", "שלום", "\U0001f600.dat", "a.b.c", "%41+&", "~$x", "#'()")
ILLEGAL: Final = '"*:<>?|\x01\x1f'


def _path(ground: Windows, *names: str) -> str:
    return "\\".join((ground.folder, *names))


def _refused(what: str, codes: int | tuple[int, ...], call: Callable[[], object]) -> None:
    wanted = (codes,) if isinstance(codes, int) else codes
    try:
        call()
    except Win32Error as error:
        if error.code not in wanted:
            raise Mismatch(f"{what} fails with {shown_error(error.code)}, not {_either(wanted)}") from error
    else:
        raise Mismatch(f"{what} succeeds, and must fail with {_either(wanted)}")


def _either(codes: tuple[int, ...]) -> str:
    return " or ".join(map(shown_error, codes))


def _put(
    calls: WindowsApi, path: str, data: bytes, *, disposition: int = win.CREATE_NEW, flags: int = win.NORMAL
) -> None:
    with opened(calls, path, win.GENERIC_WRITE, disposition, flags=flags) as handle:
        calls.write(handle, 0, data)


def _get(calls: WindowsApi, path: str) -> bytes:
    with opened(calls, path) as handle:
        return calls.read(handle, 0, calls.size(handle) + 1)


def _open_and_close(calls: WindowsApi, path: str, *arguments: int, **more: int) -> None:
    with opened(calls, path, *arguments, **more):
        pass


def _names(ground: Windows, pattern: str = "*") -> list[str]:
    return sorted(entry.name for entry in ground.api.calls.find(_path(ground, pattern)))


def _bytes(ground: Windows) -> None:
    calls, path = ground.api.calls, _path(ground, "f")
    data = bytes(range(256)) * 1025
    _put(calls, path, data)
    if _get(calls, path) != data:
        raise Mismatch("the bytes that are read are not those that were written")
    (entry,) = calls.find(path)
    expect("size in the listing", entry.size, len(data))
    with opened(calls, path, READ_WRITE) as handle:
        calls.write(handle, 4093, b"middle")
        expect("bytes over a page's edge", calls.read(handle, 4092, 8), data[4092:4093] + b"middle" + data[4099:4100])
        expect("bytes read behind the end", calls.read(handle, len(data) + 5, 10), b"")


def _dispositions(ground: Windows) -> None:
    calls, path = ground.api.calls, _path(ground, "f")
    missing = _path(ground, "none", "f")
    _refused("opening what is not there", win.ERROR_FILE_NOT_FOUND, lambda: _open_and_close(calls, path))
    _refused("opening in no directory", win.ERROR_PATH_NOT_FOUND, lambda: _open_and_close(calls, missing))
    _refused("making it in no directory", win.ERROR_PATH_NOT_FOUND, lambda: _put(calls, missing, b""))
    _put(calls, path, b"12345")
    _refused("CREATE_NEW on what is there", win.ERROR_FILE_EXISTS, lambda: _put(calls, path, b""))
    with opened(calls, path, win.FILE_APPEND_DATA) as handle:
        calls.write(handle, None, b"67")
    expect("after FILE_APPEND_DATA", _get(calls, path), b"1234567")
    _put(calls, path, b"8", disposition=win.TRUNCATE_EXISTING)
    expect("after TRUNCATE_EXISTING", _get(calls, path), b"8")
    _put(calls, path, b"9", disposition=win.CREATE_ALWAYS)
    expect("after CREATE_ALWAYS", _get(calls, path), b"9")
    _put(calls, path, b"0", disposition=win.CREATE_ALWAYS, flags=win.HIDDEN)
    again = lambda: _put(calls, path, b"", disposition=win.CREATE_ALWAYS)  # noqa: E731
    _refused("CREATE_ALWAYS over a hidden file", win.ERROR_ACCESS_DENIED, again)


def _sizes(ground: Windows) -> None:
    calls, path = ground.api.calls, _path(ground, "f")
    with opened(calls, path, READ_WRITE, win.CREATE_NEW) as handle:
        calls.write(handle, 1 << 20, b"end")
        expect("a hole", calls.read(handle, (1 << 20) - 2, 5), b"\0\0end")
        calls.set_size(handle, 3)
        calls.set_size(handle, 6)
        calls.write(handle, 0, b"1")
        expect("after cutting and lengthening", calls.read(handle, 0, 10), b"1\0\0\0\0\0")
        expect("size", calls.size(handle), 6)
    expect("bytes once it is closed", _get(calls, path), b"1\0\0\0\0\0")


def _case(ground: Windows) -> None:
    calls, path = ground.api.calls, _path(ground, "MixedCase.Txt")
    _put(calls, path, b"1")
    expect("bytes by another case", _get(calls, _path(ground, "mixedcase.tXT")), b"1")
    _refused("making it in another case", win.ERROR_FILE_EXISTS, lambda: _put(calls, path.lower(), b""))
    expect("the name", _names(ground), ["MixedCase.Txt"])
    calls.move(path, _path(ground, "mixedCASE.txt"), 0)
    expect("the name after a rename of its case alone", _names(ground), ["mixedCASE.txt"])


def _rename(ground: Windows) -> None:
    calls = ground.api.calls
    old, new, folder = (_path(ground, name) for name in ("old", "new", "folder"))
    _put(calls, old, b"new bytes")
    _put(calls, new, b"old")
    _refused("a rename over a file", win.ERROR_ALREADY_EXISTS, lambda: calls.move(old, new, 0))
    calls.move(old, new, win.REPLACE_EXISTING)
    expect("names after MOVEFILE_REPLACE_EXISTING", _names(ground), ["new"])
    expect("its bytes", _get(calls, new), b"new bytes")
    calls.make_directory(folder)
    calls.move(new, f"{folder}\\inner", 0)
    with opened(calls, f"{folder}\\inner"):
        moving = lambda: calls.move(folder, _path(ground, "moved"), 0)  # noqa: E731
        _refused("renaming a directory with an open file", win.ERROR_ACCESS_DENIED, moving)
    calls.move(folder, _path(ground, "moved"), 0)
    expect("a file in a directory that was renamed", _get(calls, _path(ground, "moved", "inner")), b"new bytes")
    _refused("the old path", win.ERROR_PATH_NOT_FOUND, lambda: _get(calls, f"{folder}\\inner"))


def _sharing(ground: Windows) -> None:
    calls, path = ground.api.calls, _path(ground, "f")
    _put(calls, path, b"1")
    with opened(calls, path, share=win.SHARE_READ):
        expect("a second reader", _get(calls, path), b"1")
        writing = lambda: _open_and_close(calls, path, win.GENERIC_WRITE)  # noqa: E731
        _refused("writing what is shared for reading", win.ERROR_SHARING_VIOLATION, writing)
        moving = lambda: calls.move(path, f"{path}2", 0)  # noqa: E731
        _refused("renaming what is not shared for it", win.ERROR_SHARING_VIOLATION, moving)
    _open_and_close(calls, path, win.GENERIC_WRITE)


def _deleting(ground: Windows) -> None:
    calls, path, folder = ground.api.calls, _path(ground, "f"), _path(ground, "d")
    _put(calls, path, b"kept")
    with opened(calls, path) as handle:
        calls.delete(path)
        gone = (win.ERROR_ACCESS_DENIED, win.ERROR_FILE_NOT_FOUND)  # it waits for its last handle, or has POSIX's way
        _refused("opening what is deleted", gone, lambda: _get(calls, path))
        expect("what is deleted and open", calls.read(handle, 0, 9), b"kept")
    _refused("opening what was deleted", win.ERROR_FILE_NOT_FOUND, lambda: _get(calls, path))
    access = win.GENERIC_WRITE | win.DELETE
    with opened(calls, path, access, win.CREATE_NEW, flags=win.DELETE_ON_CLOSE) as handle:
        calls.write(handle, 0, b"1")
        expect("names before it is closed", _names(ground), ["f"])
    expect("names after FILE_FLAG_DELETE_ON_CLOSE", _names(ground), [])
    calls.make_directory(folder)
    _put(calls, f"{folder}\\f", b"")
    _refused("removing a full directory", win.ERROR_DIR_NOT_EMPTY, lambda: calls.remove_directory(folder))
    calls.delete(f"{folder}\\f")
    calls.remove_directory(folder)
    expect("names at the end", _names(ground), [])


def _attributes(ground: Windows) -> None:
    calls, path = ground.api.calls, _path(ground, "f")
    _put(calls, path, b"1")
    for bits in (
        win.HIDDEN,
        win.SYSTEM | win.ARCHIVE,
        win.READONLY | win.HIDDEN | win.SYSTEM | win.ARCHIVE,
        win.NORMAL,
    ):
        calls.set_attributes(path, bits)
        expect("attributes", hex(calls.attributes(path)), hex(bits))
        (entry,) = calls.find(path)
        expect("attributes in the listing", hex(entry.attributes or win.NORMAL), hex(bits))
    calls.set_attributes(path, win.READONLY)
    writing = lambda: _open_and_close(calls, path, win.GENERIC_WRITE)  # noqa: E731
    _refused("writing what is read-only", win.ERROR_ACCESS_DENIED, writing)
    _refused("deleting what is read-only", win.ERROR_ACCESS_DENIED, lambda: calls.delete(path))
    expect("reading it", _get(calls, path), b"1")
    expect("a directory's", bool(calls.attributes(ground.folder) & win.DIRECTORY), True)


def _backed_up(ground: Windows) -> list[str]:
    """The files that a backup by the archive bit takes; it clears it."""
    calls = ground.api.calls
    due = [entry for entry in calls.find(_path(ground, "*")) if entry.attributes & win.ARCHIVE]
    for entry in due:
        calls.set_attributes(_path(ground, entry.name), entry.attributes & ~win.ARCHIVE or win.NORMAL)
    return sorted(entry.name for entry in due)


def _archive(ground: Windows) -> None:
    calls = ground.api.calls
    names = ["appended", "cut", "kept", "overwritten", "read", "written"]
    for name in names:
        _put(calls, _path(ground, name), b"12345")
    expect("the first backup takes", _backed_up(ground), names)
    expect("the next one takes", _backed_up(ground), [])
    with opened(calls, _path(ground, "appended"), win.FILE_APPEND_DATA) as handle:
        calls.write(handle, None, b"6")
    with opened(calls, _path(ground, "cut"), win.GENERIC_WRITE) as handle:
        calls.set_size(handle, 2)
    _put(calls, _path(ground, "overwritten"), b"", disposition=win.CREATE_ALWAYS)
    _put(calls, _path(ground, "written"), b"x", disposition=win.OPEN_EXISTING)
    _get(calls, _path(ground, "read"))
    _put(calls, _path(ground, "new"), b"")
    expect("after changes it takes", _backed_up(ground), ["appended", "cut", "new", "overwritten", "written"])


def _times(ground: Windows) -> None:
    calls, path, folder = ground.api.calls, _path(ground, "f"), _path(ground, "d")
    _put(calls, path, b"1")
    calls.make_directory(folder)
    wanted = Times(TIME, TIME + 1, TIME + 2)
    for place in (path, folder):
        with opened(calls, place, win.FILE_WRITE_ATTRIBUTES, flags=win.BACKUP_SEMANTICS) as handle:
            calls.set_times(handle, wanted)
        with opened(calls, place, flags=win.BACKUP_SEMANTICS) as handle:
            expect("times, in 100 ns", calls.times(handle), wanted)
        (entry,) = calls.find(place)
        expect("time of writing in the listing", entry.written, wanted.written)
    _put(calls, path, b"2", disposition=win.OPEN_EXISTING)
    with opened(calls, path) as handle:
        now = calls.times(handle)
    expect("time of creation after a write", now.created, wanted.created)
    if now.written <= wanted.written:
        raise Mismatch("writing does not move the time of writing")


def _odd_names(ground: Windows) -> None:
    calls = ground.api.calls
    for name in ODD_NAMES:
        _put(calls, _path(ground, name), name.encode())
    expect("odd names", _names(ground), sorted(ODD_NAMES))
    for name in ODD_NAMES:
        expect(f"bytes of {name!r}", _get(calls, _path(ground, name)), name.encode())
    for char in ILLEGAL:
        path = _path(ground, f"a{char}b")
        _refused(f"making a name with {char!r}", win.ERROR_INVALID_NAME, partial(_put, calls, path, b""))
    expect("names after those that are none", _names(ground), sorted(ODD_NAMES))


def _long_paths(ground: Windows) -> None:
    calls, folder = ground.api.calls, verbatim(ground.folder)
    for number in range(4):
        folder += f"\\{number}" + "d" * 99
        calls.make_directory(folder)
    path = f"{folder}\\" + "f" * 255
    _put(calls, path, b"far down")
    expect(f"bytes at a path of {len(path)} characters", _get(calls, path), b"far down")
    expect("its name", [entry.name for entry in calls.find(f"{folder}\\*")], ["f" * 255])
    too_long = f"{folder}\\" + "f" * 256
    codes = (win.ERROR_INVALID_NAME, win.ERROR_PATH_NOT_FOUND, win.ERROR_FILENAME_EXCED_RANGE)
    _refused("a name of 256 characters", codes, lambda: _put(calls, too_long, b""))


def _listing(ground: Windows) -> None:
    names = sorted(f"f{number}.{('txt', 'dat')[number % 2]}" for number in range(NAMES_MANY))
    for name in names:
        _put(ground.api.calls, _path(ground, name), b"")
    expect("names listed", _names(ground), names)
    expect("those of a pattern", _names(ground, "*.TXT"), [name for name in names if name.endswith(".txt")])
    expect("those of a name alone", _names(ground, "F7.DAT"), ["f7.dat"])
    expect("those of nothing", _names(ground, "none*"), [])


def _flushing(ground: Windows) -> None:
    calls, path = ground.api.calls, _path(ground, "f")
    with opened(calls, path, READ_WRITE, win.CREATE_NEW) as handle:
        calls.write(handle, 0, b"flushed")
        calls.flush(handle)
        expect("bytes after FlushFileBuffers", calls.read(handle, 0, 9), b"flushed")


def _space(ground: Windows) -> None:
    free, total = ground.api.calls.space(ground.folder)
    if not 0 < free <= total:
        raise Mismatch(f"{free} bytes free of {total}")


def _random(ground: Windows) -> None:
    exercise(WindowsFile(ground.api.calls, _path(ground, "f")), seed=ground.seed, steps=ground.steps)


CHECKS: Final = (
    Check("bytes are read as they were written", _bytes),
    Check("CreateFile makes, opens, cuts and refuses", _dispositions),
    Check("sizes, holes, truncating", _sizes),
    Check("names whatever their case", _case),
    Check("renaming, also over a file and of a directory", _rename),
    Check("sharing", _sharing),
    Check("deleting, also of what is open and on close", _deleting),
    Check("attributes", _attributes),
    Check("the archive bit, as backups use it", _archive),
    Check("times to 100 ns", _times),
    Check("odd names, and names that are none", _odd_names),
    Check("long paths", _long_paths),
    Check("a directory lists each name once", _listing),
    Check("FlushFileBuffers", _flushing),
    Check("free space", _space),
    Check("random reads, writes, truncates and mappings", _random),
)


def run(drive: str, *, seed: int, steps: int, report: Callable[[Outcome], None]) -> list[Outcome]:
    """As run_checks."""
    from s3mount.selftest.windows_calls import Kernel32

    return run_checks(drive, WindowsFolders(Kernel32()), CHECKS, seed=seed, steps=steps, report=report)
