"""A drive of Windows over a real S3 server, with a hostile network between the two: slow, refusing, silent, cut.

What is promised then is P4; afterwards nothing is lost and nothing doubled. `S3MOUNT_NETWORK_SEED` repeats a run.
"""

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.fault_proxy import FOR_GOOD, FaultProxy, Line
from tests.support.s3_server import S3Server
from tests.support.wine_process import Refused, WineProcess
from tests.wine.conftest import S3mount

OFFLINE_S = 2
# More than a call that fails takes longer than that under Wine, on a machine that is busy.
LITTLE_S = 8.0
UNTIL_DEADLINE_S = 60.0
OPTIONS = (f"--offline-timeout={OFFLINE_S}s", "--write-back-delay=1s", "--prefetch=off")
INCOMPLETE = 5
NETWORK_ERROR, TIMED_OUT, DEVICE_ERROR = 0xC00000C4, 0xC00000B5, 0xC0000185
FILES, LARGE = 40, "0123456789abcde\n" * 60_000


class Scene:
    """`expected`: what the bucket has to hold in the end, by key."""

    def __init__(self, server: S3Server, proxy: FaultProxy) -> None:
        self.server, self.proxy = server, proxy
        self.bucket = server.make_bucket()
        self.expected: dict[str, str] = {}
        for key in ("cached", "uncached", "never/listed"):
            self.server.client.put_object(Bucket=self.bucket, Key=key, Body=LARGE.encode())
            self.expected[key] = LARGE

    def puts(self, name: str, count: int) -> list[list[Any]]:
        """Requests that write so many files, which are expected from now on."""
        texts = {f"{name}{number}": f"<{name}{number}>" * (1 + 500 * (number % 7)) for number in range(count)}
        self.expected |= texts
        return [["put", f"\\{key}", text, 1] for key, text in texts.items()]

    def bodies(self) -> dict[str, str]:
        client, pages = self.server.client, self.server.client.get_paginator("list_objects_v2")
        listed = [found["Key"] for page in pages.paginate(Bucket=self.bucket) for found in page.get("Contents", [])]
        return {
            key: client.get_object(Bucket=self.bucket, Key=key)["Body"].read().decode()
            for key in listed
            if not key.endswith("/")
        }

    def check(self) -> None:
        found = self.bodies()
        assert found.keys() == self.expected.keys()
        assert [key for key in found if found[key] != self.expected[key]] == []
        assert not self.server.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads")


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("S3MOUNT_NETWORK_SEED") or random.randrange(1 << 32))
    print(f"S3MOUNT_NETWORK_SEED={seed}")
    return seed


@pytest.fixture
def scene(seaweed: S3Server, seed: int) -> Iterator[Scene]:
    with FaultProxy(seaweed.endpoint_url, seed) as proxy:
        yield Scene(seaweed, proxy)


@pytest.fixture
def drive(mount: Callable[..., WineProcess], scene: Scene) -> WineProcess:
    """`cached` is, and of `uncached` all is known but its bytes."""
    process = mount(scene.bucket, "S:", *OPTIONS, endpoint_url=scene.proxy.endpoint_url)
    assert process.ask("content", "\\cached") == LARGE
    assert process.ask("stat", "\\uncached")[1] == len(LARGE)
    return process


def all_done(process: WineProcess, requests: list[list[Any]]) -> None:
    assert [answer for answer in process.ask("at_once", *requests) if "status" in answer] == []


