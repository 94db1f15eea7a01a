"""FLOOR 0: what differs between operating systems, as functions that mean the same on each.

Called wherever a local file, a process or a signal is handled in a way that Python's standard library does not make
alike. The system is chosen here, once, when the package is imported; posix.py and windows.py define the same names with
the same meaning, which posix.py's docstrings give. It knows nothing of S3, of drives and of mounts.
"""

import sys

if sys.platform == "win32":
    from s3mount.host.windows import (
        END_SIGNALS,
        HAS_OWNERS,
        PROCESS_HOLDS_DRIVE,
        allocate,
        boot_identity,
        detached,
        effective_uid,
        end_with_console,
        fdatasync,
        handed_down,
        lock_exclusively,
        open_shared,
        open_sparse,
        own_ids,
        pread,
        punch_hole,
        pwrite,
        replace,
        start_time,
        sync_filesystem,
        sync_folder,
        taken_letters,
        truncate,
        wait_readable,
    )
else:
    from s3mount.host.posix import (
        END_SIGNALS,
        HAS_OWNERS,
        PROCESS_HOLDS_DRIVE,
        allocate,
        boot_identity,
        detached,
        effective_uid,
        end_with_console,
        fdatasync,
        handed_down,
        lock_exclusively,
        open_shared,
        open_sparse,
        own_ids,
        pread,
        punch_hole,
        pwrite,
        replace,
        start_time,
        sync_filesystem,
        sync_folder,
        taken_letters,
        truncate,
        wait_readable,
    )

__all__ = [
    "END_SIGNALS",
    "HAS_OWNERS",
    "PROCESS_HOLDS_DRIVE",
    "allocate",
    "boot_identity",
    "detached",
    "effective_uid",
    "end_with_console",
    "fdatasync",
    "handed_down",
    "lock_exclusively",
    "open_shared",
    "open_sparse",
    "own_ids",
    "pread",
    "punch_hole",
    "pwrite",
    "replace",
    "start_time",
    "sync_filesystem",
    "sync_folder",
    "taken_letters",
    "truncate",
    "wait_readable",
]
