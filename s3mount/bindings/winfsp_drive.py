"""What Windows expects of a file system, over a FileSystem: opens, attributes, deletes and renames by its rules.

Called by winfsp.py, from any thread, with paths and numbers as Windows has them; raises FsError. It knows nothing of
WinFsp itself. READONLY, sharing and a delete that waits for the last handle are the kernel driver's and winfsp.dll's.

A symbolic link or a special file of Linux is shown as a file whose content is where it points to, and cannot be
changed: to a drive of Windows it has no other form, and it can be renamed and deleted.
"""

import contextlib
import logging
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import replace

from s3mount.bindings.served import ServedFileSystem, Tell, TellNew
from s3mount.bindings.winfsp_attributes import (
    KEPT,
    XATTR,
    FileAttribute,
    WindowsAttributes,
    decode,
    encode,
    file_info,
    filetime,
    time_ns,
)
from s3mount.bindings.winfsp_listing import Listing
from s3mount.bindings.winfsp_opened import Cleanup, Kind, Opened, kind_of, own_bits, require_file
from s3mount.bindings.winfsp_tree import Found, WindowsTree
from s3mount.errors import AccessDenied, Exists, FsError, NotADirectory, NotEmpty, NotFound, ReadOnly
from s3mount.model import ROOT_INO, AttrChange, Caller, Ino

log = logging.getLogger(__name__)

# FILE_READ_DATA and FILE_EXECUTE; FILE_WRITE_DATA and FILE_APPEND_DATA: winnt.h.
READS = 0x1 | 0x20
WRITES = 0x2 | 0x4
NEW_FILE_MODE = 0o666
NEW_DIR_MODE = 0o777
UMASK = 0o022
RENAME_NOREPLACE = 1  # as renameat2(2) has it
ATTRIBUTE_LOCKS = 64

Info = dict[str, int]


