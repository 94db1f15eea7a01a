"""Lists ahead of one who brings everything below a directory up to date, directory by directory, in order.

Made by the lister for a refresh (refresh.py), used by its thread alone, under no lock. What it serves was asked for
since it was made: others' walks (walks.py) serve what was asked for before as well.
"""

from s3mount.model import Inode, ObjectKey
from s3mount.remote.walk import Walk
from s3mount.remote.walks import Walks, is_served_soon

# A directory that is alone below another is worth no walk.
LISTED_ALONE_MIN = 2


class FollowedWalk:
    def __init__(self, walks: Walks, root: ObjectKey | None):
        """`root`: what everything is below; nothing is listed ahead of what has no key."""
        self._walks = walks
        self._root = root
        self._walk: Walk | None = None
        self._listed_alone = 0

    def serve(self, directory: Inode) -> bool:
        """Whether the index has what the bucket had of this directory since this was made. If not, list it; a walk of
        what follows may have begun."""
        key = directory.remote_key
        if self._root is None or key is None or not key.startswith(self._root):
            return False
        if self._walk is not None and self._has_served(self._walk, directory):
            return True
        self._listed_alone += 1
        if self._listed_alone >= LISTED_ALONE_MIN and (self._walk is None or self._walk.is_over):
            self._walk = self._walks.begin_after(self._root, key)
        return False

    def _has_served(self, walk: Walk, directory: Inode) -> bool:
        if self._walks.take(walk, directory.ino):
            walk.used()
            return True
        is_served = walk.asks(directory)
        if is_served is not None and not is_served_soon(is_served):
            return False
        return self._walks.take(walk, directory.ino)

    def end(self) -> None:
        if self._walk is not None:
            self._walk.end()
