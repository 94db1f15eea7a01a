"""A directory of 40 000 names on a real mount: how long a listing takes, and what it costs in memory."""

import os
import sys
import time
from pathlib import Path

import pytest

from tests.support.linux import peak_rss_bytes
from tests.support.mount_process import MountProcess

pytestmark = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and os.access("/dev/fuse", os.R_OK | os.W_OK)),
    reason="no /dev/fuse that this user may open",
)
NAMES = 40_000
# As listed for the first time: what the caches hold at most, and eight bytes a name for the listing and each handle.
BYTES_A_NAME_MAX = 1_000
SERVE = """
import sys
from pathlib import Path
from s3mount.bindings import load_binding
from s3mount.drive import Drive, DriveOptions
from s3mount.remote.defaults import Defaults
from tests.support.memory_store import MemoryStore
store = MemoryStore()
for number in range(int(sys.argv[3])):
    store.foreign_put(f"d/{number:06}", b"")
drive = Drive(store, Path(sys.argv[1]), DriveOptions(defaults=Defaults(0, 0, 0o022), cache_limit_bytes=64 << 20))
load_binding()(drive.filesystem, sys.argv[2], source_name="s3mount#b", read_only=False, allow_other=False,
               extra_options=(), on_ready=lambda: print("ready"))
drive.close()
"""


@pytest.mark.timeout(180)
def test_a_directory_of_40_000_names(tmp_path: Path) -> None:
    state, mountpoint = tmp_path / "state", tmp_path / "mnt"
    state.mkdir(mode=0o700)
    mountpoint.mkdir()
    command = [sys.executable, "-c", SERVE, str(state), str(mountpoint), str(NAMES)]
    with MountProcess(command, mountpoint, tmp_path / "log") as mount:
        before = peak_rss_bytes(mount.pid)
        times_s = []
        for _ in range(2):
            begun = time.monotonic()
            names = os.listdir(mountpoint / "d")
            times_s.append(time.monotonic() - begun)
            assert len(names) == NAMES
            assert set(names) == {f"{number:06}" for number in range(NAMES)}
        grown = peak_rss_bytes(mount.pid) - before
        print(f"{times_s} s, {grown >> 20} MiB")
        assert grown < NAMES * BYTES_A_NAME_MAX
        assert times_s[1] < 20
        with os.scandir(mountpoint / "d") as entries:
            first = next(entries).name
            os.unlink(mountpoint / "d" / f"{NAMES - 1:06}")
            (mountpoint / "d" / "new").touch()
            rest = [entry.name for entry in entries]
        assert len({first, *rest}) == len(rest) + 1 >= NAMES - 1
