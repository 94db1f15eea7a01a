"""Hard links: a file's further names are rows of their own, its shadows; who heads the group, who joins, who leaves.

Called by vfs/, remote/ and writeback/, always inside an index transaction. The user sees one inode, the primary, under
all its names. In the bucket each name is an object of its own: a shadow is owed a copy of the primary's object whenever
the bucket has learnt something new of that, and for write-back, listings and checks it is a file like any other.

A group's objects carry the same `link_group`, "UUID.INO.GENERATION" of who wrote that content first. By it they are
known for one file again when the index is new. After a crash in the middle of an update the objects of a group differ
in it, and are files of their own for whoever has nothing but the bucket.
"""

from s3mount.index.index import Index
from s3mount.model import Ino, Inode


def identity(index: Index, ino: Ino) -> Inode | None:
    """The inode that the user sees for this row."""
    inode = index.inodes.find(ino)
    return inode if inode is None or inode.link_of is None else index.inodes.find(inode.link_of)


def shadows(index: Index, primary: Inode) -> list[Inode]:
    return index.inodes.shadows_of(primary.ino) if primary.nlink > 1 and not primary.is_dir else []


def group_of(index: Index, inode: Inode) -> str | None:
    """What an object with this inode's bytes, as they are now, is to carry."""
    if inode.link_group is None or inode.link_of is not None or not inode.content_owed:
        return inode.link_group
    return new_group(index, inode)


def new_group(index: Index, primary: Inode) -> str:
    """What the names of `primary` have in common while it has the content that it has now."""
    return f"{index.uuid}.{primary.ino}.{primary.content_generation}"


def _knows_all_names(index: Index, inode: Inode) -> bool:
    """Whether there can be no name of the group that this index does not know: all were made here, or all is known."""
    group = inode.link_group
    return group is not None and (group.split(".")[0] == index.uuid or index.inodes.are_all_met())


def is_settled(shadow: Inode, primary: Inode) -> bool:
    """Whether the shadow's object has the bytes of the primary's, and no write to it may be under way."""
    return (
        shadow.remote_etag is not None
        and shadow.attempt_key is None
        and shadow.content_uploaded == primary.content_uploaded
    )


# -- growing -----------------------------------------------------------------------------------------------------------


def add(index: Index, primary: Inode, parent: Ino, name: str, *, now_ns: int, due_ns: int) -> Inode:
    """One more name for `primary`; returns its newest row. The bucket learns of it: the new object, and the primary's
    as well if it does not carry the group yet."""
    if primary.link_group is None:
        primary = primary._replace(
            link_group=new_group(index, primary),
            meta_generation=primary.meta_generation + 1,
            due_ns=due_ns,
        )
    primary = primary._replace(nlink=primary.nlink + 1, ctime_ns=now_ns)
    index.inodes.update(primary)
    shadow = Inode(
        Ino(0), primary.mode, primary.uid, primary.gid, primary.size, primary.mtime_ns, now_ns, target=primary.target,
        meta_generation=1, due_ns=due_ns, link_of=primary.ino,
    )  # fmt: skip
    index.create(parent, name, shadow)
    return primary


def meet(index: Index, found: Inode, *, may_join: bool) -> None:
    """The metadata of its object was just read, and is in the row. `may_join`: it may become a name of another inode,
    should its object say so."""
    if found.is_dir or found.attempt_key is not None:
        return
    if found.link_of is not None:
        _meet_again(index, found)
    elif found.nlink > 1:
        owe(index, found, 0)
    elif may_join and found.link_group is not None and not found.is_owed:
        _join(index, found)


def _meet_again(index: Index, shadow: Inode) -> None:
    """A name that was known for one of a group: someone else may have changed what its object says."""
    primary = None if shadow.link_of is None else index.inodes.find(shadow.link_of)
    if primary is None or shadow.is_owed or primary.is_owed:
        return
    if shadow.link_group != primary.link_group:
        index.inodes.update(leave(index, shadow))
    else:
        _agree(index, primary, shadow)


