"""`scripts/bench --scale`: what a large bucket costs, step by step, as a table.

Each step is a process of its own (scale_work.py) over the same index. Of more than ATTRIBUTES_MAX objects the
attributes are not asked for one by one: an index as that leaves it behind is written in SQL, and used from there on.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from s3mount.drive import INDEX_NAME

COUNTS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
PER_DIRECTORY = 1_000
ATTRIBUTES_MAX = 10_000
LISTED_MAX = 1_000_000
CHANGED = 100_000
STEP_S_MAX = 7200

COLUMNS = {
    "first find: LIST": "first ListObjectsV2", "CPU s": "first CPU s", "peak MiB": "first peak MiB",
    "again: CPU s": "second CPU s", "attributes: HEAD": "attributes HeadObject",
    "attributes: CPU s": "attributes CPU s",
    "remount: LIST": "remount ListObjectsV2", "remount: CPU s": "remount CPU s", "within the TTL: CPU s": "fresh CPU s",
    "remount: peak MiB": "again peak MiB", "µs a lookup": "µs a lookup", "lookups: peak MiB": "lookups peak MiB",
    "df, s": "statfs s", "index bytes an object": "index bytes an object",
}  # fmt: skip


def measure(folder: Path, counts: Sequence[int]) -> dict[str, dict[str, float]]:
    """What was found, by shape and number of objects. A line for each step goes to stderr."""
    found: dict[str, dict[str, float]] = {}
    for count in counts:
        shapes = {"one directory": count, f"{PER_DIRECTORY} a directory": PER_DIRECTORY}
        for shape, per_directory in shapes.items():
            place = Path(tempfile.mkdtemp(prefix="scale-", dir=folder))
            try:
                found[f"{count} objects, {shape}"] = _objects(place, count, per_directory)
            finally:
                shutil.rmtree(place)
    return found


def measure_changes(folder: Path, count: int) -> dict[str, float]:
    """rm -r and mv of a directory of so many files."""
    found: dict[str, float] = {}
    for step in ("remove", "move"):
        place = Path(tempfile.mkdtemp(prefix="scale-", dir=folder))
        try:
            _run("fill", place, count, count)
            found |= _run(step, place, count, count)
        finally:
            shutil.rmtree(place)
    return found


def _objects(state_dir: Path, count: int, per_directory: int) -> dict[str, float]:
    found: dict[str, float] = {}
    if count <= LISTED_MAX:
        found |= _run("first", state_dir, count, per_directory)
    if count <= ATTRIBUTES_MAX:
        found |= _run("attributes", state_dir, count, per_directory)
    else:
        shutil.rmtree(state_dir)
        state_dir.mkdir(mode=0o700)
        _run("fill", state_dir, count, per_directory)
    if count <= LISTED_MAX:
        found |= _run("again", state_dir, count, per_directory)
    found |= _run("lookups", state_dir, count, per_directory)
    found["index bytes an object"] = round((state_dir / INDEX_NAME).stat().st_size / count)
    return found


def _run(step: str, state_dir: Path, count: int, per_directory: int) -> dict[str, float]:
    words = [sys.executable, "-m", "benchmark.scale_work", step, str(state_dir), str(count), str(per_directory)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    outcome = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=STEP_S_MAX, check=False)
    if outcome.returncode != 0:
        raise RuntimeError(f"{step} of {count} objects failed: {outcome.stderr[-2000:]}")
    found: dict[str, float] = json.loads(outcome.stdout)
    print(f"{count} objects, {per_directory} a directory: {step} {outcome.stdout.strip()}", file=sys.stderr, flush=True)
    return {f"{step} {name}" if name == "peak MiB" else name: value for name, value in found.items()}


def markdown(found: Mapping[str, Mapping[str, float]], changes: Mapping[str, float]) -> str:
    """Rows of figures, a column for each number of objects."""
    lines = ["| | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    for title, name in COLUMNS.items():
        cells = [f"{figures[name]:g}" if name in figures else "" for figures in found.values()]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines += ["", "| change | |", "|---|---|", *(f"| {name} | {value:g} |" for name, value in changes.items())]
    return "\n".join(lines) + "\n"
