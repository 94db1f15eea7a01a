"""A drive as Windows sees it in a process of its own, over a real bucket. Runs under Windows' Python.

`worker STATE ENDPOINT BUCKET WRITE_BACK_DELAY_S`. It says that it is ready, then answers each line with a line:
[name, arguments...] -> {"answer": ...} or {"status": NTSTATUS}. The end of its input ends it in good order.
"""

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from s3mount import host
from s3mount.drive import Drive, DriveOptions
from s3mount.remote.defaults import Defaults
from s3mount.store.s3 import open_store
from s3mount.store.settings import StoreSettings
from tests.support import winfsp_driver as nt
from tests.support.winfsp_driver import NtError, Volume
from tests.support.winfsp_volume import start_volume

CACHE_LIMIT_BYTES = 256 << 20
DRAIN_DEADLINE_S = 60.0


class Worker:
    def __init__(self, volume: Volume, drive: Drive | None = None) -> None:
        self._drive, self._volume = drive, volume
        self._requests: dict[str, Callable[..., Any]] = {
            name: getattr(self, name)
            for name in ("at_once", "make_dir", "put", "append", "flush", "content", "stat", "set_attributes", "names",
                         "move", "delete", "mount_point", "owed", "drain")
        }  # fmt: skip

    def answer(self, request: list[Any]) -> dict[str, Any]:
        name, *arguments = request
        try:
            return {"answer": self._requests[name](*arguments)}
        except NtError as error:
            return {"status": error.status}

    def at_once(self, *requests: list[Any]) -> list[dict[str, Any]]:
        """Each by a thread of its own; what each would be answered alone."""
        with ThreadPoolExecutor(len(requests)) as threads:
            return list(threads.map(self.answer, requests))

    def make_dir(self, path: str) -> None:
        self._volume.close(self._volume.create(path, nt.CREATE, options=nt.DIRECTORY_FILE))

    def put(self, path: str, text: str, times: int) -> None:
        """`text` so many times over, in one write each."""
        with self._volume.opened(path, nt.OVERWRITE_IF) as handle:
            for number in range(times):
                self._volume.write(handle, number * len(text), text.encode("ascii"))

    def append(self, path: str, text: str) -> None:
        with self._volume.opened(path, access=nt.APPEND_DATA) as handle:
            self._volume.write(handle, None, text.encode("ascii"))

    def flush(self, path: str) -> None:
        with self._volume.opened(path) as handle:
            self._volume.flush(handle)

    def content(self, path: str) -> str:
        with self._volume.opened(path, access=nt.READ_DATA) as handle:
            size = self._volume.info(handle).size
            return self._volume.read(handle, 0, size).decode("ascii") if size else ""

    def stat(self, path: str) -> tuple[int, ...]:
        return tuple(self._volume.stat(path))

    def set_attributes(self, path: str, attributes: int) -> None:
        with self._volume.opened(path, access=nt.WRITE_ATTRIBUTES) as handle:
            self._volume.set_basic(handle, attributes=attributes or nt.NORMAL)

    def names(self, path: str) -> list[str]:
        return self._volume.names(path)

    def move(self, old: str, new: str) -> None:
        self._volume.move(old, new, replaces=True)

    def delete(self, path: str) -> None:
        self._volume.delete(path)

    def mount_point(self) -> str:
        """What leads to the volume that answers here; "" for nothing."""
        return self._volume.facts.mount_point

    def owed(self) -> int:
        assert self._drive is not None
        return self._drive.writeback.backlog().files

    def drain(self) -> list[str]:
        """What is left."""
        assert self._drive is not None
        return [str(left) for left in self._drive.drain(DRAIN_DEADLINE_S, lambda _: None)]


def main(state: str, endpoint: str, bucket: str, write_back_delay_s: str) -> None:
    options = DriveOptions(
        defaults=Defaults(*host.own_ids(), 0o022),
        cache_limit_bytes=CACHE_LIMIT_BYTES,
        write_back_delay_s=float(write_back_delay_s),
    )
    store = open_store(StoreSettings(bucket, endpoint_url=endpoint))
    drive = Drive(store, Path(state), options)
    session, volume = start_volume(drive.filesystem)
    worker = Worker(volume, drive)
    print(json.dumps({"answer": "ready"}), flush=True)
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), flush=True)
    session.stop()
    drive.close()
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
