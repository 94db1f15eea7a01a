"""One mount as a process: from a MountConfig to a served mount point, and to an orderly end.

Called by the command line. The main thread serves FUSE; when the mount is detached (unmount, umount, SIGTERM) it goes
on here until the bucket has everything.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import NoReturn

from s3mount import __version__, garbage, keys
from s3mount.bandwidth import Rates
from s3mount.bindings import RunBinding, as_seen, load_binding
from s3mount.check.checker import check
from s3mount.check.context import CheckContext
from s3mount.config import AtimeMode, FsyncMode, HardLinkMode, JunkMode, MountConfig
from s3mount.control.announce import Announcement
from s3mount.control.protocol import DrainProgress, OwedFile
from s3mount.drive import Drive, DriveOptions
from s3mount.ending import end_process
from s3mount.errors import MountError, NotDrained
from s3mount.host import END_SIGNALS, PROCESS_HOLDS_DRIVE, hold_end_signals
from s3mount.remote.defaults import Defaults
from s3mount.remote.refresh import Refresher
from s3mount.store.concurrency import Concurrency
from s3mount.store.s3 import open_store
from s3mount.store.settings import StoreSettings
from s3mount.store.token_bucket import minute_of_day
from s3mount.vfs.context import VfsOptions
from s3mount.writeback.writeback import Backlog, Left

log = logging.getLogger(__name__)


# How long an end waits for requests in flight. S3 may be unreachable, and what they wanted is on record.
CLOSE_DEADLINE_S = 2.0


class _Interrupted(Exception):
    """Draining after the detach is to end now."""


class MountHandlers:
    """What the control socket may ask of this mount (control/protocol.py)."""

    def __init__(self, config: MountConfig, drive: Drive):
        self._config = config
        self._drive = drive
        self._is_detached = threading.Event()
        self._ends_at_once = threading.Event()
        self.detaching = threading.Event()

    # -- asked over the control channel --------------------------------------------------------------------------

    def status(self) -> Mapping[str, object]:
        drive, writeback = self._drive, self._drive.writeback
        backlog = writeback.backlog()
        files, size, conflicts = writeback.totals
        return {
            "mountpoint": str(self._config.mountpoint),
            "bucket": self._config.bucket,
            "prefix": self._config.prefix,
            "pid": os.getpid(),
            "version": __version__,
            "state": "draining" if self._is_detached.is_set() else "mounted",
            "dirty_files": backlog.files,
            "dirty_bytes": backlog.size,
            "deletions": backlog.deletions,
            "uploading": backlog.uploading,
            "oldest_dirty_age_s": writeback.oldest_age_s(),
            "uploaded_files_total": files,
            "uploaded_bytes_total": size,
            "requests": dict(drive.store.request_counts()),
            "cache_bytes": drive.cache.used_bytes,
            "cache_limit_bytes": drive.cache.limit_bytes,
            "cache_damaged": drive.cache.damaged,
            "upload_concurrency": {"limit": drive.concurrency.limit, "max": drive.concurrency.limit_max},
            "bandwidth_limit": _shown_rates(self._config.bandwidth.at(minute_of_day())),
            "conflicts": conflicts,
            "conditional_writes": writeback.conditional_writes.value,
            "errors": [
                {"path": left.path, "cause": left.cause, "since": (left.since_ns or 0) / 1e9}
                for left in [*writeback.refused(), *drive.archived()]
            ],
        }

    def drain(self, deadline_s: float | None, progress: Callable[[DrainProgress], None]) -> list[OwedFile]:
        return [_owed(left) for left in self._drive.drain(deadline_s, lambda now: progress(_progress(now)))]

    def check(self, repair: bool, progress: Callable[[int], None]) -> list[dict[str, str]]:
        drive = self._drive
        context = CheckContext(
            drive.store, drive.index, drive.cache, drive.locks, drive.lister.invalidate, is_live=True, repairs=repair
        )
        return [finding.as_json() for finding in check(context, progress)]

    def refresh(self, path: str, recursive: bool, progress: Callable[[int], None]) -> int:
        refresher = Refresher(self._drive.index, self._drive.lister, on_listed=progress)
        return refresher.refresh(keys.split_path(path), recursive=recursive)

    def stop(self, drain: bool) -> None:
        if drain:
            self._ends_at_once.clear()
        else:
            self._ends_at_once.set()

    def detach(self) -> None:
        if not PROCESS_HOLDS_DRIVE:
            raise MountError(f"{self._config.mountpoint} is detached by the system: fusermount3 -u, or umount")
        self.detaching.set()

    # -- after the detach ----------------------------------------------------------------------------------------

    def drain_detached(self) -> list[OwedFile]:
        """Until all is in the bucket or refused, a signal comes, or `stop(drain=False)` was said: what is left."""
        self._is_detached.set()
        for number in END_SIGNALS:
            signal.signal(number, self._on_signal)
        writeback = self._drive.writeback
        try:
            # A drain forgets why changes were parked; who ends at once is to be told.
            left = writeback.left() if self._ends_at_once.is_set() else self._drive.drain(None, self._go_on)
        except _Interrupted:
            left = writeback.left()
        return [_owed(entry) for entry in left]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._ends_at_once.set()

    def _go_on(self, _: Backlog) -> None:
        if self._ends_at_once.is_set():
            raise _Interrupted


def _shown_rates(rates: Rates) -> Mapping[str, int | None]:
    return {"up": rates.up, "down": rates.down}


def _progress(backlog: Backlog) -> DrainProgress:
    return DrainProgress(backlog.files + backlog.deletions, backlog.size, backlog.uploading, backlog.parked)


def _owed(left: Left) -> OwedFile:
    return OwedFile(left.path, left.cause)


def serve(config: MountConfig, on_ready: Callable[[], None]) -> NoReturn:
    """Mount, call `on_ready` when the mount answers, serve until it is detached, drain, and end the process with the
    mount's exit code.

    Raises MountError or StoreError before `on_ready`, with nothing left mounted."""
    run_binding = load_binding()
    concurrency = Concurrency(config.upload_concurrency)
    with garbage.loaded_for_good():
        store = open_store(_store_settings(config), on_strain=concurrency.strained)
    try:
        store.check_access()
        # Before the first thread is started; the binding takes them when it serves.
        hold_end_signals()
        drive = Drive(store, config.state_dir, _drive_options(config, store.location, concurrency))
        try:
            code = _serve_drive(config, drive, run_binding, on_ready)
        finally:
            drive.close(CLOSE_DEADLINE_S)
    finally:
        store.close()
    logging.shutdown()
    end_process(code)


def _serve_drive(config: MountConfig, drive: Drive, run_binding: RunBinding, on_ready: Callable[[], None]) -> int:
    handlers = MountHandlers(config, drive)
    with Announcement(config, handlers) as announcement:
        log.info("s3mount %s serves s3://%s/%s at %s", __version__, config.bucket, config.prefix, config.mountpoint)
        run_binding(
            as_seen(drive.filesystem, keeps_junk_here=config.junk_mode is JunkMode.LOCAL),
            str(config.mountpoint),
            source_name=f"s3mount#{config.bucket}/{config.prefix}",
            read_only=config.read_only,
            allow_other=config.allow_other,
            extra_options=config.fuse_options,
            detaching=handlers.detaching,
            on_ready=on_ready,
        )
        log.info("%s is detached; the process goes on until the bucket has everything", config.mountpoint)
        announcement.conclude(handlers.drain_detached())
        # Closed while still announced: whoever follows the end may mount again at once.
        drive.close(CLOSE_DEADLINE_S)
    # Told once more while the process ends: the exit code is to be the same.
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if announcement.owed:
        log.warning("ended with %d changes not in the bucket", len(announcement.owed))
        return NotDrained.exit_code
    return 0


def _store_settings(config: MountConfig) -> StoreSettings:
    return StoreSettings(
        bucket=config.bucket,
        prefix=config.prefix,
        endpoint_url=config.endpoint_url,
        profile=config.profile,
        region=config.region,
        addressing_style=config.addressing_style,  # type: ignore[arg-type]  # the parser lets nothing else through
        storage_class=config.storage_class,
        offline_timeout_s=config.offline_timeout_s,
        bandwidth=config.bandwidth,
    )


def _drive_options(config: MountConfig, source: str, concurrency: Concurrency) -> DriveOptions:
    return DriveOptions(
        source=source,
        defaults=Defaults(config.uid, config.gid, config.umask),
        cache_limit_bytes=config.cache_limit_bytes,
        concurrency=concurrency,
        write_back_delay_s=config.write_back_delay_s,
        may_probe=not config.read_only,
        metadata_ttl_s=config.metadata_ttl_s,
        prefetch_bytes=config.prefetch_bytes,
        vfs=VfsOptions(
            read_only=config.read_only,
            fsync_remote=config.fsync_mode is FsyncMode.REMOTE,
            has_hard_links=config.hard_link_mode is HardLinkMode.COPY,
            offline_timeout_s=config.offline_timeout_s,
            capacity_bytes=config.capacity_bytes,
            is_relatime=config.atime_mode is AtimeMode.RELATIME,
            keeps_junk=config.junk_mode is JunkMode.LOCAL,
        ),
    )
