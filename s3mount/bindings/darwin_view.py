"""A drive as macOS expects one: names in either form of Unicode, extended attributes without a namespace, no search
index. Put by `as_seen` between libfuse's callbacks and the FileSystem, on macOS alone; any thread.

**Names.** Finder may ask for "é" as one character (NFC) or as a letter and an accent (NFD), whichever way it was made.
A name that is there exactly as asked for always wins; else the one in NFC, else the one in NFD. So a name that is there
in one form is not made again in the other. Names keep the form that they were made with, as on APFS, and are listed in
it. Only a stored name that is in neither form, part in this and part in that, has to be asked for as it is. Three
lookups at most, and one for a name of ASCII, which has one form: no index of a directory's names to keep in step.

**Attributes.** `com.apple.FinderInfo` is `user.com.apple.FinderInfo` on the drive, as netatalk and Samba have it; those
of Linux's other namespaces are not shown. Resource forks do not fit into an object's metadata: ENOTSUP, at which macOS
keeps them in a file `._NAME` by itself.

**Spotlight** leaves a volume alone whose root has `.metadata_never_index`. It is found there, empty, in no listing and
in no bucket, unless there is a real one.
"""

import stat
import unicodedata
from collections.abc import Sequence
from typing import Final

from s3mount.bindings.served import ServedFileSystem
from s3mount.errors import NotFound, NotPermitted, NotSupported
from s3mount.model import ROOT_INO, Attr, AttrChange, Caller, Fh, Ino
from s3mount.names import NAME_BYTES_MAX, to_bytes

NAMESPACE: Final = "user."
RESOURCE_FORK: Final = "com.apple.ResourceFork"
# sys/xattr.h there, and what a FileSystem takes: the flags of Linux.
XATTR_CREATE, XATTR_REPLACE = 2, 4
LINUX_XATTR_FLAGS: Final = {XATTR_CREATE: 1, XATTR_REPLACE: 2}
# sys/stdio.h there: RENAME_SWAP, RENAME_EXCL. Bits that are neither go on, and are refused.
LINUX_RENAME_FLAGS: Final = {0: 0, 2: 2, 4: 1}
UNKNOWN_RENAME: Final = 1 << 16

NEVER_INDEX: Final = ".metadata_never_index"
# Above every number that the index will ever give out.
NEVER_INDEX_INO: Final = Ino((1 << 62) + 1)


