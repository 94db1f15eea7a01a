"""`s3mount ARGUMENTS...` as typed on Windows, with the drive that it serves within reach. Runs under Windows' Python.

The device that stands in for WinFsp's kernel driver is in this process alone, so it is also the one that has to use
the drive: a thread takes requests from standard input as worker.py does, once there is a drive.
"""

import json
import sys
import threading
import time

from s3mount.cli import main
from tests.support.winfsp_device import the_device
from tests.support.winfsp_driver import Volume
from tests.support.winfsp_real_dll import RealDll
from tests.support.winfsp_volume import load
from tests.wine.worker import Worker

SERVED_DEADLINE_S = 60.0


def serve() -> None:
    deadline = time.monotonic() + SERVED_DEADLINE_S
    while not (volumes := list(the_device().volumes.values())) or not volumes[0].threads:
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
    worker = Worker(Volume(RealDll(volumes[0])))
    print(json.dumps({"answer": "ready"}), flush=True)
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), flush=True)


load()
threading.Thread(target=serve, daemon=True).start()
main()
