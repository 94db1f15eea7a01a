"""Reading directories: a snapshot of who is in one, and pages of entries as they are when their turn comes.

A handle costs eight bytes a name and one page, whatever the directory's size. Called by filesystem.py; the kernel lets
one thread at a time read through an open directory.
"""

import stat
from array import array

from s3mount.index.index import Index
from s3mount.model import Attr, DirEntry, Fh, Ino, Inode
from s3mount.vfs.attributes_ahead import AttributesAhead
from s3mount.vfs.context import VfsContext
from s3mount.vfs.handles import DirHandle

PAGE_ENTRIES = 512
# Whoever wants no more than the names of a large directory does not pay for a HEAD each.
PREFETCHED_MAX = 20_000


class Directories:
    def __init__(self, context: VfsContext):
        self._context = context
        self._index: Index = context.index
        self._ahead = AttributesAhead(context.index, context.attributes, context.prefetch, context.clock)

    def open(self, ino: Ino) -> Fh:
        """Raises NotADirectory, NotFound, StoreError."""
        return self._context.handles.open_dir(ino, self._inos(ino))

    def _inos(self, ino: Ino) -> "array[int]":
        self._context.directory(ino)
        return self._index.dentries.inos(ino)

    def read(self, fh: Fh, start: int) -> list[DirEntry]:
        """Some entries from the place `start` on; none at the end."""
        handle = self._context.handles.directory(fh)
        if start == 0:
            if handle.is_begun:
                # As if opened anew; one that was removed since is empty.
                is_there = self._index.inodes.find(handle.ino) is not None
                handle.inos = self._inos(handle.ino) if is_there else array("q")
                handle.page = []
            handle.is_begun = True
        left = [entry for entry in handle.page if entry.next_place > start]
        if not left or left[0].next_place != start + 1:
            left = handle.page = self._page(handle, start)
        return left

    def _page(self, handle: DirHandle, start: int) -> list[DirEntry]:
        """Names that are gone by now are left out."""
        entries: list[DirEntry] = []
        for place in range(start, len(handle.inos), PAGE_ENTRIES):
            inos = [Ino(ino) for ino in handle.inos[place : place + PAGE_ENTRIES]]
            entries = self._entries(handle, inos, place)
            if entries:
                break
        return entries

    def _entries(self, handle: DirHandle, inos: list[Ino], place: int) -> list[DirEntry]:
        context = self._context
        entries: list[DirEntry] = []
        unknown: list[Ino] = []
        files: list[tuple[Ino, int]] = []
        with self._index.locked():
            names = self._index.dentries.names_in(handle.ino, inos)
            # The rows of a directory larger than the cache would push out everything else.
            found = self._index.inodes.find_all(names, may_keep=len(handle.inos) <= PAGE_ENTRIES)
            for next_place, ino in enumerate(inos, place + 1):
                inode = found.get(ino)
                if inode is None:
                    continue
                if inode.link_of is not None:
                    inode = context.live(ino)
                if inode.is_file and inode.remote is not None and not inode.content_owed:
                    files.append((inode.ino, inode.size))
                if inode.metadata_known:
                    entries.append(DirEntry(names[ino], context.attr(inode), next_place=next_place))
                else:
                    unknown.append(ino)
                    entries.append(DirEntry(names[ino], _listed_attr(inode), is_complete=False, next_place=next_place))
        if place < PREFETCHED_MAX:
            fetched = context.prefetch.listed(handle.ino, files, is_start=place == 0)
            context.attributes.prefetch([ino for ino in unknown if ino not in fetched])
        if place == 0:
            self._ahead.listed(handle.ino, has_directories=any(inode.is_dir for inode in found.values()))
        return entries


def _listed_attr(inode: Inode) -> Attr:
    """What is known of an inode that was only listed: a directory is one, the rest may be files or symlinks."""
    mode = stat.S_IFDIR if inode.is_dir else 0
    return Attr(inode.ino, mode, 0, 0, 0, 0, 0, 0, 0)
