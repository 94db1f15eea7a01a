"""Operations on the room that a file takes: fallocate, lseek for holes and data, copy_file_range.

Called by FileSystem, on any thread. Every change goes in the order that fileio.py has for writes: owed, then bytes,
then size and generation.
"""

from enum import Enum

from s3mount.cache.holes import HOLE_BLOCK_BYTES
from s3mount.errors import BadHandle, FileTooLarge, FsError, InvalidArgument, NoSuchOffset, NotSupported
from s3mount.model import Fh, Ino, Seek
from s3mount.vfs.context import VfsContext
from s3mount.vfs.fileio import FileIO
from s3mount.vfs.handles import FileHandle

# linux/falloc.h
KEEP_SIZE = 0x01
PUNCH_HOLE = 0x02
ZERO_RANGE = 0x10

# One call answers after this much, so that it ends in time; whoever wants more calls again.
COPIED_AT_ONCE_MAX = 64 << 20
COPY_BYTES = 1 << 20
# Below this a COPY in S3 takes as long as fetching the bytes.
WHOLE_BYTES_MIN = 1 << 20


class Kind(Enum):
    ALLOCATE = "allocate"
    ZERO = "zero"


# mode of fallocate(2): what becomes of the range, and whether the file may grow
MODES = {
    0: (Kind.ALLOCATE, True),
    KEEP_SIZE: (Kind.ALLOCATE, False),
    PUNCH_HOLE | KEEP_SIZE: (Kind.ZERO, False),
    ZERO_RANGE: (Kind.ZERO, True),
    ZERO_RANGE | KEEP_SIZE: (Kind.ZERO, False),
}