class WindowsDrive:
    def __init__(self, filesystem: ServedFileSystem, *, read_only: bool):
        self._filesystem = filesystem
        self._read_only = read_only
        self._tree = WindowsTree(filesystem)
        self._attribute_locks = tuple(threading.Lock() for _ in range(ATTRIBUTE_LOCKS))
        root = filesystem.getattr(ROOT_INO)
        self._caller = Caller(root.uid, root.gid, UMASK)

    def watch(self, tell: Tell, tell_new: TellNew) -> None:
        """They hear of what others change, as the file system tells it."""

        def changed(ino: Ino, name: str | None) -> None:
            self._tree.folded.forget(ino)
            tell(ino, name)

        def new(parent: Ino, name: str) -> None:
            self._tree.folded.added(parent, name)
            tell_new(parent, name)

        self._filesystem.watch(changed, new)

    # -- attributes ----------------------------------------------------------------------------------------------

    def attributes_at(self, path: str) -> FileAttribute:
        """Those that decide what may be opened. Raises ParentNotFound, NotFound."""
        attr = self._tree.find(path).attr
        if kind_of(attr) is not Kind.DIRECTORY:
            return self._attributes(attr.ino).shown(is_dir=False)
        # winfsp.dll would let nobody make anything in a read-only directory; Windows itself does (Explorer marks those
        # of which it knows a view).
        return self._attributes(attr.ino).shown(is_dir=True) & ~FileAttribute.READONLY

    def _attributes(self, ino: Ino) -> WindowsAttributes:
        return decode(self._filesystem.getxattr(ino, XATTR))

    def _change_attributes(self, ino: Ino, change: Callable[[WindowsAttributes], WindowsAttributes]) -> None:
        # The first answer may take a request to the bucket, and is asked for before the lock.
        if change(before := self._attributes(ino)) == before:
            return
        with self._attribute_locks[ino % ATTRIBUTE_LOCKS]:
            before = self._attributes(ino)
            after = change(before)
            if after != before:
                self._filesystem.setxattr(ino, XATTR, encode(after), 0)

    def info(self, opened: Opened) -> Info:
        """Of an open, whatever happened to the file since."""
        try:
            if not opened.is_fresh:
                opened.attr = self._filesystem.getattr(opened.ino)
                opened.attributes = self._attributes(opened.ino)
        except FsError as error:
            log.debug("ino %d is shown as it was last: %s", opened.ino, error)
        opened.is_fresh = False
        return file_info(opened.attr, opened.attributes, is_dir=opened.kind is Kind.DIRECTORY)

    def set_basic_info(
        self, opened: Opened, *, bits: int | None, created: int | None, accessed: int | None, written: int | None
    ) -> None:
        """Times are FILETIMEs; None leaves as it is."""

        def change(now: WindowsAttributes) -> WindowsAttributes:
            if bits is not None and (wanted := FileAttribute(bits & KEPT)) != own_bits(now, opened.kind):
                now = replace(now, bits=wanted)
            return now if created is None else replace(now, created=created)

        self._require_writable()
        self._change_attributes(opened.ino, change)
        opened.did_set_attributes |= bits is not None
        if accessed is None and written is None:
            return
        mtime_ns = None if written is None else time_ns(written)
        atime_ns = None if accessed is None else time_ns(accessed)
        self._filesystem.setattr(opened.ino, AttrChange(atime_ns=atime_ns, mtime_ns=mtime_ns))
        opened.set_mtime_ns = opened.set_mtime_ns if mtime_ns is None else mtime_ns

    def set_size(self, opened: Opened, size: int, *, is_allocation: bool) -> None:
        """Room set aside makes a file smaller when it is less than its size, and never larger."""
        require_file(opened)
        self._require_writable()
        if is_allocation and size >= self._filesystem.getattr(opened.ino).size:
            return
        fh = opened.fh if opened.can_write else None
        self._begin_change(opened)
        self._filesystem.setattr(opened.ino, AttrChange(size=size), fh)

    def capacity(self) -> tuple[int, int]:
        """(whole, free) bytes."""
        volume = self._filesystem.statfs()
        return volume.blocks * volume.block_size, volume.blocks_free * volume.block_size

    # -- opening and closing -------------------------------------------------------------------------------------

    def create(self, path: str, *, is_dir: bool, bits: int) -> Opened:
        """Raises Exists also for a name that differs by its case, ParentNotFound, InvalidName."""
        self._require_writable()
        directory, name = self._tree.place(path)
        shown = path.rpartition("\\")[2]
        try:
            self._tree.child(directory, shown)
        except NotFound:
            pass
        else:
            raise Exists(path)
        parent, fh = directory.attr.ino, None
        if is_dir:
            attr = self._filesystem.mkdir(parent, name, NEW_DIR_MODE, self._caller)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
            attr, fh = self._filesystem.create(parent, name, NEW_FILE_MODE, flags, self._caller)
        self._tree.folded.added(parent, name)
        # What a new file is by itself need not be written down, the time of its making must.
        kind = kind_of(attr)
        wanted = FileAttribute(bits & KEPT) | (FileAttribute(0) if is_dir else FileAttribute.ARCHIVE)
        new = WindowsAttributes(created=filetime(attr.mtime_ns))
        new = new if wanted == own_bits(new, kind) else replace(new, bits=wanted)
        opened = Opened(
            attr.ino, kind, f"{directory.path.rstrip(chr(92))}\\{shown}", attr, new, fh, can_write=not is_dir
        )
        try:
            self._filesystem.setxattr(attr.ino, XATTR, encode(new), 0)
        except FsError:
            self.close(opened)
            (self._filesystem.rmdir if is_dir else self._filesystem.unlink)(parent, name)
            raise
        return opened

    def open(self, path: str, granted_access: int, *, deletes_on_close: bool) -> Opened:
        if deletes_on_close:
            self._require_writable()  # the driver does not, and a close cannot fail
        found = self._tree.find(path)
        ino, kind = found.attr.ino, kind_of(found.attr)
        opened = Opened(ino, kind, found.path, found.attr, self._attributes(ino))
        if kind is Kind.TEXT:
            if granted_access & WRITES:
                raise AccessDenied("a link or special file of Linux")
            opened.text = os.fsencode(self._filesystem.readlink(ino)) if stat.S_ISLNK(found.attr.mode) else b""
        elif kind is Kind.FILE and granted_access & (READS | WRITES):
            opened.can_write = bool(granted_access & WRITES) and not self._read_only
            flags = os.O_RDWR if opened.can_write else os.O_RDONLY
            opened.fh = self._filesystem.open(ino, flags, self._caller)
        return opened

    def overwrite(self, opened: Opened, bits: int, *, replaces: bool) -> None:
        """Cut to nothing, with new attributes instead of or beside the old ones. It is due for backup."""
        require_file(opened)
        self._require_writable()
        # winfsp.dll lets one through who replaces the file and does not ask to write into it.
        if own_bits(self._attributes(opened.ino), opened.kind) & FileAttribute.READONLY:
            raise AccessDenied(opened.path)

        def change(now: WindowsAttributes) -> WindowsAttributes:
            old = FileAttribute(0) if replaces else own_bits(now, opened.kind)
            wanted = old | FileAttribute(bits & KEPT) | FileAttribute.ARCHIVE
            return now if wanted == own_bits(now, opened.kind) else replace(now, bits=wanted)

        self._change_attributes(opened.ino, change)
        self._filesystem.setattr(opened.ino, AttrChange(size=0))
        opened.is_written = True

    def cleanup(self, opened: Opened, path: str | None, flags: Cleanup) -> None:
        """The program has closed the file: what it wrote survives kill -9. Nobody hears of an error but the log."""
        try:
            if flags & Cleanup.DELETE and path is not None:
                self._delete(opened, path)
                return
            for fh in (opened.fh if opened.can_write else None, opened.appending):
                if fh is not None:
                    self._filesystem.flush(fh)
            if flags & Cleanup.SET_ARCHIVE:
                self._set_archive(opened)
            if opened.set_mtime_ns is not None and opened.is_written:
                self._filesystem.setattr(opened.ino, AttrChange(mtime_ns=opened.set_mtime_ns))
        except FsError as error:
            log.error("closing %r: %s: %s", opened.path, type(error).__name__, error)

    def _begin_change(self, opened: Opened) -> None:
        """Before the first byte changes, the file is due for backup: the driver asks for that when it is closed, and a
        crash until then would leave changed bytes that the next backup passes over."""
        if not opened.is_written and not opened.did_set_attributes:
            self._set_archive(opened)
        opened.is_written = True

    def _set_archive(self, opened: Opened) -> None:
        if opened.kind is Kind.DIRECTORY:
            return

        def change(now: WindowsAttributes) -> WindowsAttributes:
            bits = own_bits(now, opened.kind)
            return now if bits & FileAttribute.ARCHIVE else replace(now, bits=bits | FileAttribute.ARCHIVE)

        self._change_attributes(opened.ino, change)

    def _delete(self, opened: Opened, path: str) -> None:
        found = self._tree.find(path, wanted=opened.ino)
        if opened.kind is Kind.DIRECTORY:
            self._filesystem.rmdir(found.parent, found.name)
        else:
            self._filesystem.unlink(found.parent, found.name)
        self._tree.folded.removed(found.parent, found.name)

    def close(self, opened: Opened) -> None:
        handles = [fh for fh in (opened.fh, opened.appending) if fh is not None]
        opened.fh = opened.appending = None
        with contextlib.ExitStack() as ends:
            for fh in handles:
                ends.callback(self._filesystem.release, fh)

    # -- bytes ---------------------------------------------------------------------------------------------------

    def read(self, opened: Opened, offset: int, size: int) -> bytes:
        """b"" at the end of the file."""
        if opened.kind is Kind.TEXT:
            return opened.text[offset : offset + size]
        require_file(opened)
        with opened.lock:
            if opened.fh is None:
                opened.fh = self._filesystem.open(opened.ino, os.O_RDONLY, self._caller)
        return self._filesystem.read(opened.fh, offset, size)

    def write(self, opened: Opened, data: memoryview, offset: int | None, *, is_constrained: bool) -> int:
        """At the end of the file for an `offset` of None. `is_constrained`: the file must not become larger."""
        require_file(opened)
        self._require_writable()
        if opened.fh is None or not opened.can_write:
            raise AccessDenied("not open for writing")
        if is_constrained:
            size = self._filesystem.getattr(opened.ino).size
            if offset is None or offset >= size:
                return 0
            data = data[: size - offset]
        self._begin_change(opened)
        if offset is not None:
            return self._filesystem.write(opened.fh, offset, data)
        with opened.lock:
            if opened.appending is None:
                flags = os.O_WRONLY | os.O_APPEND
                opened.appending = self._filesystem.open(opened.ino, flags, self._caller)
        return self._filesystem.write(opened.appending, 0, data)

    def flush(self, opened: Opened) -> None:
        """FlushFileBuffers: on disk. Raises IOFailure for what the bucket refused earlier: the one chance to say so."""
        if opened.fh is not None and opened.can_write:
            self._filesystem.fsync(opened.fh, False)

    # -- names ---------------------------------------------------------------------------------------------------

    def require_deletable(self, opened: Opened) -> None:
        self._require_writable()
        if opened.ino == ROOT_INO:
            raise AccessDenied("the root of the drive")
        if opened.kind is Kind.DIRECTORY and self._tree.names_of(opened.ino):
            raise NotEmpty(opened.path)

    def rename(self, opened: Opened, old: str, new: str, *, replaces: bool) -> None:
        """Also to the same name in another case. Only a file replaces another, and keeps the name it is given."""
        self._require_writable()
        source = self._tree.find(old, wanted=opened.ino)
        directory, name = self._tree.place(new)
        here = (directory.attr.ino, name)
        if source.attr.ino == ROOT_INO or (source.parent, source.name) == here:
            return
        target = self._in_the_way(source, directory, new.rpartition("\\")[2])
        if target is None:
            self._rename(source.parent, source.name, *here, RENAME_NOREPLACE)
            return
        if not replaces:
            raise Exists(new)
        if Kind.DIRECTORY in (opened.kind, kind_of(target.attr)):
            raise AccessDenied("a directory is neither replaced nor replaces")
        self._rename(source.parent, source.name, target.parent, target.name, 0)
        if target.name != name:
            self._rename(target.parent, target.name, *here, RENAME_NOREPLACE)

    def _in_the_way(self, source: Found, directory: Found, shown: str) -> Found | None:
        try:
            found = self._tree.child(directory, shown)
        except NotFound:
            return None
        return None if (found.parent, found.name) == (source.parent, source.name) else found

    def _rename(self, parent: Ino, name: str, new_parent: Ino, new_name: str, flags: int) -> None:
        self._filesystem.rename(parent, name, new_parent, new_name, flags)
        self._tree.folded.removed(parent, name)
        self._tree.folded.added(new_parent, new_name)

    def list(self, opened: Opened, marker: str | None, count: int) -> list[tuple[str, Info]]:
        """Up to `count` names after `marker`, in a stable order: those of when the listing was begun."""
        if opened.kind is not Kind.DIRECTORY:
            raise NotADirectory(opened.path)
        if opened.listing is None or marker is None:
            opened.listing = self._listing(opened)
        entries: list[tuple[str, Info]] = []
        for shown, entry in opened.listing.after(marker):
            if len(entries) == count:
                break
            try:
                attr = entry.attr if entry.is_complete else self._filesystem.getattr(entry.attr.ino)
                attributes = self._attributes(attr.ino)
            except NotFound:
                continue
            is_dir = kind_of(attr) is Kind.DIRECTORY
            entries.append((shown, file_info(attr, attributes, is_dir=is_dir)))
        return entries

    def _listing(self, opened: Opened) -> Listing:
        entries = self._tree.entries_of(opened.ino)
        return Listing(entries, dots=None if opened.ino == ROOT_INO else opened.attr)

    def entry(self, opened: Opened, shown: str) -> tuple[str, Info]:
        """One name in a directory, in the case it has. Raises NotFound."""
        found = self._tree.child(Found(opened.path, opened.ino, "", opened.attr), shown)
        is_dir = kind_of(found.attr) is Kind.DIRECTORY
        attributes = self._attributes(found.attr.ino)
        return found.path.rpartition("\\")[2], file_info(found.attr, attributes, is_dir=is_dir)

    def _require_writable(self) -> None:
        if self._read_only:
            raise ReadOnly("the drive is mounted read-only")
