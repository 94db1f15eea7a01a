"""Backups by the archive bit with Windows' own programs: `archive_bit.py make FOLDER`, and after a remount `check`.

For .github/workflows/windows.yml: FOLDER is a new one on the drive. What is copied, and which bits are set after, is
what xcopy and robocopy do on NTFS. Runs on Windows only.
"""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

FILES = {"a.txt": b"1", "b.txt": b"22", "sub/c d.txt": b"333"}
CHANGED = b"changed"
XCOPY_NOTHING = 1
ROBOCOPY_FAILED = 8  # below it the exit code says what was done


def xcopy(source: Path, target: Path) -> set[str]:
    """The files that it copied; it clears the archive bit of each."""
    words = ["xcopy", str(source), str(target), "/M", "/E", "/I", "/Y", "/Q"]
    done = subprocess.run(words, check=False, timeout=300)
    assert done.returncode in (0, XCOPY_NOTHING), f"xcopy ended with {done.returncode}"
    return names_in(target)


def robocopy(source: Path, target: Path, *options: str) -> set[str]:
    words = ["robocopy", str(source), str(target), "/E", "/R:0", "/W:0", "/NP", *options]
    done = subprocess.run(words, check=False, timeout=300)
    assert done.returncode < ROBOCOPY_FAILED, f"robocopy ended with {done.returncode}"
    return names_in(target)


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def due(folder: Path) -> set[str]:
    """Those with the archive bit."""
    bit = stat.FILE_ATTRIBUTE_ARCHIVE
    return {name for name in names_in(folder) if os.stat(folder / name).st_file_attributes & bit}  # type: ignore[attr-defined,unused-ignore]


def expect(what: str, found: object, wanted: object) -> None:
    print(f"{'ok' if found == wanted else 'WRONG'}: {what}: {found}", flush=True)
    if found != wanted:
        sys.exit(f"{what}: {found}, not {wanted}")


def make(folder: Path) -> None:
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with tempfile.TemporaryDirectory() as local:
        targets = (Path(local) / str(number) for number in range(10))
        expect("due at first", due(folder), set(FILES))
        expect("copied by xcopy /M", xcopy(folder, next(targets)), set(FILES))
        expect("due after it", due(folder), set())
        expect("copied again", xcopy(folder, next(targets)), set())
        (folder / "b.txt").write_bytes(CHANGED)
        expect("due after a change", due(folder), {"b.txt"})
        expect("copied by robocopy /M", robocopy(folder, next(targets), "/M"), {"b.txt"})
        expect("copied again", robocopy(folder, next(targets), "/M"), set())
        mirror_back(folder, Path(local))
    (folder / "a.txt").write_bytes(CHANGED)
    expect("due at the end", due(folder), {"a.txt"})


def mirror_back(folder: Path, local: Path) -> None:
    """Onto the drive and again: nothing is left to do when times and sizes are what they were."""
    source, target = local / "source", folder.with_name(f"{folder.name} mirror")
    for name, content in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    expect("mirrored onto the drive", robocopy(source, target, "/MIR"), set(FILES))
    done = subprocess.run(["robocopy", str(source), str(target), "/MIR", "/L", "/NP"], check=False, timeout=300)
    expect("exit code of the same again (0: nothing to do)", done.returncode, 0)


def check(folder: Path) -> None:
    expect("names after a remount", names_in(folder), set(FILES))
    expect("due after a remount", due(folder), {"a.txt"})
    wanted = {**FILES, "a.txt": CHANGED, "b.txt": CHANGED}
    expect("bytes after a remount", {name: (folder / name).read_bytes() for name in FILES}, wanted)
    mirror = folder.with_name(f"{folder.name} mirror")
    expect("bytes of the mirror", {name: (mirror / name).read_bytes() for name in FILES}, FILES)


if __name__ == "__main__":
    step, place = sys.argv[1:]
    {"make": make, "check": check}[step](Path(place))
