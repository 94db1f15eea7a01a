"""What an inode owes the bucket, derived from its row. Pure: no clock, no thread, no I/O.

UPLOADING is never stored: after a crash it is DIRTY again, by construction. "Changed while uploading" is a generation
that moved on, not a state of its own.
"""

from enum import Enum

from s3mount.model import Inode, ObjectKey


class WriteState(Enum):
    CLEAN = "clean"  # the bucket has what the user sees
    DIRTY = "dirty"  # owed, waiting for its time
    UPLOADING = "uploading"  # a worker is at it
    PARKED = "parked"  # S3 refused it for good; tried again at drain and at the next mount


class Step(Enum):
    """The next request that brings the bucket nearer to the index. Done again and again until NOTHING is left."""

    NOTHING = "nothing"
    SETTLE = "settle"  # a directory's marker, but there is no place in the bucket for it: record it as done
    PUT = "put"  # the bytes, with metadata, at the path's key
    COPY = "copy"  # the object as it is, with new metadata, at the path's key (its own key, if it did not move)
    PUT_MARKER = "put marker"  # a directory's marker object
    MOVE_DIRECTORY = "move directory"  # hand the change of key down to the children
    LINK = "link"  # a copy of the primary's object at the path's key of one more of its names
    WAIT = "wait"  # one more name of a file that is itself owed


def write_state(inode: Inode, *, is_claimed: bool, is_parked: bool) -> WriteState:
    if not inode.is_owed:
        return WriteState.CLEAN
    if is_claimed:
        return WriteState.UPLOADING
    return WriteState.PARKED if is_parked else WriteState.DIRTY


def next_step(inode: Inode, path_key: ObjectKey | None, *, may_have_marker: bool, primary: Inode | None = None) -> Step:
    """`path_key`: the key the inode's path stands for now; None when it has no path. `may_have_marker`: of a directory,
    whether its key can be, and is not a file's. `primary`: of a shadow."""
    if path_key is None or not inode.is_owed:
        return Step.NOTHING
    if primary is not None:
        return Step.WAIT if primary.is_owed or primary.remote is None else Step.LINK
    if inode.is_dir:
        if inode.remote_key not in (None, path_key):
            return Step.MOVE_DIRECTORY
        return Step.PUT_MARKER if may_have_marker else Step.SETTLE
    if inode.content_owed or inode.remote is None:
        return Step.PUT
    return Step.COPY
