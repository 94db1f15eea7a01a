"""What an object looks like that carries no metadata of ours: the mount's defaults."""

import stat
from typing import NamedTuple


class Defaults(NamedTuple):
    """`umask` takes bits away from 0666 for files and 0777 for directories."""

    uid: int
    gid: int
    umask: int

    @property
    def file_mode(self) -> int:
        return stat.S_IFREG | (0o666 & ~self.umask)

    @property
    def dir_mode(self) -> int:
        return stat.S_IFDIR | (0o777 & ~self.umask)