class DarwinView:
    def __init__(self, filesystem: ServedFileSystem, *, keeps_spotlight_out: bool):
        self._filesystem = filesystem
        self._keeps_spotlight_out = keeps_spotlight_out
        self.watch = filesystem.watch
        self.place = filesystem.place
        self.readlink = filesystem.readlink
        self.keeps_pages = filesystem.keeps_pages
        self.read = filesystem.read
        self.write = filesystem.write
        self.allocate = filesystem.allocate
        self.seek = filesystem.seek
        self.copy_range = filesystem.copy_range
        self.flush = filesystem.flush
        self.fsync = filesystem.fsync
        self.release = filesystem.release
        self.opendir = filesystem.opendir
        self.readdir = filesystem.readdir
        self.fsyncdir = filesystem.fsyncdir
        self.releasedir = filesystem.releasedir
        self.statfs = filesystem.statfs

    # -- names ---------------------------------------------------------------------------------------------------

    def lookup(self, parent: Ino, name: str) -> Attr:
        found = self._find(parent, name)
        if found is not None:
            return found[1]
        if self._is_never_index(parent, name):
            return self._never_index()
        raise NotFound(name)

    def _find(self, parent: Ino, name: str) -> tuple[str, Attr] | None:
        """(as it is there, what it names). Raises NameTooLong when no form of the name could be one."""
        for form in fitting(forms_of(name)):
            try:
                return form, self._filesystem.lookup(parent, form)
            except NotFound:
                continue
        return None

    def _stored(self, parent: Ino, name: str) -> str:
        """The name as it is there; when there is none, as it was asked for, or in a form that is short enough."""
        if name.isascii():
            return name
        found = self._find(parent, name)
        return fitting(forms_of(name))[0] if found is None else found[0]

    def mknod(self, parent: Ino, name: str, mode: int, rdev: int, caller: Caller) -> Attr:
        return self._filesystem.mknod(parent, self._stored(parent, name), mode, rdev, caller)

    def mkdir(self, parent: Ino, name: str, mode: int, caller: Caller) -> Attr:
        return self._filesystem.mkdir(parent, self._stored(parent, name), mode, caller)

    def symlink(self, target: str, parent: Ino, name: str, caller: Caller) -> Attr:
        return self._filesystem.symlink(target, parent, self._stored(parent, name), caller)

    def link(self, ino: Ino, new_parent: Ino, new_name: str) -> Attr:
        return self._filesystem.link(ino, new_parent, self._stored(new_parent, new_name))

    def create(self, parent: Ino, name: str, mode: int, flags: int, caller: Caller) -> tuple[Attr, Fh]:
        return self._filesystem.create(parent, self._stored(parent, name), mode, flags, caller)

    def unlink(self, parent: Ino, name: str) -> None:
        try:
            self._filesystem.unlink(parent, self._stored(parent, name))
        except NotFound:
            if self._is_never_index(parent, name):
                raise NotPermitted("it is there for as long as the drive is mounted with --junk=local") from None
            raise

    def rmdir(self, parent: Ino, name: str) -> None:
        self._filesystem.rmdir(parent, self._stored(parent, name))

    def rename(self, parent: Ino, name: str, new_parent: Ino, new_name: str, flags: int = 0) -> None:
        """To the other form of its own name is no change."""
        old, new = self._stored(parent, name), self._stored(new_parent, new_name)
        self._filesystem.rename(parent, old, new_parent, new, LINUX_RENAME_FLAGS.get(flags, UNKNOWN_RENAME))

    # -- attributes ----------------------------------------------------------------------------------------------

    def getattr(self, ino: Ino) -> Attr:
        return self._never_index() if ino == NEVER_INDEX_INO else self._filesystem.getattr(ino)

    def setattr(self, ino: Ino, change: AttrChange, fh: Fh | None = None) -> Attr:
        _require_real(ino)
        return self._filesystem.setattr(ino, change, fh)

    def open(self, ino: Ino, flags: int, caller: Caller) -> Fh:
        _require_real(ino)
        return self._filesystem.open(ino, flags, caller)

    def getxattr(self, ino: Ino, name: str) -> bytes | None:
        if ino == NEVER_INDEX_INO:
            return None
        return self._filesystem.getxattr(ino, _attribute(name))

    def listxattr(self, ino: Ino, caller: Caller) -> Sequence[str]:
        if ino == NEVER_INDEX_INO:
            return []
        names = self._filesystem.listxattr(ino, caller)
        return [name.removeprefix(NAMESPACE) for name in names if name.startswith(NAMESPACE)]

    def setxattr(self, ino: Ino, name: str, value: bytes, flags: int) -> None:
        _require_real(ino)
        wanted = sum(linux for darwin, linux in LINUX_XATTR_FLAGS.items() if flags & darwin)
        self._filesystem.setxattr(ino, _attribute(name), value, wanted)

    def removexattr(self, ino: Ino, name: str) -> None:
        _require_real(ino)
        self._filesystem.removexattr(ino, _attribute(name))

    # -- what keeps Spotlight out --------------------------------------------------------------------------------

    def _is_never_index(self, parent: Ino, name: str) -> bool:
        return self._keeps_spotlight_out and parent == ROOT_INO and name == NEVER_INDEX

    def _never_index(self) -> Attr:
        root = self._filesystem.getattr(ROOT_INO)
        times = (root.atime_ns, root.mtime_ns, root.ctime_ns)
        return Attr(NEVER_INDEX_INO, stat.S_IFREG | 0o444, 1, root.uid, root.gid, 0, *times)


def forms_of(name: str) -> list[str]:
    """`name`, then its other forms, each once."""
    if name.isascii():
        return [name]
    return list(dict.fromkeys((name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))))


def fitting(forms: list[str]) -> list[str]:
    """Those that may be names (macOS counts 255 bytes in NFC, and NFD has more); the first, when none may."""
    short = [form for form in forms if len(to_bytes(form)) <= NAME_BYTES_MAX]
    return short or forms[:1]


def _attribute(name: str) -> str:
    """Raises NotSupported."""
    if name == RESOURCE_FORK:
        raise NotSupported("resource forks are not kept as attributes")
    return NAMESPACE + name


def _require_real(ino: Ino) -> None:
    if ino == NEVER_INDEX_INO:
        raise NotPermitted(f"{NEVER_INDEX} is there for the eye only")
