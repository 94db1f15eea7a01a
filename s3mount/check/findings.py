"""What a check can find. Pure values; the words are those of docs/commands.md."""

from dataclasses import dataclass
from enum import Enum


class Weight(Enum):
    """A difference is something that should not be; what is owed is on its way."""

    DIFFERENCE = "difference"
    OWED = "owed"


class Kind(Enum):
    OBJECT_MISSING = "object missing"
    OTHER_ETAG = "other ETag"
    OTHER_SIZE = "other size"
    OTHER_METADATA = "metadata differs"
    EXTRA_OBJECT = "object not in the index"
    DAMAGED_CLEAN = "cached block damaged"
    DAMAGED_DIRTY = "cached block damaged, not in the bucket"
    STRAY_FILE = "block file without a row"
    LOST_FILE = "row without its block file"
    STRAY_ROW = "row without an inode"
    NOT_UPLOADED = "not uploaded yet"
    NOT_DELETED = "not deleted yet"
    UNFINISHED_UPLOAD = "unfinished multipart upload"


_OWED = frozenset({Kind.NOT_UPLOADED, Kind.NOT_DELETED, Kind.UNFINISHED_UPLOAD})


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `place`: a path ("/a/b") or, of what has none, "inode N". `repair`: what was done about it; empty when
    nothing was, or nothing may be."""

    kind: Kind
    place: str
    detail: str = ""
    repair: str = ""

    @property
    def weight(self) -> Weight:
        return Weight.OWED if self.kind in _OWED else Weight.DIFFERENCE

    def as_json(self) -> dict[str, str]:
        return {
            "kind": self.kind.value,
            "weight": self.weight.value,
            "place": self.place,
            "detail": self.detail,
            "repair": self.repair,
        }
