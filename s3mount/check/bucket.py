"""The index's rows against the objects.

Called by checker.py, with no lock held. A listing is compared first; what differs is asked for again by its key, since
on a live mount the two change under the comparison. Keeps key, ETag and size of every object in memory.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from s3mount import keys
from s3mount.check.context import CheckContext
from s3mount.check.findings import Finding, Kind
from s3mount.errors import Missing
from s3mount.metadata import decode
from s3mount.model import ROOT_INO, ETag, Ino, Inode, ObjectInfo, ObjectKey

PAGE = 500
HEADS_AT_ONCE = 16
RELISTED = "looked at again at its next use"

Listed = dict[ObjectKey, tuple[ETag, int]]


def check_bucket(context: CheckContext, step: Callable[[], None]) -> list[Finding]:
    objects = _list_all(context, step)
    found: list[Finding] = []
    inodes = _with_objects(context)
    with ThreadPoolExecutor(HEADS_AT_ONCE, thread_name_prefix="check") as pool:
        while page := list(islice(inodes, PAGE)):
            listed = [objects.pop(inode.remote_key, None) for inode in page if inode.remote_key is not None]
            for findings in pool.map(lambda pair: _compare(context, *pair), zip(page, listed, strict=True)):
                step()
                found += findings
    for key, (_, size) in objects.items():
        step()
        found += _extra(context, key, is_own_file=keys.is_dir_key(key) and size > 0)
    return found


def _list_all(context: CheckContext, step: Callable[[], None]) -> Listed:
    objects: Listed = {}
    token: str | None = None
    while True:
        page = context.store.list_page(keys.ROOT_KEY, delimiter="", token=token)
        objects.update((found.key, (found.etag, found.size)) for found in page.objects)
        step()
        token = page.next_token
        if token is None:
            return objects


def _with_objects(context: CheckContext) -> Iterator[Inode]:
    after = Ino(0)
    while page := context.index.inodes.after(after, PAGE):
        yield from (inode for inode in page if inode.nlink > 0 and inode.remote is not None)
        after = page[-1].ino


def _compare(context: CheckContext, inode: Inode, listed: tuple[ETag, int] | None) -> list[Finding]:
    assert inode.remote_key is not None
    is_same = listed is not None and listed == (inode.remote_etag, inode.remote_size)
    if is_same and not (inode.metadata_known and not inode.is_owed):
        return []
    try:
        there: ObjectInfo | None = context.store.head(inode.remote_key)
    except Missing:
        there = None
    now = context.index.inodes.find(inode.ino)
    if now is None or now.remote != inode.remote or now.attempt_key is not None:
        return []  # a write of ours has its outcome still to come, or has just come
    kind, detail = _difference(now, there)
    if kind is None:
        return []
    return [Finding(kind, context.path(now.ino), detail, _look_again(context, now))]


def _difference(inode: Inode, there: ObjectInfo | None) -> tuple[Kind | None, str]:
    if there is None:
        return Kind.OBJECT_MISSING, ""
    if there.etag != inode.remote_etag:
        return Kind.OTHER_ETAG, f"{there.etag} instead of {inode.remote_etag}"
    if there.size != inode.remote_size:
        return Kind.OTHER_SIZE, f"{there.size} bytes instead of {inode.remote_size}"
    attributes = decode(there.metadata or {}, is_dir_key=inode.is_dir)
    if not inode.metadata_known or inode.is_owed or attributes.write_id is None:
        return None, ""
    pairs = (
        ("mode", attributes.mode, inode.mode),
        ("uid", attributes.uid, inode.uid),
        ("gid", attributes.gid, inode.gid),
        ("mtime_ns", attributes.mtime_ns, inode.mtime_ns),
    )
    differing = [f"{name} {theirs} instead of {ours}" for name, theirs, ours in pairs if theirs not in (None, ours)]
    # A directory's times move with its names, and are not worth a request each.
    is_different = differing and not inode.is_dir
    return (Kind.OTHER_METADATA, ", ".join(differing)) if is_different else (None, "")


def _look_again(context: CheckContext, inode: Inode) -> str:
    """Let the next use of the file, and of its directory, ask the bucket. Not while changes are owed: those meet the
    object on their own."""
    if not context.repairs or inode.is_owed:
        return ""
    with context.index.transaction():
        now = context.index.inodes.find(inode.ino)
        if now is None or now.is_owed or now.remote != inode.remote:
            return ""
        if not now.is_dir:
            context.index.inodes.update(now._replace(metadata_known=False))
        place = context.index.dentries.place(inode.ino)
    context.relist(inode.ino if inode.is_dir else place[0] if place is not None else ROOT_INO)
    return RELISTED


def _extra(context: CheckContext, key: ObjectKey, *, is_own_file: bool) -> list[Finding]:
    index = context.index
    above = keys.ancestor_keys(key)
    known = index.dentries.resolve_key(key)
    if is_own_file and known is not None:
        parent: Inode | None = known
        known = index.dentries.own_file(known.ino)
    else:
        parent = index.dentries.resolve_key(above[-1] if above else keys.ROOT_KEY)
    if parent is None or not parent.is_listed:
        return []
    if known is not None or index.tombstones.find(key) is not None:
        return []
    is_dir = keys.is_dir_key(key) and not is_own_file
    if index.inodes.with_remote_key(key, is_dir=is_dir) or index.inodes.with_attempt_at(key) is not None:
        return []
    try:
        context.store.head(key)
    except Missing:
        return []
    if context.repairs:
        context.relist(parent.ino)
    return [Finding(Kind.EXTRA_OBJECT, f"/{key}", repair=RELISTED if context.repairs else "")]
