"""A writer keeps a manifest of what was acknowledged, the mount is killed at random moments, nothing of it is lost.

The writer is a process of its own: it changes files in the mount, fsyncs file and directory, and only then appends a
line to a manifest outside the mount (P1, P2, P3). S3MOUNT_KILL_ROUNDS: how many kills; S3MOUNT_KILL_SEED.

As `python -m tests.acceptance.test_kill_manifest FOLDER MANIFEST SEED` it is the writer.
"""

import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.test_kill import SEED, read_bucket
from tests.support.cli_mount import CliMount
from tests.support.mount_process import REPOSITORY
from tests.support.s3_server import S3Server

ROUNDS = int(os.environ.get("S3MOUNT_KILL_ROUNDS", "3"))
NAMES = [f"{folder}/file {number}" for folder in ("a", "b/c") for number in range(12)]
LARGE = "large"
LARGE_BYTES = 20 << 20
WRITER_ENDS_S = 30.0
# Manifest lines: {"path", "digest"}, digest null for a file that is not there; "begun" before, "done" after the fsyncs.
Digest = str | None


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class Writer:
    def __init__(self, root: Path, manifest: Path, seed: int):
        self.root = root
        self.dice = random.Random(seed)
        self.manifest = os.open(manifest, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, word: str, changes: dict[str, Digest]) -> None:
        os.write(self.manifest, (json.dumps([word, changes]) + "\n").encode())
        os.fsync(self.manifest)

    def put(self, path: Path, body: bytes, flags: int) -> None:
        number = os.open(path, os.O_WRONLY | flags, 0o644)
        try:
            view = memoryview(body)
            while view:
                view = view[os.write(number, view) :]
            os.fsync(number)
        finally:
            os.close(number)

    def sync_folder(self, folder: Path) -> None:
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)

    def step(self) -> None:
        name = self.dice.choice(NAMES)
        path = self.root / name
        body = self.dice.randbytes(self.dice.choice([1, 5_000, 200_000]))
        action = self.dice.choice(["put", "put", "replace", "replace", "append", "delete", "move"])
        if not path.exists():
            action = "put"
        if action == "put":
            self.note("begun", {name: digest(body)})
            self.put(path, body, os.O_CREAT | os.O_TRUNC)
            self.sync_folder(path.parent)
            self.note("done", {name: digest(body)})
        elif action == "replace":
            draft = path.with_name(".draft")
            self.put(draft, body, os.O_CREAT | os.O_TRUNC)
            self.note("begun", {name: digest(body)})
            draft.rename(path)
            self.sync_folder(path.parent)
            self.note("done", {name: digest(body)})
        elif action == "append":
            whole = path.read_bytes() + body
            self.note("begun", {name: digest(whole)})
            self.put(path, body, os.O_APPEND)
            self.note("done", {name: digest(whole)})
        elif action == "delete":
            self.note("begun", {name: None})
            path.unlink()
            self.sync_folder(path.parent)
            self.note("done", {name: None})
        else:
            other = self.dice.choice([each for each in NAMES if each != name])
            changes = {name: None, other: digest(path.read_bytes())}
            self.note("begun", changes)
            path.rename(self.root / other)
            self.sync_folder(path.parent)
            self.sync_folder((self.root / other).parent)
            self.note("done", changes)

    def run(self) -> None:
        """Until the mount is gone."""
        for name in NAMES:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        body = self.dice.randbytes(LARGE_BYTES)
        self.note("begun", {LARGE: digest(body)})
        self.put(self.root / LARGE, body, os.O_CREAT | os.O_TRUNC)
        self.sync_folder(self.root)
        self.note("done", {LARGE: digest(body)})
        while True:
            self.step()


def allowed(manifest: Path) -> dict[str, set[Digest]]:
    """What each path may be: what was done to it last, or what was begun since."""
    states: dict[str, set[Digest]] = {}
    for line in manifest.read_text().splitlines():
        word, changes = json.loads(line)
        for path, content in changes.items():
            states[path] = {content} if word == "done" else states.get(path, {None}) | {content}
    return states


def begun(manifest: Path) -> set[str]:
    """The paths that a writer was changing when the mount was taken from it: of those only the name is certain."""
    *_, last = manifest.read_text().splitlines()
    word, changes = json.loads(last)
    return set(changes) if word == "begun" else set()


def settle(manifest: Path, found: dict[str, bytes]) -> int:
    """Compare; what was under way becomes what it is now. Returns how many files were compared."""
    open_paths = begun(manifest)
    now: dict[str, Digest] = {}
    states = allowed(manifest)
    for path, contents in states.items():
        is_now = digest(found[path]) if path in found else None
        if path not in open_paths:
            assert is_now in contents, f"{path}: {'gone' if is_now is None else 'other bytes'}"
        now[path] = is_now
    assert {path for path in found if not path.endswith(".draft")} <= set(states)
    with manifest.open("a") as file:
        file.write(json.dumps(["done", now]) + "\n")
    return len(states) - len(open_paths)


def read_tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@contextlib.contextmanager
def writer(root: Path, manifest: Path, seed: int) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "tests.acceptance.test_kill_manifest", str(root), str(manifest), str(seed)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait(WRITER_ENDS_S)


@pytest.mark.timeout(120 + 20 * ROUNDS)
def test_nothing_in_the_manifest_is_lost(seaweed: S3Server, tmp_path: Path) -> None:
    print(f"S3MOUNT_KILL_SEED={SEED}")
    dice = random.Random(SEED)
    manifest = tmp_path / "manifest"
    bucket = seaweed.make_bucket()
    kills_with_work = compared = 0
    with CliMount(seaweed, bucket, tmp_path, "--write-back-delay=300ms") as mount:
        mount.mount()
        for number in range(ROUNDS):
            with writer(mount.mountpoint, manifest, SEED + number) as process:
                lines = len(manifest.read_text().splitlines()) if manifest.exists() else 0
                deadline = time.monotonic() + WRITER_ENDS_S
                while not manifest.exists() or len(manifest.read_text().splitlines()) < lines + 2:
                    assert process.poll() is None, "the writer did not begin"
                    assert time.monotonic() < deadline, "the writer did not begin"
                    time.sleep(0.01)
                time.sleep(dice.uniform(0.05, 1.5))
                mount.kill()
                kills_with_work += mount.owed_on_disk() > 0
                assert process.wait(WRITER_ENDS_S) != 0  # the mount went away under it
            assert mount.unmount().returncode == 0
            mount.mount()
            compared += settle(manifest, read_tree(mount.mountpoint))
        assert kills_with_work == ROUNDS, "at some kill everything was uploaded, so nothing was tried"
        mount.drain()
        assert mount.unmount().returncode == 0
        settle(manifest, read_bucket(seaweed, bucket, ""))
        assert not seaweed.client.list_multipart_uploads(Bucket=bucket).get("Uploads")
    print(f"{ROUNDS} kills, {compared} acknowledged states compared, none lost")


if __name__ == "__main__":
    Writer(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])).run()
