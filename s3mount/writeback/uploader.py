"""Takes one step for one inode: PUT, COPY or a directory's marker. Called by the workers, one per inode at a time."""

import threading

from s3mount import keys, names
from s3mount.errors import Rejected
from s3mount.index import links
from s3mount.model import ETag, Ino, Inode, ObjectKey, RemoteObject
from s3mount.store.base import ANY, Condition, Put, Source
from s3mount.writeback.context import WriteBackContext
from s3mount.writeback.multipart import PART_BYTES, ContentMoved, MultipartUpload, Plan, plan_copy, plan_parts
from s3mount.writeback.settle import Settlement

SMALL_BODIES_MAX = 8  # bodies of up to PART_BYTES held in memory at a time, over all workers


def _bodiless(inode: Inode) -> bytes | None:
    """The body of what has no bytes in the cache; None when it is not known."""
    return None if inode.target is None and not inode.is_special else names.to_bytes(inode.target or "")


class Uploader:
    def __init__(self, context: WriteBackContext, settlement: Settlement, multipart: MultipartUpload):
        self._context = context
        self._settlement = settlement
        self._multipart = multipart
        self._bodies = threading.BoundedSemaphore(SMALL_BODIES_MAX)

    def put(self, inode: Inode, key: ObjectKey) -> None:
        """Bring bytes and metadata to `key`. Raises StoreError, FsError, ContentMoved; the state is settled or as it
        was."""
        condition = self._settlement.begin(inode.ino, key)
        if condition is None:
            return
        if inode.is_symlink or inode.is_special:
            self._put_bodiless(inode, key, condition)
        elif inode.size > PART_BYTES:
            self._put_parts(inode, key, condition)
        else:
            self._put_whole(inode, key, condition)

    def _put_bodiless(self, inode: Inode, key: ObjectKey, condition: Condition) -> None:
        """What has no bytes in the cache: a symbolic link's are its target, a special file has none."""
        snapshot = self._context.index.inodes.find(inode.ino)
        body = None if snapshot is None else _bodiless(snapshot)
        if snapshot is not None and body is not None:
            self._settlement.uploaded(snapshot, key, self._put_object(snapshot, key, body, condition))

    def _put_whole(self, inode: Inode, key: ObjectKey, condition: Condition) -> None:
        with self._bodies:
            found = self._read_whole(inode, PART_BYTES)
            if found is None:
                return
            snapshot, body = found
            if not body and keys.is_dir_key(key):
                self._leave_directory_key(snapshot)
                raise ContentMoved
            etag = self._put_object(snapshot, key, body, condition)
        self._settlement.uploaded(snapshot, key, etag)

    def _read_whole(self, inode: Inode, size_max: int) -> tuple[Inode, bytes] | None:
        """The file as it is on record by now, with all of its bytes; None when it has gone. Raises ContentMoved when
        they are more than `size_max`, StoreError, FsError."""
        context = self._context
        context.cache.load(inode.ino, inode.remote, inode.size)
        with context.locks.of(inode.ino):
            # Loaded and owed, so never evicted: this read takes the bytes from the disk, under the lock that writers
            # hold, and they are those of one generation.
            snapshot = context.on_record(inode.ino)
            if snapshot is None or snapshot.nlink == 0:
                return None
            if snapshot.size > size_max:
                raise ContentMoved
            return snapshot, context.cache.read(inode.ino, snapshot.remote, start=0, end=snapshot.size)

    def prepare(self, ino: Ino, key: ObjectKey, condition: Condition, size_max: int) -> tuple[Inode, Put] | None:
        """The row, on record, and what makes its object at `key` by one request: a copy where the bucket has its bytes,
        or up to `size_max` bytes of that generation. None when there is no such request: it has gone, is too large to
        be copied by one, or not whole here: nothing is fetched. Raises ContentMoved, FsError."""
        context = self._context
        inode = context.index.inodes.find(ino)
        if inode is None or inode.nlink == 0:
            return None
        source = inode.remote
        if source is not None and not inode.is_dir and not inode.content_owed:
            if source.size > context.store.properties.copy_bytes_max:
                return None
            if source.key == key:
                condition = ANY  # the source condition says the same
            copy = self._request(inode, key, b"", condition)._replace(source=Source(source.key, source.etag))
            return inode, copy
        found = self._read_small(inode, key, size_max)
        return None if found is None else (found[0], self._request(found[0], key, found[1], condition))

    def _read_small(self, inode: Inode, key: ObjectKey, size_max: int) -> tuple[Inode, bytes] | None:
        context = self._context
        if not inode.is_file:
            body = b"" if inode.is_dir else _bodiless(inode)
            return None if body is None else (inode, body)
        if inode.size and context.cache.present_bytes(inode.ino) < inode.size:
            return None
        found = self._read_whole(inode, size_max)
        # The object of an empty file at a directory's key would be the directory's marker.
        return None if found is None or (not found[1] and keys.is_dir_key(key)) else found

    def _leave_directory_key(self, inode: Inode) -> None:
        """A file that has a directory's key is empty by now, and its object would be the directory's marker. It gets
        the key that a new file of its name has."""
        dentries = self._context.index.dentries
        with self._context.index.transaction():
            place = dentries.place(inode.ino)
            if place is None:
                return
            component = names.component_of(place[1], is_dir=False)
            if dentries.named(place[0], component, is_dir=False) is not None:
                raise Rejected(
                    "an empty file cannot have a directory's key, and the one of its name is taken: rename it"
                )
            dentries.remove(*place, inode)
            dentries.add(*place, inode, component)

    def _put_object(self, snapshot: Inode, key: ObjectKey, body: bytes, condition: Condition) -> ETag:
        put = self._request(snapshot, key, body, condition)
        return self._context.store.put(
            put.key, put.body, metadata=put.metadata, content_type=put.content_type, condition=put.condition
        )

    def _request(self, snapshot: Inode, key: ObjectKey, body: bytes, condition: Condition) -> Put:
        """What makes the object that stands for this state."""
        context = self._context
        metadata, content_type = context.object_metadata(snapshot, key), context.content_type(snapshot, key)
        return Put(key, body, metadata, content_type, condition)

    def _put_parts(self, inode: Inode, key: ObjectKey, condition: Condition) -> None:
        context = self._context
        with context.locks.of(inode.ino):
            snapshot = context.on_record(inode.ino)
            if snapshot is None or snapshot.nlink == 0:
                return
            if snapshot.size <= PART_BYTES:
                raise ContentMoved
            dirty = context.cache.dirty_extents(inode.ino)
        base_size = 0 if snapshot.remote is None else snapshot.remote_size
        self._put_planned(snapshot, key, condition, plan_parts(snapshot.size, dirty, base_size))

    def _put_planned(self, snapshot: Inode, key: ObjectKey, condition: Condition, plan: Plan) -> None:
        done = self._multipart.upload(snapshot, key, condition, plan)
        self._settlement.uploaded(snapshot, key, done.etag, has_metadata=done.has_metadata)
        self._multipart.completed(snapshot)

    def copy(self, inode: Inode, key: ObjectKey) -> None:
        """Give the object this inode's metadata, at `key`, without moving its bytes through here."""
        context = self._context
        condition = self._settlement.begin(inode.ino, key)
        snapshot = context.index.inodes.find(inode.ino)
        source = None if snapshot is None else snapshot.remote
        if condition is None or snapshot is None or source is None:
            return
        if snapshot.content_owed:
            raise ContentMoved  # written meanwhile: a copy would record bytes as uploaded that it does not have
        if source.key == key:
            condition = ANY  # the source condition says the same
        self._copy(snapshot, source, key, condition)

    def link(self, inode: Inode, key: ObjectKey) -> None:
        """Give a shadow's name an object with the bytes and the metadata of its primary's."""
        index = self._context.index
        with index.transaction():
            shadow = index.inodes.find(inode.ino)
            primary = None if shadow is None else links.identity(index, shadow.ino)
            if shadow is None or primary is None or primary.ino == shadow.ino:
                return
            source = primary.remote
            if source is None or primary.is_owed or not primary.metadata_known:
                return
            if not primary.size and keys.is_dir_key(key):
                self._leave_directory_key(shadow)
                return
            shadow = links.mirror(shadow, primary)
            index.inodes.update(shadow)
        condition = self._settlement.begin(shadow.ino, key)
        if condition is not None:
            # To the copy, its base is the primary's object.
            base = shadow._replace(remote_key=source.key, remote_etag=source.etag, remote_size=source.size)
            self._copy(base, source, key, condition)

    def _copy(self, snapshot: Inode, source: RemoteObject, key: ObjectKey, condition: Condition) -> None:
        context = self._context
        if source.size > context.store.properties.copy_bytes_max:
            self._put_planned(snapshot, key, condition, plan_copy(source.size))
            return
        etag = context.store.copy(
            source.key,
            key,
            source_etag=source.etag,
            metadata=context.object_metadata(snapshot, key),
            content_type=context.content_type(snapshot, key),
            condition=condition,
        )
        self._settlement.uploaded(snapshot, key, etag)

    def put_marker(self, inode: Inode, key: ObjectKey) -> None:
        condition = self._settlement.begin(inode.ino, key)
        snapshot = self._context.index.inodes.find(inode.ino)
        if condition is not None and snapshot is not None:
            self._settlement.uploaded(snapshot, key, self._put_object(snapshot, key, b"", condition))
