"""Where the time of s3mount's process goes in one step: a flame graph by py-spy (https://github.com/benfred/py-spy).

Taken of a run for that alone: whoever is looked at a hundred times a second is slower.
"""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RATE_HZ = 100
END_DEADLINE_S = 60.0


@contextmanager
def flame_graph(pid: int, file: Path) -> Iterator[None]:
    """Write `file`, an SVG, of what the threads of `pid` that have work did meanwhile; an empty one when they had none.
    Needs the right to trace it (root, or kernel.yama.ptrace_scope=0). Raises RuntimeError when py-spy cannot."""
    beside = Path(sys.executable).with_name("py-spy")
    program = str(beside) if beside.exists() else shutil.which("py-spy")
    if program is None:
        raise RuntimeError("py-spy is not installed: pip install py-spy")
    words = [program, "record", f"--pid={pid}", f"--rate={RATE_HZ}", "--nonblocking", f"--output={file}"]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as recorder:
        assert recorder.stdout is not None
        # Told to end before it has begun, it writes nothing.
        said = recorder.stdout.readline()
        try:
            yield
        finally:
            recorder.send_signal(signal.SIGINT)
            try:
                said += recorder.communicate(timeout=END_DEADLINE_S)[0]
            except subprocess.TimeoutExpired:
                recorder.kill()
                raise
    if not file.exists():
        raise RuntimeError(f"no profile: {said.strip()[-300:]}")
