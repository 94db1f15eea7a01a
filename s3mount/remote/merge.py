"""Brings one directory's listing into the index. No S3 calls: the lister (lister.py) hands in the pages.

Rules, in this order, for a key of the listing:
  - noted as our own write since the listing began, or a tombstone: not looked at
  - the remote_key of an inode whose path is elsewhere (renamed, unlinked but open): not looked at
  - a key that a write of ours is, or was, under way to: not looked at
  - the remote_key of the inode at this name: another ETag is a foreign change, taken over unless local work is owed
    (then the upload meets the foreign object and keeps both)
  - the key of an inode here that has no object yet: left alone, the upload will meet the object; what is kept here,
    and never uploaded, makes way
  - otherwise a new inode, with the mount's default attributes until its metadata is asked for, under the name that the
    key's last component has (names.py)
The directory's own key is its marker's, or with content an object like any other, of the empty component (keys.py).
A name that the listing lacks is removed when the bucket had it and nothing of it, or below it, is owed.

Where a key is a prefix too, the directory has the name and the file one of those that follow. Such a pair waits for the
end of the listing, which may show that one of the two is gone; a file with work owed keeps its name until that is done,
and the directory is shown after.
"""

import logging
import stat
from collections.abc import Sequence
from typing import Any

from s3mount import keys, names
from s3mount.clock import Clock
from s3mount.index import links
from s3mount.index.index import Index
from s3mount.index.listed import Child
from s3mount.model import Ino, Inode, ObjectInfo, ObjectKey
from s3mount.remote.defaults import Defaults
from s3mount.remote.guard import WriteGuard
from s3mount.remote.observer import LostName, MergeResult
from s3mount.remote.seen import SeenComponents
from s3mount.store.base import ListPage

log = logging.getLogger(__name__)

SWEPT_AT_ONCE = 1000
SIMPLE_TIMES = range(1 << 63)  # those that the index keeps as numbers


