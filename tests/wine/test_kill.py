"""`kill -9` of a drive of Windows at work, and another process on the same state folder: what was closed is there.

`S3MOUNT_KILL_SEED` repeats a run.
"""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from tests.support import winfsp_driver as nt
from tests.support.s3_server import S3Server
from tests.support.wine_process import WineProcess, windows_path

NEVER_S, AT_ONCE_S = "3600", "0"
ACKNOWLEDGED, IN_FLIGHT = 40, 8
PIECES = 3


Start = Callable[..., WineProcess]


def text_of(number: int) -> str:
    return f"<{number:04}>" * (1 + number % 700)


def test_what_was_closed_survives_a_kill(start: Start, seaweed: S3Server, tmp_path: Path) -> None:
    seed = int(os.environ.get("S3MOUNT_KILL_SEED") or random.randrange(1 << 32))
    print(f"S3MOUNT_KILL_SEED={seed}")
    choose = random.Random(seed)
    bucket = seaweed.make_bucket()

    def begin(name: str, write_back_delay_s: str) -> WineProcess:
        (tmp_path / name).mkdir(exist_ok=True)
        arguments = (windows_path(tmp_path / name), seaweed.endpoint_url, bucket, write_back_delay_s)
        return start("tests.wine.worker", *arguments, environment=seaweed.environment())

    process = begin("state", NEVER_S)
    process.ask("make_dir", "\\Dir")
    expected: dict[str, tuple[str, int]] = {}
    for number in range(ACKNOWLEDGED):
        path = f"\\Dir\\File{number}" if number % 2 else f"\\File{number}"
        process.ask("put", path, text_of(number), PIECES)
        expected[path] = (text_of(number) * PIECES, nt.ARCHIVE)
    for path in choose.sample(sorted(expected), 10):
        process.ask("set_attributes", path, nt.HIDDEN)
        expected[path] = (expected[path][0], nt.HIDDEN)
    for path in choose.sample(sorted(expected), 8):
        process.ask("move", path, f"{path}.moved")
        expected[f"{path}.moved"] = expected.pop(path)
    for path in choose.sample(sorted(expected), 5):
        process.ask("append", path.upper(), "more")
        text, attributes = expected[path]
        expected[path] = (f"{text}more", attributes | nt.ARCHIVE)
    for path in choose.sample(sorted(expected), 4):
        process.ask("delete", path)
        del expected[path]
    assert process.ask("owed") >= len(expected), "nothing was owed at the kill"
    for number in range(IN_FLIGHT):
        process.send("put", f"\\Late{number}", text_of(number), PIECES)
    time.sleep(choose.random() * 0.2)
    process.kill()
    done = process.rest()

    process = begin("state", AT_ONCE_S)
    late = {f"\\Late{number}": (text_of(number) * PIECES, nt.ARCHIVE) for number in range(done)}
    names = {f"\\{name}" for name in process.ask("names", "\\")} - {"\\Dir"}
    names |= {f"\\Dir\\{name}" for name in process.ask("names", "\\Dir")}
    assert names >= {*expected, *late}
    # The one that was being written has what was written of it so far, whole pieces.
    assert names - {*expected, *late} <= {f"\\Late{done}"}
    for path, (text, attributes) in {**expected, **late}.items():
        assert process.ask("content", path) == text
        assert process.ask("stat", path)[0] == attributes
    for path in names - {*expected, *late}:
        assert process.ask("content", path) in {text_of(done) * pieces for pieces in range(PIECES + 1)}
    assert process.ask("drain") == []
    process.end()

    listed = seaweed.client.list_objects_v2(Bucket=bucket)["Contents"]
    keys = {entry["Key"] for entry in listed if not entry["Key"].endswith("/")}
    assert keys == {path[1:].replace("\\", "/") for path in names}
    for path, (text, _) in {**expected, **late}.items():
        key = path[1:].replace("\\", "/")
        assert seaweed.client.get_object(Bucket=bucket, Key=key)["Body"].read().decode() == text
    # Another computer, which has nothing but the bucket.
    process = begin("other", AT_ONCE_S)
    for path, (text, attributes) in {**expected, **late}.items():
        assert process.ask("stat", path)[0] == attributes
        assert process.ask("content", path.swapcase()) == text
    process.end()
