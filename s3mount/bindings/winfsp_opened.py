"""One open of a drive of Windows. Made, changed and closed by winfsp_drive.py, handed around by winfsp.py; the driver
lets requests of one open run at the same time.
"""

import stat
import threading
from dataclasses import dataclass, field
from enum import Enum, IntFlag

from s3mount.bindings.winfsp_attributes import FileAttribute, WindowsAttributes
from s3mount.bindings.winfsp_listing import Listing
from s3mount.errors import AccessDenied, IsADirectory
from s3mount.model import Attr, Fh, Ino


class Kind(Enum):
    FILE = "file"
    DIRECTORY = "directory"
    TEXT = "text"  # what Windows has no word for


class Cleanup(IntFlag):
    """FspCleanup*: what the driver wants done when the last handle of an open is closed."""

    DELETE = 0x1
    SET_ARCHIVE = 0x10


@dataclass(slots=True, eq=False)
class Opened:
    """One open. `attr` and `attributes` are the last that were known, of this moment while `is_fresh`; `fh` is the
    drive's handle, none as long as nobody needs one."""

    ino: Ino
    kind: Kind
    path: str
    attr: Attr
    attributes: WindowsAttributes
    fh: Fh | None = None
    can_write: bool = False
    is_fresh: bool = True
    appending: Fh | None = None
    text: bytes = b""
    listing: Listing | None = None
    room: int = 0  # how many entries of a listing the caller has room for
    # A time of writing that was set by this handle: writes by it do not move it.
    set_mtime_ns: int | None = None
    is_written: bool = False
    did_set_attributes: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


def kind_of(attr: Attr) -> Kind:
    if stat.S_ISDIR(attr.mode):
        return Kind.DIRECTORY
    return Kind.FILE if stat.S_ISREG(attr.mode) else Kind.TEXT


def own_bits(attributes: WindowsAttributes, kind: Kind) -> FileAttribute:
    """Those that somebody may set."""
    is_dir = kind is Kind.DIRECTORY
    return attributes.shown(is_dir=is_dir) & ~FileAttribute.DIRECTORY


def require_file(opened: Opened) -> None:
    """Raises IsADirectory, AccessDenied."""
    if opened.kind is Kind.DIRECTORY:
        raise IsADirectory(opened.path)
    if opened.kind is Kind.TEXT:
        raise AccessDenied("a link or special file of Linux")
