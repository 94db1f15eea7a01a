"""All entries of an open directory, which the drive gives out by pages."""

from collections.abc import Sequence
from typing import Protocol

from s3mount.model import DirEntry, Fh


class Readable(Protocol):
    def readdir(self, fh: Fh, start: int) -> Sequence[DirEntry]: ...


def all_entries(filesystem: Readable, fh: Fh) -> list[DirEntry]:
    entries: list[DirEntry] = []
    while page := filesystem.readdir(fh, entries[-1].next_place if entries else 0):
        entries += page
    return entries
