"""Whether the clean bytes that a row claims can be believed after a restart.

Called by FileCache at start and at close, on one thread. `kill -9` loses nothing that was handed to the kernel, so
after it every row is right (blockfile.py has the table). Power loss keeps block files and rows each in a state of
their own: a row may claim bytes that were never written out, or that a later run had already punched. Dirty bytes
are ordered by fsync; clean ones are not worth an fsync, because the bucket has them. So each row carries the tag
of the boot it was saved under, and clean bytes under another tag are dropped and fetched again. An orderly close
syncs the filesystem and hands its tag on.
"""

import os

from s3mount.cache.disk import Disk

TAG_BYTES = 8
_CLOSED = b"closed"


def begin(disk: Disk) -> bytes:
    """The tag rows are saved under from now on. Raises OSError."""
    boot = disk.boot_identity()
    fields = disk.load_mark().split(b"\n")
    tag = b""
    if len(fields) == 2 and (fields[1] == _CLOSED or (boot and fields[1] == boot)):
        tag = _decode(fields[0])
    tag = tag or os.urandom(TAG_BYTES)
    disk.store_mark(tag.hex().encode() + b"\n" + boot)
    return tag


def end(disk: Disk, tag: bytes) -> None:
    """The rows are saved: let the next run believe them whatever happens in between. Raises OSError."""
    if disk.sync_all():
        disk.store_mark(tag.hex().encode() + b"\n" + _CLOSED)


def _decode(text: bytes) -> bytes:
    try:
        tag = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return b""
    return tag if len(tag) == TAG_BYTES else b""