def fail_in_time(process: WineProcess, scene: Scene, status: int, requests: list[list[Any]]) -> None:
    """Several of each at once, so that they also wait for each other; reads of what is cached go on among them."""
    began = time.monotonic()
    *answers, cached = process.ask("at_once", *requests * 4, ["content", "\\cached"])
    assert {answer.get("status") for answer in answers} == {status}
    assert cached == {"answer": scene.expected["cached"]}
    assert time.monotonic() - began < OFFLINE_S + LITTLE_S


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + UNTIL_DEADLINE_S
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_s3_that_is_slow_refuses_and_drops(drive: WineProcess, scene: Scene, s3mount: S3mount) -> None:
    proxy = scene.proxy
    # Slow is not silent: the read takes longer than a silent S3 is waited for.
    proxy.bytes_per_s = len(LARGE) // (2 * OFFLINE_S)
    began = time.monotonic()
    all_done(drive, scene.puts("slow", FILES))
    assert drive.ask("content", "\\uncached") == LARGE
    assert time.monotonic() - began > OFFLINE_S
    proxy.heal()

    proxy.answer(503, "SlowDown", times=FOR_GOOD)
    all_done(drive, [*scene.puts("throttled", FILES), ["flush", "\\slow1"]])
    fail_in_time(drive, scene, TIMED_OUT, [["names", "\\never"], ["content", "\\never\\listed"]])
    wait_until(lambda: proxy.count("PutObject", "throttled1") > 0)
    proxy.heal()

    proxy.answer(403, "AccessDenied", operation="PutObject", key="refused0", times=FOR_GOOD)
    all_done(drive, scene.puts("refused", 1))
    wait_until(lambda: proxy.count("PutObject", "refused0") > 0)
    drained = s3mount("drain", "S:")
    assert drained.returncode == INCOMPLETE
    assert "refused0" in drained.stderr
    with pytest.raises(Refused) as refused:
        drive.ask("flush", "\\refused0")
    assert refused.value.status == DEVICE_ERROR
    told = json.loads(s3mount("status", "--json", "S:").stdout)
    assert [error["path"] for error in told["errors"]] == ["/refused0"]
    proxy.heal()

    proxy.drop_one_in = 4
    all_done(drive, [*scene.puts("dropped", FILES), ["delete", "\\slow2"], ["move", "\\slow3", "\\moved"]])
    del scene.expected["slow2"]
    scene.expected["moved"] = scene.expected.pop("slow3")
    unmounted = s3mount("unmount", "S:")
    assert unmounted.returncode == 0, unmounted.stderr
    assert drive.wait() == 0
    assert proxy.dropped > 0
    scene.check()


def test_an_s3_that_is_away_and_a_kill_meanwhile(
    drive: WineProcess, scene: Scene, s3mount: S3mount, mount: Callable[..., WineProcess]
) -> None:
    proxy = scene.proxy
    needing_s3 = [["content", "\\uncached"], ["names", "\\never"], ["put", "\\never\\new", "text", 1]]
    for line in (Line.SILENT, Line.CUT):
        proxy.line = line
        fail_in_time(drive, scene, NETWORK_ERROR, needing_s3)
        all_done(drive, [*scene.puts(line.value, FILES), ["flush", "\\cached"], ["append", "\\cached", line.value]])
        scene.expected["cached"] += line.value
        all_done(drive, [["move", f"\\{line.value}1", "\\moved"], ["delete", f"\\{line.value}2"]])
        scene.expected["moved"] = scene.expected.pop(f"{line.value}1")
        del scene.expected[f"{line.value}2"]
        drained = s3mount("drain", "--timeout=1s", "S:")
        assert drained.returncode == INCOMPLETE
        assert ": not uploaded yet" in drained.stderr
        if line is Line.SILENT:
            # Within the time that S3 is waited for: late answers are answers.
            drive.send("content", "\\uncached")
            time.sleep(OFFLINE_S / 4)
            proxy.heal()
            assert drive.receive() == LARGE
            needing_s3.pop(0)
    drive.kill()
    proxy.heal()
    drive = mount(scene.bucket, "S:", *OPTIONS, endpoint_url=proxy.endpoint_url)
    assert drive.ask("content", "\\cached") == scene.expected["cached"]
    unmounted = s3mount("unmount", "S:")
    assert unmounted.returncode == 0, unmounted.stderr
    assert drive.wait() == 0
    scene.check()