class Space:
    def __init__(self, context: VfsContext, io: FileIO):
        self._context = context
        self._io = io

    # -- fallocate -----------------------------------------------------------------------------------------------

    def allocate(self, fh: Fh, mode: int, offset: int, length: int) -> None:
        """fallocate(2). Raises InvalidArgument, NotSupported for the modes that shift bytes, BadHandle, FileTooLarge,
        NoSpace."""
        context = self._context
        if offset < 0 or length <= 0:
            raise InvalidArgument("an empty or negative range")
        if mode not in MODES:
            raise NotSupported(f"fallocate mode {mode:#x}")
        handle = context.handles.file(fh)
        if not handle.can_write:
            raise BadHandle("not open for writing")
        kind, may_grow = MODES[mode]
        end = offset + length
        if end > context.properties.object_bytes_max:
            raise FileTooLarge("larger than the largest object")
        if not may_grow:
            end = min(end, context.live(handle.ino).size)
        if offset >= end:
            self._touch(handle.ino)
            return
        if kind is Kind.ZERO:
            self._zero(handle, offset, end)
        else:
            self._hold(handle, offset, end)

    def _zero(self, handle: FileHandle, start: int, end: int) -> None:
        """[start, end) becomes zeros, past the end of the file too."""
        context = self._context
        room = context.cache.zeros_room(start, end)
        with context.cache.reserve(room, context.options.room_deadline_s), context.locks.of(handle.ino):
            inode = self._io.begin_change(handle)
            context.writeback.before_change(handle.ino, min(start, inode.size), end)
            inside = min(end, inode.size)
            if start < inside:
                context.cache.punch(handle.ino, start, inside)
            if end > inode.size:
                self._grow(handle, inode.size, end)
            self._io.stage_change(handle.ino, max(inode.size, end))

    def _hold(self, handle: FileHandle, start: int, end: int) -> None:
        """Lengthen the file to `end` if it is shorter, and take the room of what are holes. Half of the cache is all
        that is held for one call: the rest of a larger range finds room as it is written, by uploads (P7)."""
        context = self._context
        ino = handle.ino
        wanted = end - max(start, min(end, context.live(ino).size)) + context.cache.hole_bytes(ino)
        wanted = min(wanted, end - start)
        is_held = wanted <= context.cache.limit_bytes // 2
        room = wanted if is_held else context.cache.zeros_room(start, end)
        with context.cache.reserve(room, context.options.room_deadline_s), context.locks.of(ino):
            self._io.check_fresh(handle)
            size = context.live(ino).size
            if end > size:
                self._io.begin_change(handle)
                context.writeback.before_change(ino, size, end)
                self._grow(handle, size, end)
            try:
                if is_held:
                    context.cache.allocate(ino, start, end)
            except FsError:
                if end > size:
                    context.cache.resize(ino, end, size)
                raise
            if end > size:
                self._io.stage_change(ino, end)
            else:
                self._touch(ino)

    def _touch(self, ino: Ino) -> None:
        """The call counts as a change, though no byte has another value."""
        context = self._context
        now_ns = context.clock.now_ns()
        with context.index.transaction():
            inode = context.live(ino)._replace(mtime_ns=now_ns, ctime_ns=now_ns)
            context.index.inodes.update(context.with_meta_owed(inode))
        context.writeback.notify()

    def _grow(self, handle: FileHandle, size: int, end: int) -> None:
        self._context.writeback.note_sparse(handle.ino)
        self._context.cache.resize(handle.ino, size, end)

    # -- lseek ---------------------------------------------------------------------------------------------------

    def seek(self, fh: Fh, offset: int, wanted: Seek) -> int:
        """lseek(2) with SEEK_DATA or SEEK_HOLE. Raises NoSuchOffset."""
        handle = self._context.handles.file(fh)
        self._io.check_fresh(handle)
        size = self._context.live(handle.ino).size
        found = None if offset < 0 else self._context.cache.seek(handle.ino, offset, size, wanted)
        if found is None:
            raise NoSuchOffset(f"no {wanted.value} at or after {offset}")
        return found

    # -- copy_file_range -----------------------------------------------------------------------------------------

    def copy(self, fh_in: Fh, offset_in: int, fh_out: Fh, offset_out: int, size: int) -> int:
        """copy_file_range(2): how many bytes were copied, 0 at the end of the source. Holes stay holes. Raises what
        read and write raise, unless something was copied before."""
        context = self._context
        source, target = context.handles.file(fh_in), context.handles.file(fh_out)
        if not source.can_read or not target.can_write or target.appends:
            raise BadHandle("not open for such a copy")
        if min(offset_in, offset_out, size) < 0:
            raise InvalidArgument("a negative offset or size")
        if source.ino == target.ino and offset_in < offset_out + size and offset_out < offset_in + size:
            raise InvalidArgument("the ranges overlap")
        if offset_in == offset_out == 0 and (copied := self._copy_whole(source, target, size)):
            return copied
        size = min(size, COPIED_AT_ONCE_MAX, context.live(source.ino).size - offset_in)
        if size > 0 and offset_out + size > context.properties.object_bytes_max:
            raise FileTooLarge("larger than the largest object")
        copied = 0
        while copied < size:
            try:
                step = self._copy_piece(fh_in, offset_in + copied, fh_out, offset_out + copied, size - copied)
            except FsError:
                if not copied:
                    raise
                break
            if not step:
                break
            copied += step
        return copied

    def _copy_whole(self, source: FileHandle, target: FileHandle, size: int) -> int:
        """All of the source into a file that is empty, by a COPY in S3; 0 when it is to be copied here. So is one that
        is in the cache whole, since no S3 need be there for that."""
        context = self._context
        inode = context.live(source.ino)
        if not WHOLE_BYTES_MIN <= inode.size <= size or context.live(target.ino).size:
            return 0
        if context.cache.present_bytes(inode.ino) >= inode.size:
            return 0
        self._io.check_fresh(source)
        self._io.check_fresh(target)
        copied = context.writeback.copy_whole(source.ino, target.ino, now_ns=context.clock.now_ns())
        if copied:
            self._io.note_access(inode)
        return copied

    def _copy_piece(self, fh_in: Fh, offset_in: int, fh_out: Fh, offset_out: int, size: int) -> int:
        context = self._context
        ino = context.handles.file(fh_in).ino
        end = offset_in + size
        hole = context.cache.seek(ino, offset_in, end, Seek.HOLE)
        if hole == offset_in and size >= HOLE_BLOCK_BYTES:
            size = (context.cache.seek(ino, offset_in, end, Seek.DATA) or end) - offset_in
            self._zero(context.handles.file(fh_out), offset_out, offset_out + size)
            return size
        if hole is not None and hole > offset_in:
            size = min(size, hole - offset_in)
        data = self._io.read(fh_in, offset_in, min(size, COPY_BYTES))
        return self._io.write(fh_out, offset_out, data, is_page=False)
