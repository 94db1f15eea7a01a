"""Operations on the bytes of files: open, read, write, truncate, flush, fsync, release, readlink.

Order of a change (the crash table is in docs/writeback.md): the inode is committed as owed, then the bytes go to the
cache, then size, times and generation are staged; flush commits them. Under the inode lock, so that an upload never
sees half a write. Room in the cache is reserved before, under no lock.
"""

import contextlib
import logging
import os

from s3mount import names
from s3mount.errors import (
    Archived,
    BadHandle,
    FileTooLarge,
    InvalidArgument,
    IOFailure,
    IsADirectory,
    Missing,
    NoSpace,
    NotFound,
    PreconditionFailed,
    Stale,
)
from s3mount.index import links
from s3mount.index.schema import DUE_NEVER
from s3mount.model import Caller, Fh, Ino, Inode
from s3mount.vfs.context import VfsContext
from s3mount.vfs.handles import ACCESS_MODES, FileHandle
from s3mount.vfs.privileges import without_privileges

log = logging.getLogger(__name__)

READ_ATTEMPTS_MAX = 4
ATIME_STALE_NS = 24 * 3600 * 10**9


class FileIO:
    def __init__(self, context: VfsContext):
        self._context = context
        self._index = context.index
        context.late_opens.close_with(self.release)

    def open(self, ino: Ino, flags: int, caller: Caller) -> Fh:
        """Raises Stale when the inode went away since it was looked up: the kernel then looks the name up again, and
        finds what was renamed over it."""
        context = self._context
        if flags & (ACCESS_MODES | os.O_TRUNC):
            context.require_writable()
        inode = links.identity(self._index, ino)
        if inode is None:
            context.late_opens.note()
            raise Stale("removed meanwhile")
        if context.known(inode).is_dir:
            raise IsADirectory("a directory is opened as one")
        with self._index.transaction():
            inode = links.identity(self._index, ino)
            if inode is None or inode.is_lost:
                context.late_opens.note()
                raise Stale("removed or replaced meanwhile")
            fh = context.handles.open_file(inode.ino, flags, must_be_read=self._notes_access(inode))
        if flags & (ACCESS_MODES | os.O_TRUNC) == os.O_RDONLY:
            context.prefetch.opened(inode.ino)
        if flags & os.O_TRUNC:
            try:
                self.truncate(inode.ino, 0)
                self._end_privileges(inode.ino, caller)
            except BaseException:
                self.release(fh)
                raise
        return fh

    def _end_privileges(self, ino: Ino, caller: Caller) -> None:
        with self._index.transaction():
            now = self._context.live(ino)
            changed = without_privileges(now, caller)
            if changed != now:
                self._index.inodes.update(self._context.with_meta_owed(changed))

    def read(self, fh: Fh, offset: int, size: int) -> bytes:
        context = self._context
        handle = context.handles.file(fh)
        if not handle.can_read:
            raise BadHandle("not open for reading")
        for _ in range(READ_ATTEMPTS_MAX):
            inode = self._index.inodes.get(handle.ino)
            self.check_fresh(handle)
            end = min(offset + size, inode.size)
            if offset >= end:
                return b""
            if inode.is_lost:
                raise Stale("the object was removed or replaced by someone else")
            try:
                data = context.cache.read(inode.ino, inode.remote, start=offset, end=end)
            except Archived as error:
                context.archived.note(inode, offset, str(error), context.clock.now_ns())
                raise
            except (PreconditionFailed, Missing) as error:
                now = self._index.inodes.get(handle.ino)
                if now.remote != inode.remote:
                    continue  # our own upload or move overtook the read: the bytes are at another version now
                if now.attempt_key is not None:
                    # What is there may be our own writing, its reply under way or lost: the next attempt finds out.
                    context.writeback.wait_uploaded([handle.ino], context.options.offline_timeout_s)
                    continue
                self._object_replaced(inode)
                raise Stale("the object was changed by someone else") from error
            self.check_fresh(handle)
            context.archived.note_read(inode.ino, offset, end)
            self.note_access(inode)
            return data
        raise IOFailure("the file kept changing while it was read")

    def note_access(self, inode: Inode) -> None:
        """The file was read: relatime. The bucket learns of it with the next change that it is owed."""
        now_ns = self._context.clock.now_ns()
        if not self._notes_access(inode):
            return
        # Reading goes on when the disk under the index is full.
        with contextlib.suppress(NoSpace, IOFailure), self._index.transaction():
            now = self._index.inodes.find(inode.ino)
            if now is not None and _is_access_news(now, now_ns):
                self._index.inodes.update(now._replace(atime_ns=now_ns))

    def _notes_access(self, inode: Inode) -> bool:
        """Whether the next read moves the access time."""
        options = self._context.options
        return options.is_relatime and not options.read_only and _is_access_news(inode, self._context.clock.now_ns())

    def check_fresh(self, handle: FileHandle) -> None:
        if self._context.handles.is_stale(handle):
            raise Stale("the object was changed by someone else since this open")

    def _object_replaced(self, inode: Inode) -> None:
        """The version our index names is gone: learn what is there now, unless local edits are based on it."""
        context = self._context
        if inode.content_owed:
            log.error("ino %d: the object version under unsaved local changes is gone (%r)", inode.ino, inode.remote)
            return
        with self._index.transaction():
            now = self._index.inodes.get(inode.ino)
            if now.is_owed or now.remote != inode.remote:
                return
            self._index.inodes.update(now._replace(metadata_known=False))
        context.handles.content_changed(inode.ino)
        try:
            context.known(self._index.inodes.get(inode.ino))
        except NotFound:
            log.info("ino %d: its object %r is gone", inode.ino, inode.remote_key)

    def write(self, fh: Fh, offset: int, data: bytes | memoryview, *, is_page: bool) -> int:
        context = self._context
        handle = context.handles.file(fh)
        if not handle.can_write:
            raise BadHandle("not open for writing")
        size = len(data)
        if not size:
            return 0
        if offset + size > context.properties.object_bytes_max:
            raise FileTooLarge("larger than the largest object")
        room = size + context.cache.zeros_room(context.live(handle.ino).size, offset)
        with context.cache.reserve(room, context.options.room_deadline_s), context.locks.of(handle.ino):
            inode = self.begin_change(handle)
            if handle.appends and not is_page:
                offset = inode.size
            context.writeback.before_change(handle.ino, min(offset, inode.size), offset + size)
            if offset > inode.size:
                context.writeback.note_sparse(handle.ino)
                context.cache.resize(handle.ino, inode.size, offset)
            context.cache.write(handle.ino, offset, data)
            self.stage_change(handle.ino, max(inode.size, offset + size))
        return size

    def truncate(self, ino: Ino, size: int) -> None:
        context = self._context
        context.require_writable()
        if size < 0:
            raise InvalidArgument("negative size")
        if size > context.properties.object_bytes_max:
            raise FileTooLarge("larger than the largest object")
        room = context.cache.zeros_room(context.live(ino).size, size)
        with context.cache.reserve(room, context.options.room_deadline_s), context.locks.of(ino):
            inode = self._begin_change(ino)
            context.writeback.before_change(ino, min(size, inode.size), None)
            if size > inode.size:
                context.writeback.note_sparse(ino)
            elif size < inode.size:
                # The smaller size is committed before the bytes go: no later run may take zeros for content.
                context.cache.save(ino)
                with self._index.transaction():
                    self.stage_change(ino, size)
                    self._index.inodes.flush(ino)
            context.cache.resize(ino, inode.size, size)
            self.stage_change(ino, size)
            self.persist(ino)
        context.writeback.notify()

    def begin_change(self, handle: FileHandle) -> Inode:
        """Under the inode lock, before bytes change by this handle. Raises Stale."""
        self.check_fresh(handle)
        return self._begin_change(handle.ino)

    def _begin_change(self, ino: Ino) -> Inode:
        """Commit that the content is owed, if it was not: before the first byte of the cached version changes."""
        context = self._context
        inode = context.live(ino)
        if inode.content_owed:
            return inode
        with self._index.transaction():
            inode = context.live(ino)
            inode = inode._replace(content_generation=self._index.next_generation(inode), due_ns=context.due_ns())
            self._index.inodes.update(inode)
        context.writeback.notify()
        return inode

    def stage_change(self, ino: Ino, size: int) -> None:
        """Under the inode lock, after its bytes were changed."""
        context = self._context
        now_ns = context.clock.now_ns()
        with self._index.locked():
            inode = context.live(ino)
            self._index.inodes.stage(
                inode._replace(
                    size=size,
                    mtime_ns=now_ns,
                    ctime_ns=now_ns,
                    content_generation=self._index.next_generation(inode),
                    due_ns=now_ns + context.writeback.delay_ns,
                )
            )

    def persist(self, ino: Ino) -> None:
        """Commit the extents and what is staged of an inode: from here on it survives kill -9."""
        with self._context.locks.of(ino):
            self._context.cache.save(ino, lambda: self._index.inodes.flush(ino))

    def flush(self, fh: Fh) -> None:
        handle = self._context.handles.file(fh)
        if handle.can_write:
            self.persist(handle.ino)
            self._raise_if_parked(handle.ino)

    def fsync(self, ino: Ino) -> None:
        """Bytes, then index, on disk; with --fsync remote, also in the bucket."""
        context = self._context
        context.cache.sync(ino)
        self.persist(ino)
        context.discards.commit()
        self._raise_if_parked(ino)
        if context.options.fsync_remote:
            context.writeback.wait_uploaded([ino], context.options.upload_deadline_s)
            names = [shadow.ino for shadow in links.shadows(self._index, context.live(ino))]
            context.writeback.wait_uploaded(names, context.options.upload_deadline_s)

    def fsync_directory(self, ino: Ino) -> None:
        context = self._context
        context.discards.commit()
        if context.options.fsync_remote:
            children = [child for _, child in self._index.dentries.children(ino)]
            context.writeback.wait_uploaded([ino, *children], context.options.upload_deadline_s)

    def _raise_if_parked(self, ino: Ino) -> None:
        parked = self._index.parked.find(ino)
        if parked is not None:
            raise IOFailure(f"this file cannot be uploaded: {parked.cause}")

    def release(self, fh: Fh) -> None:
        context = self._context
        handle = context.handles.file(fh)
        if handle.can_write:
            self.persist(handle.ino)
        with self._index.transaction():
            context.handles.close(fh)
            inode = self._index.inodes.find(handle.ino)
            dropped = inode is not None and context.drop_if_unused(inode)
            if not dropped and handle.can_write:
                self._end_hold(handle.ino)
        if dropped:
            context.discards.add(handle.ino)
        context.writeback.notify()

    def _end_hold(self, ino: Ino) -> None:
        """An upload that waited for the writer to close need not wait longer than the usual delay now."""
        inode = self._index.inodes.find(ino)
        due_ns = self._context.due_ns()
        if inode is not None and inode.is_owed and due_ns < inode.due_ns < DUE_NEVER:
            self._index.inodes.set_due(ino, due_ns)

    def read_link(self, inode: Inode) -> str:
        if not inode.is_symlink:
            raise InvalidArgument("not a symbolic link")
        if inode.target is not None:
            return inode.target
        body = self._context.cache.read(inode.ino, inode.remote, start=0, end=inode.size) if inode.size else b""
        target = names.from_bytes(body)
        with self._index.transaction():
            now = self._index.inodes.find(inode.ino)
            if now is not None and now.remote == inode.remote:
                self._index.inodes.update(now._replace(target=target))
        return target


def _is_access_news(inode: Inode, now_ns: int) -> bool:
    """The rule of relatime in mount(8): a reader sees whether a file was read since it changed, without a write for
    each read."""
    atime_ns = inode.atime_ns
    return atime_ns is None or atime_ns <= max(inode.mtime_ns, inode.ctime_ns) or now_ns - atime_ns >= ATIME_STALE_NS
