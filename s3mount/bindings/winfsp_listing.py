"""The names of one open directory in the order that Windows is given them, and where to go on. Immutable."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from s3mount.bindings.winfsp_names import to_windows
from s3mount.model import Attr, DirEntry

_FIRST = {".": "", "..": "\x01"}


class Listing:
    """By name, "." and ".." first. The names are those of one moment, so that going on after one that is gone by now
    leaves out and repeats nothing."""

    def __init__(self, entries: Sequence[DirEntry], *, dots: Attr | None):
        """`dots`: the attributes to show for "." and ".."; None in the root, which has neither."""
        shown = [(to_windows(entry.name), entry) for entry in entries]
        if dots is not None:
            shown += [(name, DirEntry(name, dots)) for name in _FIRST]
        self._entries = sorted(shown, key=lambda pair: _key(pair[0]))

    def after(self, marker: str | None) -> Iterator[tuple[str, DirEntry]]:
        start = 0 if marker is None else bisect_right(self._entries, _key(marker), key=lambda pair: _key(pair[0]))
        return map(self._entries.__getitem__, range(start, len(self._entries)))


def _key(name: str) -> str:
    return _FIRST.get(name, name)