def _join(index: Index, found: Inode) -> None:
    """If another name of its group is known, it is one more."""
    assert found.link_group is not None
    primary = index.inodes.with_link_group(found.link_group, but=found.ino)
    if primary is None or primary.remote_size != found.size:
        return
    shadow = found._replace(
        link_of=primary.ino,
        content_generation=primary.content_uploaded,
        content_uploaded=primary.content_uploaded,
    )
    _agree(index, primary._replace(nlink=primary.nlink + 1), shadow)


def _agree(index: Index, primary: Inode, shadow: Inode) -> None:
    """Write both rows. Where a change of attributes did not reach all names, the later one counts."""
    # Reading moves atime here, and that alone is not news for the bucket.
    if _copied(shadow) != _copied(primary._replace(atime_ns=shadow.atime_ns)) and not primary.is_owed:
        if shadow.ctime_ns > primary.ctime_ns:
            primary = _with_attributes(primary, shadow)._replace(meta_generation=primary.meta_generation + 1, due_ns=0)
        else:
            shadow = shadow._replace(meta_generation=shadow.meta_generation + 1, due_ns=0)
    index.inodes.update(primary)
    index.inodes.update(shadow)


# -- what the bucket is owed -------------------------------------------------------------------------------------------


def _copied(inode: Inode) -> tuple[object, ...]:
    """What a shadow's object has of its primary, content and group apart."""
    return (
        inode.mode, inode.uid, inode.gid, inode.mtime_ns, inode.atime_ns, inode.rdev, inode.xattrs,
        inode.foreign_metadata,
    )  # fmt: skip


def _with_attributes(inode: Inode, source: Inode) -> Inode:
    return inode._replace(
        mode=source.mode, uid=source.uid, gid=source.gid, mtime_ns=source.mtime_ns, atime_ns=source.atime_ns,
        rdev=source.rdev, xattrs=source.xattrs, foreign_metadata=source.foreign_metadata,
    )  # fmt: skip


def mirror(shadow: Inode, primary: Inode) -> Inode:
    """The shadow's row as its object is to become: a copy of the primary's, which owes nothing."""
    return _with_attributes(shadow, primary)._replace(
        size=primary.size, target=primary.target,
        content_generation=primary.content_uploaded, link_group=primary.link_group, metadata_known=True,
    )  # fmt: skip


def owe(index: Index, primary: Inode, due_ns: int) -> None:
    """The bucket has learnt a new state of `primary`: each shadow that is another by it is owed."""
    for shadow in shadows(index, primary):
        differs = shadow.content_uploaded != primary.content_uploaded or shadow.link_group != primary.link_group
        if differs or _copied(shadow) != _copied(primary):
            shadow = shadow._replace(
                content_generation=max(shadow.content_generation, primary.content_uploaded),
                meta_generation=shadow.meta_generation + 1,
            )
        if shadow.is_owed:
            index.parked.remove(shadow.ino)
            index.inodes.update(shadow._replace(due_ns=due_ns))


# -- shrinking ---------------------------------------------------------------------------------------------------------


def leave(index: Index, shadow: Inode) -> Inode:
    """`shadow` as a file of its own, which its object is by now; the row is the caller's to write."""
    primary = None if shadow.link_of is None else index.inodes.find(shadow.link_of)
    if primary is not None:
        index.inodes.update(without_name(index, primary, primary.ctime_ns, primary.due_ns))
    return shadow._replace(link_of=None, link_group=None)


def without_name(index: Index, primary: Inode, now_ns: int, due_ns: int) -> Inode:
    """`primary` with a name less. The last one is not linked any more, and the bucket learns that, unless there may be
    names that this index does not know."""
    primary = primary._replace(nlink=primary.nlink - 1, ctime_ns=now_ns)
    if primary.nlink == 1 and _knows_all_names(index, primary):
        primary = primary._replace(link_group=None, meta_generation=primary.meta_generation + 1, due_ns=due_ns)
    return primary


