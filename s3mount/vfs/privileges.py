"""Which privileges a file gives to whoever runs it, and that it loses them with its content. Pure.

Called by FileIO where the kernel does not see to it: it takes them off before write(2), truncate(2) and chown(2), but
not in open(2) with O_TRUNC, which it leaves to us as a whole.
"""

import stat

from s3mount import xattr_format
from s3mount.model import Caller, Inode

CAPABILITIES = "security.capability"


def without_privileges(inode: Inode, caller: Caller) -> Inode:
    """`inode` once `caller` has changed its content: as inode(7) and capabilities(7) have it, setuid and setgid go,
    unless root does it; setgid without group execution only if the caller is not of the group; capabilities go."""
    mode = inode.mode
    if caller.uid != 0:
        mode &= ~stat.S_ISUID
        if mode & stat.S_IXGRP or caller.gid != inode.gid:
            mode &= ~stat.S_ISGID
    xattrs = xattr_format.unpack(inode.xattrs)
    if xattrs.pop(CAPABILITIES, None) is None:
        return inode._replace(mode=mode)
    return inode._replace(mode=mode, xattrs=xattr_format.pack(xattrs))
