"""What happens here when a listing shows that someone else changed or removed objects: the lister's callback."""

from s3mount.cache.filecache import FileCache
from s3mount.index.index import Index
from s3mount.remote.merge import MergeResult
from s3mount.vfs.handles import Handles


class ForeignChanges:
    """Called by remote/ after the index was brought up to date, under no lock."""

    def __init__(self, index: Index, cache: FileCache, handles: Handles):
        self._index = index
        self._cache = cache
        self._handles = handles

    def __call__(self, result: MergeResult) -> None:
        for ino in result.changed:
            self._handles.content_changed(ino)
            self._cache.discard(ino)
        for ino in result.removed:
            with self._index.transaction():
                is_open = self._handles.is_open(ino)
                if not is_open:
                    self._index.forget(ino)
            if not is_open:
                self._cache.discard(ino)