def remove_shadow(index: Index, shadow: Inode, *, now_ns: int, due_ns: int) -> None:
    """Take the shadow's name away, and its object."""
    place = index.dentries.place(shadow.ino)
    if place is not None:
        index.dentries.remove(*place, shadow)
    index.drop(shadow, due_ns)
    primary = None if shadow.link_of is None else index.inodes.find(shadow.link_of)
    if primary is not None:
        index.inodes.update(without_name(index, primary, now_ns, due_ns))


def take_over(index: Index, primary: Inode, *, now_ns: int, due_ns: int) -> None:
    """The primary's name goes and another of its names becomes its own: with the object, if that has the same bytes,
    else as if the primary was renamed over it."""
    place = index.dentries.place(primary.ino)
    if place is not None:
        index.dentries.remove(*place, primary)
    if _adopt_settled(index, primary, now_ns=now_ns, due_ns=due_ns, is_object_gone=False):
        return
    heir = shadows(index, primary)[0]
    _give_name(index, heir, primary)
    index.drop(heir, due_ns)
    primary = without_name(index, index.inodes.get(primary.ino), now_ns, due_ns)
    index.inodes.update(primary._replace(meta_generation=primary.meta_generation + 1, due_ns=due_ns))


def survive(index: Index, primary: Inode, *, now_ns: int) -> bool:
    """Someone else removed or replaced the primary's object. If another name has the bytes, the primary lives on there
    and its old name is free; else nothing is changed and False."""
    place = index.dentries.place(primary.ino)
    if place is None or not any(is_settled(shadow, primary) for shadow in shadows(index, primary)):
        return False
    index.dentries.remove(*place, primary)
    return _adopt_settled(index, primary, now_ns=now_ns, due_ns=now_ns, is_object_gone=True)


def _adopt_settled(index: Index, primary: Inode, *, now_ns: int, due_ns: int, is_object_gone: bool) -> bool:
    heir = next((shadow for shadow in shadows(index, primary) if is_settled(shadow, primary)), None)
    if heir is None:
        return False
    if not is_object_gone and primary.remote_key is not None:
        index.tombstones.put(primary.remote_key, primary.remote_etag, due_ns)
    index.abandon_attempt(primary, due_ns)
    _give_name(index, heir, primary)
    index.forget(heir.ino)
    primary = without_name(index, index.inodes.get(primary.ino), now_ns, due_ns)
    is_behind = heir.is_owed or _copied(heir) != _copied(primary)
    index.inodes.update(
        primary._replace(
            remote_key=heir.remote_key,
            remote_etag=heir.remote_etag,
            remote_modified_ns=heir.remote_modified_ns,
            remote_size=heir.remote_size,
            attempt_key=None,
            meta_generation=primary.meta_generation + is_behind,
            due_ns=due_ns if is_behind else primary.due_ns,
        )
    )
    return True


def _give_name(index: Index, heir: Inode, primary: Inode) -> None:
    place, component = index.dentries.place(heir.ino), index.dentries.component(heir)
    assert place is not None
    index.dentries.remove(*place, heir)
    index.dentries.add(*place, primary, component)


def disband(index: Index, primary: Inode) -> None:
    """The bytes of the group are lost to someone else's removal: a name that has older ones in the bucket is a file of
    its own from now on, one that has none is gone."""
    for shadow in shadows(index, primary):
        if shadow.remote_etag is not None:
            index.inodes.update(
                leave(index, shadow)._replace(
                    content_generation=shadow.content_uploaded,
                    size=shadow.remote_size,
                    metadata_known=False,
                )
            )
        else:
            remove_shadow(index, shadow, now_ns=primary.ctime_ns, due_ns=0)
