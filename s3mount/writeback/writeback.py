"""Write-back as the floors above see it: told of changes, asked to wait until the bucket has them."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from s3mount.errors import IOFailure
from s3mount.model import Ino, Inode
from s3mount.writeback import recovery
from s3mount.writeback.claims import Claims
from s3mount.writeback.conditions import Support
from s3mount.writeback.conflict import ConflictResolver
from s3mount.writeback.context import WriteBackContext
from s3mount.writeback.copies import Copier
from s3mount.writeback.deleter import Deleter
from s3mount.writeback.moves import Mover
from s3mount.writeback.multipart import MultipartUpload
from s3mount.writeback.pace import Pace
from s3mount.writeback.pending import PendingUploads
from s3mount.writeback.scheduler import Scheduler
from s3mount.writeback.settle import Settlement
from s3mount.writeback.steps import Steps
from s3mount.writeback.uploader import Uploader

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 0.25
# What is owed is counted under the lock of the index, row by row: whoever waits for a lot does so a tenth of the time.
COUNT_S_CHEAP = 0.005
COUNT_TIMES = 10
COUNT_PAUSE_S_MAX = 2.0
HURRY_S = 5.0
LEFT_SHOWN_MAX = 1000


class Backlog(NamedTuple):
    """What is owed at this moment. `size`: bytes of content that S3 does not have yet, be it as parts."""

    files: int
    size: int
    deletions: int
    uploading: int
    parked: int

    @property
    def is_empty(self) -> bool:
        return not (self.files or self.deletions or self.uploading)


class Left(NamedTuple):
    """A path whose change is not in the bucket, and why."""

    path: str
    cause: str
    since_ns: int | None = None


class WriteBack:
    def __init__(
        self,
        context: WriteBackContext,
        *,
        delay_s: float,
        may_probe: bool,
        is_open_for_write: Callable[[Ino], bool],
    ):
        """`may_probe`: whether the store may be tried out with a write that comes to nothing."""
        self._context = context
        self._index = context.index
        self._may_probe = may_probe
        self._claims = Claims()
        self._progress = threading.Condition()
        self._configured_delay_ns = int(delay_s * 1e9)
        self._drains = 0
        self._hurry_until_s = 0.0
        self._pending = PendingUploads(context.index, context.locks)
        self._multipart = MultipartUpload(context, self._pending)
        self._pace = Pace(context.clock, self._is_hurried)
        settlement = Settlement(context)
        self._deleter = Deleter(context, self._claims)
        self._copier = Copier(context, settlement, self._pending, self._claims)
        uploader = Uploader(context, settlement, self._multipart)
        self._steps = Steps(
            context,
            uploader=uploader,
            mover=Mover(context),
            settlement=settlement,
            conflicts=ConflictResolver(context),
            pending=self._pending,
            delay_ns=self._configured_delay_ns,
        )
        self._scheduler = Scheduler(
            context,
            steps=self._steps,
            uploader=uploader,
            settlement=settlement,
            deleter=self._deleter,
            multipart=self._multipart,
            pending=self._pending,
            claims=self._claims,
            pace=self._pace,
            is_held=lambda ino: is_open_for_write(ino) and not self._is_hurried(),
            on_progress=self._signal_progress,
        )
        self._unfinished = recovery.Unfinished()
        self._recovery = threading.Thread(target=self._recover, name="recovery", daemon=True)

    def start(self) -> None:
        """Take up what the last run left, and begin. Does not wait for S3."""
        self._unfinished = recovery.at_start(self._context, self._pending)
        self._scheduler.start()
        self._recovery.start()

    def _recover(self) -> None:
        if self._may_probe:
            self._context.conditions.probe()
        recovery.in_background(self._context, self._multipart, self._unfinished)

    def stop(self, deadline_s: float) -> bool:
        """Begin nothing new and wait for the requests in flight, no longer than the deadline; False when some still
        are. What is owed stays owed."""
        deadline = time.monotonic() + deadline_s
        has_ended = self._scheduler.stop(deadline_s)
        self._recovery.join(max(0.0, deadline - time.monotonic()))
        has_ended &= self._multipart.close(deadline - time.monotonic())
        return has_ended and not self._recovery.is_alive()

    # -- news from above -----------------------------------------------------------------------------------------

    @property
    def delay_ns(self) -> int:
        """How long after a change its upload begins; 0 while somebody drains."""
        return 0 if self._drains else self._configured_delay_ns

    def notify(self) -> None:
        """Something was changed just now."""
        if self.delay_ns:
            self._pace.note_change()
        self._scheduler.notify(self.delay_ns / 1e9)

    def before_change(self, ino: Ino, start: int, end: int | None) -> None:
        """The bytes [start, end) of a file (None: to its end) are about to change; called under the inode lock. What
        was sent of them does not count any more, also not for a later run, when this returns."""
        self._pending.before_change(ino, start, end)

    def note_sparse(self, ino: Ino) -> None:
        """The file was lengthened with zeros: it is not sent before it is closed."""
        self._pending.note_sparse(ino)

    def copy_whole(self, source: Ino, target: Ino, *, now_ns: int) -> int:
        """Make the empty file `target` a copy of `source` inside S3, changed at `now_ns`. Waits for S3. Returns how
        many bytes it has, and then the bucket has it too; 0 when there was something in the way, whatever it was."""
        try:
            due_ns = self._context.clock.now_ns() + self.delay_ns
            return self._copier.copy(source, target, now_ns=now_ns, due_ns=due_ns)
        finally:
            self.notify()
            self._signal_progress()

    def hurry(self) -> None:
        """The cache is full of dirty data: upload without delay, files being written too."""
        with self._index.transaction():
            self._index.inodes.expedite(self._context.clock.now_ns(), with_parked=False)
        self._hurry_until_s = time.monotonic() + HURRY_S
        self._scheduler.notify()

    def _is_hurried(self) -> bool:
        return self._drains > 0 or time.monotonic() < self._hurry_until_s

    # -- waiting -------------------------------------------------------------------------------------------------

    def _signal_progress(self) -> None:
        with self._progress:
            self._progress.notify_all()

    def _wait(self, deadline: float) -> None:
        with self._progress:
            self._progress.wait(min(PROGRESS_EVERY_S, max(0.0, deadline - time.monotonic())))

    def _pause(self, until_s: float) -> None:
        with self._progress:
            while (left_s := until_s - time.monotonic()) > 0:
                self._progress.wait(left_s)

    def wait_uploaded(self, inos: Iterable[Ino], deadline_s: float) -> None:
        """Return when the bucket has these inodes as they are now. Raises IOFailure when S3 refuses one or time is
        up."""
        deadline = time.monotonic() + deadline_s
        wanted = [inode for inode in map(self._index.inodes.find, inos) if inode is not None and inode.is_owed]
        self._steps.setbacks.forget(inode.ino for inode in wanted)
        self._begin_drain(inode.ino for inode in wanted)
        try:
            while wanted := [inode for inode in wanted if self._still_owed(inode)]:
                if time.monotonic() >= deadline:
                    raise IOFailure("the bucket did not take the file in time")
                self._wait(deadline)
        finally:
            self._end_drain()

    def _still_owed(self, snapshot: Inode) -> bool:
        now = self._index.inodes.find(snapshot.ino)
        if now is None or now.nlink == 0:
            return False
        parked = self._index.parked.find(snapshot.ino)
        if parked is not None:
            raise IOFailure(f"this file cannot be uploaded: {parked.cause}")
        return (
            now.content_uploaded < snapshot.content_generation
            or now.meta_uploaded < snapshot.meta_generation
            or now.remote_key is None
        )

    def _begin_drain(self, inos: Iterable[Ino]) -> None:
        with self._progress:
            self._drains += 1
        now_ns = self._context.clock.now_ns()
        with self._index.transaction():
            for ino in inos:
                self._index.inodes.set_due(ino, now_ns)
        self._scheduler.notify()

    def _end_drain(self) -> None:
        with self._progress:
            self._drains -= 1

    def drain(self, deadline_s: float | None, on_progress: Callable[[Backlog], None]) -> list[Left]:
        """Upload everything, parked work once more, files open for writing as they are. Returns what is left when all
        is done that can be, or time is up: [] means that the bucket holds everything."""
        deadline = time.monotonic() + (deadline_s if deadline_s is not None else 10**9)
        self._deleter.forget_refusals()
        self._steps.setbacks.forget(None)
        with self._index.transaction():
            self._index.parked.clear()
            self._index.inodes.expedite(self._context.clock.now_ns(), with_parked=True)
            self._index.tombstones.expedite(self._context.clock.now_ns())
        self._begin_drain(())
        try:
            while True:
                begun_s = time.monotonic()
                backlog = self.backlog()
                took_s = time.monotonic() - begun_s
                on_progress(backlog)
                if backlog.is_empty or time.monotonic() >= deadline or self._only_refused(backlog):
                    left = [] if backlog.is_empty else self.left()
                    # A power cut after this must not bring back what was owed: it would go over the newer objects.
                    self._index.commit_durably()
                    return left
                if took_s > COUNT_S_CHEAP:
                    pause_s = min(took_s * COUNT_TIMES, COUNT_PAUSE_S_MAX)
                    self._pause(min(deadline, time.monotonic() + pause_s))
                else:
                    self._wait(deadline)
        finally:
            self._end_drain()

    def _only_refused(self, backlog: Backlog) -> bool:
        """Nothing is under way, nothing has a time at which it is tried, and no deletion has a chance."""
        with self._index.locked():  # a deletion may become work that is owed, in between
            return not backlog.uploading and self._index.inodes.next_due_ns() is None and self._deleter.is_stuck()

    # -- what status shows ---------------------------------------------------------------------------------------

    def backlog(self) -> Backlog:
        files, size, _ = self._index.inodes.owed_totals()
        uploading = self._claims.count() + len(self._pending.unwanted())
        return Backlog(
            files,
            max(0, size - self._pending.sent_bytes()),
            self._index.tombstones.count(),
            uploading,
            self._index.parked.count(),
        )

    def oldest_age_s(self) -> float:
        """How long ago the change that has waited longest was made; 0 when nothing is owed."""
        since_ns = self._index.inodes.owed_totals()[2]
        return 0.0 if since_ns is None else max(0.0, (self._context.clock.now_ns() - since_ns) / 1e9)

    def refused(self) -> list[Left]:
        """What S3 refuses for good."""
        refused = [
            Left(self._path(self._index.inodes.find(parked.ino)), parked.cause, parked.since_ns)
            for parked in self._index.parked.all()
        ]
        return refused + [Left(f"/{key}", f"delete: {cause}", since) for key, cause, since in self._deleter.refused()]

    def left(self) -> list[Left]:
        """What is not in the bucket, refused work first."""
        left = self.refused()
        named = {entry.path for entry in left}
        for inode in self._index.inodes.owed(LEFT_SHOWN_MAX):
            path = self._path(inode)
            if path not in named:
                left.append(Left(path, "not uploaded yet"))
        for key in self._index.tombstones.some(LEFT_SHOWN_MAX):
            if f"/{key}" not in named:
                left.append(Left(f"/{key}", "not deleted yet"))
        return left

    def _path(self, inode: Inode | None) -> str:
        key = None if inode is None else self._index.dentries.path_key(inode)
        return "(unlinked)" if key is None else f"/{key}"

    @property
    def conditional_writes(self) -> Support:
        """What the store makes of the conditions that keep two writers apart."""
        return self._context.conditions.support

    @property
    def totals(self) -> tuple[int, int, int]:
        """(files uploaded, bytes uploaded, conflicts) since the mount began."""
        totals = self._context.totals
        return totals.files, totals.size, totals.conflicts