class DirectoryMerge:
    """The merge of one listing of one directory, page by page. Not shared between threads."""

    def __init__(
        self, index: Index, guard: WriteGuard, defaults: Defaults, clock: Clock, *, dir_ino: Ino, dir_key: ObjectKey,
        began: int,
    ):  # fmt: skip
        self._index = index
        self._guard = guard
        self._defaults = defaults
        self._clock = clock
        self._dir_ino = dir_ino
        self._dir_key = dir_key
        self._began = began
        self._seen = SeenComponents()  # those of prefixes end in "/"
        self._swept: Any = ""  # up to this name, in the order of Listed.children
        self._late: list[ObjectInfo | ObjectKey] = []
        self._is_listed_again = False
        self.result = MergeResult()

    def page(self, page: ListPage) -> None:
        with self._index.transaction():
            directory = self._index.inodes.find(self._dir_ino)
            if directory is None or directory.remote_key != self._dir_key:
                return  # removed or moved meanwhile; what the page says is about a place that is not ours any more
            self._is_listed_again = directory.is_listed
            for key in page.prefixes:
                self._merge_prefix(key)
            for info in self._merge_simple(page.objects):
                if info.key == self._dir_key:
                    self._merge_own(info)
                else:
                    self._merge_object(info)

    def sweep(self) -> bool:
        """After the last page, again and again while it says True: remove what the bucket has no longer, some names at
        a time, and then call the directory listed. The index is of use to others in between."""
        with self._index.transaction():
            directory = self._index.inodes.find(self._dir_ino)
            if directory is None or directory.remote_key != self._dir_key:
                return False
            children = self._index.listed.children(self._dir_ino, self._swept, SWEPT_AT_ONCE)
            for child in children:
                if self._is_seen(child):
                    continue
                inode = self._named(self._dir_ino, child.entry.name)
                if inode is not None:
                    self._remove_if_gone(self._dir_ino, child.entry.name, inode)
            if len(children) == SWEPT_AT_ONCE:
                self._swept = children[-1].column
                return True
            self._merge_late()
            directory = self._index.inodes.get(self._dir_ino)
            if not directory.is_listed:
                self._index.inodes.update(directory._replace(is_listed=True))
        return False

    def _is_seen(self, child: Child) -> bool:
        is_dir = stat.S_ISDIR(child.mode)
        component = child.entry.key_component(is_dir=is_dir)
        return (f"{component}/" if is_dir else component) in self._seen

    def lacks_directory(self) -> bool:
        """Whether `sweep` would remove a directory. In the transaction of the last page."""
        after: Any = ""
        while children := self._index.listed.children(self._dir_ino, after, SWEPT_AT_ONCE):
            for child in children:
                if stat.S_ISDIR(child.mode) and not self._is_seen(child):
                    inode = self._index.inodes.get(child.ino)
                    if self._is_gone(self._index.dentries.path_key(inode), inode):
                        return True
            after = children[-1].column
        return False

    def _merge_simple(self, objects: Sequence[ObjectInfo]) -> list[ObjectInfo]:
        """Merge what is known as it is, and what is new and in nobody's way, all together; returns the rest."""
        rest: list[ObjectInfo] = []
        simple: dict[str, ObjectInfo] = {}
        for info in objects:
            name = info.key[len(self._dir_key) :]
            is_simple = "%" not in name and names.is_name(name) and names.is_utf8(name) and name not in simple
            if is_simple and info.last_modified_ns in SIMPLE_TIMES:
                simple[name] = info
            else:
                rest.append(info)
        listed = self._index.listed
        known = listed.known(self._dir_ino, simple)
        others = {name: info for name, info in simple.items() if name not in known}
        new = listed.unheard_of(self._dir_ino, others) if others else set()
        new -= {name for name in new if self._guard.is_noted(others[name].key, self._began)}
        if new:
            like = Inode(
                Ino(0), self._defaults.file_mode, self._defaults.uid, self._defaults.gid, 0, 0, 0, metadata_known=False
            )
            listed.add_files(self._dir_ino, {name: others[name] for name in simple if name in new}, like)
            self._note_new(*new)
        for name in known | new:
            self._seen.add(name)
        return [*rest, *(info for name, info in others.items() if name not in new)]

    def _merge_late(self) -> None:
        """Names that an inode of the other kind had: it may be gone by now. Directories first, they have the name."""
        late, self._late = self._late, []
        for entry in sorted(late, key=lambda entry: isinstance(entry, ObjectInfo)):
            if isinstance(entry, ObjectInfo):
                self._merge_object(entry, is_late=True)
            else:
                self._merge_prefix(entry, is_late=True)

    def _free_name(self, component: str, *, is_dir: bool) -> str:
        found = names.candidates(component, is_dir=is_dir)
        return next(name for name in found if self._index.dentries.lookup(self._dir_ino, name) is None)

    def _is_ours_to_ignore(self, key: ObjectKey) -> bool:
        return (
            self._guard.is_noted(key, self._began)
            or self._index.tombstones.find(key) is not None
            or self._index.inodes.with_attempt_at(key) is not None
        )

    def _merge_own(self, info: ObjectInfo) -> None:
        """The object at the directory's own key: its marker, or, with content, a file in it."""
        directory = self._index.inodes.get(self._dir_ino)
        if not keys.is_marker(info):
            if directory.remote_etag is not None and not self._is_ours_to_ignore(info.key):
                self._index.inodes.update(directory._replace(remote_etag=None))
            self._merge_object(info)
            return
        if not info.etag:
            return  # SeaweedFS lists a directory without a marker as an object without an ETag
        if directory.is_owed or self._is_ours_to_ignore(info.key):
            return
        if directory.remote_etag == info.etag:
            self._note_modified(directory, info)
            return
        self._index.inodes.update(directory._replace(remote_etag=info.etag, metadata_known=False))

    def _merge_object(self, info: ObjectInfo, *, is_late: bool = False) -> None:
        component = info.key[len(self._dir_key) :]
        there = self._index.dentries.named(self._dir_ino, component, is_dir=False)
        if (there is not None and self._is_known(there[1], info)) or self._is_ours_to_ignore(info.key):
            self._seen.add(component)
            return
        owner = self._index.inodes.with_remote_key(info.key, is_dir=False)
        if owner is not None and (there is None or owner.ino != there[1]):
            return
        self._seen.add(component)
        if owner is not None:
            if is_foreign_change(owner, info):
                self.result.replaced.append((owner.ino, info))
            elif owner.remote_etag == info.etag:
                self._note_modified(owner, info)
        elif there is not None:
            kept = self._index.inodes.get(there[1])
            if kept.is_kept_here:
                self._remove_subtree(self._dir_ino, there[0], kept)
                self._add_file(there[0], component, info)
        else:
            name = names.shown(component, is_dir=False)
            if self._index.dentries.lookup(self._dir_ino, name) is None:
                self._add_file(name, component, info)
            elif is_late:
                self._add_file(self._free_name(component, is_dir=False), component, info)
            else:
                self._late.append(info)

    def _is_known(self, ino: Ino, info: ObjectInfo) -> bool:
        """Whether the listing tells nothing that the index does not: so of most files, and soon found out."""
        inode = self._index.inodes.get(ino)
        return (
            inode.remote_key == info.key
            and inode.remote_etag == info.etag
            and inode.remote_modified_ns == info.last_modified_ns
        )

    def _note_modified(self, inode: Inode, info: ObjectInfo) -> None:
        """The version is the one that is known. Made at another time than that, it has other metadata."""
        if inode.is_owed or inode.attempt_key is not None or inode.remote_modified_ns == info.last_modified_ns:
            return
        is_changed = inode.remote_modified_ns is not None
        if is_changed:
            log.info("the metadata of %r was changed by someone else", info.key)
        self._index.inodes.note_modified(inode, info.last_modified_ns, is_metadata_known=not is_changed)

    def _add_file(self, name: str, component: str, info: ObjectInfo) -> None:
        inode = Inode(
            Ino(0), self._defaults.file_mode, self._defaults.uid, self._defaults.gid, info.size,
            info.last_modified_ns, info.last_modified_ns, remote_key=info.key, remote_etag=info.etag,
            remote_size=info.size, metadata_known=False, remote_modified_ns=info.last_modified_ns,
        )  # fmt: skip
        self._index.create(self._dir_ino, name, inode, component)
        self._note_new(name)

    def _note_new(self, *names_there: str) -> None:
        if self._is_listed_again:
            self.result.added += [(self._dir_ino, name) for name in names_there]

    def _merge_prefix(self, key: ObjectKey, *, is_late: bool = False) -> None:
        component = key[len(self._dir_key) : -1]
        there = self._index.dentries.named(self._dir_ino, component, is_dir=True)
        if there is not None and self._index.inodes.get(there[1]).remote_key == key:
            self._seen.add(f"{component}/")
            return
        if self._is_ours_to_ignore(key):
            self._seen.add(f"{component}/")
            return
        owner = self._index.inodes.with_remote_key(key, is_dir=True)
        if owner is not None and (there is None or owner.ino != there[1]):
            return
        self._seen.add(f"{component}/")
        if there is not None:
            kept = self._index.inodes.get(there[1])
            if kept.is_kept_here:
                self._index.inodes.update(kept._replace(is_local=False))
            return
        name = names.shown(component, is_dir=True)
        occupant = self._index.dentries.lookup(self._dir_ino, name)
        if occupant is not None:
            if not is_late:
                self._late.append(key)
                return
            if not self._make_room(name, self._index.inodes.get(occupant)):
                return
            name = self._free_name(component, is_dir=True)
        now_ns = self._clock.now_ns()
        inode = Inode(
            Ino(0), self._defaults.dir_mode, self._defaults.uid, self._defaults.gid, 0, now_ns, now_ns, nlink=2,
            remote_key=key, metadata_known=False,
        )  # fmt: skip
        self._index.create(self._dir_ino, name, inode, component)
        self._note_new(name)

    def _make_room(self, name: str, occupant: Inode) -> bool:
        """Show a file under another name than that of the directory that its key is a prefix of; False when work of
        ours on it comes first."""
        if occupant.is_dir:
            return True
        if occupant.is_owed or occupant.attempt_key is not None:
            return False
        component = self._index.dentries.component(occupant)
        self._index.dentries.remove(self._dir_ino, name, occupant)
        other = next(
            other
            for other in names.candidates(component, is_dir=False)
            if other != name and self._index.dentries.lookup(self._dir_ino, other) is None
        )
        self._index.dentries.add(self._dir_ino, other, occupant, component)
        log.info("%r is a directory now as well: the object is shown as %r", name, other)
        return True

    def _named(self, parent: Ino, name: str) -> Inode | None:
        """Who has the name now: a file whose object went may have taken over another of its own names meanwhile."""
        ino = self._index.dentries.lookup(parent, name)
        return None if ino is None else self._index.inodes.get(ino)

    def _is_busy(self, inode: Inode) -> bool:
        """Whether a write of ours to one of its names is owed, or may be under way."""
        rows = [inode, *links.shadows(self._index, inode)]
        return any(row.is_owed or row.attempt_key is not None for row in rows)

    def _remove_if_gone(self, parent: Ino, name: str, inode: Inode) -> None:
        key = self._index.dentries.path_key(inode)
        if self._is_gone(key, inode):
            log.info("%r was removed from the bucket by someone else", key)
            self._remove_subtree(parent, name, inode)

    def _is_gone(self, key: ObjectKey | None, inode: Inode) -> bool:
        """Whether somebody else has removed what the listing lacks."""
        if self._is_busy(inode) or key is None or inode.remote_key != key:
            return False
        return not (self._guard.is_noted(key, self._began) or (inode.is_dir and self._has_work_below(inode, key)))

    def _has_work_below(self, directory: Inode, key: ObjectKey) -> bool:
        if self._guard.is_noted_below(key, self._began):
            return True
        for _, ino in self._index.dentries.children(directory.ino):
            child = self._index.inodes.get(ino)
            if child.is_kept_here:
                continue
            child_key = self._index.dentries.path_key(child)
            if self._is_busy(child) or child.remote_key != child_key:
                return True
            if child.is_dir and child_key is not None and self._has_work_below(child, child_key):
                return True
        return False

    def _remove_subtree(self, parent: Ino, name: str, inode: Inode) -> None:
        if inode.is_dir:
            for child_name, _ in self._index.dentries.children(inode.ino):
                child = self._named(inode.ino, child_name)
                if child is not None:
                    self._remove_subtree(inode.ino, child_name, child)
        if links.survive(self._index, inode, now_ns=self._clock.now_ns()):
            return
        self._index.dentries.remove(parent, name, inode)
        # The bucket has nothing of it any more, so nothing may be deleted there on its account.
        inode = links.leave(self._index, self._index.inodes.get(inode.ino))
        gone = inode._replace(nlink=0, remote_key=None, remote_etag=None)
        self._index.inodes.update(gone)
        self.result.removed.append(LostName(inode.ino, parent, name))


def is_foreign_change(inode: Inode, info: ObjectInfo) -> bool:
    """Whether `info`, found at the inode's remote key, is a version that neither we nor anyone owing work has made."""
    return (
        inode.remote_key == info.key
        and inode.remote_etag != info.etag
        and not inode.is_owed
        and inode.attempt_key is None
    )


def replaced_inode(inode: Inode, info: ObjectInfo, defaults: Defaults, now_ns: int) -> Inode:
    """`inode` after someone else replaced its object: all that was known of content and metadata is void."""
    return inode._replace(
        mode=defaults.file_mode, uid=defaults.uid, gid=defaults.gid, size=info.size,
        mtime_ns=info.last_modified_ns, ctime_ns=now_ns, atime_ns=None, target=None, remote_etag=info.etag,
        remote_size=info.size, metadata_known=False, foreign_metadata=None, rdev=0, xattrs=None,
        link_group=inode.link_group if inode.nlink > 1 else None,
        remote_modified_ns=info.last_modified_ns if info.metadata is None else None,
    )  # fmt: skip
