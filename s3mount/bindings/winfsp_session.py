"""One mount over WinFsp, from the volume's making to its end: `run_winfsp`.

Called by mount.py in the main thread; the callbacks (winfsp.py) run on WinFsp's own threads. It knows volume parameters
and mount points, and nothing of files. Importing it loads winfspy, and that winfsp.dll.
"""

import hashlib
import logging
import signal
import threading

import winfspy
from winfspy.plumbing import cook_ntstatus, ffi, lib, nt_success

from s3mount import host
from s3mount.bindings.served import Ready, ServedFileSystem
from s3mount.bindings.windows_place import WindowsPlace, parse_place
from s3mount.bindings.winfsp import WinFspOperations
from s3mount.bindings.winfsp_notification import Notification, NotifyFunctions
from s3mount.errors import MountPointUnusable
from s3mount.host import END_SIGNALS, end_with_console

log = logging.getLogger(__name__)

THREADS = 32
SECTOR_BYTES = 4096
NAME_UNITS_MAX = 255
# winfspy keeps seven characters.
FILE_SYSTEM_NAME = "S3MOUNT"
# How long the kernel may answer for us, in ms. Others change the bucket, so it is asked again soon.
FILE_INFO_MS, VOLUME_INFO_MS, SECURITY_MS = 1000, 10_000, 60_000
# Names that others add or remove are told to it (winfsp_notification.py), those that change here it knows itself.
DIR_INFO_MS = 5000


class Volume(winfspy.FileSystem):  # type: ignore[misc]  # winfspy has no types
    """winfspy's own starts as many threads as there are processors, takes no volume without a mount point, and tells
    Windows of no changes."""

    def watch(self, filesystem: ServedFileSystem, functions: NotifyFunctions) -> None:
        """Before `start`."""
        volume = int(ffi.cast("uintptr_t", self._file_system_ptr[0]))
        self._notification = Notification(filesystem, functions, volume)
        self.operations.drive.watch(self._notification.note, self._notification.note_new)

    def start(self) -> None:
        """Raises MountPointUnusable with nothing mounted."""
        # Its lock would make every open wait while one name is made or moved; ours lock what must be locked.
        lib.FspFileSystemSetOperationGuardF(self._file_system_ptr[0], ffi.NULL, ffi.NULL)
        self.started = True
        try:
            if self.mountpoint is not None:
                self._require(lib.FspFileSystemSetMountPoint(self._file_system_ptr[0], self.mountpoint))
            self._require(lib.FspFileSystemStartDispatcher(self._file_system_ptr[0], THREADS))
        except MountPointUnusable:
            self.stop()
            raise
        self._notification.start()

    def stop(self) -> None:
        if self._notification.end():
            super().stop()
        else:
            # The driver has the volume in hand; it takes it down itself when this process ends.
            log.error("the driver does not return from being told of a change: the volume is left to it")

    def _require(self, status: int) -> None:
        if not nt_success(status):
            is_folder = "\\" in (self.mountpoint or "").removeprefix("\\\\.\\")
            hint = "; a folder has to be on an NTFS disk of this computer" if is_folder else ""
            raise MountPointUnusable(f"WinFsp refuses {self.mountpoint}: {cook_ntstatus(status).name}{hint}")


def _require_free(place: WindowsPlace) -> None:
    """Raises MountPointUnusable. WinFsp would not: it puts the drive in front of what has the letter, so that this
    session no longer finds C:."""
    letter = place.mount_point or ""
    if letter.endswith(":") and letter[-2] in host.taken_letters():
        raise MountPointUnusable(f"{letter} is the letter of another drive: give another, or * for the first free one")


def make_volume(filesystem: ServedFileSystem, place: WindowsPlace, *, label: str, read_only: bool) -> Volume:
    """Not started yet. Raises MountPointUnusable."""
    operations = WinFspOperations(filesystem, label=label, read_only=read_only)
    serial = int.from_bytes(hashlib.sha256(label.encode()).digest()[:4], "little")
    functions = NotifyFunctions()
    try:
        volume = Volume(
            place.mount_point,
            operations,
            sector_size=SECTOR_BYTES,
            sectors_per_allocation_unit=1,
            max_component_length=NAME_UNITS_MAX,
            volume_serial_number=serial,
            file_info_timeout=FILE_INFO_MS,
            volume_info_timeout_valid=1,
            volume_info_timeout=VOLUME_INFO_MS,
            security_timeout_valid=1,
            security_timeout=SECURITY_MS,
            dir_info_timeout_valid=1,
            dir_info_timeout=DIR_INFO_MS,
            case_sensitive_search=0,
            case_preserved_names=1,
            unicode_on_disk=1,
            persistent_acls=0,
            read_only_volume=int(read_only),
            post_cleanup_when_modified_only=1,
            flush_and_purge_on_cleanup=1,
            um_file_context_is_user_context2=1,
            prefix=place.prefix,
            file_system_name=FILE_SYSTEM_NAME,
        )
    except winfspy.WinFSPyError as error:
        raise MountPointUnusable(f"WinFsp makes no volume: {error}") from error
    volume.watch(filesystem, functions)
    return volume


def run_winfsp(
    filesystem: ServedFileSystem,
    mountpoint: str,
    *,
    source_name: str,
    read_only: bool,
    allow_other: bool,
    extra_options: tuple[str, ...],
    detaching: threading.Event,
    on_ready: Ready,
) -> None:
    """Serve `filesystem` at `mountpoint` (windows_place.py) until `detaching` is set, by another thread or by one
    of END_SIGNALS.

    `allow_other` means nothing here: who sees a drive is decided by the session it was made in. Raises
    MountPointUnusable with nothing mounted."""
    if extra_options:
        raise MountPointUnusable(f"-o {extra_options[0]}: WinFsp takes none of FUSE's options")
    place = parse_place(mountpoint)
    _require_free(place)
    label = source_name.partition("#")[2].strip("/")
    volume = make_volume(filesystem, place, label=label, read_only=read_only)
    for number in END_SIGNALS:
        signal.signal(number, lambda *_: detaching.set())
    end_with_console()
    volume.start()
    try:
        on_ready()
        # In pieces: Python handles a signal of Windows only between two waits.
        while not detaching.wait(0.5):
            pass
    finally:
        volume.stop()
