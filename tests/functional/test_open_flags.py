"""Every combination of open flags on every kind of target: the host's own file system says what must come out."""

import itertools
import os

import pytest

from tests.support.os_like import OsLike, code_of, content, put

FLAGS = {"CREAT": os.O_CREAT, "EXCL": os.O_EXCL, "TRUNC": os.O_TRUNC, "APPEND": os.O_APPEND}
if hasattr(os, "O_DIRECTORY"):
    FLAGS |= {"DIRECTORY": os.O_DIRECTORY, "NOFOLLOW": os.O_NOFOLLOW}
TARGETS = ("missing", "file", "dir", "link", "dangling", "in_file", "in_missing")
PATHS = {"in_file": "file/x", "in_missing": "none/x"}


def combinations() -> list[int]:
    sets = (part for count in range(len(FLAGS) + 1) for part in itertools.combinations(FLAGS.values(), count))
    extras = [sum(part) for part in sets]
    # Linux changed its mind about these two together; and O_EXCL without O_CREAT is undefined.
    both = os.O_CREAT | FLAGS["DIRECTORY"]
    extras = [e for e in extras if e & both != both and not (e & os.O_EXCL and not e & os.O_CREAT)]
    return [access | extra for access in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR) for extra in extras]


def outcome(fs: OsLike, where: str, target: str, flags: int) -> tuple[object, ...]:
    """All that shows: errno of open, read and write, and what is in the directory and the file afterwards."""
    fs.mkdir(where)
    put(fs, f"{where}/file", b"0123456789")
    fs.mkdir(f"{where}/dir")
    fs.symlink("file", f"{where}/link")
    fs.symlink("gone", f"{where}/dangling")
    path = f"{where}/{PATHS.get(target, target)}"
    seen: list[object] = []
    try:
        fh = fs.open(path, flags, 0o600)
    except OSError as error:
        seen.append(error.errno)
    else:
        seen += [code_of(fs.read, fh, 3), code_of(fs.write, fh, b"ab")]
        fs.close(fh)
    names = sorted(fs.listdir(where))
    files = {name: content(fs, f"{where}/{name}") for name in names if name in ("file", "missing", "gone")}
    return (*seen, names, files)


@pytest.mark.parametrize("target", TARGETS)
def test_open_does_what_the_host_does(fs: OsLike, oracle: OsLike, target: str) -> None:
    for number, flags in enumerate(combinations()):
        where = f"c{number}"
        assert outcome(fs, where, target, flags) == outcome(oracle, where, target, flags), f"flags {flags:o} {target}"
